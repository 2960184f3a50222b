from __future__ import annotations

import kafka

from bufferproxy.log.kafka.engine import Engine, FetchClient, GroupClient, GroupListener, Landed, SendClient
from bufferproxy.log.kafka.kafka_python.assignor import CooperativeRanges, Owned
from bufferproxy.log.kafka.kafka_python.fetcher import KafkaPythonFetcher
from bufferproxy.log.kafka.kafka_python.member import KafkaPythonMember
from bufferproxy.log.kafka.kafka_python.sender import KafkaPythonSender
from bufferproxy.log.kafka.kafka_python.settings import Clients


class KafkaPython(Engine):
    name = "kafka-python"

    def __init__(self, clients: Clients) -> None:
        self.version = kafka.__version__
        self._clients = clients
        self.session = clients.session

    def sender(self, landed: Landed) -> SendClient:
        producer, net = self._clients.producer()
        return KafkaPythonSender(producer, net.cluster, landed)

    def member(self, group: str, listener: GroupListener) -> GroupClient:
        owned = Owned()
        consumer, net = self._clients.member(group, CooperativeRanges(owned))
        return KafkaPythonMember(consumer, net, owned, listener, self._clients.session)

    def fetcher(self, *, wait: float) -> FetchClient:
        consumer, net = self._clients.fetcher(wait)
        return KafkaPythonFetcher(consumer, net.cluster)
