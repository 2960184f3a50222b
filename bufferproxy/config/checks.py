"""What no single field can know: settings that contradict each other. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from bufferproxy.config.addresses import KafkaLog
from bufferproxy.config.origin import Path, Problem
from bufferproxy.config.phrases import statuses
from bufferproxy.config.service import AdaptiveConcurrency, Service
from bufferproxy.config.settings import Settings, Tls
from bufferproxy.config.units import format_duration, format_size
from bufferproxy.ids import service_number
from bufferproxy.sizes import ANSWER, LARGEST, LEAST_HEADROOM, headroom

Check = Callable[[Settings], Iterator[Problem]]

_OURS = {
    "acks": "what is accepted has to be durable",
    "allow_auto_create_topics": "topics are made with settings of their own",
    "auto_offset_reset": "nothing may be skipped",
    "bootstrap_servers": "`log` names the brokers",
    "enable_auto_commit": "only what is settled is committed",
    "enable_idempotence": "nothing may be stored twice",
    "group_id": "it follows from `prefix` and the service",
    "group_instance_id": "`worker.id` says it",
    "key_deserializer": "the log is bytes",
    "key_serializer": "the log is bytes",
    "partitioner": "partitions are chosen as by Kafka's own clients",
    "value_deserializer": "the log is bytes",
    "value_serializer": "the log is bytes",
}
"""Options of the client that promises rest on, and why they cannot be set."""


def contradictions(settings: Settings) -> Iterator[Problem]:
    yield from _listeners(settings)
    yield from _process(settings)
    yield from _names(settings.services)
    yield from _matches(settings)
    for name, service in settings.services.items():
        yield from _service(("services", name), service)
    yield from _sizes(settings)


def _listeners(settings: Settings) -> Iterator[Problem]:
    admin = settings.admin
    if not admin.listen.loopback and admin.token_file is None:
        message = f"{admin.listen} is not loopback: set admin.token_file, or listen on 127.0.0.1"
        yield Problem(("admin", "listen"), message, also=(("admin", "token_file"),))
    if admin.viewer_token_file is not None and admin.token_file is None:
        message = "is missing: with viewer_token_file alone nobody could change anything"
        yield Problem(("admin", "token_file"), message, "missing")
    if settings.listen == admin.listen and settings.listen.port:
        message = f"{settings.listen} is the data plane's own: give the admin plane another port"
        yield Problem(("admin", "listen"), message, also=(("listen",),))
    listeners: tuple[tuple[Path, Tls], ...] = ((("tls",), settings.tls), (("admin", "tls"), admin.tls))
    for path, tls in listeners:
        yield from _pair(path, tls.cert_file, tls.key_file)
        if tls.client_ca_file and not tls.cert_file and not tls.key_file:
            yield Problem((*path, "cert_file"), "is missing: client_ca_file needs TLS", "missing")


def _pair(path: Path, cert: str | None, key: str | None) -> Iterator[Problem]:
    """A certificate and its key come together."""
    if (cert is None) != (key is None):
        absent, present = ("key_file", "cert_file") if key is None else ("cert_file", "key_file")
        yield Problem((*path, absent), f"is missing: {present} needs it", "missing")


def _process(settings: Settings) -> Iterator[Problem]:
    if settings.callbacks.allow and settings.callbacks.secret_file is None:
        message = "is missing: callbacks are signed with it"
        yield Problem(("callbacks", "secret_file"), message, "missing")
    for place, options in (("options", settings.kafka.options), ("security", settings.kafka.security)):
        for name in options:
            if name in _OURS:
                yield Problem(("kafka", place, name), f"cannot be set: {_OURS[name]}")


def _names(services: Mapping[str, Service]) -> Iterator[Problem]:
    taken: dict[int, str] = {}
    for name in services:
        other = taken.setdefault(service_number(name), name)
        if other != name:
            message = f"cannot stand beside {other}: both get one number in ids; rename the newer of the two"
            yield Problem(("services", name), message, "unknown", also=(("services", other),))


def _matches(settings: Settings) -> Iterator[Problem]:
    first: dict[tuple[str | None, str | None], str] = {}
    for name, service in settings.services.items():
        match = service.match
        path: Path = ("services", name) if match is None else ("services", name, "match")
        asked = (None, None) if match is None else (match.path, match.host)
        if match is not None and asked == (None, None):
            message = "matches nothing in particular: give path, host or both, or leave match out"
            yield Problem(path, message, also=((*path, "path"), (*path, "host")))
            continue
        if asked[0] == "/":  # every path begins with it
            asked = (None, asked[1])
        if match is not None and match.strip and match.path is None:
            yield Problem((*path, "strip"), "there is nothing to strip without path", also=((*path, "path"),))
        if match is not None and match.path is not None and _under(match.path, settings.path_prefix):
            yield Problem((*path, "path"), f"is the proxy's own: everything under {settings.path_prefix} is")
        other = first.setdefault(asked, name)
        if other != name:
            what = "take everything" if asked == (None, None) else "match the same requests"
            yield Problem(
                path,
                f"{other} and {name} both {what}: give one of them another match",
                "value" if match is not None else "unknown",
                also=(("services", other, "match"), (*path, "path"), (*path, "host")),
            )


def _under(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(prefix + "/")


def _service(path: Path, service: Service) -> Iterator[Problem]:
    yield from _pair((*path, "tls"), service.tls.cert_file, service.tls.key_file)
    if service.priority is not None and service.order == "strict":
        message = "has no place beside order: strict, which is one queue: take one of them out"
        yield Problem((*path, "priority"), message, also=((*path, "order"),))
    most = service.backlog.bytes
    if service.body > most and "body" in service.model_fields_set:
        message = (
            f"{format_size(service.body)} is more than backlog.bytes ({format_size(most)}), which refuses it"
        )
        yield Problem((*path, "body"), message, also=((*path, "backlog", "bytes"),))
    retry = service.retry
    if retry.max < retry.first:
        yield Problem(
            (*path, "retry", "max"),
            f"{format_duration(retry.max)} is shorter than retry.first ({format_duration(retry.first)})",
            also=((*path, "retry", "first"),),
        )
    yield from _statuses(path, service.delivered, retry.on)
    if isinstance(service.concurrency, AdaptiveConcurrency):
        bounds, inside = service.concurrency.adaptive, (*path, "concurrency", "adaptive")
        if bounds.max < bounds.min:
            message = f"{bounds.max} is less than min ({bounds.min})"
            yield Problem((*inside, "max"), message, also=((*inside, "min"),))


def _statuses(path: Path, delivered: tuple[str, ...], on: tuple[str, ...]) -> Iterator[Problem]:
    """A status ends a request, or is tried again."""
    both = statuses(tuple(delivered)) & statuses(tuple(on))
    if both:
        ends, again = ([text for text in each if statuses((text,)) & both] for each in (delivered, on))
        message = (
            f"{', '.join(ends)} would end what retry.on ({', '.join(again)}) tries again: "
            "take it out of one of them"
        )
        yield Problem((*path, "delivered"), message, also=((*path, "retry", "on"),))


def _sizes(settings: Settings) -> Iterator[Problem]:
    """Every copy of what may be accepted, and every answer that is kept, has to fit into one record."""
    receive = settings.receive
    room = headroom(target=receive.target_bytes, headers=receive.header_bytes, count=receive.header_count)
    received: tuple[Path, ...] = (("receive", "header_bytes"), ("receive", "target_bytes"))
    for name, service in settings.services.items():
        yield from _too_large(("services", name, "body"), service.body, room + ANSWER, received)
        yield from _too_large(("services", name, "results", "body"), service.results.body, LEAST_HEADROOM)


def _too_large(path: Path, size: int, beside: int, also: tuple[Path, ...] = ()) -> Iterator[Problem]:
    if size + beside > LARGEST:
        most = format_size(max(0, LARGEST - beside) >> 20 << 20)
        message = f"{format_size(size)} and its headers are more than a record can hold: write at most {most}"
        yield Problem(path, message, also=also)


def kafka_only(settings: Settings, command: str) -> Iterator[Problem]:
    """`proxy` and `worker` share a log between processes: an SQLite log has one."""
    if not isinstance(settings.log, KafkaLog):
        yield Problem(("log",), f"{command} needs kafka://…: use run with {settings.log}")
