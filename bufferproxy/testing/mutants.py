"""The real product with one deliberate bug, to see that the checks of `history.py` notice it.

    python -m bufferproxy.testing.mutants NAME[,NAME...] run -c FILE

patches the functions named here and then is `bufferproxy run -c FILE`. `NAME` is a key of MUTANTS, or of
DELAYS (no bug, but what may be slow at any time made slow every time: nothing may break), or a crash
point of `crash_points.py` with the passage at which the process kills itself: `after-fetch:7`. Nothing of
this is known to the product. A patch that no longer finds its function fails at the start, loudly.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextvars import ContextVar
from typing import Any, NamedTuple

from bufferproxy.testing import crash_points
from bufferproxy.testing.patching import wrap


class Mutant(NamedTuple):
    """`breaks`: the checks that must complain."""

    breaks: tuple[str, ...]
    apply: Callable[[], None]


LATE = 0.05
"""Seconds by which a mutant stores what it has acknowledged already."""
LATE_ACKNOWLEDGEMENT = 0.5
"""Seconds: longer than a request takes from Kafka through the service and back."""


def _acknowledge_before_flush() -> None:
    """The 202 goes out while the record is only in memory. The position is foretold, so that ids are right
    and nothing is wrong without a crash."""
    from bufferproxy.log.contract import Appended
    from bufferproxy.log.sqlite.log import SqliteLog
    from bufferproxy.log.topics import holds_fresh_requests
    from bufferproxy.records import Entry, Partition, Position

    ends: dict[Partition, int] = {}

    def submit(
        original: Callable[..., None],
        log: SqliteLog,
        partition: Partition,
        entry: Entry,
        done: Callable[[Appended], None],
    ) -> None:
        if not holds_fresh_requests(partition.topic):
            original(log, partition, entry, done)
            return
        offset = ends.setdefault(partition, log.end(partition))
        ends[partition] += 1
        log._clock.call_later(LATE, lambda: original(log, partition, entry, lambda _: None))
        log._clock.call_later(0.0, lambda: done(Position(partition, offset)))

    wrap(SqliteLog, "submit", submit)


def _acknowledge_before_sync() -> None:
    """SQLite's synchronous=NORMAL: what was committed is synced when the log is copied into the file. A kill
    loses nothing; a power loss does."""
    from bufferproxy.log.sqlite import log

    def open_database(original: Callable[..., Any], path: Any, schema: Any, **named: Any) -> Any:
        return original(path, schema._replace(synced=False), **named)

    wrap(log, "open_database", open_database)


def _commit_before_completion() -> None:
    """Commits what was fetched, as a consumer with auto-commit does."""
    from bufferproxy.drain.holding import Holding

    def begin(original: Callable[..., Any], holding: Holding, *arguments: Any) -> Any:
        window = original(holding, *arguments)
        if window is not None:
            holding._move(arguments[0].partition)
        return window

    def committable(
        original: Callable[..., Mapping[Any, Any]], holding: Holding, *arguments: Any
    ) -> Mapping[Any, Any]:
        found = original(holding, *arguments)
        return {
            partition: _up_to_the_newest(holding, partition, commit) for partition, commit in found.items()
        }

    wrap(Holding, "begin", begin)
    wrap(Holding, "committable", committable)


def _up_to_the_newest(holding: Any, partition: Any, commit: Any) -> Any:
    """The commit with the offset after the newest that was fetched."""
    from bufferproxy.log.marks import Marks, encode

    window = holding._windows[partition]
    if not window._order:
        return commit
    offset = window._order[-1][1]
    return commit._replace(offset=offset, marks=encode(Marks(window.starts), offset))


def _no_ownership_gate() -> None:
    """What was fetched is sent and committed, whoever holds the partition by now."""
    import bufferproxy.drain.worker  # noqa: F401 - all kinds of lanes are known then
    from bufferproxy.drain.delays import Delays
    from bufferproxy.drain.holding import Holding
    from bufferproxy.drain.lanes import Lanes
    from bufferproxy.drain.leases import Leases
    from bufferproxy.log.kafka.commits import Commits

    def keep(original: Callable[..., None], owner: Any, partitions: Collection[Any]) -> None:
        pass

    stale: dict[Any, int] = {}

    def settle(
        original: Callable[..., bool], holding: Holding, partition: Any, offset: int, window: Any
    ) -> bool:
        if holding.window(partition) is window:
            return original(holding, partition, offset, window)
        window.settle(offset)  # of a lease that is over
        stale[partition] = window.committable
        return False

    def wanted(original: Callable[..., Mapping[Any, Any]], commits: Commits) -> Mapping[Any, Any]:
        done = commits._done
        late = {partition: (offset, "") for partition, offset in stale.items()}
        stale.clear()
        held = {p: commit for p, commit in commits._wanted.items() if p in done and commit != done[p]}
        return {**held, **late}  # these once: what is sent again and again would never end

    def grant(original: Callable[..., None], holding: Holding, leases: Mapping[Any, Any]) -> None:
        for partition in leases:
            holding._windows.pop(partition, None)  # what comes again begins anew, or it would be noticed
        original(holding, leases)

    wrap(Leases, "may_send", lambda original, leases, item: True)
    wrap(Holding, "grant", grant)
    wrap(Holding, "settle", settle)
    wrap(Holding, "drop", keep)
    for owner in (*Lanes.__subclasses__(), Delays):
        wrap(owner, "discard", keep)
    wrap(Commits, "_open", wanted)
    wrap(Commits, "_holds", lambda original, commits, partition, epoch: True)


def _no_key_order() -> None:
    """Nobody waits for the one before of its key."""
    from bufferproxy.drain.keyed import KeyedLanes

    wrap(KeyedLanes, "_lane_of", lambda original, lanes, item: None)


def _retry_not_counted() -> None:
    """Retries take no token."""
    from bufferproxy.drain.lanes import Lanes
    from bufferproxy.drain.pacer import Pacer

    retrying: ContextVar[bool] = ContextVar("retrying", default=False)

    async def take(original: Callable[..., Awaitable[Any]], lanes: Lanes) -> Any:
        item = await original(lanes)
        retrying.set(item.request.attempts > 0)  # each deliverer is a task with a context of its own
        return item

    wrap(Lanes, "take", take)
    wrap(Pacer, "turns_now", lambda original, pacer: retrying.get() or original(pacer))


def _late_acknowledgement() -> None:
    """The proxy hears late that a request is stored: it may have ended by then."""
    from bufferproxy.accept import handler

    pending = vars(handler)["Pending"]

    def stored(original: Callable[..., None], pending: Any, result: Any) -> None:
        pending._intake.clock.call_later(LATE_ACKNOWLEDGEMENT, lambda: original(pending, result))

    wrap(pending, "stored", stored)


MUTANTS: Mapping[str, Mutant] = {
    "acknowledge-before-flush": Mutant(("C1",), _acknowledge_before_flush),
    "acknowledge-before-sync": Mutant(("C1",), _acknowledge_before_sync),
    "commit-before-completion": Mutant(("C1",), _commit_before_completion),
    "no-key-order": Mutant(("C4",), _no_key_order),
    "no-ownership-gate": Mutant(("C3", "C8"), _no_ownership_gate),
    "retry-not-counted": Mutant(("C5",), _retry_not_counted),
    # Those of the rate leases (no epoch fence, increase before a confirmed decrease) need worlds in which
    # somebody reads late just then: they are in tests/property/test_rate_leases.py.
}

DELAYS: Mapping[str, Callable[[], None]] = {"late-acknowledgement": _late_acknowledgement}


def apply(names: str) -> None:
    """Comma-separated. Raises KeyError for a name that is not known."""
    for name in names.split(","):
        if name in MUTANTS:
            MUTANTS[name].apply()
        elif name in DELAYS:
            DELAYS[name]()
        else:
            crash_points.apply(name)


def main() -> None:
    names, *arguments = sys.argv[1:]
    apply(names)
    sys.argv = ["bufferproxy", *arguments]
    from bufferproxy.cli import main as command_line

    command_line()


if __name__ == "__main__":
    main()
