"""What is wrong with Kafka at the moment, as its clients reported it: for readiness, logs and metrics."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from bufferproxy.clock import Clock
from bufferproxy.log.kafka.engine import Failure

logger = logging.getLogger(__name__)

LASTS = 12.0
"""Seconds for which a report holds: what is still wrong is reported again before."""


class Troubles:
    """By topic; None stands for what concerns no topic."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._told: dict[str | None, tuple[float, Failure]] = {}

    def tell(self, failure: Failure) -> None:
        if self.current().get(failure.topic) != failure.text:
            logger.warning("Kafka: %s", failure.text)
        self._told[failure.topic] = self._clock.now(), failure

    def current(self) -> Mapping[str | None, str]:
        """Topic -> what is wrong."""
        now = self._clock.now()
        self._told = {topic: told for topic, told in self._told.items() if now - told[0] < LASTS}
        return {topic: failure.text for topic, (_, failure) in self._told.items()}

    def __repr__(self) -> str:
        return f"<Troubles {dict(self.current())}>"
