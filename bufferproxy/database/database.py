"""What the others hold: a file that is written by one thread and read by another."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from bufferproxy.clock import Clock, SystemClock
from bufferproxy.database import file, holders
from bufferproxy.database.faults import DatabaseError, damage_named, is_fault, is_locked
from bufferproxy.database.file import OPEN_PATIENCE, PAGE, Connection, Schema
from bufferproxy.database.room import Room
from bufferproxy.database.writer import Fatal, NoUpkeep, Upkeep, Work, Writer, end_process
from bufferproxy.errors import LogError, LogUnavailable, LogUnusable, StorageLocked

T = TypeVar("T")


class Database:
    """Made by `open_database`. All public methods belong to the loop it was opened on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._loop = asyncio.get_running_loop()
        self._reads = ThreadPoolExecutor(1, thread_name_prefix=f"{path.name}-reader")
        self._closing = False

    def write(self, work: Work) -> None:
        """Queue `work` for the next transaction. Not after `close`."""
        self._writer.queue.put(work)

    async def transact(self, function: Callable[[Connection], T]) -> T:
        """`function(connection)` within the next transaction; returns when that is durable. Raises what
        `function` raises (then it changed nothing), StorageFull, or LogUnavailable."""
        if self._closing:
            raise LogUnavailable(f"{self.path} is closed")
        answer: asyncio.Future[T] = self._loop.create_future()
        self.write(_Call(function, answer))
        return await answer

    async def read(self, function: Callable[[Connection], T]) -> T:
        """`function(connection)` on the reading thread. Be quick: others wait, and so does the writer
        when it must begin its write-ahead log anew."""
        if self._closing:
            raise LogUnavailable(f"{self.path} is closed")
        return await self._loop.run_in_executor(self._reads, self._read, function)

    @property
    def shortage(self) -> str:
        """What is free is the reserve's: why what may be refused is, in words; empty while there is room."""
        return self._writer.room.shortage

    @property
    def hopeless(self) -> bool:
        """That shortage stays until somebody makes room or takes a smaller reserve."""
        return self._writer.room.hopeless

    @property
    def warning(self) -> str:
        """What an operator should see to although all works, in words; empty when there is nothing."""
        return self._writer.overgrown

    async def close(self) -> None:
        """Commits what is queued, copies the write-ahead log into the file, lets go of the lock."""
        if self._closing:
            return
        self._closing = True
        await self._loop.run_in_executor(self._reads, self._close_reader)
        self._writer.queue.put(None)
        await asyncio.to_thread(self._thread.join)
        self._hold.close()
        self._reads.shutdown(wait=False)

    def __repr__(self) -> str:
        return f"<Database {self.path} {self._writer!r}>"

    # --- opening, on a thread that is not the loop's

    def start(self, schema: Schema, room: Room, upkeep: Upkeep, fatal: Fatal, patience: float) -> None:
        self._hold = file.hold(self.path)
        try:
            with damage_named(self.path):
                connection = file.open_writer(self.path, schema, patience)
                self._reader = file.open_reader(self.path)
        except BaseException as error:
            self._hold.close()
            if isinstance(error, DatabaseError):
                raise LogUnusable(f"cannot open {self.path}: {error}: is there room on its disk?") from error
            raise
        self._writer = Writer(self.path, connection, room, upkeep, fatal, self._report)
        self._thread = threading.Thread(target=self._writer.run, name=f"{self.path.name}-writer", daemon=True)
        self._thread.start()

    # --- the reading thread

    def _read(self, function: Callable[[Connection], T]) -> T:
        try:
            with damage_named(self.path), self._writer.reading:
                return function(self._reader)
        except DatabaseError as error:
            if is_locked(error):
                who = holders.writers(self.path)
                raise LogUnavailable(f"{self.path} is locked by another program: {who}") from error
            if not is_fault(error, reading=True):
                raise
            self._writer.die(error)
            raise LogUnavailable(f"{self.path}: {error}") from error

    def _close_reader(self) -> None:
        self._reader.close()

    # --- from the writer's thread back to the loop

    def _report(self, batch: Sequence[Work], committed: AbstractSet[int], refusal: LogError | None) -> None:
        """One call across threads for the whole transaction."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            self._loop.call_soon_threadsafe(_tell, batch, committed, refusal)


def _tell(batch: Sequence[Work], committed: AbstractSet[int], refusal: LogError | None) -> None:
    for work in batch:
        work.tell(None if id(work) in committed else refusal)


class _Call:
    """A function of somebody who waits for its result. What it raises undoes it, and only it."""

    deferrable = False
    size = 4 * PAGE

    def __init__(self, function: Callable[[Connection], T], answer: asyncio.Future[T]) -> None:
        self.answer = answer
        self._function = function
        self._result: object = None
        self._error: Exception | None = None

    def run(self, connection: Connection) -> None:
        self._error = None
        connection.execute("SAVEPOINT call")
        try:
            self._result = self._function(connection)
        except Exception as error:
            if is_fault(error) or is_locked(error):
                raise
            self._error = error  # raised where the call is awaited
            connection.execute("ROLLBACK TO call")
        connection.execute("RELEASE call")

    def committed(self) -> None: ...

    def tell(self, error: LogError | None) -> None:
        if self.answer.done():  # nobody waits any more
            return
        problem = LogUnavailable(str(error)) if isinstance(error, StorageLocked) else error or self._error
        if problem is not None:
            self.answer.set_exception(problem)
        else:
            self.answer.set_result(self._result)  # type: ignore[arg-type]


async def open_database(
    path: Path,
    schema: Schema,
    *,
    reserve: int = 0,
    fatal: Fatal = end_process,
    upkeep: Upkeep | None = None,
    clock: Clock | None = None,
    patience: float = OPEN_PATIENCE,
) -> Database:
    """Opens or makes the file (and its folder). `reserve` is in bytes; `patience`: seconds to wait while
    another program has locked it. Raises LogUnusable."""
    database = Database(path)
    room = Room(path, reserve, clock or SystemClock())
    await asyncio.to_thread(database.start, schema, room, upkeep or NoUpkeep(), fatal, patience)
    return database
