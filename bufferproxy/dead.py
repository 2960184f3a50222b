"""Dead letters as a replica serves them: listed, shown, redriven, purged. One order a service at a time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Mapping, Sequence

from bufferproxy.accept.front import Front
from bufferproxy.admin.contract import Listed
from bufferproxy.envelope import letter_key
from bufferproxy.errors import LogError
from bufferproxy.ids import parse_id
from bufferproxy.log.contract import LogInspector
from bufferproxy.records import Letter, Partition, Record, Request
from bufferproxy.results.dead_view import DeadView
from bufferproxy.results.selection import Selection
from bufferproxy.settle.redrive import Order, Redriver, Work


class FrontDoor:
    """A service's front, for requests that come in again."""

    def __init__(self, front: Front) -> None:
        self._front = front
        backlog = front.backlog
        self.added, self.stored, self.taken_back = backlog.added, backlog.stored, backlog.taken_back

    def partition(self, request: Request) -> Partition:
        """Of its ordering key; without one where it was accepted: repeats of one redrive must meet."""
        front = self._front
        if request.key is not None or front.terms.order == "strict":
            return front.partition(request.key)
        identity = parse_id(request.id)
        return front.partitions[(0 if identity is None else identity.partition) % len(front.partitions)]

    def room(self, size: int) -> bool:
        """Half of the backlog is left to callers: those that a full one would refuse come from outside."""
        requests, bytes_, wait = self._front.terms.limits
        now = self._front.backlog.reading()
        return (
            now.requests < max(1, requests // 2)
            and (now.size + size <= bytes_ // 2 or now.size == 0)
            and (not 0.0 < now.rate < float("inf") or now.requests / now.rate <= wait / 2)
        )


class Chosen:
    """The letters of a selection that were there when it was made: what dies again is not chosen again."""

    def __init__(self, view: DeadView, service: str, wanted: Selection, until: int) -> None:
        self._view = view
        self._service = service
        self._wanted = wanted
        self._until = until

    async def page(self, after: int, limit: int) -> Sequence[tuple[int, Letter]]:
        return await self._view.page(self._service, self._wanted, limit, after=after, until=self._until)


class DeadLetters:
    """See `admin.contract.DeadLetters`."""

    def __init__(self) -> None:
        self._redrivers: Mapping[str, Redriver] = {}
        self._works: dict[str, Work] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def open(self, view: DeadView, log: LogInspector, redrivers: Mapping[str, Redriver]) -> None:
        """Before it, nothing is known."""
        self._view, self._log, self._redrivers = view, log, redrivers

    def knows(self, service: str) -> bool:
        return service in self._redrivers

    async def list(self, service: str, wanted: Selection, limit: int, after: int) -> Listed:
        await self._view.catch_up(service)
        found = await self._view.page(service, wanted, limit + 1, after=after)
        count = await self._view.count(service, wanted)
        page = found[:limit]
        return Listed([letter for _, letter in page], count, page[-1][0] if len(found) > limit else None)

    async def show(self, service: str, id_: str) -> tuple[Letter, Record] | None:
        await self._view.catch_up(service)
        for _, letter in await self._view.page(service, Selection(ids=(id_,)), 1):
            for record in await self._log.read(letter.position, 1):
                if record.position == letter.position and record.key == letter_key(id_, letter.generation):
                    return letter, record
        return None

    async def missing(self, service: str, ids: Collection[str]) -> Sequence[str]:
        """Those that are no dead letters."""
        await self._view.catch_up(service)
        found = await self._view.page(service, Selection(ids=tuple(ids)), len(ids))
        return sorted(set(ids) - {letter.id for _, letter in found})

    async def begin(self, service: str, wanted: Selection, order: Order) -> Work | None:
        """None while another order of the service is carried out here."""
        await self._view.catch_up(service)
        until = await self._view.newest()
        count = await self._view.count(service, wanted)
        running = self._works.get(service)
        if running is not None and running.state == "running":
            return None
        chosen = Chosen(self._view, service, wanted, until)
        limit = count if order.limit is None else min(count, order.limit)
        work = self._works[service] = Work(order._replace(limit=limit), limit)
        task = asyncio.get_running_loop().create_task(self._carry_out(service, chosen, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return work

    def work(self, service: str) -> Work | None:
        return self._works.get(service)

    async def _carry_out(self, service: str, chosen: Chosen, work: Work) -> None:
        try:
            done = await self._redrivers[service].carry_out(work, chosen)
            with contextlib.suppress(LogError):
                await self._view.catch_up(service)  # who is told that it is done sees it done
            work.end("done" if done else "stopped")
        except* LogError as problems:
            work.end("failed", str(problems.exceptions[0]))
        finally:
            work.end("stopped")

    async def close(self) -> None:
        """What is on its way is finished, the rest stay dead letters."""
        for redriver in self._redrivers.values():
            redriver.stop()
        if self._tasks:
            await asyncio.wait(self._tasks)
