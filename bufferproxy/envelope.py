"""Request <-> Entry: the only encoder and decoder of what is stored.

The format is fixed in `docs/decisions/0001-stored-format.md`. A record's value is the request body (for a
result: the reply body), untouched; everything else is in record headers named below. Readers accept
VERSION and the one before; anything else is an EnvelopeError, and its reader quarantines the record.
"""

from __future__ import annotations

import base64
import re
import struct
import zlib
from functools import lru_cache
from typing import NamedTuple

from bufferproxy.errors import EnvelopeError
from bufferproxy.records import (
    Change,
    Entry,
    Headers,
    Letter,
    Mark,
    Position,
    Priority,
    Record,
    Request,
    State,
)

VERSION = b"1"
READABLE = frozenset({b"1"})

_VERSION = ("bufferproxy-version", VERSION)
_WAITING = ("bufferproxy-waiting", b"1")
_STATES = {state: ("bufferproxy-state", state.encode()) for state in State}
_PRIORITIES = {
    priority: ("bufferproxy-priority", priority.name.lower().encode())
    for priority in (Priority.HIGH, Priority.LOW)
}
_PRIORITY_OF = {value: priority for priority, (_, value) in _PRIORITIES.items()}

# --- the id ---------------------------------------------------------------------------------------------

REQUESTS, HIGH, LOW, DELAYED = range(4)
"""Which topic of the service accepted the request: the first three have the numbers of their priorities."""

_ID = struct.Struct(">IHHIH12s")  # version|topic|service, partition, offset (high, low), results, nonce
_ID_FRONT = struct.Struct(">IHH")  # the first part of it, the same for all of a partition
_ID_REST = struct.Struct(">IH12s")
_ID_VERSION = 1
_CRC = struct.Struct(">I")
_ID_TEXT = re.compile("[a-z2-7]{48}")
NONCE_LENGTH = 12

_ALPHABET = b"abcdefghijklmnopqrstuvwxyz234567"
_TO_TEXT = _ALPHABET + bytes(256 - len(_ALPHABET))
_FRONT_LENGTH = 12
_REST_LENGTH = 36


class Identity(NamedTuple):
    """What an id says: where the request was accepted (not where it lies now) and where its end will be."""

    service: int
    topic: int
    partition: int
    offset: int
    results: int
    nonce: bytes


def service_number(name: str) -> int:
    """24 bits that stand for a service in ids: the CRC-32 of its name, without the lowest byte."""
    return zlib.crc32(name.encode()) >> 8


def id_of(identity: Identity) -> str:
    """48 characters of lower-case base32 over 26 bytes and their CRC-32. Raises struct.error for a number
    that does not fit."""
    service, topic, partition, offset, results, nonce = identity
    return id_at(service, topic, partition, offset, results, nonce)


def id_at(service: int, topic: int, partition: int, offset: int, results: int, nonce: bytes) -> str:
    """`id_of` for who has no Identity at hand: it is made for each request, twice."""
    begin, nibble, crc = _front(service, topic, partition, offset >> 32)
    rest = _ID_REST.pack(offset & 0xFFFFFFFF, results, nonce)
    bits = nibble | int.from_bytes(rest, "big") << 32 | zlib.crc32(rest, crc)
    # base64.b32encode takes longer than all the rest of an acceptance. Here five bits after five come to a
    # byte of their own in six steps, each of which moves half of them. Written out, for a loop costs more.
    bits += (bits & _MASK_32) * _BY_32
    bits += (bits & _MASK_16) * _BY_16
    bits += (bits & _MASK_8) * _BY_8
    bits += (bits & _MASK_4) * _BY_4
    bits += (bits & _MASK_2) * _BY_2
    bits += (bits & _MASK_1) * _BY_1
    return begin + bits.to_bytes(_REST_LENGTH, "big").translate(_TO_TEXT).decode("ascii")


@lru_cache(maxsize=1024)
def _front(service: int, topic: int, partition: int, high: int) -> tuple[str, int, int]:
    """What all ids of a partition have in common: 12 characters, the 4 bits behind them, the CRC so far."""
    raw = _ID_FRONT.pack((_ID_VERSION << 4 | topic) << 24 | service, partition, high)
    text = base64.b32encode(raw)[:_FRONT_LENGTH].lower().decode("ascii")
    return text, (raw[-1] & 15) << 176, zlib.crc32(raw)


