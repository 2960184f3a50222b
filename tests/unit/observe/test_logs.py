from __future__ import annotations

import io
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from bufferproxy.observe import logs
from bufferproxy.observe.events import (
    AddressTurned,
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
    Unsettled,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.observe.conftest import HandClock


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield io.StringIO()
    root.handlers = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def telling(stream: io.StringIO, clock: HandClock) -> Events:
    logs.configure(stream)
    events = Events()
    logs.LogLines(clock).subscribe(events)
    return events


def test_a_line_is_one_json_object_where_there_is_no_terminal(stream: io.StringIO) -> None:
    logs.configure(stream)
    structlog.get_logger("bufferproxy.test").warning("it\nhappened", service="auth")
    (line,) = lines(stream)
    assert line["event"] == "it\nhappened"
    assert (line["level"], line["logger"], line["service"]) == ("warning", "bufferproxy.test", "auth")
    assert line["timestamp"].endswith("Z")


def test_people_get_no_json(stream: io.StringIO) -> None:
    logs.configure(stream, as_json=False)
    structlog.get_logger().info("hello", service="auth")
    assert "hello" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


def test_warnings_of_libraries_come_in_the_same_form_and_their_chatter_not_at_all(
    stream: io.StringIO,
) -> None:
    logs.configure(stream)
    logging.getLogger("kafka.client").info("chatter")
    logging.getLogger("kafka.client").warning("broker %d is gone", 3)
    (line,) = lines(stream)
    assert (line["event"], line["logger"]) == ("broker 3 is gone", "kafka.client")


def test_an_exception_stays_within_its_line(stream: io.StringIO) -> None:
    logs.configure(stream)
    try:
        raise RuntimeError("boom")
    except RuntimeError:
        structlog.get_logger().exception("failed")
    (line,) = lines(stream)
    assert "RuntimeError: boom" in line["exception"]


def test_a_traceback_for_people_does_not_show_local_variables(stream: io.StringIO) -> None:
    logs.configure(stream, as_json=False)
    password = "hunter" + "2"
    try:
        raise RuntimeError(f"boom, {len(password)} long")
    except RuntimeError:
        structlog.get_logger().exception("failed")
    assert "RuntimeError: boom" in stream.getvalue()
    assert "hunter2" not in stream.getvalue()


def test_an_unknown_level_is_refused(stream: io.StringIO) -> None:
    with pytest.raises(ValueError, match="'loud' is not a log level"):
        logs.configure(stream, level="loud")


def test_each_event_worth_a_line_writes_one(stream: io.StringIO, clock: HandClock) -> None:
    events = telling(stream, clock)
    for event in (
        Rested("auth", "connect", 1.0, "connection refused"),
        AddressTurned("auth", "10.0.0.7 port 80", False, "Connection refused"),
        AddressTurned("auth", "10.0.0.7 port 80", True, ""),
        LookUpFailed("auth", "auth.example", "try again", kept=True),
        LookUpFailed("auth", "auth.example", "unknown", kept=False),
        DeadLettered("auth", "attempts"),
        LeasesChanged("auth", 4),
        Quarantined("auth", "version b'9'"),
        Unsettled("auth", "a.delayed takes 5"),
        LogOperated("append", 0.5, "AppendUncertain"),
        LoopLagged(0.5),
        Reloaded(True, "bufferproxy.yaml"),
        Reloaded(False, "bufferproxy.yaml:3:5: rate: no unit"),
        HealthChanged("log", False, "no answer"),
        HealthChanged("log", True, ""),
    ):
        events.emit(event)
    assert [(line["level"], line["event"]) for line in lines(stream)] == [
        ("warning", "service rests"),
        ("warning", "address left out: no connection"),
        ("info", "address takes turns again"),
        ("warning", "host not resolved, its last addresses stay in use"),
        ("warning", "host has no address"),
        ("warning", "request is dead"),
        ("info", "partitions changed"),
        ("error", "record not understood"),
        ("error", "request cannot be settled until its topic takes more (max.message.bytes)"),
        ("error", "log operation failed"),
        ("warning", "event loop was late"),
        ("info", "settings reloaded"),
        ("error", "settings not reloaded, the old ones stay"),
        ("error", "health changed"),
        ("info", "health changed"),
    ]


def test_what_works_writes_nothing(stream: io.StringIO, clock: HandClock) -> None:
    events = telling(stream, clock)
    events.emit(LogOperated("append", 0.5))
    events.emit(LoopLagged(0.01))
    assert lines(stream) == []


def test_repeated_lines_are_left_out_and_counted(stream: io.StringIO, clock: HandClock) -> None:
    events = telling(stream, clock)
    for _ in range(100):
        events.emit(DeadLettered("auth", "attempts"))
    events.emit(DeadLettered("auth", "crash"))
    events.emit(DeadLettered("mail", "attempts"))
    clock.time += logs.REPEAT
    events.emit(DeadLettered("auth", "attempts"))
    told = [(line["service"], line["reason"], line.get("left_out")) for line in lines(stream)]
    assert told == [
        ("auth", "attempts", None),
        ("auth", "crash", None),
        ("mail", "attempts", None),
        ("auth", "attempts", 99),
    ]
