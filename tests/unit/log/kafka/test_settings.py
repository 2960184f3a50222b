"""What can be set of the clients, and what cannot."""

from __future__ import annotations

from typing import Any

import pytest

from bufferproxy.errors import LogUnusable
from bufferproxy.log.kafka.kafka_python.settings import Clients
from bufferproxy.log.kafka.librdkafka.settings import Settings
from bufferproxy.log.kafka.options import KafkaOptions

ENGINES: Any = pytest.mark.parametrize("engine", [Clients, Settings])


@ENGINES
@pytest.mark.parametrize(
    "name", ["acks", "enable_auto_commit", "partition_assignment_strategy", "value_serializer", "group_id"]
)
def test_what_a_promise_rests_on_cannot_be_changed_by_an_option(engine: Any, name: str) -> None:
    with pytest.raises(LogUnusable, match=f"kafka: options: {name} cannot be changed"):
        engine("127.0.0.1:1", KafkaOptions(options={name: "another"}))


@ENGINES
def test_an_option_that_says_what_holds_anyway_is_taken(engine: Any) -> None:
    engine("127.0.0.1:1", KafkaOptions(options={"acks": "all", "enable_idempotence": True}))


@pytest.mark.parametrize(("engine", "library"), [(Clients, "kafka-python"), (Settings, "librdkafka")])
def test_an_option_that_the_library_does_not_know_is_named(engine: Any, library: str) -> None:
    with pytest.raises(LogUnusable, match=f"{library} knows no lingering[._]ms"):
        engine("127.0.0.1:1", KafkaOptions(options={"lingering_ms": 1}))


def test_options_by_kafka_pythons_names_are_translated_for_librdkafka() -> None:
    given = {
        "session_timeout_ms": 7000,
        "linger_ms": 3,
        "security_protocol": "SASL_SSL",
        "ssl_cafile": "/etc/ca.pem",
        "ssl_check_hostname": False,
        "sasl_mechanism": "SCRAM-SHA-256",
        "sasl_plain_username": "u",
        "sasl_plain_password": "p",
    }
    settings = Settings("b:1", KafkaOptions(options=given, instance_id="w-1"))
    member, producer = settings.member("g"), settings.producer()
    assert settings.session == 7.0
    assert (member["session.timeout.ms"], member["group.id"], member["group.instance.id"]) == (
        7000,
        "g",
        "w-1",
    )
    assert producer["linger.ms"] == 3
    assert "session.timeout.ms" not in producer
    assert "linger.ms" not in member
    for each in (member, producer, settings.fetcher(0.5)):
        assert each["security.protocol"] == "sasl_ssl"
        assert each["ssl.ca.location"] == "/etc/ca.pem"
        assert each["ssl.endpoint.identification.algorithm"] == "none"
        assert (each["sasl.mechanism"], each["sasl.username"], each["sasl.password"]) == (
            "SCRAM-SHA-256",
            "u",
            "p",
        )
    assert settings.fetcher(0.5)["fetch.wait.max.ms"] == 500


def test_a_client_that_cannot_be_made_for_want_of_a_thread_leaves_nothing_running(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[Client] = []

    class Client:
        closed = False

        def close(self) -> None:
            self.closed = True
            raise RuntimeError("cannot join thread before it is started")

    def kind(*, kafka_client: Any) -> None:
        made.append(kafka_client())
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("bufferproxy.log.kafka.kafka_python.settings.KafkaNetClient", Client)
    with pytest.raises(RuntimeError, match="can't start"):
        Clients("127.0.0.1:1", KafkaOptions())._build(kind, {})
    assert made[0].closed
