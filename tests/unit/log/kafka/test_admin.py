from __future__ import annotations

import pytest
from kafka.errors import KafkaError

from bufferproxy.errors import LogUnavailable
from bufferproxy.log.kafka.topics import Topics


class Admin:
    trouble: Exception | None = None
    closed = False

    def describe_cluster(self) -> None:
        if self.trouble is not None:
            raise self.trouble

    def close(self) -> None:
        self.closed = True
        if self.trouble is not None:
            raise self.trouble


def asked() -> tuple[Topics, list[Admin]]:
    made: list[Admin] = []

    def make() -> Admin:
        made.append(Admin())
        return made[-1]

    topics = Topics(make, 3)
    topics.connect()
    topics.ping()
    return topics, made


def test_an_admin_client_whose_loop_has_crashed_is_made_again() -> None:
    topics, made = asked()
    made[0].trouble = RuntimeError("its I/O loop has crashed")
    with pytest.raises(LogUnavailable, match="crashed"):
        topics.ping()
    topics.ping()
    assert [admin.closed for admin in made] == [True, False]
    topics.close()
    assert made[1].closed
    with pytest.raises(LogUnavailable, match="closed"):
        topics.ping()
    assert len(made) == 2


def test_an_admin_client_is_kept_while_kafka_is_away() -> None:
    topics, made = asked()
    made[0].trouble = KafkaError("away")
    with pytest.raises(LogUnavailable, match="away"):
        topics.ping()
    made[0].trouble = None
    topics.ping()
    assert len(made) == 1
    topics.close()
