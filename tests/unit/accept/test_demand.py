from __future__ import annotations

import pytest

from bufferproxy.accept.admission import Limits
from bufferproxy.accept.backlog import Backlog
from bufferproxy.accept.demand import LOOP, Demand
from bufferproxy.accept.front import Front, KeySource, Terms
from bufferproxy.accept.preferences import Mode
from bufferproxy.http1.forwarding import end_to_end
from bufferproxy.http1.framing import Head
from bufferproxy.http1.problems import Problem
from bufferproxy.http1.trust import TrustedProxies
from bufferproxy.log.topics import ServiceTopics
from bufferproxy.records import Partition

NAMES = ServiceTopics.of("auth")
TERMS = Terms(1 << 20, 0.0, 30.0, 3600.0, 2000, Limits(10, 10, 10.0), "none", None)
ME = b"bufferproxy-00ff"
HOST = (b"Host", b"a")

Fields = list[tuple[bytes, bytes]]


def head(fields: Fields, method: bytes = b"POST", length: int | None = 3, version: bytes = b"1.1") -> Head:
    line = (method, b"/in/x?q", version)
    names = {name.lower(): value for name, value in reversed([HOST, *fields])}
    return Head(line, [HOST, *fields], names, b"a", length, keep=True, expects=False)


def demand(of: Head, **terms: object) -> Demand:
    front = Front(
        "auth", NAMES, (Partition(NAMES.requests, 0),), TERMS._replace(**terms), Backlog(1.0, exact=True)
    )  # type: ignore[arg-type]
    return Demand(of, front, b"/x?q", ME, 60.0)


@pytest.mark.parametrize(
    "fields",
    [
        [(b"Content-Length", b"3"), (b"X", b"%b %s {}")],
        [(b"Transfer-Encoding", b"chunked")],
        [(b"X-Forwarded-Proto", b"https"), (b"X-Forwarded-For", b"10.0.0.9"), (b"Z", b"1")],
        [(b"x-forwarded-for", b""), (b"Via", b"1.0 other"), (b"x-forwarded-prefix", b"/edge")],
        [(b"Connection", b"X-Hop, close"), (b"X-Hop", b"1"), (b"Prefer", b"wait=3")],
    ],
)
def test_a_request_goes_on_as_if_nothing_of_it_were_known(fields: Fields) -> None:
    length = None if fields[0][0] == b"Transfer-Encoding" else 3
    one = demand(head(fields, length=length, version=b"1.0"))
    for client in ("192.0.2.1", "", "127.0.0.1", "2001:db8::1", "::1", "192.0.2.1"):
        for scheme in ("http", "https", "http"):
            for size in (3, 3) if length else (3, 12_345):
                assert one.forwarded(client, scheme, size) == end_to_end(
                    b"POST", b"/x?q", [HOST, *fields],
                    body_length=size, client=client, scheme=scheme, via=ME, version=b"1.0",
                    trusted=client in ("127.0.0.1", "::1"), prefix=b"/in",
                )  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "method", "mode"),
    [
        ([], b"POST", Mode(5.0, strict=False, applied=None)),
        ([], b"GET", Mode(30.0, strict=True, applied=None)),
        ([(b"prefer", b"wait=7")], b"GET", Mode(7.0, strict=False, applied=b"wait=7")),
        ([(b"Prefer", b"wait=99")], b"POST", Mode(60.0, strict=False, applied=b"wait=60")),
    ],
)
def test_how_the_caller_is_answered(fields: Fields, method: bytes, mode: Mode) -> None:
    one = demand(head(fields, method), reply=5.0)
    assert (one.at_head, one.at_end, one.mode) == (None, None, mode)
    assert one.unheld == mode._replace(hold=0.0)


@pytest.mark.parametrize(
    ("fields", "method", "slug"),
    [([(b"Prefer", b"wait=soon")], b"POST", "bad-preference"), ([], b"OPTIONS", "method-not-allowed")],
)
def test_what_cannot_be_done_as_asked_is_known_from_the_head(
    fields: Fields, method: bytes, slug: str
) -> None:
    one = demand(head(fields, method), safe=None)
    assert one.at_head is None
    assert isinstance(one.at_end, Problem)
    assert one.at_end.slug == slug


