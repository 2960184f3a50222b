"""One service: what it can take, and what its callers and requests get."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from bufferproxy.config.addresses import Targets
from bufferproxy.config.block import Block, block, fixed, live, needed
from bufferproxy.config.forms import (
    Amount,
    Choice,
    Count,
    Duration,
    Extent,
    FilePath,
    Percent,
    Portion,
    Rate,
    Size,
    Span,
    Switch,
    whole,
)
from bufferproxy.config.phrases import (
    KeyPhrase,
    Reply,
    ReplyPhrase,
    RetryCauses,
    SafeMethods,
    SafeMethodsPhrase,
    Statuses,
)
from bufferproxy.config.places import HostName, PathPrefix


class Match(Block):
    """Which requests are for the service: by path, by host, or by both."""

    path: PathPrefix | None = fixed(None, "Path prefix, compared segment by segment, on the bytes sent.")
    host: HostName | None = fixed(None, "Value of the Host header, without a port; case does not matter.")
    strip: Switch = fixed(
        default=False, why="Take `path` off before sending. Off: the service sees the path as sent."
    )


class ServiceTls(Block):
    """TLS to the service; with `to: https://…` the system's authorities hold unless `ca_file` is set."""

    ca_file: FilePath | None = fixed(
        None, "PEM file of the authorities that may have signed its certificate."
    )
    cert_file: FilePath | None = fixed(None, "PEM file of our own certificate, with `key_file`.")
    key_file: FilePath | None = fixed(None, "PEM file of the key of `cert_file`.")


class Adaptive(Block):
    """Bounds within which the concurrency is found from the service's response times."""

    min: Count = live(2, "Fewest attempts in flight.")
    max: Count = live(200, "Most attempts in flight.")
    shadow: Switch = live(default=False, why="Only report what would be done; `max` holds.")


class AdaptiveConcurrency(Block):
    """`concurrency: {adaptive: {min: 2, max: 200}}`."""

    adaptive: Adaptive = block(Adaptive, "Find the concurrency between two bounds.")


class Priority(Block):
    """Three queues a service in place of one."""

    default: Annotated[Literal["high", "normal", "low"], Choice()] = fixed(
        "normal", "For requests that say nothing."
    )
    header: Switch = fixed(default=True, why="Callers may say `Bufferproxy-Priority`.")


class Backlog(Block):
    """How much may wait. The backlog is full when any of the three is reached: then 503 with Retry-After."""

    requests: Count = live(1_000_000, "Most requests that wait.")
    bytes: Extent = live(10 << 30, "Most bytes of bodies that wait.")
    wait: Span = live(900.0, "Longest predicted time in the queue.")


class Retry(Block):
    """What happens to a request whose attempt failed for a cause of its own."""

    attempts: Count = live(8, "Attempts in all; what rests the whole service uses up none.")
    first: Span = live(1.0, "Wait before the second attempt; it doubles with each.")
    max: Span = live(300.0, "Longest wait between two attempts.")
    jitter: Annotated[Literal["full", "none"], Choice()] = live(
        "full",
        "full: a uniformly random part of the wait, so that what failed together is not retried together.",
    )
    on: RetryCauses = live(
        ("5xx", "408", "425", "timeout"),
        "What is tried again; what is not in `delivered` either is rejected.",
    )
    budget: Percent = live(
        0.2, "Most retries, as a share of first attempts: a failing service is not also flooded."
    )


class Breaker(Block):
    """Rests a service that mostly fails, then tries it carefully."""

    failures: Portion = live(0.5, "Share of failed attempts that opens it.")
    window: Span = live(10.0, "Time over which the share is taken.")
    minimum: Count = live(20, "Fewest attempts within the window to judge by.")
    open: Span = live(30.0, "How long it stays open before a probe.")
    ramp: Duration = live(30.0, "Time from closed to the full rate.")
    shadow: Switch = live(default=False, why="Only report what would be done.")


