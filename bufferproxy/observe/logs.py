"""Log lines: JSON for machines, colours for people, and which events are worth one.

Ids may stand in a line's fields; bodies, credentials and query strings never do.
"""

from __future__ import annotations

import logging
import sys
from collections import Counter
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

import structlog

from bufferproxy.observe.events import (
    AddressTurned,
    BreakerTurned,
    DeadLettered,
    Events,
    HealthChanged,
    LeasesChanged,
    LogOperated,
    LookUpFailed,
    LoopLagged,
    Quarantined,
    Reloaded,
    Rested,
    TurnedAway,
    Unsettled,
)
from bufferproxy.observe.line_filter import LineFilter, cause_of

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

    from bufferproxy.clock import Clock

Logger = Any
"""A structlog logger; its type cannot be spelled more closely."""

LATE = 0.25
"""Seconds of event loop lag that are worth a line."""

CHATTY = ("kafka", "uvicorn", "asyncio", "httptools")
"""Libraries of which only warnings are kept."""


def configure(stream: TextIO | None = None, *, as_json: bool | None = None, level: str = "info") -> None:
    """All log lines, those of libraries too, go to `stream` (stderr): as JSON, one object a line, unless it
    is a terminal or `as_json` says otherwise. Raises ValueError for an unknown `level`."""
    stream = sys.stderr if stream is None else stream
    as_json = not stream.isatty() if as_json is None else as_json
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ValueError(f"{level!r} is not a log level: debug, info, warning, error")
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(as_json)],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(number)
    for name in CHATTY:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))


def _renderers(as_json: bool) -> list[structlog.typing.Processor]:  # noqa: FBT001
    if as_json:
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    # Plain: the prettier ones print local variables, and with them bodies and credentials.
    return [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]


class Line(NamedTuple):
    write: Callable[..., object]
    text: str
    fields: dict[str, object]
    cause: str


