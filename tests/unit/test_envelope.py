from __future__ import annotations

import base64
import struct
import zlib

import pytest

from bufferproxy.envelope import accepted, change_of, copy_of, entry_of, origin_of, request_of
from bufferproxy.errors import EnvelopeError
from bufferproxy.ids import Identity, id_of, parse_id, service_number
from bufferproxy.records import Change, Entry, Partition, Position, Record, Request, State

NONCE = bytes(range(12))
HEAD = b"POST /a/../b?%2e HTTP/1.1\r\nHost: a\r\nX: 1\r\nx: 2\r\n"
AUTH = service_number("auth")
PLAIN = Request(
    id_of(Identity(AUTH, 0, 3, 77, 2, NONCE)),
    Position(Partition("bufferproxy.auth.requests", 3), 77),
    None,
    HEAD,
    b"\x00body\xff",
    1_700_000_000_123,
    2,
)


def stored(entry: Entry, partition: int = 3, offset: int = 77) -> Record:
    where = Partition("bufferproxy.auth.requests", partition)
    return Record(where, offset, entry.key, entry.value, entry.headers, 1.0)


def original() -> Entry:
    return accepted(
        key=None, head=HEAD, body=b"\x00body\xff", accepted_at=1_700_000_000_123, nonce=NONCE, results=2
    )


def without(entry: Entry, *names: str, **instead: bytes) -> Entry:
    kept = tuple((name, value) for name, value in entry.headers if name not in names)
    added = tuple(("bufferproxy-" + name.replace("_", "-"), value) for name, value in instead.items())
    return entry._replace(headers=kept + added)


def test_an_accepted_request_reads_as_it_was_sent() -> None:
    assert request_of(stored(original()), AUTH, 0) == PLAIN


def test_what_a_caller_asked_for_comes_along() -> None:
    entry = accepted(
        key=b"user-7",
        head=HEAD,
        body=b"",
        accepted_at=1,
        nonce=NONCE,
        results=0,
        waiting=True,
        idempotency_key=b'"k"',
        expires_at=99,
    )
    request = request_of(stored(entry), AUTH, 0)
    assert request.key == b"user-7"
    assert (request.waiting, request.idempotency_key, request.expires_at) == (True, b'"k"', 99)
    assert (request.attempts, request.sends, request.due_at) == (0, 0, None)


def test_a_copy_keeps_its_id_wherever_it_lies() -> None:
    request = PLAIN._replace(
        key=b"k", waiting=True, idempotency_key=b"i", expires_at=5, due_at=6, hop_at=7, attempts=3, sends=4
    )
    record = stored(copy_of(request, reason=b"attempts", died_at=b"12"), partition=0, offset=1)
    assert request_of(record, AUTH, 3) == request._replace(position=record.position)
    assert ("bufferproxy-reason", b"attempts") in record.headers
    assert ("bufferproxy-died-at", b"12") in record.headers


def test_a_parked_copy_says_where_it_was_made_from() -> None:
    place = b"bufferproxy.auth.requests/3/77"
    assert origin_of(stored(copy_of(PLAIN, **{"from": place}))) == ("bufferproxy.auth.requests", 77)
    assert origin_of(stored(copy_of(PLAIN, **{"from": b"nowhere"}))) is None
    assert origin_of(stored(original())) is None


def test_a_copy_of_a_plain_request_says_no_more_than_it_has_to() -> None:
    names = {name for name, _ in copy_of(PLAIN).headers}
    assert not names & {"bufferproxy-waiting", "bufferproxy-expires-at", "bufferproxy-due-at"}


def test_headers_of_others_and_of_later_versions_are_ignored() -> None:
    entry = original()
    entry = entry._replace(headers=(("traceparent", b"00-1"), *entry.headers, ("bufferproxy-later", b"?")))
    assert request_of(stored(entry), AUTH, 0) == PLAIN


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        (without(original(), "bufferproxy-version"), "version None"),
        (without(original(), "bufferproxy-version", version=b"2"), "version b'2'"),
        (without(original(), "bufferproxy-head"), "bufferproxy-head"),
        (without(original(), "bufferproxy-nonce"), "bufferproxy-nonce"),
        (without(original(), "bufferproxy-nonce", nonce=b"short"), "a nonce of 5 bytes"),
        (without(original(), "bufferproxy-results", results=b"x"), "invalid literal"),
        (without(original(), "bufferproxy-results", results=b"65536"), "error"),
        (without(original(), "bufferproxy-accepted-at", accepted_at=b""), "invalid literal"),
        (without(copy_of(PLAIN), "bufferproxy-id", id=b"\xff"), "UnicodeDecodeError"),
    ],
)
def test_a_record_that_cannot_be_understood_says_where_and_why(entry: Entry, complaint: str) -> None:
    with pytest.raises(EnvelopeError, match=r"requests.*77.*" + complaint):
        request_of(stored(entry), AUTH, 0)


