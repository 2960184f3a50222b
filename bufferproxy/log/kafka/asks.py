"""Fetch requests of one consumer. A fetch session names in each request only what has changed since the one
before. kafka-python finds that out by making a description of each partition anew and comparing them field
by field: half of what a fetch costs, with 24 partitions. Here what has not changed is the same object.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from kafka import TopicPartition
from kafka.consumer.fetcher import FetchRequestData, FetchSessionHandler, _FetchPartition
from kafka.protocol.consumer import FetchRequest

VERSION = 12
"""The newest that kafka-python's fetcher understands."""


class Asks:
    """`requests` stands in for the fetcher's `_create_fetch_requests`, on the I/O thread."""

    def __init__(self, fetcher: Any) -> None:
        self._fetcher = fetcher
        self._made: dict[TopicPartition, tuple[tuple[int, int, int], Any]] = {}

    def requests(self) -> dict[Any, tuple[Any, dict[TopicPartition, int]]]:
        """Node -> a request, and the offset in it of each partition. None for a node that has one."""
        fetcher, found = self._fetcher, {}
        if not fetcher._enable_incremental_fetch_sessions:
            return type(fetcher)._create_fetch_requests(fetcher)  # type: ignore[no-any-return]
        for node, partitions in self._by_node().items():
            session = fetcher._session_handlers.get(node)
            if session is None:
                session = fetcher._session_handlers[node] = Session(node)
            data, settings = session.build_next(partitions), fetcher.config
            request = FetchRequest(
                max_wait_ms=settings["fetch_max_wait_ms"],
                min_bytes=settings["fetch_min_bytes"],
                max_bytes=settings["fetch_max_bytes"],
                isolation_level=fetcher._isolation_level,
                session_id=data.id,
                session_epoch=data.epoch,
                topics=data.to_send,
                forgotten_topics_data=data.to_forget,
                rack_id=settings["client_rack"],
                min_version=FetchRequest.min_version_for_isolation_level(fetcher._isolation_level),
                max_version=VERSION,
            )
            found[node] = request, {place: each.fetch_offset for place, each in partitions.items()}
        return found

    def _by_node(self) -> dict[Any, OrderedDict[TopicPartition, Any]]:
        fetcher = self._fetcher
        assigned, cluster = fetcher._subscriptions.assignment, fetcher._manager.cluster
        found: dict[Any, OrderedDict[TopicPartition, Any]] = {}
        free: dict[Any, bool] = {}
        for place in fetcher._fetchable_partitions():
            node = fetcher._select_read_replica(place)
            if node is None or node == -1:
                cluster.request_update()
                continue
            if node not in free:
                free[node] = self._free(node)
            if free[node]:
                position, epoch = assigned[place].position, cluster.leader_epoch_for_partition(place)
                at = (position.offset, -1 if epoch is None else epoch, position.leader_epoch)
                found.setdefault(node, OrderedDict())[place] = self._partition(place, at)
        return found

    def _free(self, node: Any) -> bool:
        fetcher = self._fetcher
        return (
            node not in fetcher._nodes_with_pending_fetch_requests
            and fetcher._manager.connection_delay(node) <= 0
            and fetcher._client.throttle_delay(node) <= 0
        )

    def _partition(self, place: TopicPartition, at: tuple[int, int, int]) -> Any:
        made = self._made.get(place)
        if made is None or made[0] != at:
            made = self._made[place] = (
                at,
                _FetchPartition(
                    partition=place.partition,
                    current_leader_epoch=at[1],
                    fetch_offset=at[0],
                    last_fetched_epoch=at[2],
                    partition_max_bytes=self._fetcher.config["max_partition_fetch_bytes"],
                ),
            )
        return made[1]


class Session(FetchSessionHandler):  # type: ignore[misc]
    session_partitions: OrderedDict[TopicPartition, Any]

    def build_next(self, partitions: OrderedDict[TopicPartition, Any]) -> Any:
        if self.next_metadata.is_full:
            return super().build_next(partitions)
        before, self.session_partitions = self.session_partitions, partitions
        changed = OrderedDict((p, each) for p, each in partitions.items() if before.get(p) is not each)
        return FetchRequestData(changed, before.keys() - partitions.keys(), self.next_metadata)