def _spread(step: int) -> tuple[int, int]:
    """Which bits move in the step of so many groups of five, and what times them is added to move them: a
    group whose number has the bit `step` is still `step` times 3 bits too low."""
    mask = 0
    for number in range(_REST_LENGTH):
        if number & step:
            higher = number & ~(2 * step - 1)  # by these it has been moved before
            mask |= 31 << (5 * number + 3 * higher)
    return mask, (1 << 3 * step) - 1


(_MASK_32, _BY_32), (_MASK_16, _BY_16), (_MASK_8, _BY_8) = _spread(32), _spread(16), _spread(8)
(_MASK_4, _BY_4), (_MASK_2, _BY_2), (_MASK_1, _BY_1) = _spread(4), _spread(2), _spread(1)


def parse_id(text: str) -> Identity | None:
    """The reverse of `id_of`; None for anything that it cannot have made."""
    if not _ID_TEXT.fullmatch(text):
        return None
    packed = base64.b32decode(text.upper())
    raw, check = packed[:-4], packed[-4:]
    if _CRC.pack(zlib.crc32(raw)) != check or raw[0] >> 4 != _ID_VERSION:
        return None
    first, partition, high, low, results, nonce = _ID.unpack(raw)
    return Identity(first & 0xFFFFFF, first >> 24 & 15, partition, high << 32 | low, results, nonce)


# --- requests -------------------------------------------------------------------------------------------


def accepted(
    *,
    key: bytes | None,
    head: bytes,
    body: bytes,
    accepted_at: int,
    nonce: bytes,
    results: int,
    waiting: bool = False,
    idempotency_key: bytes | None = None,
    expires_at: int | None = None,
    due_at: int | None = None,
    hop_at: int | None = None,
    priority: Priority = Priority.NORMAL,
) -> Entry:
    """The entry of a request that was just received. Its id follows from where it will lie."""
    headers: Headers = (
        _VERSION,
        ("bufferproxy-nonce", nonce),
        ("bufferproxy-accepted-at", b"%d" % accepted_at),
        _results(results),
        ("bufferproxy-head", head),
    )
    if waiting:
        headers += (_WAITING,)
    if idempotency_key is not None:
        headers += (("bufferproxy-idempotency-key", idempotency_key),)
    if expires_at is not None:
        headers += (("bufferproxy-expires-at", b"%d" % expires_at),)
    if due_at is not None:
        headers += (("bufferproxy-due-at", b"%d" % due_at),)
    if hop_at is not None:
        headers += (("bufferproxy-hop-at", b"%d" % hop_at),)
    if priority:
        headers += (_PRIORITIES[priority],)
    return Entry(key, body, headers)


@lru_cache(maxsize=256)
def _results(number: int) -> tuple[str, bytes]:
    return "bufferproxy-results", b"%d" % number


def copy_of(request: Request, **extra: bytes) -> Entry:
    """A later copy (delayed, parked, dead, redriven): it carries its id, which wins over its position.

    `extra` adds record headers: `reason=b"..."` becomes `bufferproxy-reason`.
    """
    fields: list[tuple[str, bytes]] = [
        _VERSION,
        ("bufferproxy-id", request.id.encode()),
        ("bufferproxy-accepted-at", b"%d" % request.accepted_at),
        ("bufferproxy-results", b"%d" % request.results),
        ("bufferproxy-head", request.head),
        ("bufferproxy-attempts", b"%d" % request.attempts),
        ("bufferproxy-sends", b"%d" % request.sends),
    ]
    if request.generation:
        fields.append(("bufferproxy-generation", b"%d" % request.generation))
    if request.waiting:
        fields.append(_WAITING)
    if request.idempotency_key is not None:
        fields.append(("bufferproxy-idempotency-key", request.idempotency_key))
    for name in ("expires_at", "due_at", "hop_at"):
        moment = getattr(request, name)
        if moment is not None:
            fields.append((_header(name), b"%d" % moment))
    if request.priority:
        fields.append(_PRIORITIES[request.priority])
    fields.extend((_header(name), value) for name, value in extra.items())
    return Entry(request.key, request.body, tuple(fields))


