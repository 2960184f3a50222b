from __future__ import annotations

from bufferproxy.demo.reports import Ending, How, Report, encode, report_of
from bufferproxy.demo.spike import Call, Fate
from bufferproxy.demo.tally import Tally


def answered(*ids: str, at: float = 5.0) -> Report:
    return Report([at] * len(ids), [Ending(at, 0.1, How.OK, id_) for id_ in ids], 1, 2, down=False)


def run() -> Tally:
    return Tally("through bufferproxy", 0.0, 90, buffered=True)


def test_an_accepted_request_is_served_when_the_service_has_answered_it() -> None:
    tally = run()
    tally.called(Call(1.0, 1.1, Fate.ACCEPTED, "a"))
    assert (tally.served, tally.waiting) == ([], 1)
    tally.heard(answered("a"))
    assert (tally.served, tally.waiting) == ([5.0], 0)


def test_the_service_may_answer_before_the_caller_has_its_202() -> None:
    tally = run()
    tally.heard(answered("a"))
    tally.called(Call(1.0, 5.2, Fate.ACCEPTED, "a"))
    assert (tally.served, tally.waiting) == ([5.0], 0)


def test_a_request_that_was_delivered_twice_was_served_once() -> None:
    tally = run()
    tally.called(Call(1.0, 1.1, Fate.ACCEPTED, "a"))
    tally.heard(answered("a"))
    tally.heard(answered("a", at=6.0))
    assert tally.served == [5.0]
    assert len(tally.arrived) == 2


def test_an_answer_to_somebody_else_serves_nobody() -> None:
    tally = run()
    tally.called(Call(1.0, 1.1, Fate.ACCEPTED, "a"))
    tally.heard(answered("b", ""))
    assert (tally.served, tally.waiting) == ([], 1)


def test_a_refusal_by_the_service_does_not_serve() -> None:
    tally = run()
    tally.called(Call(1.0, 1.1, Fate.ACCEPTED, "a"))
    tally.heard(Report([5.0], [Ending(5.0, 0.0, How.FULL, "a")], 0, 0, down=False))
    assert (tally.served, tally.waiting) == ([], 1)


def test_what_callers_of_the_bare_service_see_is_what_counts() -> None:
    tally = Tally("straight at the service", 0.0, 100, buffered=False)
    tally.called(Call(1.0, 1.2, Fate.SERVED))
    tally.called(Call(1.0, 3.0, Fate.TIMEOUT))
    tally.heard(answered("", ""))
    assert (tally.served, tally.failed) == ([1.2], [3.0])


def test_reports_come_through_the_pipe_as_they_were_sent() -> None:
    report = Report([1.5], [Ending(2.0, 0.5, How.UNHEARD, "x")], 3, 4, down=True)
    assert report_of(encode(report)) == report