class Results(Block):
    """Answers kept for callers who come back for them."""

    keep: Duration = fixed(900.0, "How long an answer can be fetched. 0s: not kept at all.")
    body: Size = fixed(1 << 20, "Largest body kept; a larger reply is delivered but not kept.")
    total: Extent = fixed(1 << 30, "Most bytes of kept bodies, the oldest go first.")


class Dead(Block):
    """Dead letters."""

    keep: Span = fixed(1_209_600.0, "How long a dead letter can be looked at and redriven.")


def _concurrency(value: Any) -> Any:
    """A map says `adaptive`. Chosen here, for of a union each member would tell what it misses."""
    if isinstance(value, dict):
        return AdaptiveConcurrency.model_validate(value)
    return value if isinstance(value, AdaptiveConcurrency) else _ATTEMPTS.parse(value)


_ATTEMPTS = whole(1, 100_000)
Concurrency = Annotated[
    Annotated[int, _ATTEMPTS] | AdaptiveConcurrency,
    Field(union_mode="left_to_right"),
    BeforeValidator(_concurrency),
]


class Service(Block):
    """A downstream service, protected by a queue and a rate."""

    match: Match | None = fixed(
        None, "Which requests are for it. One service may have none: it takes the rest."
    )
    to: Targets = needed("URL of the service, or a list of URLs used in turn.")
    rate: Rate = live(50.0, "Ceiling on attempts sent, by all replicas together. `unlimited`: none.")
    burst: Count = live(1, "Attempts that may be sent at once after a pause, by all replicas together.")
    concurrency: Concurrency = live(20, "Most attempts in flight.")
    timeout: Span = live(30.0, "Longest attempt, from connecting to the last byte of the reply.")
    tls: ServiceTls = block(ServiceTls, "TLS to the service.")
    key_rate: Rate | None = live(None, "Ceiling for each ordering key, within `rate`. Unset: none.")
    reply: ReplyPhrase = live(Reply("async"), "What a caller without a preference gets: async or wait N.")
    safe_methods: SafeMethodsPhrase = live(
        SafeMethods("wait", 30.0),
        "What GET, HEAD and OPTIONS without a preference get: wait N, async or refuse.",
    )
    hangup: Annotated[Literal["cancel", "keep"], Choice()] = live(
        "cancel", "A waiting caller hangs up before the send: cancel (safe methods only) or keep."
    )
    held: Amount = live(2000, "Most callers held at once; more get their 202 right away.")
    order: Annotated[Literal["none", "key", "strict"], Choice()] = fixed(
        "none", "key: requests of one key one at a time and in order. strict: all of them."
    )
    key: KeyPhrase | None = fixed(None, "Where the ordering key is. Unset: only the header Bufferproxy-Key.")
    priority: Priority | None = fixed(None, "Set: requests are high, normal or low.")
    backlog: Backlog = block(Backlog, "How much may wait.")
    expire: Span = live(
        3600.0, "Not delivered by then, a request ends `expired`. Holds for what comes after."
    )
    body: Extent = fixed(1 << 20, "Largest request body; the topics are made for it.")
    preserve_host: Switch = live(default=True, why="Send the caller's Host. false: that of `to`.")
    retry: Retry = block(Retry, "What is tried again, how often and when.")
    breaker: Breaker | None = live(
        None,
        "When a failing service is given a rest. `{}`: as below. Unset: requests are tried and end dead.",
    )
    delivered: Statuses = live(
        ("2xx", "3xx"),
        "Statuses that end a request as `delivered`. Without 3xx a redirect is `rejected`, and seen.",
    )
    delivery: Annotated[Literal["at_least_once", "at_most_once"], Choice()] = fixed(
        "at_least_once", "at_most_once: an attempt cut off by a crash is not repeated but ends dead."
    )
    results: Results = block(Results, "Answers kept for callers who come back.")
    dead: Dead = block(Dead, "Dead letters.")