def request_of(record: Record, service: int, topic: int) -> Request:
    """The request in a record of topic `topic` of service number `service`. Raises EnvelopeError."""
    partition, offset, key, value, headers, _ = record
    fields = dict(headers)
    get = fields.get
    version = get("bufferproxy-version")
    if version not in READABLE:
        raise EnvelopeError(f"{record.position}: version {version!r} is not one of {sorted(READABLE)}")
    try:
        results = int(fields["bufferproxy-results"])
        copied, expires_at = get("bufferproxy-id"), get("bufferproxy-expires-at")
        due_at, hop_at = get("bufferproxy-due-at"), get("bufferproxy-hop-at")
        if copied is not None:
            id_ = copied.decode("ascii")
        else:
            nonce = fields["bufferproxy-nonce"]
            if len(nonce) != NONCE_LENGTH:
                raise ValueError(f"a nonce of {len(nonce)} bytes")
            id_ = id_of(Identity(service, topic, partition.number, offset, results, nonce))
        return Request(
            id_,
            Position(partition, offset),
            key,
            fields["bufferproxy-head"],
            value,
            int(fields["bufferproxy-accepted-at"]),
            results,
            "bufferproxy-waiting" in fields,
            get("bufferproxy-idempotency-key"),
            None if expires_at is None else int(expires_at),
            None if due_at is None else int(due_at),
            None if hop_at is None else int(hop_at),
            0 if copied is None else int(get("bufferproxy-attempts", 0)),  # only a copy was ever sent
            0 if copied is None else int(get("bufferproxy-sends", 0)),
            0 if copied is None else int(get("bufferproxy-generation", 0)),
            _PRIORITY_OF.get(get("bufferproxy-priority", b""), Priority.NORMAL),
        )
    except (KeyError, ValueError, struct.error) as error:
        raise EnvelopeError(f"{record.position}: {type(error).__name__}: {error}") from error


def origin_of(record: Record) -> tuple[str, int] | None:
    """Topic and offset that a parked copy was made from, None for anything else."""
    for name, value in record.headers:
        if name == "bufferproxy-from":
            topic, _, offset = value.rpartition(b"/")
            return (topic.rpartition(b"/")[0].decode(), int(offset)) if offset.isdigit() else None
    return None


def accepted_at_position(request: Request, topic: int) -> bool:
    """`request`, read from topic `topic`, was accepted there. False for what is read from a copy."""
    identity, ((_, number), offset) = parse_id(request.id), request.position
    return identity is not None and identity[1:4] == (topic, number, offset)


# --- what became of them --------------------------------------------------------------------------------


def entry_of(change: Change) -> Entry:
    """An end for `.results`, or a step for `.states`. Key: the id. Value: the body of the reply."""
    id_, state, at, accepted_at, attempts, _, reply_head, reply_body, error, due_at, expires_at = change
    headers = [
        _VERSION,
        _STATES[state],
        ("bufferproxy-at", b"%d" % at),
        ("bufferproxy-accepted-at", b"%d" % accepted_at),
        ("bufferproxy-attempts", b"%d" % attempts),
    ]
    if reply_head is not None:
        headers.append(("bufferproxy-reply-head", reply_head))
    if error is not None:
        headers.append(("bufferproxy-error", error.encode()))
    if due_at is not None:
        headers.append(("bufferproxy-due-at", b"%d" % due_at))
    if expires_at is not None:
        headers.append(("bufferproxy-expires-at", b"%d" % expires_at))
    return Entry(id_.encode(), reply_body, tuple(headers))


def change_of(record: Record) -> Change:
    """The reverse of `entry_of`. Raises EnvelopeError."""
    fields = dict(record.headers)
    version = fields.get("bufferproxy-version")
    if version not in READABLE:
        raise EnvelopeError(f"{record.position}: version {version!r} is not one of {sorted(READABLE)}")
    try:
        error = fields.get("bufferproxy-error")
        return Change(
            (record.key or b"").decode("ascii"),
            State(fields["bufferproxy-state"].decode("ascii")),
            int(fields["bufferproxy-at"]),
            int(fields["bufferproxy-accepted-at"]),
            int(fields["bufferproxy-attempts"]),
            record.partition.number,
            fields.get("bufferproxy-reply-head"),
            record.value,
            None if error is None else error.decode(),
            _moment(fields, "bufferproxy-due-at"),
            _moment(fields, "bufferproxy-expires-at"),
        )
    except (KeyError, ValueError) as problem:
        raise EnvelopeError(f"{record.position}: {type(problem).__name__}: {problem}") from problem


