"""The names of kafka-python that the engine needs, and that are not public, exist in what is installed."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from kafka import KafkaConsumer, KafkaProducer
from kafka.coordinator.base import BaseCoordinator
from kafka.coordinator.consumer import ConsumerCoordinator
from kafka.producer.producer_batch import ProducerBatch
from kafka.producer.sender import Sender
from kafka.producer.transaction_manager import TransactionManager

from bufferproxy.log.kafka import kafka_python

NAMES = {"_coordinator", "_manager", "_send_offset_commit_request", "_send_heartbeat_request", "_sender"}


def test_the_private_names_exist() -> None:
    assert {"_coordinator", "_manager"} <= assigned(KafkaConsumer)
    assert "_sender" in assigned(KafkaProducer)
    for name in ("_send_offset_commit_request", "_send_heartbeat_request"):
        assert inspect.iscoroutinefunction(getattr(ConsumerCoordinator, name))


def test_what_is_used_of_them_exists() -> None:
    for kind, names in {
        ConsumerCoordinator: {"stable", "need_rejoin", "reset_generation"},
        Sender: {"force_close", "join"},
        TransactionManager: {
            "classify_batch_error",
            "reset_producer_id",
            "bump_producer_id_and_epoch",
            "has_fatal_error",
        },
    }.items():
        assert names <= set(dir(kind))
    assert "rejoining" in assigned(BaseCoordinator)
    assert "drained" in assigned(ProducerBatch)
    assert "transaction_manager" in Sender.DEFAULT_CONFIG
    taken = list(inspect.signature(TransactionManager.classify_batch_error).parameters)
    assert taken == ["self", "error", "batch", "log_start_offset"]


def test_there_are_no_others() -> None:
    """All in one file. `self._x` is ours, and `_replace` is of named tuples."""
    found: dict[str, set[str]] = {}
    for source in Path(inspect.getfile(kafka_python)).parent.glob("*.py"):
        names = set(re.findall(r"(?<!self)\.(_[a-z]\w+)", source.read_text())) - {"_replace"}
        if names:
            found[source.name] = names
    assert found == {"private.py": NAMES}


def assigned(kind: type) -> set[str]:
    """The attributes that its constructor sets."""
    return set(re.findall(r"self\.(\w+) =", inspect.getsource(kind.__init__)))  # type: ignore[misc]
