"""Request <-> Entry: the only encoder and decoder of what is stored.

The format is fixed in `docs/decisions/0001-stored-format.md`. A record's value is the request body (for a
result: the reply body), untouched; everything else is in record headers named below. Readers accept
VERSION and the one before; anything else is an EnvelopeError, and its reader quarantines the record.
"""

from __future__ import annotations

import struct
from functools import lru_cache

from bufferproxy.errors import EnvelopeError
from bufferproxy.ids import NONCE_LENGTH, REQUESTS, Identity, id_of, parse_id
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
