"""Header fields that may stand once: read, and refused when they are malformed. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from bufferproxy.accept.front import ORDERING_KEY
from bufferproxy.http1.problems import Problem, bad_request
from bufferproxy.sizes import IDEMPOTENCY_KEY_BYTES, KEY_BYTES

IDEMPOTENCY_KEY, TRACEPARENT = b"idempotency-key", b"traceparent"

_KEY = re.compile(rb'[^"]+|"(?:[^"\\]|\\["\\])+"')
_ESCAPED = re.compile(rb'\\(["\\])')
# W3C Trace Context, 3.2.2. Zeros are no ids, and ff is no version.
_TRACE = re.compile(rb"(?!ff)([0-9a-f]{2})-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")


def malformed(headers: list[tuple[bytes, bytes]], names: Mapping[bytes, bytes]) -> Problem | None:
    """`names`: of all headers, in lower case. None, or what is wrong."""
    try:
        if TRACEPARENT in names and not _is_trace(only(headers, TRACEPARENT)):
            raise ValueError("traceparent is not of the form 00-TRACE-PARENT-FLAGS (W3C Trace Context)")
        if ORDERING_KEY in names:
            key = only(headers, ORDERING_KEY)
            if not key:
                raise ValueError("Bufferproxy-Key is empty: write a key, or leave it out")
            if len(key) > KEY_BYTES:
                raise ValueError(key_too_long("Bufferproxy-Key", key))
    except ValueError as error:
        return bad_request(str(error))
    try:
        if IDEMPOTENCY_KEY in names:
            _check_idempotency_key(only(headers, IDEMPOTENCY_KEY))
    except ValueError as error:
        return Problem("bad-idempotency-key", str(error))
    return None


def _check_idempotency_key(value: bytes) -> None:
    # A long one is not looked at: each byte of the key is two at most, and its quotes are two.
    size = len(value)
    if size <= 2 * IDEMPOTENCY_KEY_BYTES + 2:
        if not _KEY.fullmatch(value):
            raise ValueError('Idempotency-Key: write a key that is not empty, like "k" or k')
        if value.startswith(b'"'):
            size = len(_ESCAPED.sub(rb"\1", value[1:-1]))
    if size > IDEMPOTENCY_KEY_BYTES:
        raise ValueError(f"Idempotency-Key has {size} bytes: at most {IDEMPOTENCY_KEY_BYTES} are taken")


def key_too_long(where: str, key: bytes) -> str:
    """`where`: the header, or the part of the target, that an ordering key was taken from."""
    return f"{where} has {len(key)} bytes: an ordering key has at most {KEY_BYTES}"


def _is_trace(value: bytes) -> bool:
    match = _TRACE.fullmatch(value)
    # What a later version adds stands at the end.
    return match is not None and (match[2] is None or match[1] != b"00")


def only(headers: list[tuple[bytes, bytes]], wanted: bytes) -> bytes:
    """The value of a header that is there; `wanted` in lower case. Raises ValueError if it is there twice."""
    size = len(wanted)
    values = [value for name, value in headers if len(name) == size and name.lower() == wanted]
    if len(values) > 1:
        raise ValueError(f"{shown(wanted)} was sent {len(values)} times: send it once")
    return values[0]


def shown(name: bytes) -> str:
    """The name of a header, for people."""
    return name.decode() if name == TRACEPARENT else "-".join(map(str.capitalize, name.decode().split("-")))
