"""The thread of one client: it makes the client, does what it is told between two polls, and makes another
client when the one it has is of no further use."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from bufferproxy.errors import LogUnavailable, LogUnusable
from bufferproxy.log.kafka.engine import ClientFailed, Failure, Trouble

logger = logging.getLogger(__name__)

FIRST_BACKOFF = 0.5
"""Seconds until a client is made after the first failure; twice as long after each further one, up to ..."""
LONGEST_BACKOFF = 8.0
FENCED_SECONDS = 60.0
"""For which a member that another one has thrown out stays out: else the two would do so in turn."""
STEADY = 30.0
"""Seconds that a client must have worked for before the backoff begins anew."""
JOIN_SECONDS = 8.0
"""That the thread is given to end."""


C = TypeVar("C")


class Driver(Protocol[C]):
    """What a poller does with its client. All of it is called on the poller's thread."""

    name: str

    def make(self) -> C:
        """Raises ClientFailed or LogUnusable."""
        ...

    def turn(self, client: C) -> float:
        """Polls once. Returns the seconds for which nothing need be done unless something is told; 0: poll
        again at once. Raises ClientFailed when the client must be replaced."""
        ...

    def failed(self, failure: Failure) -> None:
        """The client is gone, or could not be made; another one is made after a while."""
        ...

    def discard(self, client: C) -> None:
        """Closes the client."""
        ...


class Poller(threading.Thread, Generic[C]):
    """Runs a driver until it is stopped."""

    def __init__(self, driver: Driver[C], now: Callable[[], float]) -> None:
        super().__init__(name=f"bufferproxy-{driver.name}", daemon=True)
        self._driver = driver
        self._now = now
        self._told: deque[Callable[[C], None]] = deque()
        self._awake = threading.Condition()
        self._news = False
        self._stopping = False
        self._replace: str | None = None

    # --- on any thread

    def tell(self, command: Callable[[C], None]) -> None:
        """`command` is called with the client between two polls, in order. Commands that wait for a client
        that fails are dropped: `Driver.make` begins with the whole state."""
        self._told.append(command)
        self.wake()

    def wake(self) -> None:
        with self._awake:
            self._news = True
            self._awake.notify()

    def replace(self, why: str) -> None:
        """Another client takes the place of this one, which is stuck."""
        self._replace = why
        self.wake()

    def stop(self) -> None:
        self._stopping = True
        self.wake()

    async def ended(self) -> None:
        """Stops, and waits until the client is closed; not for ever."""
        self.stop()
        if self.is_alive():
            await asyncio.to_thread(self.join, JOIN_SECONDS)

    def post(self, loop: asyncio.AbstractEventLoop, call: Callable[..., object], *arguments: object) -> None:
        """Calls it on the loop. Where that has ended, so does this thread."""
        try:
            loop.call_soon_threadsafe(call, *arguments)
        except RuntimeError:
            self.stop()

    # --- on its own

    def run(self) -> None:
        backoff = 0.0
        while not self._stopping:
            began = self._now()
            try:
                self._serve()
            except ClientFailed as error:
                failure = error.failure
            except (LogUnavailable, LogUnusable) as error:
                failure = Failure(Trouble.FATAL, str(error))
            except Exception as error:
                # A bug, ours or the library's. The next client may do better, and readiness says so.
                logger.exception("the Kafka client %s met a bug", self._driver.name)
                failure = Failure(Trouble.FATAL, f"{type(error).__name__}: {error}")
            else:
                return
            if self._stopping:
                return
            steady = not backoff or self._now() - began > STEADY
            backoff = FIRST_BACKOFF if steady else min(backoff * 2, LONGEST_BACKOFF)
            logger.warning("the Kafka client %s is replaced: %s", self._driver.name, failure.text)
            self._driver.failed(failure)
            self._rest(FENCED_SECONDS if failure.trouble is Trouble.FENCED else backoff, until_told=False)

    def _serve(self) -> None:
        self._told.clear()
        self._replace = None
        client = self._driver.make()
        try:
            while not self._stopping:
                if self._replace is not None:
                    raise ClientFailed(Failure(Trouble.FATAL, self._replace))
                while self._told:
                    self._told.popleft()(client)
                rest = self._driver.turn(client)
                if rest:
                    self._rest(rest, until_told=True)
        finally:
            self._discard(client)

    def _discard(self, client: C) -> None:
        try:
            self._driver.discard(client)
        except Exception:
            logger.exception("the Kafka client %s did not close in order", self._driver.name)

    def _rest(self, seconds: float, *, until_told: bool) -> None:
        until = self._now() + seconds
        with self._awake:
            while not self._stopping and (left := until - self._now()) > 0:
                if until_told and self._news:
                    break
                self._awake.wait(left)
            self._news = False
