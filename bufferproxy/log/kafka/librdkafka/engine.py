from __future__ import annotations

import confluent_kafka

from bufferproxy.log.kafka.engine import Engine, FetchClient, GroupClient, GroupListener, Landed, SendClient
from bufferproxy.log.kafka.librdkafka.fetcher import LibrdkafkaFetcher
from bufferproxy.log.kafka.librdkafka.member import LibrdkafkaMember
from bufferproxy.log.kafka.librdkafka.sender import LibrdkafkaSender
from bufferproxy.log.kafka.librdkafka.settings import Settings
from bufferproxy.log.kafka.options import KafkaOptions


class Librdkafka(Engine):
    name = "librdkafka"

    def __init__(self, brokers: str, options: KafkaOptions) -> None:
        self.version = confluent_kafka.libversion()[0]
        self._settings = Settings(brokers, options)
        self.session = self._settings.session

    def sender(self, landed: Landed) -> SendClient:
        return LibrdkafkaSender(self._settings.producer(), landed)

    def member(self, group: str, listener: GroupListener) -> GroupClient:
        return LibrdkafkaMember(self._settings.member(group), listener)

    def fetcher(self, *, wait: float) -> FetchClient:
        return LibrdkafkaFetcher(self._settings.fetcher(wait))