class LogLines:
    """Subscribes to the events that an operator wants to read about, and writes a line for each. Of many
    about one thing those of no greater consequence are left out (`line_filter.py`). The last of them is
    written in the end, with how many of what were left out: so the newest line says how things stand."""

    def __init__(self, clock: Clock, logger: Logger = None) -> None:
        self._logger = structlog.get_logger("bufferproxy") if logger is None else logger
        self._clock = clock
        self._filter = LineFilter()
        self._last: dict[Hashable, Line] = {}
        """Of each thing, the line that was left out last."""

    def subscribe(self, events: Events) -> None:
        events.subscribe(Rested, self._on_rested)
        events.subscribe(AddressTurned, self._on_address_turned)
        events.subscribe(LookUpFailed, self._on_look_up_failed)
        events.subscribe(BreakerTurned, self._on_breaker_turned)
        events.subscribe(DeadLettered, self._on_dead_lettered)
        events.subscribe(LeasesChanged, self._on_leases_changed)
        events.subscribe(Quarantined, self._on_quarantined)
        events.subscribe(Unsettled, self._on_unsettled)
        events.subscribe(LogOperated, self._on_log_operated)
        events.subscribe(TurnedAway, self._on_turned_away)
        events.subscribe(LoopLagged, self._on_loop_lagged)
        events.subscribe(Reloaded, self._on_reloaded)
        events.subscribe(HealthChanged, self._on_health_changed)

    def _on_rested(self, event: Rested) -> None:
        self._line(
            self._logger.warning,
            (event.service, event.reason),
            "service rests",
            service=event.service,
            weight=ceil(event.seconds),
            cause=cause_of(event.detail),
            reason=event.reason,
            seconds=round(event.seconds, 3),
            detail=event.detail,
        )

    def _on_address_turned(self, event: AddressTurned) -> None:
        self._line(
            self._logger.info if event.reachable else self._logger.warning,
            (event.service, event.address, event.reachable),
            "address takes turns again" if event.reachable else "address left out: no connection",
            service=event.service,
            address=event.address,
            detail=event.detail,
        )

    def _on_look_up_failed(self, event: LookUpFailed) -> None:
        self._line(
            self._logger.warning,
            (event.service, event.host),
            "host not resolved, its last addresses stay in use" if event.kept else "host has no address",
            service=event.service,
            host=event.host,
            detail=event.detail,
        )

    def _on_breaker_turned(self, event: BreakerTurned) -> None:
        write = self._logger.info if event.state == "closed" else self._logger.warning
        write(
            "breaker turned",
            service=event.service,
            state=event.state,
            seconds=round(event.seconds, 3),
            shadow=event.shadow,
        )

    def _on_dead_lettered(self, event: DeadLettered) -> None:
        self._line(
            self._logger.warning,
            (event.service, event.reason),
            "request is dead",
            service=event.service,
            reason=event.reason,
        )

    def _on_leases_changed(self, event: LeasesChanged) -> None:
        self._line(
            self._logger.info,
            event.service,
            "partitions changed",
            cause=f"{event.held} held",
            service=event.service,
            held=event.held,
        )

    def _on_quarantined(self, event: Quarantined) -> None:
        self._line(
            self._logger.error,
            event.service,
            "record not understood",
            cause=cause_of(event.detail),
            service=event.service,
            detail=event.detail,
        )

    def _on_unsettled(self, event: Unsettled) -> None:
        self._line(
            self._logger.error,
            event.service,
            "request cannot be settled until its topic takes more (max.message.bytes)",
            cause=cause_of(event.detail),
            service=event.service,
            detail=event.detail,
        )

    def _on_log_operated(self, event: LogOperated) -> None:
        if event.error is not None:
            self._line(
                self._logger.error,
                (event.operation, event.error),
                "log operation failed",
                weight=ceil(event.seconds),
                operation=event.operation,
                error=event.error,
                seconds=round(event.seconds, 3),
            )

    def _on_turned_away(self, event: TurnedAway) -> None:
        self._line(
            self._logger.warning,
            event.plane,
            "callers are turned away: there are as many connections as there may be",
            plane=event.plane,
            limit=event.limit,
        )

    def _on_loop_lagged(self, event: LoopLagged) -> None:
        if event.seconds >= LATE:
            self._line(
                self._logger.warning,
                None,
                "event loop was late",
                weight=ceil(event.seconds / LATE),
                seconds=round(event.seconds, 3),
            )

    def _on_reloaded(self, event: Reloaded) -> None:
        if event.success:
            self._logger.info("settings reloaded", detail=event.detail)
        else:
            self._logger.error("settings not reloaded, the old ones stay", detail=event.detail)

    def _on_health_changed(self, event: HealthChanged) -> None:
        write = self._logger.info if event.ok else self._logger.error
        self._line(
            write,
            event.check,
            "health changed",
            cause=f"ok={event.ok} {cause_of(event.detail)}".strip(),
            check=event.check,
            ok=event.ok,
            detail=event.detail,
        )

    def _line(
        self,
        write: Callable[..., object],
        about: Hashable,
        text: str,
        *,
        weight: float = 0.0,
        cause: str = "",
        **fields: object,
    ) -> None:
        thing, line = (text, about), Line(write, text, fields, cause)
        now = self._clock.now()
        verdict = self._filter.judge(now, thing, weight, cause)
        if verdict.write:
            self._last.pop(thing, None)
            _write(line, verdict.left_out)
            return
        if thing not in self._last:
            self._clock.call_later(self._filter.until(thing) - now, partial(self._tell_last, thing))
        self._last[thing] = line

    def _tell_last(self, thing: Hashable) -> None:
        """Unless something of greater consequence was written since."""
        line = self._last.get(thing)
        if line is None:
            return
        now = self._clock.now()
        if (early := self._filter.until(thing) - now) > 0:
            self._clock.call_later(early, partial(self._tell_last, thing))
            return
        del self._last[thing]
        left_out = Counter(self._filter.judge(now, thing, cause=line.cause).left_out)
        left_out[line.cause] -= 1  # which is this one
        _write(line, +left_out)

    def __repr__(self) -> str:
        return f"<LogLines {self._filter!r}>"


def _write(line: Line, left_out: Mapping[str, int]) -> None:
    fields = line.fields
    if left_out:
        fields = {**fields, "left_out": sum(left_out.values())}
        if any(left_out):
            fields["left_out_of"] = dict(left_out)
    line.write(line.text, **fields)
