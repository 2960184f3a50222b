"""bufferproxy as a child: a process of its own with a log of its own, as `bufferproxy run` starts it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import tempfile
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from bufferproxy.clock import Clock
from bufferproxy.demo.children import ChildFailed, child
from bufferproxy.demo.tally import Standing
from bufferproxy.http1.client import Deadlines
from bufferproxy.http1.pool import Pool
from bufferproxy.http1.reply import Failure, Reply
from bufferproxy.http1.target import parse_target

_STARTS_WITHIN = 20.0
_LOOK_EVERY = 0.25
_DEADLINES = Deadlines(2.0, 2.0, 2.0)
_OUTCOMES = ("delivered", "rejected", "dead", "expired", "cancelled")


class RunningProxy:
    """`url` is where callers send."""

    def __init__(self, process: Process, said: Path, url: str, admin: Pool, clock: Clock) -> None:
        self._process = process
        self._said = said
        self.url = url
        self._admin = admin
        self._clock = clock

    async def look(self) -> Standing | None:
        """What its admin plane says now; None when it does not."""
        answer = await _get(self._admin, b"/api/v1/services")
        if isinstance(answer, Failure) or answer.status != 200:
            return None
        service = json.loads(answer.body)["services"][0]
        finished = service["finished"]
        ends = sum(finished.get(outcome, 0) for outcome in _OUTCOMES)
        return Standing(service["accepted"], ends, finished.get("delivered", 0))

    async def watch(self, seen: Callable[[float, Standing], None]) -> None:
        """Look four times a second, until cancelled. Raises ChildFailed when its process has ended."""
        while True:
            self._insist()
            standing = await self.look()
            if standing is not None:
                seen(self._clock.now(), standing)
            await self._clock.sleep(_LOOK_EVERY)

    async def ready(self) -> None:
        """Returns when its readiness says so. Raises ChildFailed when its process has ended."""
        while True:
            self._insist()
            answer = await _get(self._admin, b"/readyz")
            if isinstance(answer, Reply) and answer.status == 200:
                return
            await self._clock.sleep(0.05)

    async def close(self) -> None:
        """Of our connections to it."""
        await self._admin.close()

    def failed(self, what: str) -> ChildFailed:
        """With its last words."""
        return ChildFailed(f"bufferproxy {what}:\n{self._said.read_text(errors='replace')[-2000:]}")

    def _insist(self) -> None:
        if self._process.returncode is not None:
            raise self.failed(f"ended with {self._process.returncode}")


async def _get(pool: Pool, path: bytes) -> Reply | Failure:
    connection = await pool.acquire()
    if isinstance(connection, Failure):
        return connection
    try:
        head = b"GET %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (path, pool.target.authority)
        return await connection.exchange(head, b"", head_request=False, deadlines=_DEADLINES)
    finally:
        pool.release(connection)


@contextlib.asynccontextmanager
async def running_proxy(to: str, rate: int, clock: Clock) -> AsyncIterator[RunningProxy]:
    """Ready; its log goes with it. Raises ChildFailed, with its last words, if it does not start."""
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bufferproxy-demo-")))
        said = folder / "stderr.txt"
        stderr = stack.enter_context(said.open("wb"))
        data, admin = [parse_target(f"http://127.0.0.1:{port}") for port in _free_ports(2)]
        flags = ["--to", to, "--rate", f"{rate}/s", "--log", f"sqlite:{folder / 'log.db'}"]
        flags += ["--listen", data.authority.decode(), "--admin", admin.authority.decode()]
        starting = child(["bufferproxy", "run", *flags], stderr=stderr.fileno(), folder=folder)
        process = await stack.enter_async_context(starting)
        proxy = RunningProxy(process, said, str(data), Pool(admin, clock=clock, idle=1), clock)
        stack.push_async_callback(proxy.close)
        try:
            async with asyncio.timeout(_STARTS_WITHIN):
                await proxy.ready()
        except TimeoutError:
            raise proxy.failed("did not become ready") from None
        yield proxy


def _free_ports(count: int) -> list[int]:
    """Free now. All are held until each is known, so that they differ."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [port for _, port in (taken.getsockname() for taken in sockets)]
