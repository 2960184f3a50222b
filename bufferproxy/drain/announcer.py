"""Where it matters, that a send begins is committed before it does, many at a time.

What is told is how far sends have begun. With `at_most_once`, whoever takes the partition over after a
crash ends what is open below that mark, for it may have reached the service (`openings.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping

from bufferproxy.drain.holding import Commit, Holding
from bufferproxy.drain.lanes import Item
from bufferproxy.log.marks import decode
from bufferproxy.records import Partition

Waiting = list[tuple[int, asyncio.Future[None]]]


class Announcer:
    def __init__(self, holding: Holding) -> None:
        self._holding = holding
        self._told: dict[Partition, int] = {}
        """How far the last commit has told that sends have begun."""
        self._waiting: dict[Partition, Waiting] = {}
        self.commit: Callable[[], None] = _nothing

    async def announce(self, item: Item) -> None:
        """Returns when it is known that this one is about to be sent, or when its partition has left us."""
        partition, offset = item.request.position
        if self._told.get(partition, 0) > offset or self._holding.window(partition) is not item.window:
            return
        item.window.sends(offset)
        self._holding.touch(partition)
        told = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(partition, []).append((offset, told))
        self.commit()
        await told

    def committed(self, commits: Mapping[Partition, Commit]) -> None:
        for partition, commit in commits.items():
            waiting = self._waiting.get(partition)
            if not waiting:
                continue
            begun = self._told[partition] = decode(commit.marks, commit.offset).begun
            self._waiting[partition] = [(offset, told) for offset, told in waiting if offset >= begun]
            _let_go(told for offset, told in waiting if offset < begun)

    def forget(self, partitions: Collection[Partition]) -> None:
        for partition in partitions:
            self._told.pop(partition, None)
            _let_go(told for _, told in self._waiting.pop(partition, ()))

    def __repr__(self) -> str:
        return f"<Announcer {sum(map(len, self._waiting.values()))} wait>"


def _let_go(waiting: Iterable[asyncio.Future[None]]) -> None:
    for told in waiting:
        if not told.done():
            told.set_result(None)


def _nothing() -> None: ...