def test_headers_that_are_malformed_are_known_from_the_head() -> None:
    one = demand(head([(b"traceparent", b"bad")]))
    assert isinstance(one.at_end, Problem)
    assert one.at_end.slug == "bad-request"
    one = demand(head([(b"Idempotency-Key", b""), (b"Prefer", b"wait=soon")]))
    assert isinstance(one.at_end, Problem)
    assert one.at_end.slug == "bad-preference"


def test_what_has_been_here_before_is_refused_by_its_head() -> None:
    assert demand(head([(b"Via", b"1.1 " + ME)])).at_head == LOOP


def test_who_waits_strictly_has_nothing_sent_when_the_time_is_over() -> None:
    assert demand(head([], b"GET")).lives == 30_000
    assert demand(head([], b"GET"), expire=2.0).lives == 2_000
    assert demand(head([], b"POST")).lives == 3_600_000


@pytest.mark.parametrize(
    ("order", "source", "fields", "key"),
    [
        ("none", KeySource("client"), [(b"Bufferproxy-Key", b"k")], None),
        ("key", KeySource("client"), [(b"Bufferproxy-Key", b"k")], b"k"),
        ("key", KeySource("client"), [], b"192.0.2.1"),
        ("key", KeySource("header", b"x-user"), [(b"X-User", b"7")], b"7"),
        ("key", KeySource("header", b"x-user"), [], None),
        ("strict", None, [], None),
    ],
)
def test_the_key_is_that_of_the_head_or_of_its_sender(
    order: str, source: KeySource | None, fields: Fields, key: bytes | None
) -> None:
    one = demand(head(fields), order=order, key=source)
    assert one.key_of("192.0.2.1") == key
    assert one.key_of("") == (None if one.keyed_by_client else key)


@pytest.mark.parametrize(
    ("source", "place"),
    [
        (KeySource("header", b"x-user"), "the header x-user"),
        (KeySource("path", b"1"), "segment 1 of the path"),
        (KeySource("query", b"user"), "the query parameter user"),
    ],
)
def test_a_key_that_is_too_long_is_refused_wherever_it_was_taken_from(source: KeySource, place: str) -> None:
    long = b"k" * 1025
    target = b"/%b?user=%b" % (long, long) if source.kind != "header" else b"/"
    of = head([(b"X-User", long)])
    front = Front(
        "auth", NAMES, (Partition(NAMES.requests, 0),),
        TERMS._replace(order="key", key=source), Backlog(1.0, exact=True),
    )  # fmt: skip
    problem = Demand(of, front, target, ME, 60.0).at_end
    assert isinstance(problem, Problem)
    assert problem.slug == "bad-request"
    assert problem.detail == f"{place} has 1025 bytes: an ordering key has at most 1024"
    assert Demand(of, front, target.replace(b"kk", b""), ME, 60.0).at_end is None or source.kind == "header"


def test_a_header_that_is_no_key_may_be_longer() -> None:
    assert demand(head([(b"X-User", b"k" * 1025)]), key=KeySource("header", b"x-user")).at_end is None
    assert KeySource("client").place == "the address of the client"


@pytest.mark.parametrize(
    ("peer", "told", "key"),
    [
        ("192.0.2.1", b"198.51.100.7", b"192.0.2.1"),
        ("10.2.0.9", b"198.51.100.7, 203.0.113.5, 10.2.0.1", b"203.0.113.5"),
        ("10.2.0.9", b"198.51.100.7, 10.2.0.1,", b"198.51.100.7"),
    ],
)
def test_the_key_of_a_client_is_the_address_that_no_trusted_proxy_has(
    peer: str, told: bytes, key: bytes
) -> None:
    of = head([(b"X-Forwarded-For", told)])
    front = Front(
        "auth", NAMES, (Partition(NAMES.requests, 0),),
        TERMS._replace(order="key", key=KeySource("client")), Backlog(1.0, exact=True),
    )  # fmt: skip
    one = Demand(of, front, b"/x?q", ME, 60.0, TrustedProxies(["10.2.0.0/16"]))
    assert one.key_of(peer) == key


def test_the_idempotency_key_is_found_and_it_says_what_it_is() -> None:
    one = demand(head([(b"idempotency-key", b'"k"')]))
    assert one.idempotency_key == b'"k"'
    assert repr(one).startswith("<Demand auth b'/x?q' Mode(")
