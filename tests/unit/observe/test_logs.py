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
from bufferproxy.observe.line_filter import MOST_CAUSES, REPEAT

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
    clock.time += REPEAT
    events.emit(DeadLettered("auth", "attempts"))
    told = [(line["service"], line["reason"], line.get("left_out")) for line in lines(stream)]
    assert told == [
        ("auth", "attempts", None),
        ("auth", "crash", None),
        ("mail", "attempts", None),
        ("auth", "attempts", 99),
    ]


def test_a_longer_rest_is_told_and_a_shorter_one_is_not(stream: io.StringIO, clock: HandClock) -> None:
    events = telling(stream, clock)
    for seconds in (1.0, 0.5, 60.0, 30.0, 59.9, 61.0):
        events.emit(Rested("auth", "retry_after", seconds, "503 with Retry-After"))
    told = [(line["seconds"], line.get("left_out")) for line in lines(stream)]
    assert told == [(1.0, None), (60.0, 1), (61.0, 2)]


def test_a_new_cause_is_told_and_numbers_make_none(stream: io.StringIO, clock: HandClock) -> None:
    events = telling(stream, clock)
    for detail in ("10.0.0.1 refused", "10.0.0.2 refused", "timed out", "10.0.0.1 refused", "wrong name"):
        events.emit(Rested("auth", "connect", 1.0, detail))
    told = [(line["detail"], line.get("left_out_of")) for line in lines(stream)]
    assert told == [
        ("10.0.0.1 refused", None),
        ("timed out", {"#.# refused": 1}),
        ("wrong name", {"#.# refused": 1}),
    ]


def test_a_text_that_differs_each_time_is_no_new_cause_for_ever(
    stream: io.StringIO, clock: HandClock
) -> None:
    events = telling(stream, clock)
    for n in range(1000):
        events.emit(Quarantined("auth", "x" * n))
    assert len(lines(stream)) == MOST_CAUSES


def test_a_later_loop_and_a_slower_failure_are_told(stream: io.StringIO, clock: HandClock) -> None:
    events = telling(stream, clock)
    for seconds in (0.3, 5.0, 4.9):
        events.emit(LoopLagged(seconds))
    for seconds in (0.1, 30.0, 29.0):
        events.emit(LogOperated("append", seconds, "AppendUncertain"))
    assert [line["seconds"] for line in lines(stream)] == [0.3, 5.0, 0.1, 30.0]


def test_what_was_left_out_last_is_told_in_the_end_with_how_many_of_what(
    stream: io.StringIO, clock: HandClock
) -> None:
    """However it goes to and fro, the last line says how it stands."""
    events = telling(stream, clock)
    for _ in range(3):
        events.emit(HealthChanged("log", False, "no answer for 5 s"))
        events.emit(HealthChanged("log", True, ""))
    events.emit(HealthChanged("log", False, "no answer for 7 s"))
    assert [line["ok"] for line in lines(stream)] == [False, True]
    clock.ring(REPEAT)
    assert lines(stream)[2:] == [
        {
            **lines(stream)[0],
            "timestamp": lines(stream)[2]["timestamp"],
            "detail": "no answer for 7 s",
            "left_out": 4,
            "left_out_of": {"ok=False no answer for # s": 2, "ok=True": 2},
        }
    ]
    clock.ring(5 * REPEAT)
    assert len(lines(stream)) == 3


def test_partitions_that_come_and_go_are_told_as_they_are_in_the_end(
    stream: io.StringIO, clock: HandClock
) -> None:
    events = telling(stream, clock)
    for held in (4, 0, 4, 0, 4):
        events.emit(LeasesChanged("auth", held))
    clock.ring(REPEAT)
    assert [(line["held"], line.get("left_out")) for line in lines(stream)] == [(4, None), (0, None), (4, 2)]
