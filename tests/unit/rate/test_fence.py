"""Whose grants count is known for each service by itself, and by all who read the log."""

from __future__ import annotations

from bufferproxy.rate.fence import SILENCE, Fence
from bufferproxy.rate.records import Claim, Grant, Release, Terms, Unreadable

AUTH, MAIL = Terms(10.0, {}), Terms(20.0, {})


def test_a_grant_of_an_epoch_before_the_newest_claim_does_not_count() -> None:
    fence = Fence(0.0)
    fence.counting(5, Claim("a", ("auth",)), 1.0)
    assert fence.counting(6, Grant(1, {"auth": 5}, {}), 2.0)
    fence.counting(7, Claim("b", ("auth",)), 3.0)
    assert fence.counting(8, Grant(2, {"auth": 5}, {}), 4.0) is None
    assert fence.of("auth").heard_at == 3.0
    assert fence.counting(9, Grant(1, {"auth": 7}, {}), 5.0)


def test_a_claim_takes_the_services_that_it_names_and_no_other() -> None:
    fence = Fence(0.0)
    fence.counting(5, Claim("a", ("auth", "mail")), 1.0)
    fence.counting(6, Claim("b", ("mail",)), 2.0)
    late = Grant(1, {"auth": 5, "mail": 5}, {"auth": AUTH, "mail": MAIL})
    assert fence.counting(7, late, 3.0) == Grant(1, {"auth": 5}, {"auth": AUTH})
    assert (fence.of("auth").leader, fence.of("mail").leader) == ("a", "b")
    assert (fence.of("auth").heard_at, fence.of("mail").heard_at) == (3.0, 2.0)


def test_behind_what_cannot_be_read_nobody_leads_anything_until_somebody_claims_it() -> None:
    fence = Fence(0.0)
    fence.counting(5, Claim("a", ("auth",)), 1.0)
    fence.counting(6, Unreadable("version 3"), 2.0)
    assert fence.of("auth").leader == ""
    assert fence.counting(7, Grant(1, {"auth": 5, "mail": 5}, {"auth": AUTH, "mail": MAIL}), 3.0) is None
    fence.counting(8, Claim("b", ("auth",)), 4.0)
    assert fence.of("auth").leader == "b"


def test_what_a_leader_leaves_is_there_to_be_claimed_at_once() -> None:
    fence = Fence(0.0)
    fence.counting(5, Claim("a", ("auth",)), 1.0)
    fence.counting(6, Claim("b", ("mail",)), 1.0)
    fence.counting(7, Release("a", {}), 2.0)
    assert fence.of("auth")[:3] == (5, "", 2.0 - SILENCE)
    assert fence.of("mail").leader == "b"


def test_what_no_leader_of_any_version_can_have_said_changes_nothing() -> None:
    fence = Fence(0.0)
    fence.counting(5, Claim("a", ("auth",)), 1.0)
    fence.counting(6, Unreadable("no JSON", may_lead=False), 2.0)
    assert fence.counting(7, Grant(1, {"auth": 5}, {}), 3.0)
    assert fence.of("auth").leader == "a"
