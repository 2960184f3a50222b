"""What each worker may hold at most is never less than what it acts on, and soon no more."""

from __future__ import annotations

from bufferproxy.rate.ledger import WRITE_OFF, Ledger
from bufferproxy.rate.records import Ask, Claim, Grant, Release, Report, Share, Terms, Unreadable
from bufferproxy.rate.shares import Part


def report(number: int, seen: int, *, floor: int = 0, in_flight: int = 0) -> Report:
    return Report("w", number, seen, {"auth": Ask(100, 1, in_flight, floor)})


def grant(rate: float, quoted: int = 1, *, number: int = 1) -> Grant:
    shares = {"w": Share(rate, 1, 2, quoted)} if rate else {}
    return Grant(number, {"auth": 5}, {"auth": Terms(100.0, shares)})


def rate(ledger: Ledger, now: float) -> float:
    return ledger.held("auth", now).get("w", Part()).rate


def test_a_decrease_counts_when_its_holder_has_read_it_and_not_before() -> None:
    ledger = Ledger(0.0)
    ledger.read(10, report(1, -1), 0.0)
    ledger.read(11, grant(80.0), 0.1)
    ledger.read(12, report(2, 11), 0.2)
    ledger.read(13, grant(30.0, number=2), 0.3)
    ledger.read(14, report(3, 12), 0.4)
    assert rate(ledger, 0.4) == 80.0
    ledger.read(15, report(4, 13), 0.5)
    assert rate(ledger, 0.5) == 30.0


def test_what_is_about_to_be_granted_counts_already_and_is_forgotten_when_it_never_comes() -> None:
    ledger = Ledger(0.0)
    ledger.read(10, report(1, -1), 0.0)
    ledger.promise(grant(80.0), 0.1)
    assert rate(ledger, 0.1) == 80.0
    for number in range(2, 30):
        ledger.read(10 + number, report(number, 9 + number), number * 0.1)
    assert rate(ledger, 0.0 + WRITE_OFF) == 80.0
    assert rate(ledger, 0.1 + WRITE_OFF) == 0.0


def test_behind_a_newer_claim_nothing_of_before_can_come_any_more() -> None:
    ledger = Ledger(0.0)
    ledger.read(10, report(1, -1), 0.0)
    ledger.promise(grant(80.0), 0.1)
    ledger.read(11, Claim("v", ("auth",)), 0.2)
    assert rate(ledger, 0.2) == 0.0


def test_a_claim_of_one_service_leaves_what_was_promised_of_others() -> None:
    ledger, share = Ledger(0.0), {"w": Share(80.0, 1, 2, 1)}
    ledger.read(10, report(1, -1), 0.0)
    both = {"auth": Terms(100.0, share), "mail": Terms(100.0, share)}
    ledger.promise(Grant(1, {"auth": 5, "mail": 5}, both), 0.1)
    ledger.read(11, Claim("v", ("mail",)), 0.2)
    assert rate(ledger, 0.2) == 80.0
    assert ledger.held("mail", 0.2) == {}


def test_what_a_leader_of_another_version_has_granted_is_past_when_no_share_lasts_so_long() -> None:
    ledger = Ledger(0.0)
    ledger.read(10, Unreadable("not JSON", may_lead=False), 50.0)
    assert ledger.whole_at == WRITE_OFF
    ledger.read(11, Unreadable("version 3"), 50.0)
    assert ledger.whole_at == 50.0 + WRITE_OFF


def test_a_promise_that_is_read_is_no_longer_promised_also_where_storing_has_rounded_it() -> None:
    ledger = Ledger(0.0)
    ledger.read(10, report(1, -1), 0.0)
    ledger.promise(grant(100 / 3), 0.1)
    ledger.read(11, grant(33.333333), 0.2)
    ledger.read(12, grant(10.0, number=2), 0.3)
    ledger.read(13, report(2, 12), 0.4)
    assert rate(ledger, 0.4) == 10.0


def test_what_was_given_up_is_free_also_where_a_grant_that_crossed_it_names_the_holder() -> None:
    ledger = Ledger(0.0)
    ledger.read(10, report(1, -1), 0.0)
    ledger.read(11, grant(80.0), 0.1)
    ledger.read(12, report(2, 11, floor=2, in_flight=1), 0.2)
    assert ledger.held("auth", 0.2) == {"w": Part(0.0, 0, 1)}
    ledger.read(13, grant(80.0, number=2), 0.3)
    assert rate(ledger, 0.3) == 0.0
    ledger.read(14, grant(80.0, quoted=2, number=3), 0.4)
    assert rate(ledger, 0.4) == 80.0


def test_a_silent_worker_is_written_off_and_one_that_releases_is_free_at_once() -> None:
    ledger = Ledger(0.0)
    ledger.read(10, report(1, -1), 0.0)
    ledger.read(11, grant(80.0), 1.0)
    assert rate(ledger, WRITE_OFF - 0.01) == 80.0
    assert rate(ledger, WRITE_OFF) == 0.0
    ledger.read(12, report(2, 11), 3.0)
    ledger.read(13, grant(80.0, quoted=2, number=2), 3.1)
    ledger.read(14, Release("w", {"auth": 2}), 3.2)
    ledger.read(15, grant(80.0, quoted=2, number=3), 3.3)
    assert ledger.held("auth", 3.3) == {"w": Part(0.0, 0, 2)}


def test_a_share_of_somebody_who_was_never_heard_counts_as_long_as_it_can_last() -> None:
    ledger = Ledger(0.0)
    ledger.read(11, grant(80.0), 1.0)
    assert rate(ledger, 1.0) == 80.0
    assert rate(ledger, 1.0 + WRITE_OFF) == 0.0


def test_who_does_not_lead_forgets_the_dead_too() -> None:
    ledger = Ledger(0.0)
    ledger.read(10, report(1, -1), 0.0)
    ledger.read(11, grant(80.0), 0.1)
    ledger.read(12, grant(0.0, number=2), 2 * WRITE_OFF)
    assert not ledger.workers(0.0), "asked as of then it forgets nobody else"


def test_a_grant_that_still_names_one_that_is_written_off_does_not_bring_it_back() -> None:
    ledger = Ledger(0.0)
    ledger.read(10, report(1, -1), 0.0)
    ledger.read(11, grant(80.0), 2.0)
    ledger.read(12, grant(80.0, number=2), WRITE_OFF + 0.1)
    assert rate(ledger, WRITE_OFF + 0.1) == 0.0


def test_of_one_that_reports_and_reads_nothing_only_what_may_count_is_kept() -> None:
    ledger, now = Ledger(0.0), 0.0
    for number in range(1, 100):
        now = number * 0.25
        ledger.read(10 + 2 * number, report(number, -1), now)
        ledger.read(11 + 2 * number, grant(80.0, number, number=number), now)
    assert len(ledger.workers(now)["w"].given["auth"]) == WRITE_OFF // 0.25 + 1
    assert rate(ledger, now) == 80.0
