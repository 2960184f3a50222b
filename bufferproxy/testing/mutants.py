"""The real product with one deliberate bug, to see that the checks of `history.py` notice it.

    python -m bufferproxy.testing.mutants NAME[,NAME...] run -c FILE

patches the functions named here and then is `bufferproxy run -c FILE`. `NAME` is a key of MUTANTS, or of
DELAYS (no bug, but what may be slow at any time made slow every time: nothing may break), or a crash
point of `crash_points.py` with the passage at which the process kills itself: `after-fetch:7`. Nothing of
this is known to the product. A patch that no longer finds its function fails at the start, loudly.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping
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
SELDOM = 5.0
"""Seconds between the commits of a mutant."""
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


def _commit_seldom() -> None:
    """Between two commits much more is answered than the contract lets a crash repeat."""
    from bufferproxy.drain.committer import Committer

    def later(original: Callable[..., None], committer: Committer) -> None:
        committer._every = SELDOM
        original(committer)

    wrap(Committer, "_later", later)


def _commit_goes_back() -> None:
    """As a commit that was held up and comes in after a later one: the broker takes it."""
    from bufferproxy.log.kafka.commits import Commits

    sent: dict[Any, int] = {}

    async def send(
        original: Callable[..., Awaitable[Any]], commits: Commits, wanted: Mapping[Any, tuple[int, str]]
    ) -> Any:
        late = {p: (sent[p], "") for p, (offset, _) in wanted.items() if sent.get(p, offset) < offset}
        answer = await original(commits, wanted)
        if late:
            await original(commits, late)
        sent.update({partition: offset for partition, (offset, _) in wanted.items()})
        return answer

    wrap(Commits, "_send", send)


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
    "commit-seldom": Mutant(("C3",), _commit_seldom),
    "commit-goes-back": Mutant(("C8",), _commit_goes_back),
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
