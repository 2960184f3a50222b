"""Every refusal there is: slug, status, title; and how one is written down (RFC 9457)."""

from __future__ import annotations

import json
import math
from typing import NamedTuple

PROBLEMS: dict[str, tuple[int, str]] = {
    "bad-request": (400, "The request is malformed"),
    "bad-preference": (400, "The Prefer header cannot be understood"),
    "bad-idempotency-key": (400, "The Idempotency-Key cannot be understood"),
    "unauthenticated": (401, "No known API key was sent"),
    "forbidden": (403, "This caller may not do that"),
    "callback-refused": (403, "The callback URL is not allowed"),
    "no-service": (404, "No service takes this request"),
    "unknown-request": (404, "No such request"),
    "method-not-allowed": (405, "The method is not allowed here"),
    "receive-timeout": (408, "The request did not arrive in time"),
    "idempotency-in-flight": (
        409,
        "Whether the first request with this Idempotency-Key was stored is uncertain",
    ),
    "too-late-to-cancel": (409, "The request is being delivered or has ended"),
    "not-finished": (409, "The request has not ended yet"),
    "result-gone": (410, "The result is no longer kept"),
    "body-too-large": (413, "The body is too large"),
    "target-too-long": (414, "The request target is too long"),
    "idempotency-mismatch": (422, "The Idempotency-Key was used for another request"),
    "caller-rate": (429, "This caller sends too fast"),
    "headers-too-large": (431, "The headers are too large"),
    "method-not-implemented": (501, "The method is not known"),
    "coding-not-implemented": (501, "The transfer coding is not known"),
    "dead": (502, "The request could not be delivered"),
    "reply-too-large": (502, "Delivered, but the reply is too large to be kept"),
    "backlog-full": (503, "The backlog is full"),
    "wait-too-long": (503, "The wait would be too long"),
    "draining": (503, "This proxy is stopping"),
    "log-unavailable": (503, "The durable log is not available"),
    "outcome-unknown": (503, "Whether this was done is unknown"),
    "storage-full": (503, "The storage is full"),
    "not-in-time": (504, "The service did not answer in time"),
    "expired": (504, "The request expired before it was delivered"),
    "version-not-supported": (505, "The HTTP version is not supported"),
    "loop-detected": (508, "The request has come through this proxy before"),
}
"""slug -> (status, title). The table of the data plane's contract, ordered by status."""

TYPE = "urn:bufferproxy:problem:"


class Problem(NamedTuple):
    """A refusal as a value. `retry_after` is in seconds; `headers` are further (name, value) pairs."""

    slug: str
    detail: str
    retry_after: float | None = None
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def status(self) -> int:
        return PROBLEMS[self.slug][0]


class Rendered(NamedTuple):
    """`head` is header lines, each ended by CRLF; it has no Content-Length, which whoever sends it adds."""

    status: int
    head: bytes
    body: bytes


def render(problem: Problem) -> Rendered:
    """The answer that `problem` stands for. Raises ValueError when a header would break out of its line."""
    status, title = PROBLEMS[problem.slug]
    lines = ["Content-Type: application/problem+json", "Cache-Control: no-store"]
    if problem.retry_after is not None:
        # Whole seconds, rounded up: coming back too early is a second refusal.
        lines.append(f"Retry-After: {max(1, math.ceil(problem.retry_after))}")
    lines += [f"{name}: {value}" for name, value in problem.headers]
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError(f"a line break in a header of {problem!r}")
    body = {"type": TYPE + problem.slug, "title": title, "status": status, "detail": problem.detail}
    head = "".join(f"{line}\r\n" for line in lines)
    return Rendered(status, head.encode("latin-1"), json.dumps(body).encode())


def bad_request(detail: str) -> Problem:
    return Problem("bad-request", detail)
