"""Opens dead letters again, at a pace, or purges them.

Redrive g of an id appends the request with its number, then the marker. A crash in between leaves a letter
whose request lies in the log already: a repeat appends it once more, under the same number, and the worker
drops what it has settled (`drain/repeats.py`). So nothing is lost, and nothing is sent twice.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Literal, NamedTuple, Protocol

from bufferproxy.clock import Clock
from bufferproxy.envelope import buried, copy_of, letter_key, mark_entry
from bufferproxy.errors import AppendRefused, AppendUncertain, EnvelopeError
from bufferproxy.log.contract import Log
from bufferproxy.observe.events import Emit, Redriven
from bufferproxy.records import Entry, Letter, Mark, Partition, Position, Record, Request

PAGE = 64
"""Letters that are looked at together; so many may be on their way, and that is what memory holds."""

AGAIN = 0.5
"""Seconds until an append that the log could not take is tried again, or room is looked for again."""

GAP = 4
"""Records between two wanted ones that are read along, instead of reading twice."""


class Letters(Protocol):
    """The letters that were chosen, as they are found now."""

    async def page(self, after: int, limit: int) -> Sequence[tuple[int, Letter]]:
        """The oldest ones with a number above `after`, and their numbers."""
        ...


class Door(Protocol):
    """Where requests come in (the service's front): a redriven one counts like any other."""

    def partition(self, request: Request) -> Partition:
        """Always the same one for a request, so that its repeats meet."""
        ...

    def room(self, size: int) -> bool: ...

    def added(self, size: int) -> None: ...

    def stored(self, position: Position) -> None: ...

    def taken_back(self, size: int) -> None: ...


class Order(NamedTuple):
    """What to do. `rate` per second (inf: as fast as the log takes them), `limit` letters at most."""

    action: Literal["redrive", "purge"]
    rate: float = math.inf
    limit: int | None = None


State = Literal["running", "done", "stopped", "failed"]


class Work:
    """How far an order is. `count` letters were chosen, `skipped` could not be opened again."""

    def __init__(self, order: Order, count: int) -> None:
        self.order = order
        self.count = count
        self.done = 0
        self.skipped = 0
        self.state: State = "running"
        self.error: str | None = None
        self.over = asyncio.Event()

    def end(self, state: State, error: str | None = None) -> None:
        """The first end holds."""
        if not self.over.is_set():
            self.state, self.error = state, error
            self.over.set()

    def __repr__(self) -> str:
        return f"<Work {self.order.action} {self.done}/{self.count} {self.state}>"


class Redriver:
    """One a service. `expire`: seconds that a redriven request has from now on."""

    def __init__(self, service: str, expire: float, log: Log, door: Door, clock: Clock, emit: Emit) -> None:
        self._service = service
        self._expire = expire
        self._log = log
        self._door = door
        self._clock = clock
        self._emit = emit
        self._stopping = False

    def stop(self) -> None:
        """What is on its way is finished; the rest stay dead letters."""
        self._stopping = True

    async def carry_out(self, work: Work, letters: Letters) -> bool:
        """Returns when nothing is left (True), or it was stopped. Raises LogError, also in groups,
        when letters cannot be read."""
        action, rate, limit = work.order
        slots = _slots(rate, self._clock.now)
        after, budget = 0, math.inf if limit is None else limit
        while not self._stopping:
            page = await letters.page(after, int(min(PAGE, budget))) if budget else ()
            if not page:
                return True
            after, budget = page[-1][0], budget - len(page)
            if action == "purge":
                await self._purge([letter for _, letter in page], work)
            else:
                await self._redrive([letter for _, letter in page], work, slots)
        return False

    async def _purge(self, page: Sequence[Letter], work: Work) -> None:
        now_ms = self._now_ms()
        async with asyncio.TaskGroup() as group:
            for letter in page:
                group.create_task(self._append(letter.position.partition, purged(letter, now_ms)))
        work.done += len(page)

    async def _redrive(self, page: Sequence[Letter], work: Work, slots: Iterator[float]) -> None:
        async with asyncio.TaskGroup() as group:
            for start, letters in runs(page):
                records = await self._log.read(start, letters[-1].position.offset - start.offset + 1)
                found = {record.offset: record for record in records}
                for letter in letters:
                    request = opened(letter, found.get(letter.position.offset), self._now_ms(), self._expire)
                    if request is None:
                        work.skipped += 1
                        continue
                    await self._turn(next(slots), len(request.body))
                    if self._stopping:
                        return
                    group.create_task(self._open(letter, request, work))

    async def _turn(self, slot: float, size: int) -> None:
        """Until its time has come and there is room."""
        wait = slot - self._clock.now()
        while wait > 0 and not self._stopping:
            await self._clock.sleep(min(wait, AGAIN))
            wait = slot - self._clock.now()
        while not self._door.room(size) and not self._stopping:
            await self._clock.sleep(AGAIN)

    async def _open(self, letter: Letter, request: Request, work: Work) -> None:
        door, size = self._door, len(request.body)
        entry, partition = copy_of(request, **{"from": place_of(letter)}), door.partition(request)

        def take_back() -> None:
            door.taken_back(size)

        position = await self._append(partition, entry, lambda: door.added(size), take_back)
        door.stored(position)
        self._emit(Redriven(self._service, size))
        await self._append(letter.position.partition, redriven(letter, request, self._now_ms()))
        work.done += 1

    async def _append(
        self,
        partition: Partition,
        entry: Entry,
        before: Callable[[], None] = lambda: None,
        failed: Callable[[], None] = lambda: None,
    ) -> Position:
        """Until it is stored. What may have been stored is appended again: of a request the worker drops the
        repeat, and a marker says the same twice."""
        while True:
            before()
            try:
                return await self._log.append(partition, entry)
            except (AppendRefused, AppendUncertain):
                failed()
                if self._stopping:
                    raise
                await self._clock.sleep(AGAIN)

    def _now_ms(self) -> int:
        return int(self._clock.wall() * 1000)

    def __repr__(self) -> str:
        return f"<Redriver {self._service}>"


# --- pure


def opened(letter: Letter, record: Record | None, now_ms: int, expire: float) -> Request | None:
    """The request to append: it starts anew, only its sends count on. None for a letter that is not there
    any more, or that cannot be understood."""
    if record is None or record.key != letter_key(letter.id, letter.generation):
        return None
    try:
        request = buried(record)
    except EnvelopeError:
        return None
    return request._replace(
        waiting=False,
        expires_at=now_ms + int(expire * 1000),
        due_at=None,
        hop_at=None,
        attempts=0,
        generation=letter.generation + 1,
    )


def redriven(letter: Letter, request: Request, now_ms: int) -> Entry:
    """The marker that takes the letter's place."""
    results = letter.position.partition.number
    return mark_entry(
        Mark(
            letter.id,
            request.generation,
            purged=False,
            at=now_ms,
            results=results,
            accepted_at=request.accepted_at,
            expires_at=request.expires_at,
        )
    )


def purged(letter: Letter, now_ms: int) -> Entry:
    results = letter.position.partition.number
    return mark_entry(Mark(letter.id, letter.generation, purged=True, at=now_ms, results=results))


def place_of(letter: Letter) -> bytes:
    (topic, number), offset = letter.position
    return f"{topic}/{number}/{offset}".encode()


def runs(page: Sequence[Letter]) -> list[tuple[Position, list[Letter]]]:
    """Letters that lie close together are read together: where from, and which."""
    found: list[tuple[Position, list[Letter]]] = []
    ordered = sorted(page, key=lambda letter: letter.position)
    for _, letters in groupby(ordered, key=lambda letter: letter.position.partition):
        last = -math.inf
        for letter in letters:
            if letter.position.offset - last > GAP:
                found.append((letter.position, []))
            found[-1][1].append(letter)
            last = letter.position.offset
    return found


def _slots(rate: float, now: Callable[[], float]) -> Iterator[float]:
    """When the next one may go: never two closer than 1/rate, whatever came between."""
    slot = now()
    while True:
        yield slot
        slot = max(slot + 1 / rate, now()) if rate < math.inf else slot