@pytest.mark.parametrize(
    "change",
    [
        Change("a" * 48, State.DELIVERED, 5, 4, 1, 3, b"HTTP/1.1 200 OK\r\nA: \xe9\r\n", b"\x00\xff"),
        Change("a" * 48, State.RETRYING, 5, 4, 1, 3, error="503 é", next_attempt_at=9, expires_at=10),
        Change("a" * 48, State.EXPIRED, 5, 4, 0, 3, error="not sent in time"),
        Change("a" * 48, State.DELIVERED, 5, 4, 1, 3, b"HTTP/1.1 204 No Content\r\n", b""),
    ],
)
def test_what_became_of_a_request_reads_as_it_was_told(change: Change) -> None:
    assert change_of(stored(entry_of(change), partition=3)) == change


@pytest.mark.parametrize(
    "entry",
    [
        without(entry_of(Change("a", State.DEAD, 1, 1, 1, 0)), "bufferproxy-version"),
        without(entry_of(Change("a", State.DEAD, 1, 1, 1, 0)), "bufferproxy-state"),
        without(entry_of(Change("a", State.DEAD, 1, 1, 1, 0)), "bufferproxy-state", state=b"lost"),
        without(entry_of(Change("a", State.DEAD, 1, 1, 1, 0)), "bufferproxy-at", at=b"now"),
        entry_of(Change("a", State.DEAD, 1, 1, 1, 0))._replace(key=b"\xff"),
        without(entry_of(Change("a", State.DEAD, 1, 1, 1, 0)), error=b"\xff"),
    ],
)
def test_an_end_that_cannot_be_understood_is_an_error_of_the_envelope(entry: Entry) -> None:
    with pytest.raises(EnvelopeError):
        change_of(stored(entry))


def test_the_states_know_which_of_them_are_ends() -> None:
    assert [state.value for state in State if not state.ended] == ["queued", "delivering", "retrying"]


# --- the id


def test_the_id_is_the_base32_of_the_documented_bytes() -> None:
    raw = b"\x12" + AUTH.to_bytes(3, "big") + struct.pack(">HHIH", 3, 1, 5, 2) + NONCE
    text = base64.b32encode(raw + struct.pack(">I", zlib.crc32(raw))).decode().lower()
    assert id_of(Identity(AUTH, 2, 3, (1 << 32) + 5, 2, NONCE)) == text


def test_an_id_says_where_the_request_was_accepted() -> None:
    identity = Identity(AUTH, 2, 3, (1 << 32) + 5, 65535, NONCE)
    assert parse_id(id_of(identity)) == identity


def test_ids_of_one_partition_sort_by_acceptance() -> None:
    offsets = [0, 1, 31, 32, 255, 256, 1 << 20, 1 << 33, (1 << 48) - 1]
    ids = [id_of(Identity(AUTH, 0, 1, offset, 7, NONCE)) for offset in offsets]
    # a-z stand for 0-25 and 2-7 for 26-31, so the text sorts in another order: the index only needs that
    # neighbours are near.
    bytes_ = [base64.b32decode(text.upper())[:12] for text in ids]
    assert bytes_ == sorted(bytes_)


@pytest.mark.parametrize(
    "identity",
    [
        Identity(AUTH, 0, 65536, 0, 0, NONCE),
        Identity(AUTH, 0, 0, 1 << 48, 0, NONCE),
        Identity(AUTH, 0, 0, 0, 65536, NONCE),
    ],
)
def test_a_number_that_does_not_fit_into_an_id_is_refused(identity: Identity) -> None:
    with pytest.raises(struct.error):
        id_of(identity)


def _forged(raw: bytes) -> str:
    return base64.b32encode(raw + struct.pack(">I", zlib.crc32(raw))).decode().lower()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a" * 47,
        "a" * 48,
        PLAIN.id[:-1],
        PLAIN.id + "a",
        PLAIN.id.upper(),
        PLAIN.id[:-1] + "1",
        PLAIN.id[:-1] + "\n",
        PLAIN.id[:-1] + "é",
        "\u0131" + PLAIN.id[1:],  # a dotless i: its upper case is an ASCII I
        _forged(b"\x20" + bytes(25)),  # of a later version
        _forged(b"\x10" + bytes(20)),  # 41 characters and padding, with a good checksum
    ],
)
def test_what_id_of_cannot_have_made_is_no_id(text: str) -> None:
    assert parse_id(text) is None


def test_no_single_wrong_character_makes_another_id() -> None:
    for place in range(48):
        for other in "abcdefghijklmnopqrstuvwxyz234567":
            changed = PLAIN.id[:place] + other + PLAIN.id[place + 1 :]
            assert changed == PLAIN.id or parse_id(changed) is None


def test_a_padded_id_of_the_right_length_is_no_id() -> None:
    padded = _forged(b"\x10" + bytes(21))
    assert parse_id(padded + "=" * (48 - len(padded))) is None
