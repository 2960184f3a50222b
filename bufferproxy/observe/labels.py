"""The closed sets of label values: each is exported from the start, at zero."""

from __future__ import annotations

OUTCOMES = ("delivered", "rejected", "dead", "expired", "cancelled")
RESULTS = ("success", "retryable", "rejected", "timeout", "connect", "interrupted")
THROTTLES = ("ceiling", "concurrency", "retry_after", "breaker", "ramp", "adaptive", "paused")
OPERATIONS = ("append", "fetch", "commit", "read", "lag", "ping")
REFUSALS = (
    # Found before the service is: these are also counted without one.
    "bad-request",
    "no-service",
    "method-not-allowed",
    "method-not-implemented",
    "coding-not-implemented",
    "version-not-supported",
    "receive-timeout",
    "target-too-long",
    "headers-too-large",
    "loop-detected",
    "draining",
    # These need to know the service.
    "bad-preference",
    "bad-idempotency-key",
    "unauthenticated",
    "forbidden",
    "callback-refused",
    "body-too-large",
    "idempotency-in-flight",
    "idempotency-mismatch",
    "caller-rate",
    "backlog-full",
    "wait-too-long",
    "log-unavailable",
    "outcome-unknown",
    "storage-full",
)
"""Slugs of the problems with which a request is not accepted. The other slugs answer about a request that
was accepted (`dead`, `expired`, `result-gone`, ...): nothing was refused there."""
UNROUTED = REFUSALS[:11]

PLANES = ("data", "admin")

BREAKER = ("closed", "open", "half-open")

RETRIES = ("timeout", "interrupted", "outcome", "breaker", "408", "425", "500", "502", "503", "504")
"""The usual reasons of a retry; other statuses join as they occur."""

DEATHS = ("attempts", "timeout", "outcome", "rejected", "undecodable", "crash", "interrupted")
"""The reasons of a dead letter; `undecodable`: a record that could not be understood."""
