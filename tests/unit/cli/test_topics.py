from __future__ import annotations

import json
from pathlib import Path

import pytest


def configured(bootstrap: str, prefix: str, **kafka: object) -> None:
    options = json.dumps({"prefix": prefix, "replication": 1, "partitions": 3, **kafka})
    Path("f.yaml").write_text(
        f"log: kafka://{bootstrap}\nkafka: {options}\nservices: {{auth: {{to: http://auth}}}}\n"
    )


@pytest.mark.kafka
def test_create_makes_what_describe_misses(kafka_broker, bufferproxy) -> None:  # type: ignore[no-untyped-def]
    configured(kafka_broker.bootstrap, "cli-create")
    before = bufferproxy("topics", "describe", "-c", "f.yaml")
    assert before.code == 1
    assert (
        "cli-create.auth.requests: missing; make it with `bufferproxy topics create`"
        in before.out.splitlines()
    )
    assert bufferproxy("topics", "create", "-c", "f.yaml").code == 0
    after = bufferproxy("topics", "describe", "-c", "f.yaml", "-o", "json")
    # One broker keeps one copy, and describe says what that means; nothing else is wrong.
    assert {row["problem"].partition(":")[0] for row in json.loads(after.out)} == {"replication 1"}


@pytest.mark.kafka
def test_describe_says_what_differs_from_the_settings(kafka_broker, bufferproxy) -> None:  # type: ignore[no-untyped-def]
    configured(kafka_broker.bootstrap, "cli-differ")
    assert bufferproxy("topics", "create", "-c", "f.yaml").code == 0
    configured(kafka_broker.bootstrap, "cli-differ", partitions=5)
    ran = bufferproxy("topics", "describe", "-c", "f.yaml")
    assert ran.code == 1
    assert "cli-differ.auth.requests: 3 partitions instead of 5" in ran.out.splitlines()


def test_an_sqlite_log_has_no_topics_to_make(bufferproxy) -> None:  # type: ignore[no-untyped-def]
    Path("f.yaml").write_text("services: {auth: {to: http://auth}}\n")
    ran = bufferproxy("topics", "create", "-c", "f.yaml")
    assert ran.code == 3
    assert ran.err.startswith("f.yaml:1:1: log: topics needs kafka://")


def test_brokers_that_do_not_answer_are_exit_4(bufferproxy) -> None:  # type: ignore[no-untyped-def]
    configured("127.0.0.1:1", "cli-away")
    ran = bufferproxy("topics", "create", "-c", "f.yaml")
    assert (ran.code, ran.out) == (4, "")
    assert "127.0.0.1:1" in ran.err
