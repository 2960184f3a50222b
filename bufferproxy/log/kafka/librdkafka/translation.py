"""Options by kafka-python's names, as librdkafka takes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaException, Producer

from bufferproxy.errors import LogUnusable
from bufferproxy.log.kafka.options import FIXED_OPTIONS, refuse_fixed

_NAMES: Mapping[str, str] = {
    "ssl_cafile": "ssl.ca.location",
    "ssl_certfile": "ssl.certificate.location",
    "ssl_keyfile": "ssl.key.location",
    "ssl_password": "ssl.key.password",
    "ssl_crlfile": "ssl.crl.location",
    "ssl_ciphers": "ssl.cipher.suites",
    "ssl_check_hostname": "ssl.endpoint.identification.algorithm",
    "sasl_plain_username": "sasl.username",
    "sasl_plain_password": "sasl.password",
    "request_timeout_ms": "socket.timeout.ms",
    "metadata_max_age_ms": "topic.metadata.refresh.interval.ms",
    "fetch_max_wait_ms": "fetch.wait.max.ms",
    "max_request_size": "message.max.bytes",
    "receive_buffer_bytes": "socket.receive.buffer.bytes",
    "send_buffer_bytes": "socket.send.buffer.bytes",
}
"""kafka-python's name -> librdkafka's, where dots for underscores is not all."""

_FIXED = frozenset(
    {
        *(name.replace("_", ".") for name in FIXED_OPTIONS),
        "allow.auto.create.topics",
        "auto.commit.enable",
        "enable.auto.offset.store",
        "enable.partition.eof",
        "group.protocol",
        "metadata.broker.list",
        "request.required.acks",
    }
)
"""What promises rest on, by all the names that librdkafka has for it."""

OF_CONSUMERS = (
    "client.rack",
    "check.crcs",
    "fetch.",
    "heartbeat.",
    "isolation.",
    "max.partition.",
    "max.poll.",
    "queued.",
    "session.",
)
OF_PRODUCERS = ("batch.", "compression.", "delivery.", "linger.", "message.", "queue.buffering.", "retries")

_NO_NAME = "bufferproxy.knows.this"


def translated(given: Mapping[str, Any]) -> dict[str, Any]:
    """Raises LogUnusable for options that cannot be changed, are not known, or have a wrong value."""
    refuse_fixed(given)
    found: dict[str, Any] = {}
    unknown: list[str] = []
    fixed: list[str] = []
    for name, value in given.items():
        if value is None:
            continue  # as if it were not written
        theirs = _NAMES.get(name, name.replace("_", "."))
        if theirs in _FIXED and name not in FIXED_OPTIONS:
            fixed.append(name)
        elif not _known(name, theirs, written := _value(name, value)):
            unknown.append(name)
        else:
            found[theirs] = written
    if fixed:
        raise LogUnusable(f"kafka: options: {', '.join(sorted(fixed))} cannot be changed: take it out")
    if unknown:
        raise LogUnusable(f"kafka: options: librdkafka knows no {', '.join(sorted(unknown))}")
    return found


def _value(name: str, value: Any) -> Any:
    if name == "ssl_check_hostname":
        return "https" if value else "none"
    if name == "security_protocol":
        return str(value).lower()
    return value


def _known(name: str, theirs: str, value: Any) -> bool:
    """Asked of the library, which has no list of what it knows: it takes options one after the other, so a
    name that cannot be is what it complains about if this one is right. No client is made."""
    kind = Producer if theirs.startswith(OF_PRODUCERS) else Consumer
    try:
        kind({"group.id": "none", theirs: value, _NO_NAME: "1"})
    except KafkaException as error:
        said = str(error.args[0].str()).strip()
        if _NO_NAME in said:
            return True
        if said.startswith("No such configuration"):
            return False
        raise LogUnusable(f"kafka: options: {name}: {said}") from error
    except (TypeError, ValueError) as error:
        raise LogUnusable(f"kafka: options: {name}: {error}") from error
    return True
