"""How large a record may become, derived from what may be accepted: the only place that does. Pure.

A request is stored once when it is accepted, and again whenever it is delayed, tried again, parked, dead or
redriven. Each of these records holds the body, the head, the keys and some fields, so each is at most

    body + headroom(receive)                 requests, .delayed, .parked
    body + headroom(receive) + ANSWER        .dead, with the last answer, cut to what fits

Topics are made for that. What would not fit is refused before it is stored: 413, 414 and 431 by the limits of
`receive` and `body`, 400 for a key that is too long.
"""

from __future__ import annotations

KEY_BYTES = 1024
"""Of an ordering key. Its hash chooses a partition, on the loop that accepts."""

IDEMPOTENCY_KEY_BYTES = 255
"""Of an Idempotency-Key, without its quotes and backslashes."""

ANSWER = 128 * 1024
"""Bytes of the service's last answer that a dead letter may carry: its head, and the start of its body."""

LEAST_HEADROOM = 128 * 1024
"""Bytes beside the body that each topic takes, however little `receive` lets in."""

LARGEST = 64 << 20
"""Bytes of a record: more than the logs hold at a time of what is to be written."""

ERROR_BYTES = 1024
"""Of the line for people that tells why an attempt, or a request, failed."""

_LINE = 64
"""Of a request line beside its target."""
_FORWARDED = 1024
"""What forwarding adds to a head: Via, X-Forwarded-*, a Host of up to 300 bytes twice, a Content-Length."""
_FIELDS = 1024
"""All other record headers: names, numbers, ids, places, a reason; and what a log adds to each record."""


def headroom(*, target: int, headers: int, count: int) -> int:
    """Bytes beside the body that topics allow for a request and its copies. As `needed`."""
    return max(LEAST_HEADROOM, needed(target=target, headers=headers, count=count))


def needed(*, target: int, headers: int, count: int) -> int:
    """Bytes that a copy of a request may need beside its body. `receive` of the settings: bytes of the
    target, bytes of the header lines, and how many of them there may be."""
    # `name:value` is stored as `name: value`. A prefix that is taken off the target comes back in a header.
    head = _LINE + target + headers + count + _FORWARDED
    keys = KEY_BYTES + 2 * IDEMPOTENCY_KEY_BYTES + 2
    return head + keys + _FIELDS


def kept_of(head: bytes, body: bytes, most: int) -> tuple[bytes | None, bytes]:
    """What a dead letter keeps of the last answer: at most ANSWER bytes, at most `most` of the body. The
    body gives way first."""
    if len(head) > ANSWER:
        return None, b""
    return head, body[: min(most, ANSWER - len(head))]
