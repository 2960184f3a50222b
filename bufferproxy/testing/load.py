"""Callers: many connections that send as fast as they are answered, or at a pace, and remember every answer.

async with Load(proxy.url, connections=64) as load:
    told = await load.send(Sent(b"/orders/%d" % n) for n in range(20_000))
ids = [answer.id for answer in told if answer.accepted]
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from bufferproxy.clock import SystemClock
from bufferproxy.http1.client import Deadlines
from bufferproxy.http1.pool import Pool
from bufferproxy.http1.reply import Failure
from bufferproxy.http1.target import parse_target

if TYPE_CHECKING:
    from types import TracebackType

PATIENCE = 120.0
"""Seconds after which a test need not hope any more."""

KEY = b"X-Key"
"""The header by which the recorder knows keys."""


class Sent(NamedTuple):
    """A request that a caller sends. `key` goes into two headers: for bufferproxy, and for the recorder.
    `raw`: the whole head, byte for byte, in place of what the rest would come to."""

    target: bytes
    body: bytes = b""
    key: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    method: bytes = b"POST"
    raw: bytes = b""

    def head(self, authority: bytes) -> bytes:
        if self.raw:
            return self.raw
        lines = [b"%b %b HTTP/1.1" % (self.method, self.target), b"Host: " + authority]
        if self.key:
            lines += [b"Bufferproxy-Key: " + self.key, KEY + b": " + self.key]
        lines += [name + b": " + value for name, value in self.headers]
        return b"\r\n".join((*lines, b"Content-Length: %d" % len(self.body), b"", b""))


class Told(NamedTuple):
    """What became of it for the caller. `status` is 0 without an answer: `failure` says why, and whether
    anything was sent. `began` and `at`, in monotonic seconds: before the send, and with the whole answer."""

    sent: Sent
    status: int
    head: bytes
    body: bytes
    failure: Failure | None
    began: float
    at: float

    @property
    def accepted(self) -> bool:
        return self.status == 202

    @property
    def id(self) -> str:
        """Of `Bufferproxy-Id`; empty without one."""
        return self.header(b"bufferproxy-id").decode()

    def header(self, wanted: bytes) -> bytes:
        """The first value of a header, empty without one; `wanted` in lower case."""
        return next(iter(self.headers(wanted)), b"")

    def headers(self, wanted: bytes) -> list[bytes]:
        pairs = (line.partition(b":") for line in self.head.split(b"\r\n")[1:] if line)
        return [value.strip() for name, _, value in pairs if name.lower() == wanted]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Load:
    """A crowd of callers. `up` is theirs to wait for before each request: clear it while nobody listens."""

    def __init__(self, url: str, *, connections: int = 64, patience: float = 60.0) -> None:
        """`patience`: seconds that a caller waits for one answer."""
        self._clock = SystemClock()
        target = parse_target(url)
        self._authority = target.authority
        self._pool = Pool(target, clock=self._clock, idle=connections)
        self._connections = connections
        self._deadlines = Deadlines(patience, patience, patience)
        self.told: list[Told] = []
        """All answers so far, as they came."""
        self.accepted = 0
        """How many of them are 202."""
        self._watched: list[tuple[int, asyncio.Event]] = []
        self._awaited: list[tuple[bytes, asyncio.Event]] = []
        self.up = asyncio.Event()
        self.up.set()

    async def send(self, sent: Iterable[Sent], *, rate: float | None = None) -> list[Told]:
        """Send all, over every connection, each the next one when its last is answered; `rate` per second
        holds them back. Returns the answers in the order in which they came."""
        shared = iter(sent)
        slots = _slots(self._clock.now(), rate)
        return await self._together([shared] * self._connections, slots)

    async def send_keyed(self, sent: Iterable[Sent], *, rate: float | None = None) -> list[Told]:
        """Like `send`, but what has one key is sent one after the other, so that the order of the answers is
        the order accepted."""
        chains: dict[int, list[Sent]] = defaultdict(list)
        for one in sent:
            chains[hash(one.key) % self._connections].append(one)
        slots = _slots(self._clock.now(), rate)
        return await self._together([iter(chain) for chain in chains.values()], slots)

    async def accepts(self, more: int) -> None:
        """Returns when so many more requests were accepted. Raises TimeoutError after PATIENCE."""
        event = asyncio.Event()
        self._watched.append((self.accepted + more, event))
        async with asyncio.timeout(PATIENCE):
            await event.wait()

    async def hears(self, text: bytes) -> None:
        """Returns when one more answer has this in its body. Raises TimeoutError after PATIENCE."""
        event = asyncio.Event()
        self._awaited.append((text, event))
        async with asyncio.timeout(PATIENCE):
            await event.wait()

    async def one(self, sent: Sent) -> Told:
        """A single request, over a connection that is free."""
        began = self._clock.now()
        connection = await self._pool.acquire()
        if isinstance(connection, Failure):
            return self._note(Told(sent, 0, b"", b"", connection, began, self._clock.now()))
        try:
            answer = await connection.exchange(
                sent.head(self._authority),
                sent.body,
                head_request=sent.method == b"HEAD",
                deadlines=self._deadlines,
            )
        finally:
            self._pool.release(connection)
        if isinstance(answer, Failure):
            return self._note(Told(sent, 0, b"", b"", answer, began, self._clock.now()))
        return self._note(Told(sent, answer.status, answer.head, answer.body, None, began, self._clock.now()))

    def _note(self, told: Told) -> Told:
        self.told.append(told)
        self.accepted += told.accepted
        for watched in self._watched[:]:
            if self.accepted >= watched[0]:
                self._watched.remove(watched)
                watched[1].set()
        for awaited in self._awaited[:]:
            if awaited[0] in told.body:
                self._awaited.remove(awaited)
                awaited[1].set()
        return told

    async def _together(self, callers: list[Iterator[Sent]], slots: Iterator[float] | None) -> list[Told]:
        told: list[Told] = []
        async with asyncio.TaskGroup() as group:
            for sent in callers:
                group.create_task(self._call(sent, slots, told))
        return told

    async def _call(self, sent: Iterator[Sent], slots: Iterator[float] | None, told: list[Told]) -> None:
        for one in sent:
            if slots is not None:
                await self._clock.sleep(max(0.0, next(slots) - self._clock.now()))
            await self.up.wait()
            told.append(await self.one(one))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._pool.close()

    def __repr__(self) -> str:
        return f"<Load told={len(self.told)} {self._pool!r}>"


def _slots(start: float, rate: float | None) -> Iterator[float] | None:
    """When the next request may go."""
    return None if rate is None else (start + n / rate for n in count())
