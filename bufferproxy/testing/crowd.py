"""The ordinary scenario under faults: callers who go on, whatever happens, and the history of it.

trial = Trial(world, load)
async with trial.crowd(rate=500):
    await load.accepts(300)
    async with trial.fault("kill -9", repeats=220):
        ...
assert (await trial.history()).complaints(rate=1000) == []
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sqlite3
import time
from itertools import count, takewhile
from typing import TYPE_CHECKING

from bufferproxy.clock import SystemClock
from bufferproxy.testing.evidence import Watch, commits_of, ends_of, sqlite_commits
from bufferproxy.testing.history import End, Fault, History, accepts_of
from bufferproxy.testing.load import PATIENCE as CALLERS_PATIENCE
from bufferproxy.testing.load import Load, Sent
from bufferproxy.testing.processes import PATIENCE, wait_until
from bufferproxy.testing.samples import Sample
from bufferproxy.testing.world import SERVICE, World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


class Trial:
    """One run under faults. `keys`: how many keys its callers take turns with; 0 for none."""

    def __init__(self, world: World, load: Load, *, keys: int = 0, path: str = "/n") -> None:
        self.world = world
        self.load = load
        self.faults: list[Fault] = []
        self._keys = keys
        self._path = path.encode()
        self._stop = False
        self._offsets: list[Sample] = []

    @contextlib.asynccontextmanager
    async def crowd(self, *, rate: float | None = None) -> AsyncIterator[None]:
        """Callers who go on until the end of the `with`, `rate` per second in all."""
        calling = asyncio.create_task(self.load.send(self._requests(), rate=rate))
        with self._watch_commits():
            try:
                yield
            finally:
                self._stop = True
                self.load.up.set()
                async with asyncio.timeout(CALLERS_PATIENCE):
                    await calling

    def _requests(self) -> Iterator[Sent]:
        """They tell each other apart."""
        for n in takewhile(lambda _: not self._stop, count()):
            key = b"key-%d" % (n % self._keys) if self._keys else b""
            yield Sent(b"%b/%d" % (self._path, n), b"%d" % n * (n % 50), key=key)

    @contextlib.contextmanager
    def _watch_commits(self) -> Iterator[None]:
        if self.world.place.kafka:
            yield  # Kafka keeps them all
            return
        with Watch(lambda: sqlite_commits(self.world.place)) as watch:
            self._offsets = watch.samples
            yield

    @contextlib.asynccontextmanager
    async def fault(
        self, what: str, repeats: int = 0, *, lasts: float = 0.0, frozen: int = 0
    ) -> AsyncIterator[None]:
        """One fault, until the product is whole again. See `history.Fault`."""
        at = time.time()
        yield
        self.faults.append(Fault(what, at, time.time(), repeats, lasts=lasts, frozen=frozen))

    async def kill(self, victim: str, *, repeats: int = 0) -> None:
        """kill -9 of a process by its name, and a new start."""
        process = next(one for one in self.world.processes if one.name == victim)
        async with self.fault(f"kill -9 {victim}", repeats):
            if process is self.world.proxy:
                self.load.up.clear()
            await asyncio.to_thread(process.kill)
            await asyncio.to_thread(process.start)
        self.load.up.set()

    async def freeze_past_session(self, everything: int, repeats: int) -> None:
        """SIGSTOP of the first of two workers, until the other one holds `everything`; SIGCONT, until they
        share it again. It is the other that is asked: a mutant may not know what it has lost."""
        frozen, other = self.world.workers
        async with self.fault("SIGSTOP", repeats, frozen=1):
            frozen.signal(signal.SIGSTOP)
            await asyncio.to_thread(other.await_partitions, everything)
            frozen.signal(signal.SIGCONT)
            await asyncio.to_thread(other.await_share, everything)

    async def history(self, *, patience: float = PATIENCE, lost_after: float = PATIENCE) -> History:
        """Once nothing is open, and all that was accepted has arrived: at most `patience` and `lost_after`
        seconds from now. What has not come by then is for C1 to name."""
        ahead = time.time() - SystemClock.now()
        accepts = accepts_of(self.load.told, ahead)
        ids = {accept.id for accept in accepts if accept.outcome == "ok"}
        recorder = self.world.recorder
        with contextlib.suppress(AssertionError):
            await asyncio.to_thread(recorder.await_ids, ids, lost_after)
        await asyncio.to_thread(self.world.await_settled, patience)
        place = self.world.place
        ends = await asyncio.to_thread(self._await_ends, ids, lost_after)
        if place.kafka:
            self._offsets = await asyncio.to_thread(commits_of, place, SERVICE)
        arrivals = await asyncio.to_thread(recorder.arrivals)
        return History(accepts, arrivals, ends, self.faults, self._offsets)

    def _await_ends(self, ids: set[str], patience: float) -> list[End]:
        """Until each has one."""
        found: list[End] = []

        def there() -> bool:
            nonlocal found
            with contextlib.suppress(sqlite3.OperationalError):
                found = ends_of(self.world.place, SERVICE)
            return ids <= {end.id for end in found}

        with contextlib.suppress(AssertionError):
            wait_until(there, "an end for each", patience=patience, every=1.0)
        return found


async def share_between_two(world: World) -> int:
    """A second worker joins, and has its share. Returns how many partitions they hold together."""
    everything = int(await asyncio.to_thread(wait_until, world.worker.held_partitions, "the group to form"))
    other = await asyncio.to_thread(world.add_worker)
    await asyncio.to_thread(other.await_share, everything)
    return everything