# --- dead letters ---------------------------------------------------------------------------------------

UNDECODABLE = b"undecodable"
"""The reason of a record that is kept as it came, because it could not be understood."""


def letter_key(id_: str, generation: int) -> bytes:
    """Each death of an id has a key of its own: a marker of the redrive before, if it comes late, cannot
    take its place when the topic is compacted."""
    return (f"{id_}/{generation}" if generation else id_).encode()


def buried(record: Record) -> Request:
    """The request in a dead letter, with its ordering key. Raises EnvelopeError."""
    request = request_of(record, 0, REQUESTS)
    return request._replace(key=dict(record.headers).get("bufferproxy-key"))


def mark_entry(mark: Mark) -> Entry:
    """For `.dead`: it takes the place of the letter that it is about."""
    about = mark.generation if mark.purged else mark.generation - 1
    headers = [
        _VERSION,
        ("bufferproxy-marker", b"purged" if mark.purged else b"redriven"),
        ("bufferproxy-id", mark.id.encode()),
        ("bufferproxy-generation", b"%d" % mark.generation),
        ("bufferproxy-at", b"%d" % mark.at),
        ("bufferproxy-attempts", b"%d" % mark.attempts),
    ]
    if mark.state is not None:
        headers.append(_STATES[mark.state])
    for name in ("accepted_at", "due_at", "expires_at"):
        moment = getattr(mark, name)
        if moment is not None:
            headers.append((_header(name), b"%d" % moment))
    return Entry(letter_key(mark.id, about), b"", tuple(headers))


def letter_of(record: Record) -> Letter | Mark | None:
    """What a record of `.dead` says; None for a tombstone. Raises EnvelopeError."""
    if not record.headers and not record.value:
        return None
    fields = dict(record.headers)
    undecodable = fields.get("bufferproxy-reason") == UNDECODABLE
    version = fields.get("bufferproxy-version")
    if version not in READABLE and not undecodable:
        raise EnvelopeError(f"{record.position}: version {version!r} is not one of {sorted(READABLE)}")
    try:
        if undecodable:
            place = (record.key or b"").decode()
            died_at = int(fields["bufferproxy-died-at"])
            return Letter(place, 0, record.position, "undecodable", None, 0, None, died_at, "", None)
        return _mark(record, fields) if "bufferproxy-marker" in fields else _letter(record, fields)
    except (LookupError, ValueError) as problem:
        raise EnvelopeError(f"{record.position}: {type(problem).__name__}: {problem}") from problem


def _letter(record: Record, fields: dict[str, bytes]) -> Letter:
    status = fields.get("bufferproxy-status")
    return Letter(
        fields["bufferproxy-id"].decode("ascii"),
        int(fields.get("bufferproxy-generation", 0)),
        record.position,
        fields["bufferproxy-reason"].decode(),
        None if status is None else int(status),
        int(fields.get("bufferproxy-attempts", 0)),
        int(fields["bufferproxy-accepted-at"]),
        int(fields["bufferproxy-died-at"]),
        fields["bufferproxy-head"].split(b" ", 2)[1].partition(b"?")[0].decode("latin-1"),
        fields.get("bufferproxy-key"),
    )


def _mark(record: Record, fields: dict[str, bytes]) -> Mark:
    state = fields.get("bufferproxy-state")
    return Mark(
        fields["bufferproxy-id"].decode(),
        int(fields["bufferproxy-generation"]),
        fields["bufferproxy-marker"] == b"purged",
        int(fields["bufferproxy-at"]),
        record.partition.number,
        _moment(fields, "bufferproxy-accepted-at"),
        None if state is None else State(state.decode("ascii")),
        int(fields.get("bufferproxy-attempts", 0)),
        _moment(fields, "bufferproxy-due-at"),
        _moment(fields, "bufferproxy-expires-at"),
    )


def _header(name: str) -> str:
    return "bufferproxy-" + name.replace("_", "-")


def _moment(fields: dict[str, bytes], name: str) -> int | None:
    value = fields.get(name)
    return None if value is None else int(value)
