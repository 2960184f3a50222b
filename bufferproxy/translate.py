"""Settings -> what the steps take. Pure."""

from __future__ import annotations

from bufferproxy import sizes
from bufferproxy.accept.admission import Limits
from bufferproxy.accept.front import KeySource, Terms
from bufferproxy.accept.routing import Match
from bufferproxy.config.addresses import SqliteLog
from bufferproxy.config.phrases import statuses
from bufferproxy.config.service import AdaptiveConcurrency, Breaker, Service
from bufferproxy.config.settings import Settings
from bufferproxy.drain.plan import Plan
from bufferproxy.http1 import limits
from bufferproxy.http1.trust import TrustedProxies
from bufferproxy.log.contract import Keep, Topic
from bufferproxy.log.topics import RESULTS_PARTITIONS, ServiceTopics, topics_of
from bufferproxy.policy.adaptive import AdaptiveRule
from bufferproxy.policy.breaker import BreakerRule
from bufferproxy.policy.congestion import Settings as Congestion
from bufferproxy.records import Priority
from bufferproxy.settle.decide import RetryPolicy

NEVER = 1 << 62
"""More attempts than any window will see."""


def partitions(settings: Settings) -> int:
    """Of a service's requests: one where one process drains them anyway."""
    return 1 if isinstance(settings.log, SqliteLog) else settings.kafka.partitions


def topics(settings: Settings) -> list[Topic]:
    """All that the services need, and on Kafka what their workers need of each other."""
    shared = [] if isinstance(settings.log, SqliteLog) else [control(settings)]
    return [*shared, state(settings)] + [
        topic
        for name, service in settings.services.items()
        for topic in topics_of(
            names(settings, name),
            partitions=partitions(settings),
            body=service.body,
            reply=service.results.body,
            keep_results=service.results.keep,
            keep_dead=service.dead.keep,
            results=1 if isinstance(settings.log, SqliteLog) else RESULTS_PARTITIONS,
            parks=service.order == "key",
            headroom=headroom(settings),
        )
    ]


def headroom(settings: Settings) -> int:
    """Bytes that a request may need beside its body, however often it is copied."""
    found = settings.receive
    return sizes.headroom(target=found.target_bytes, headers=found.header_bytes, count=found.header_count)


def control(settings: Settings) -> Topic:
    """Where replicas share the rates out; small records, of which only the last seconds matter."""
    return Topic(f"{settings.kafka.prefix}.control", 1, Keep(seconds=3600.0), 1 << 20)


def state(settings: Settings) -> Topic:
    """What all replicas have to know for longer, the newest of each key."""
    return Topic(f"{settings.kafka.prefix}.state", 1, Keep(compact=True), 1 << 20)


def layout(service: Service) -> tuple[str, str]:
    """Its order, and its key as one text that is the same for the same key."""
    key = service.key
    source = "" if key is None else str(key).lower() if key.kind == "header" else str(key)
    return service.order, source


def congestion(service: Service) -> Congestion:
    found = service.breaker or Breaker()
    rule = BreakerRule(found.failures, found.window, found.minimum, found.open, found.shadow)
    adaptive = service.concurrency
    return Congestion(
        service.rate,
        concurrency(service),
        AdaptiveRule(adaptive.adaptive.min, adaptive.adaptive.max, adaptive.adaptive.shadow)
        if isinstance(adaptive, AdaptiveConcurrency)
        else None,
        rule if service.breaker is not None else rule._replace(minimum=NEVER),
        found.ramp,
        service.retry.budget,
    )


def names(settings: Settings, service: str) -> ServiceTopics:
    priorities = settings.services[service].priority is not None
    # On Kafka one group for all services, by which any of its tools shows how far they are.
    group = None if isinstance(settings.log, SqliteLog) else settings.kafka.prefix
    return ServiceTopics.of(service, settings.kafka.prefix, priorities=priorities, group=group)


def match(service: Service) -> Match:
    found = service.match
    if found is None:
        return Match()
    host = None if found.host is None else found.host.encode().lower()
    return Match((found.path or "").encode(), host, found.strip)


def terms(service: Service) -> Terms:
    safe = service.safe_methods
    key, priority = service.key, service.priority
    return Terms(
        body=service.body,
        reply=service.reply.seconds,
        safe=None if safe.mode == "refuse" else safe.seconds,
        expire=service.expire,
        held=service.held,
        limits=Limits(service.backlog.requests, service.backlog.bytes, service.backlog.wait),
        order=service.order,
        key=None if key is None else _key(key.kind, key.arg),
        key_rated=service.key_rate is not None,
        priority=None if priority is None else Priority[priority.default.upper()],
        priority_told=priority is not None and priority.header,
    )


def _key(kind: str, argument: str) -> KeySource:
    return KeySource(kind, (argument.lower() if kind == "header" else argument).encode())


def plan(settings: Settings, name: str) -> Plan:
    service = settings.services[name]
    return Plan(
        name,
        names(settings, name),
        service.order,
        concurrency(service),
        retry(service),
        at_most_once=service.delivery == "at_most_once",
        key_rate=service.key_rate,
        timeout=service.timeout,
        # Where no results are kept the commit is the only end there is.
        commit_every=0.1 if service.results.keep else 0.05,
    )


def concurrency(service: Service) -> int:
    found = service.concurrency
    return found.adaptive.max if isinstance(found, AdaptiveConcurrency) else found


def retry(service: Service) -> RetryPolicy:
    found = service.retry
    again = service.delivery != "at_most_once"
    return RetryPolicy(
        found.attempts,
        found.first,
        found.max,
        found.jitter,
        statuses(tuple(found.on)),
        timeout=again and "timeout" in found.on,
        interrupted=again,
        delivered=statuses(tuple(service.delivered)),
    )


def proxies(settings: Settings) -> TrustedProxies:
    return TrustedProxies(settings.trusted_proxies)


def connections(settings: Settings) -> int:
    """Most of a worker to all services together."""
    return sum(map(concurrency, settings.services.values()))


def receive(settings: Settings) -> limits.Limits:
    found = settings.receive
    return limits.Limits(
        found.headers, found.body, found.idle, found.header_bytes, found.header_count, found.target_bytes
    )
