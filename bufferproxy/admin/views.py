"""What the admin plane answers, as JSON. Rates are per second, `null` means unlimited; times are RFC 3339."""

from __future__ import annotations

from datetime import UTC, datetime
from math import isfinite

from pydantic import BaseModel, Field

from bufferproxy.admin.contract import Check
from bufferproxy.observe.snapshot import ServiceSnapshot


class CheckView(BaseModel):
    check: str
    ok: bool
    detail: str = Field(description="What is wrong, or may become so; empty when nothing is.")


class ReadyView(BaseModel):
    ready: bool
    reasons: list[str] = Field(description="What is wrong, one sentence each; empty when ready.")
    checks: list[CheckView]

    @classmethod
    def of(cls, checks: list[Check]) -> ReadyView:
        return cls(
            ready=all(check.ok for check in checks),
            reasons=[f"{check.name}: {check.detail}" for check in checks if not check.ok],
            checks=[CheckView(check=check.name, ok=check.ok, detail=check.detail) for check in checks],
        )


class RestingView(BaseModel):
    reason: str
    until: datetime


class BacklogView(BaseModel):
    ready: int
    delayed: int
    in_flight: int
    bytes: int = Field(description="Of bodies.")
    oldest_at: datetime | None = Field(description="When the oldest open request was accepted.")


class RatesView(BaseModel):
    accepted: float
    delivered: float


class ServiceView(BaseModel):
    name: str
    to: list[str]
    rate_limit: float | None = Field(description="The ceiling for all replicas.")
    rate_allowed: float | None = Field(description="What is left of it after pauses, rests and limits.")
    rate_share: float | None = Field(description="The part of it that this replica holds.")
    burst: int
    concurrency: int
    concurrency_allowed: int = Field(description="What is left of it, for all replicas.")
    concurrency_found: int = Field(
        description="By adaptive concurrency, also in shadow; 0 where it is not set."
    )
    paused: bool
    breaker: str = Field(description="closed, open or half-open; also where it is in shadow.")
    resting: RestingView | None
    backlog: BacklogView
    drain_eta_seconds: float | None = Field(description="At the present pace; null when nothing drains.")
    rates: RatesView = Field(description="Over the last ten seconds.")
    throttled: dict[str, float] = Field(
        description="Seconds a second for which delivery was held back over the last ten seconds, by reason."
    )
    shadow: list[str] = Field(
        description="What would hold requests back now, were it not in shadow: breaker, adaptive."
    )
    accepted: int = Field(description="By this replica since it started.")
    finished: dict[str, int] = Field(description="By this replica since it started, by outcome.")
    dead_letters: int
    in_flight: int = Field(description="Attempts under way.")
    held: int = Field(description="Callers that wait for their reply.")
    partitions: int

    @classmethod
    def of(cls, snapshot: ServiceSnapshot) -> ServiceView:
        name, standing, gauges, rates, accepted, finished = snapshot
        resting = standing.resting
        return cls(
            name=name,
            to=list(standing.to),
            rate_limit=_finite(gauges.rate_limit),
            rate_allowed=_finite(gauges.rate_allowed),
            rate_share=_finite(gauges.rate_share),
            burst=standing.burst,
            concurrency=standing.concurrency,
            concurrency_allowed=gauges.concurrency_allowed,
            concurrency_found=gauges.concurrency_found,
            paused=standing.paused,
            breaker=gauges.breaker,
            resting=resting and RestingView(reason=resting.reason, until=_moment(resting.until)),
            backlog=BacklogView(
                ready=gauges.ready,
                delayed=gauges.delayed,
                in_flight=gauges.in_flight,
                bytes=gauges.bytes,
                oldest_at=None if gauges.oldest_at is None else _moment(gauges.oldest_at),
            ),
            drain_eta_seconds=_finite(gauges.drain_eta),
            rates=RatesView(accepted=round(rates.accepted, 3), delivered=round(rates.delivered, 3)),
            throttled={reason: round(part, 3) for reason, part in rates.throttled.items()},
            shadow=list(gauges.shadow),
            accepted=accepted,
            finished={outcome: int(count) for outcome, count in finished.items()},
            dead_letters=gauges.dead_letters,
            in_flight=gauges.deliveries,
            held=gauges.held,
            partitions=gauges.partitions,
        )


class ServicesView(BaseModel):
    services: list[ServiceView]


class SettingView(BaseModel):
    key: str
    value: object
    origin: str = Field(description="flag, env, file or default")


class SettingsView(BaseModel):
    settings: list[SettingView]


_LAST = datetime(9999, 12, 31, tzinfo=UTC).timestamp()
"""What ends never ends then, for those who need a date."""


def _finite(number: float) -> float | None:
    return number if isfinite(number) else None


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(min(seconds, _LAST), UTC)
