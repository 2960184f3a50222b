"""Before anything of a partition is sent, its lease is written down; and what kills the worker is found out.

`Marks.starts` counts take-overs without progress. Each lease adds one and commits it before its first send;
the first record that is settled sets it back; a lease that ends in order commits zero. So a request that
kills its worker shows as take-overs that come to nothing:

1. up to CAREFUL starts, all goes as ever;
2. beyond, the next ALONE of the partition go one at a time, from its oldest. That a send begins is committed
   before it does (`announcer.py`), and with it that all before it are settled;
3. from then on a take-over counts only if it finds such a send begun and nothing come of it, and whatever is
   answered sets the count back. After DEATHS in a row there is a suspect, for nothing else was on its way. If
   no answer to it is in the log either (`inquest.py`), it ends dead with the reason `crash`.

With `at_most_once` the beginning of every send is committed before it. What had begun and is open when a
partition is taken over may have reached the service, and ends dead with the reason `interrupted`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping

from bufferproxy.drain.holding import Commit, Holding
from bufferproxy.drain.lanes import Item
from bufferproxy.drain.window import Window
from bufferproxy.log.contract import Lease
from bufferproxy.log.marks import Marks, decode
from bufferproxy.records import Partition

CAREFUL = 3
"""Take-overs without progress after which a partition goes one at a time."""

DEATHS = 3
"""Ends of a worker, one after the other, with the same request on its way alone, after which that one is the
suspect."""

ALONE = 100
"""Requests that then go one at a time: at least as many as are in flight together at most services."""


def starts_after(found: Marks, committed: int) -> int:
    """`Marks.starts` of who takes over what the holder before left as `found`."""
    if found.starts > CAREFUL and found.begun <= committed:
        return found.starts  # nothing was on its way when that one ended: its end accuses nobody
    return found.starts + 1


class Opening:
    """One partition, from its lease until all goes as ever. `found`: what the holder before had told."""

    def __init__(self, window: Window, found: Marks) -> None:
        self.window = window
        self.found = found
        self.opened = False
        self.single = window.starts > CAREFUL
        self.alone = 0
        """How many have been settled one at a time."""
        if self.single:
            window.least_starts = CAREFUL + 1
        self.out: Item | None = None
        """The only one that goes now."""
        self.waiting: deque[Item] = deque()

    def suspects(self, item: Item) -> bool:
        """It was the last whose send began, and went alone, in all the lives that came to nothing."""
        many = self.window.starts > CAREFUL + DEATHS
        return many and item.request.position.offset == self.found.begun - 1

    def interrupted(self, item: Item) -> bool:
        return self.found.begun > item.request.position.offset

    def told(self, commit: Commit) -> None:
        """`commit` is durable."""
        self.opened = self.opened or decode(commit.marks, commit.offset).starts > 0

    def back(self) -> None:
        """The one that goes alone was answered."""
        self.out = None
        self.alone += 1
        if self.alone == ALONE:
            self.single = False
            self.window.starts = self.window.least_starts = 1

    def over(self, *, at_most_once: bool) -> bool:
        """All goes as ever, and whatever had begun before has come by."""
        met = not at_most_once or self.found.begun <= self.window.committable
        return self.opened and not self.single and met


class Openings:
    """One service's. `offer(item)` lets it go on, `end(item)` makes it a dead letter, `suspect(item)` has it
    looked into and then offered or ended. `commit()` asks for a commit soon."""

    def __init__(
        self,
        holding: Holding,
        offer: Callable[[Item], None],
        end: Callable[[Item], None],
        suspect: Callable[[Item], None],
        *,
        at_most_once: bool,
    ) -> None:
        self._holding = holding
        self._offer = offer
        self._end = end
        self._suspect = suspect
        self._at_most_once = at_most_once
        self._openings: dict[Partition, Opening] = {}
        self.commit: Callable[[], None] = _nothing

    def __len__(self) -> int:
        """Requests that wait here."""
        return sum(len(opening.waiting) for opening in self._openings.values())

    def begin(self, leases: Mapping[Partition, Lease]) -> None:
        """Their windows have begun. One that is granted again was opened before."""
        for partition, lease in leases.items():
            window = self._holding.window(partition)
            if window is not None and window.starts == 0:
                found = decode(lease.marks, lease.committed)
                window.starts = starts_after(found, lease.committed)
                if not self._at_most_once:
                    window.begun = lease.committed  # by this worker, nothing was yet
                self._openings[partition] = Opening(window, found)
                self._holding.touch(partition)
        self.commit()

    def forget(self, partitions: Collection[Partition]) -> None:
        for partition in partitions:
            self._openings.pop(partition, None)

    def takes(self, item: Item) -> bool:
        """True when it waits here, or has ended."""
        opening = self._openings.get(item.partition)
        if opening is None:
            return False
        if self._at_most_once and opening.interrupted(item):
            self._end(item)
        elif opening.suspects(item):
            opening.out = item
            self._suspect(item)
        elif opening.opened and not opening.single:
            return False
        else:
            opening.waiting.append(item)
            self._go_on(item.partition, opening)
        return True

    def committed(self, commits: Mapping[Partition, Commit]) -> None:
        if not self._openings:
            return
        for partition, commit in commits.items():
            opening = self._openings.get(partition)
            if opening is not None:
                opening.told(commit)
                self._go_on(partition, opening)

    def answered(self, item: Item) -> None:
        """It was settled, or keeps its place until its next attempt."""
        opening = self._openings.get(item.partition)
        if opening is None or opening.window is not item.window:
            return
        if opening.out is item:
            opening.back()
            self.commit()
        self._go_on(item.partition, opening)

    def _go_on(self, partition: Partition, opening: Opening) -> None:
        if not opening.opened:
            return
        if not opening.single:
            while opening.waiting:
                self._offer(opening.waiting.popleft())
            if opening.over(at_most_once=self._at_most_once):
                self._openings.pop(partition, None)
        elif opening.out is None and opening.waiting:
            opening.out = opening.waiting.popleft()
            self._offer(opening.out)

    def __repr__(self) -> str:
        single = sum(opening.single for opening in self._openings.values())
        return f"<Openings {len(self._openings)} partitions, {single} go one at a time>"


def _nothing() -> None: ...
