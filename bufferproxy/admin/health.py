"""Is this replica ready? Known beforehand: a probe is answered from memory and never waits for the log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from bufferproxy.admin.contract import Check
from bufferproxy.errors import LogError
from bufferproxy.observe.events import Emit, HealthChanged
from bufferproxy.observe.line_filter import cause_of

if TYPE_CHECKING:
    from bufferproxy.clock import Clock

LOOK = 0.5
"""Seconds between two looks at the checks."""

PING = 1.0
"""Seconds between two pings. A ping takes 3 s at most: a lost log is known after 4 s."""

SILENCE = 4.0
"""Seconds after which a ping that has not come back counts as failed, whatever the log promised."""

FINE = True, ""
"""A check that has nothing to say."""


class Pings(Protocol):
    async def ping(self) -> None:
        """Returns when the log answers, raises LogError when not."""
        ...

    @property
    def warning(self) -> str:
        """What an operator should see to although it answers; empty when there is nothing."""
        ...


class LogWatch:
    """Pings the log. Not ready before the first answer."""

    def __init__(self, log: Pings, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._trouble = "has not answered yet"
        self._asked_at: float | None = None

    async def run(self) -> None:
        """A ping each second, until cancelled."""
        while True:
            self._asked_at = self._clock.now()
            try:
                await self._log.ping()
                self._trouble = ""
            except LogError as error:
                self._trouble = str(error) or type(error).__name__
            finally:
                self._asked_at = None
            await self._clock.sleep(PING)

    def check(self) -> Check:
        if self._trouble:
            return Check("log", ok=False, detail=self._trouble)
        if self._asked_at is not None and (silent := self._clock.now() - self._asked_at) > SILENCE:
            return Check("log", ok=False, detail=f"has not answered for {silent:.0f} s")
        return Check("log", ok=True, detail=self._log.warning)

    def __repr__(self) -> str:
        return f"<LogWatch {self._trouble or 'answering'}>"


class Rooms(Protocol):
    @property
    def shortage(self) -> str:
        """Why nothing fresh is taken; empty while there is room."""
        ...

    @property
    def hopeless(self) -> bool:
        """It stays so until an operator makes room."""
        ...


class StorageWatch:
    """A shortage that draining will end is backpressure, and no reason to send requests elsewhere; one that
    was there from the start, or that others have made, has to be seen to."""

    def __init__(self, log: Rooms) -> None:
        self._log = log

    def check(self) -> Check:
        return Check("storage", not self._log.hopeless, self._log.shortage)

    def __repr__(self) -> str:
        return f"<StorageWatch {self._log.shortage or 'with room'}>"


class Starting:
    """Not ready until everything listens: the admin plane is up before the data plane."""

    def __init__(self) -> None:
        self._over = False

    def over(self) -> None:
        self._over = True

    def check(self) -> Check:
        return Check("starting", self._over, "" if self._over else "this replica is starting")

    def __repr__(self) -> str:
        return f"<Starting over={self._over}>"


class Draining:
    """Turned on once, at the start of the end."""

    def __init__(self) -> None:
        self._on = False

    def begin(self) -> None:
        self._on = True

    def check(self) -> Check:
        return Check("draining", not self._on, "this replica is shutting down" if self._on else "")

    def __repr__(self) -> str:
        return f"<Draining {self._on}>"


class Readiness:
    """All checks together; emits HealthChanged when one turns, or fails for another cause."""

    def __init__(self, checks: Sequence[Callable[[], Check]], emit: Emit) -> None:
        self._checks = checks
        self._emit = emit
        self._was: dict[str, tuple[bool, str]] = {}

    def checks(self) -> list[Check]:
        return [check() for check in self._checks]

    def look(self) -> None:
        """Tells what turned since the last look. What is fine at the first one is no news."""
        for name, ok, detail in self.checks():
            now = ok, "" if ok else cause_of(detail)
            if now != self._was.get(name, FINE):
                self._emit(HealthChanged(name, ok, detail))
            self._was[name] = now

    def __repr__(self) -> str:
        return f"<Readiness {self._was}>"
