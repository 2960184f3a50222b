from __future__ import annotations

import contextlib

from hypothesis import example, given
from hypothesis import strategies as st

from bufferproxy.envelope import (
    accepted,
    accepted_at_position,
    change_of,
    copy_of,
    entry_of,
    letter_of,
    request_of,
)
from bufferproxy.errors import EnvelopeError
from bufferproxy.ids import NONCE_TEXT, Identity, id_of, nonce_text, parse_id
from bufferproxy.records import Change, Partition, Position, Record, Request, State

NUMBERS = st.integers(0, 65535)
IDENTITIES = st.builds(
    Identity,
    st.integers(0, (1 << 24) - 1),
    st.integers(0, 15),
    NUMBERS,
    st.integers(0, (1 << 48) - 1),
    NUMBERS,
    st.binary(min_size=12, max_size=12),
)
MOMENTS = st.integers(0, 1 << 53)
MAYBE = st.none() | MOMENTS
KEYS = st.none() | st.binary(max_size=50)
REQUESTS = st.builds(
    Request,
    IDENTITIES.map(id_of),
    st.builds(Position, st.builds(Partition, st.just("t"), NUMBERS), st.integers(0, 1 << 40)),
    KEYS,
    st.binary(max_size=200),
    st.binary(max_size=200),
    MOMENTS,
    NUMBERS,
    st.booleans(),
    KEYS,
    MAYBE,
    MAYBE,
    MAYBE,
    st.integers(0, 1000),
    st.integers(0, 1000),
)
CHANGES = st.builds(
    Change,
    IDENTITIES.map(id_of),
    st.sampled_from(State),
    MOMENTS,
    MOMENTS,
    st.integers(0, 1000),
    NUMBERS,
    KEYS,
    st.binary(max_size=200),
    st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=50),
    MAYBE,
    MAYBE,
)


@given(IDENTITIES)
@example(Identity(0, 0, 0, 0, 0, bytes(12)))
@example(Identity((1 << 24) - 1, 15, 65535, (1 << 48) - 1, 65535, b"\xff" * 12))
def test_an_id_says_what_went_into_it(identity: Identity) -> None:
    text = id_of(identity)
    assert (len(text), parse_id(text)) == (48, identity)


@given(st.text(max_size=60) | st.text("abcdefghijklmnopqrstuvwxyz234567=", min_size=46, max_size=50))
def test_whatever_callers_send_as_an_id_raises_nothing(text: str) -> None:
    identity = parse_id(text)
    assert identity is None or id_of(identity) == text


@given(REQUESTS, st.integers(0, (1 << 24) - 1))
def test_a_copy_reads_as_the_request_it_was_made_of(request: Request, service: int) -> None:
    entry = copy_of(request)
    record = Record(request.position.partition, request.position.offset, *entry, 0.0)
    assert request_of(record, service, 3) == request


@given(REQUESTS, st.binary(min_size=12, max_size=12), st.integers(0, (1 << 24) - 1))
def test_an_original_reads_as_it_was_accepted(request: Request, nonce: bytes, service: int) -> None:
    entry = accepted(
        key=request.key,
        head=request.head,
        body=request.body,
        accepted_at=request.accepted_at,
        nonce=nonce,
        results=request.results,
        waiting=request.waiting,
        idempotency_key=request.idempotency_key,
        expires_at=request.expires_at,
        due_at=request.due_at,
        hop_at=request.hop_at,
        priority=request.priority,
    )
    (_, number), offset = request.position
    record = Record(request.position.partition, offset, *entry, 0.0)
    id_ = id_of(Identity(service, 0, number, offset, request.results, nonce))
    read = request_of(record, service, 0)
    assert read == request._replace(id=id_, attempts=0, sends=0, generation=0)
    assert accepted_at_position(read, 0)
    assert not accepted_at_position(read, 3)
    assert not accepted_at_position(read._replace(position=Position(Partition("t", number), offset + 1)), 0)


@given(CHANGES)
def test_a_change_reads_as_it_was_told(change: Change) -> None:
    record = Record(Partition("t", change.results), 5, *entry_of(change), 0.0)
    assert change_of(record) == change


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                [
                    name
                    for name, _ in copy_of(
                        Request("", Position(Partition("t", 0), 0), None, b"", b"", 0, 0)
                    ).headers
                ]
            )
            | st.just("bufferproxy-nonce")
            | st.just("bufferproxy-state")
            | st.just("bufferproxy-marker")
            | st.just("bufferproxy-died-at")
            | st.just("bufferproxy-reason")
            | st.text(max_size=5),
            st.sampled_from([b"1", b"", b"\xff", b"delivered", b"-1", b"9" * 30]) | st.binary(max_size=14),
        ),
        max_size=14,
    ),
    KEYS,
)
def test_any_record_is_either_read_or_an_error_of_the_envelope(
    headers: list[tuple[str, bytes]], key: bytes | None
) -> None:
    record = Record(Partition("t", 0), 5, key, b"", tuple(headers), 0.0)
    for read in (lambda: request_of(record, 0, 0), lambda: change_of(record), lambda: letter_of(record)):
        with contextlib.suppress(EnvelopeError):
            read()


@given(IDENTITIES)
def test_a_part_of_an_id_follows_from_its_nonce_alone(identity: Identity) -> None:
    assert id_of(identity).encode()[NONCE_TEXT] == nonce_text(identity.nonce)
