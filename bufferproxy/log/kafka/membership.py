"""Whether the group still counts a consumer as its member, as far as that can be known from here.

kafka-python asks for the coordinator again when its heartbeats are not answered, and then believes for
another session that all is well: cut off from the coordinator alone, it would read and send on for ever,
beside whoever has its partitions by then. A heartbeat that is answered says that it was a member when it was
sent, and nobody else gets its partitions for a session from then on.
"""

from __future__ import annotations

import logging
from typing import Any

from bufferproxy.clock import SystemClock

logger = logging.getLogger(__name__)

TRUSTED = 0.8
"""Share of a session for which an answer is trusted: the coordinator may count from a little earlier."""


class Membership:
    """`session` in seconds."""

    def __init__(self, consumer: Any, session: float) -> None:
        self._manager = consumer._manager
        self._coordinator = coordinator = consumer._coordinator
        self._trusted = TRUSTED * session
        self._now = SystemClock.now
        self._sent_at = self._proved_at = self._now()
        heartbeat = coordinator.heartbeat
        self._sent, self._received = heartbeat.sent_heartbeat, heartbeat.received_heartbeat
        self._joined = coordinator._enable_heartbeat
        heartbeat.sent_heartbeat, heartbeat.received_heartbeat = self._sending, self._answered
        coordinator._enable_heartbeat = self._has_joined

    # --- on the I/O thread

    def _sending(self) -> None:
        self._sent_at = self._now()
        self._sent()

    def _answered(self) -> None:
        self._proved_at = self._sent_at
        self._received()

    def _has_joined(self) -> None:
        self._proved_at = self._now()
        self._joined()

    # --- on any thread

    @property
    def doubtful(self) -> bool:
        """It takes itself for a member and has had no answer for too long. (While it joins, the group waits
        for it.)"""
        coordinator = self._coordinator
        believes = coordinator.stable() and coordinator._heartbeat_enabled
        return bool(believes) and self._now() - self._proved_at > self._trusted

    def resign(self) -> None:
        """It is a member no more, and joins again when the coordinator answers."""

        async def forget() -> None:
            self._coordinator.reset_generation()

        try:
            self._manager.call_soon(forget)
        except RuntimeError as error:  # the client is closed
            logger.debug("nothing to resign from: %s", error)

    def __repr__(self) -> str:
        return f"<Membership last answered {self._now() - self._proved_at:.1f} s ago>"
