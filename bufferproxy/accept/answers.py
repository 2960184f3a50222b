"""What callers are told, as bytes. Pure."""

from __future__ import annotations

import json
import math
import re
from typing import NamedTuple

from bufferproxy.accept.admission import come_back
from bufferproxy.clock import rfc3339
from bufferproxy.http1.problems import Problem
from bufferproxy.records import Change, State

TOO_LARGE = "It was delivered; the reply was above results.body, or its headers above 64 KiB."

JSON = b"Content-Type: application/json\r\nCache-Control: no-store\r\n"


def accepted(
    id_: str,
    service: str,
    position: int,
    wait: float,
    accepted_at: int,
    applied: bytes | None,
    prefix: str,
    due_at: int | None = None,
) -> tuple[bytes, bytes]:
    """Header lines and body of a 202: what is known of a request the moment it is durable. `wait` in seconds,
    inf when not known; `accepted_at` and `due_at` in ms. Every field is ours, so nothing needs escaping."""
    url = f"{prefix}/requests/{id_}"
    head = (
        f"Content-Type: application/json\r\nLocation: {url}\r\nRetry-After: {retry_after(wait)}\r\n"
        f"Bufferproxy-Id: {id_}\r\nBufferproxy-Position: {position}\r\nCache-Control: no-store\r\n"
    ).encode("ascii")
    if applied is not None:
        head += b"Preference-Applied: " + applied + b"\r\n"
    eta = "null" if wait == math.inf else f"{wait:.3f}"
    due = "" if due_at is None else f',"next_attempt_at":"{rfc3339(due_at)}"'
    body = (
        f'{{"id":"{id_}","service":"{service}","state":"queued","status_url":"{url}","position":{position},'
        f'"eta_seconds":{eta},"accepted_at":"{rfc3339(accepted_at)}"{due}}}'
    ).encode("ascii")
    return head, body


class Standing(NamedTuple):
    """The status of a request, for people and programs. Times in ms since the epoch."""

    id: str
    service: str
    state: State
    attempts: int
    position: int | None
    eta: float | None
    accepted_at: int
    next_attempt_at: int | None = None
    expires_at: int | None = None
    finished_at: int | None = None
    error: str | None = None
    reply_head: bytes | None = None


def status(standing: Standing, prefix: str) -> bytes:
    """The JSON of the status URL."""
    response = None
    if standing.reply_head is not None:
        code, headers = parse_head(standing.reply_head)
        response = {
            "status": code,
            "headers": headers,
            "body_url": f"{prefix}/requests/{standing.id}/response",
        }
    return json.dumps(
        {
            "id": standing.id,
            "service": standing.service,
            "state": standing.state.value,
            "attempts": standing.attempts,
            "position": standing.position,
            "eta_seconds": None if standing.eta in (None, math.inf) else round(standing.eta, 3),
            "accepted_at": rfc3339(standing.accepted_at),
            "next_attempt_at": _time(standing.next_attempt_at),
            "expires_at": _time(standing.expires_at),
            "finished_at": _time(standing.finished_at),
            "response": response,
            "error": standing.error,
        }
    ).encode()


def retry_after(wait: float) -> int:
    """Whole seconds, for what is foreseen to wait so long."""
    return math.ceil(come_back(wait))


def parse_head(head: bytes) -> tuple[int, list[list[str]]]:
    """Status and [name, value] pairs of a stored reply head."""
    lines = head.decode("latin-1").split("\r\n")
    headers = [line.split(":", 1) for line in lines[1:] if line]
    return int(lines[0].split(" ", 2)[1]), [[name, value.strip(" \t")] for name, value in headers]


def without_length(head: bytes) -> bytes:
    """A stored reply head for a GET of a reply without a body. To a HEAD the service told the length of what
    it did not send: who asked for the reply with a GET would wait for it."""
    if head[9:12] == b"304":
        return head  # here too it tells of what is not sent, and every caller knows
    return re.sub(rb"(?i)\r\ncontent-length:[^\r\n]*", b"", head)


def without_answer(change: Change) -> Problem:
    """What a waiting caller gets when its request ended and there is no reply to hand on."""
    if change.error == "reply-too-large":
        return Problem("reply-too-large", TOO_LARGE)
    if change.state is State.EXPIRED:
        return Problem("expired", "It was not sent before it expired.")
    return Problem("dead", change.error or f"It ended {change.state.value}.")


def _time(ms: int | None) -> str | None:
    return None if ms is None else rfc3339(ms)
