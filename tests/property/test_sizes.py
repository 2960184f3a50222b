"""Whatever is accepted fits each record that it may become."""

from __future__ import annotations

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from bufferproxy import envelope, sizes
from bufferproxy.accept.admission import Limits as Backlogged
from bufferproxy.accept.backlog import Backlog
from bufferproxy.accept.demand import Demand
from bufferproxy.accept.front import Front, KeySource, Terms
from bufferproxy.http1.framing import Head
from bufferproxy.http1.heads import HeadParser
from bufferproxy.http1.limits import Limits
from bufferproxy.http1.trust import TrustedProxies
from bufferproxy.ids import DELAYED
from bufferproxy.log.topics import ServiceTopics
from bufferproxy.records import Entry, Partition, Priority, Record, Request
from bufferproxy.settle.disposition import Answer, DeadLetter
from bufferproxy.settle.settler import parked, writes_of
from bufferproxy.settle.tiers import delayed

LIMITS = Limits(target_bytes=1500, header_bytes=20_000, header_count=4000)
ROOM = sizes.needed(target=1500, headers=20_000, count=4000)
NAMES = ServiceTopics.of("s" * 100, "p" * 100, priorities=True)
TERMS = Terms(99, 0.0, 30.0, 3600.0, 9, Backlogged(9, 9, 9.0), "key", KeySource("header", b"x-user"))
LATE = (1 << 63) - 1
"""Milliseconds: as many digits as a moment can have."""
ANSWER = Answer(599, b"h" * (80 << 10), b"b" * (1 << 20))
MARGIN = 64
"""What SQLite counts for each record beside its fields."""

SPECIAL = [
    b'Idempotency-Key: "%b"' % (rb"\"" * 255),
    b"Bufferproxy-Key: " + b"k" * sizes.KEY_BYTES,
    b"X-User:" + b"u" * sizes.KEY_BYTES,
    b"X-Forwarded-For: 1.2.3.4",
    b"X-Forwarded-Proto: https",
    b"x-forwarded-host: elsewhere",
    b"X-Forwarded-Prefix: /before",
    b"Via: 1.0 other",
    b"Transfer-Encoding:chunked",
    b"Connection:close",
    b"Prefer:respond-async",
]
PRIORITY = {0: Priority.NORMAL, 1: Priority.LOW}


def size(entry: Entry) -> int:
    fields = sum(len(name) + len(value) for name, value in entry.headers)
    return len(entry.key or b"") + len(entry.value) + fields + MARGIN


def head_of(host: bytes, target: int, special: list[bytes], shortest: int) -> bytes:
    """As large as the limits allow: many lines of no length, and one that fills up what is left."""
    lines = [b"Host: " + host, *special, *[b"a:"] * shortest]
    used = sum(len(line) + 2 for line in lines) + 2
    if used + 4 <= LIMITS.header_bytes:
        lines.append(b"b:" + b"x" * (LIMITS.header_bytes - used - 4))
    return b"\r\n".join([b"MKACTIVITY /%b HTTP/1.1" % (b"t" * (target - 1)), *lines, b"", b""])


def copies(request: Request) -> list[Entry]:
    """All that it may become, with the largest numbers there are."""
    worst = request._replace(
        due_at=LATE, expires_at=LATE, hop_at=LATE, attempts=LATE, sends=LATE, generation=LATE, results=65535,
        priority=Priority.LOW, waiting=True,
    )  # fmt: skip
    here = f"{NAMES.high}/65535/{LATE}".encode()
    return [
        delayed(worst, 0, NAMES.delayed)[1],
        parked(worst, 0, NAMES)[1][1],
        envelope.copy_of(worst, **{"from": here}),
    ]


@given(
    host=st.integers(1, 300),
    target=st.integers(1, LIMITS.target_bytes),
    special=st.lists(st.sampled_from(SPECIAL), unique=True),
    shortest=st.integers(0, 4000),
    client=st.sampled_from(["", "fe80:1234:1234:1234:1234:1234:1234:1234%eth0123456789", "1.2.3.4"]),
    strip=st.booleans(),
)
@example(host=300, target=1500, special=SPECIAL[:1] + SPECIAL[2:], shortest=3980, client="f" * 55, strip=True)
@example(host=300, target=1500, special=SPECIAL[:2], shortest=3980, client="f" * 55, strip=False)
def test_what_is_accepted_fits_each_copy_that_it_may_become(
    host: int, target: int, special: list[bytes], shortest: int, client: str, *, strip: bool
) -> None:
    head = HeadParser(LIMITS).parse(head_of(b"h" * host, target, special, shortest))
    assume(isinstance(head, Head))
    assert isinstance(head, Head)
    front = Front("s", NAMES, (Partition(NAMES.requests, 65535),), TERMS, Backlog(1.0, exact=True))
    rest = b"/" if strip else head.target  # all of it taken off, and told as X-Forwarded-Prefix
    demand = Demand(head, front, rest, b"bufferproxy-" + b"f" * 16, 60.0, TrustedProxies(["fe80::/16"]))
    assume(demand.at_end is None)
    entry = envelope.accepted(
        key=demand.key,
        head=demand.forwarded(client, "https", 10**19 if head.length is None else head.length),
        body=b"",
        accepted_at=LATE,
        nonce=bytes(12),
        results=65535,
        waiting=True,
        idempotency_key=demand.idempotency_key,
        expires_at=LATE,
        due_at=LATE,
        hop_at=LATE,
        priority=Priority.LOW,
    )
    assert size(entry) <= ROOM
    record = Record(Partition(NAMES.high, 65535), (1 << 48) - 1, *entry, 0.0)
    request = envelope.request_of(record, 1, DELAYED)
    for copy in copies(request):
        assert size(copy) <= ROOM
    fate = DeadLetter("interrupted", ANSWER, "e" * 100_000)
    for partition, written in writes_of(request._replace(generation=LATE, attempts=LATE), fate, LATE, NAMES):
        if partition.topic == NAMES.dead:
            assert size(written) <= ROOM + sizes.ANSWER
        elif partition.topic == NAMES.states:
            assert size(written) <= sizes.LEAST_HEADROOM
        else:
            assert size(written) <= len(ANSWER.body) + sizes.LEAST_HEADROOM
    silent = DeadLetter("timeout", None, "é" * 100_000)
    assert all(size(written) <= ROOM for _, written in writes_of(request, silent, LATE, NAMES))


@pytest.mark.parametrize("head", [0, 1, 64 << 10, sizes.ANSWER, sizes.ANSWER + 1])
def test_what_is_kept_of_an_answer_fits_whatever_it_was(head: int) -> None:
    kept, body = sizes.kept_of(b"h" * head, b"b" * (1 << 20), 64 << 10)
    assert len(kept or b"") + len(body) <= sizes.ANSWER
    assert (kept is None) == (head > sizes.ANSWER)
    assert len(body) == (0 if kept is None else min(64 << 10, sizes.ANSWER - head))
