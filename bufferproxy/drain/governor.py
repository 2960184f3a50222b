"""A service that this process serves alone: what it counts, it decides by itself. (With others:
`rate/talk.py`.)"""

from __future__ import annotations

from bufferproxy.clock import Clock
from bufferproxy.drain.party import Party
from bufferproxy.policy.bucket import TokenBucket
from bufferproxy.policy.congestion import Congestion, Settings
from bufferproxy.policy.regime import Regime


class Governor:
    def __init__(
        self, party: Party, bucket: TokenBucket, settings: Settings, burst: int, clock: Clock
    ) -> None:
        self._party = party
        self._bucket = bucket
        self._burst = burst
        self._clock = clock
        self._congestion = Congestion(settings, clock.now())
        self._obey(self._congestion.regime(clock.now()))

    def look(self) -> None:
        """A few times a second."""
        now = self._clock.now()
        self._congestion.feed(self._party.counted(), now, self._clock.random())
        self._party.told()
        self._obey(self._congestion.regime(now))

    def _obey(self, regime: Regime) -> None:
        bucket, now = self._bucket, self._clock.now()
        if regime.rate != bucket.rate:
            if bucket.rate == 0.0:
                bucket.empty(now)
            bucket.change(regime.rate, self._burst, now)
        self._party.obey(regime, regime.concurrency, regime.retry_rate)

    def __repr__(self) -> str:
        return f"<Governor {self._party!r} {self._congestion!r}>"
