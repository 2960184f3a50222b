"""Topics through the admin client: made, described, measured, trimmed. Everything here blocks."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from kafka import TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, OffsetSpec
from kafka.errors import KafkaError, TopicAlreadyExistsError, UnknownTopicOrPartitionError

from bufferproxy.errors import LogError, LogUnavailable, LogUnusable
from bufferproxy.log.contract import Lag, Topic
from bufferproxy.log.kafka.options import ours
from bufferproxy.log.kafka.terms import Found, differences, settings_of
from bufferproxy.records import Partition

logger = logging.getLogger(__name__)


class Topics:
    """On one admin client, which may be used from several threads. `make` makes it, and another one after its
    I/O loop has crashed: that one answers nothing any more."""

    def __init__(self, make: Callable[[], Any], replication: int) -> None:
        self._make = make
        self._replication = replication
        self._made: Any = None
        self._making = threading.Lock()
        self._closed = False

    def connect(self) -> None:
        """Raises LogUnavailable."""
        with self._asking("connecting"):
            pass

    @property
    def _admin(self) -> Any:
        with self._making:
            if self._closed:
                raise LogUnavailable("closed")
            if self._made is None:
                self._made = self._make()
            return self._made

    @contextmanager
    def _asking(self, doing: str) -> Iterator[None]:
        with ours(doing):
            admin = self._admin
            try:
                yield
            except Exception as error:
                if not isinstance(error, KafkaError | LogError):  # the crash of its loop, whatever that was
                    self._forget(admin)
                raise

    def _forget(self, admin: Any) -> None:
        with self._making:
            if admin is not self._made:  # another thread was faster
                return
            self._made = None
        try:
            admin.close()
        except Exception:
            logger.exception("an admin client did not close in order")

    # --- make and describe ----------------------------------------------------------------------------------

    def ensure(self, topics: Sequence[Topic], *, create: bool) -> dict[str, int]:
        """Makes what is missing. Returns how many partitions each has. Raises LogUnusable, LogUnavailable."""
        with self._asking("looking at topics"):
            found = self.partitions([topic.name for topic in topics])
            missing = [topic for topic in topics if topic.name not in found]
            if not missing:
                return found
            names = ", ".join(topic.name for topic in missing)
            if not create:
                raise LogUnusable(f"missing topics: {names}; make them with `bufferproxy topics create`")
            for topic in missing:
                self._create(topic)
            self._admin.wait_for_topics([topic.name for topic in missing])
            # Another broker than the one that was waited for may be asked, and not know of them yet.
            made = {topic.name: topic.partitions for topic in missing}
            return {**made, **self.partitions([topic.name for topic in topics])}

    def partitions(self, names: Sequence[str]) -> dict[str, int]:
        """How many partitions each has, of those that exist."""
        described = self._admin.describe_topics(list(names)) if names else ()
        return {t["name"]: len(t["partitions"]) for t in described if t["error_code"] == 0}

    def _create(self, topic: Topic) -> None:
        wanted = {
            "num_partitions": topic.partitions,
            "replication_factor": self._replication,
            "configs": {name: str(value) for name, value in settings_of(topic, self._replication).items()},
        }
        try:
            self._admin.create_topics({topic.name: wanted})
        except TopicAlreadyExistsError:  # another replica was faster
            return
        except KafkaError as error:
            if getattr(error, "retriable", False):
                raise
            raise LogUnusable(f"topic {topic.name} cannot be made: {error}") from error

    def found(self, topics: Sequence[Topic]) -> dict[str, Found]:
        """Those that exist, as they are. Raises LogUnavailable."""
        with self._asking("describing topics"):
            described = self._admin.describe_topics([topic.name for topic in topics])
            partitions = {t["name"]: t["partitions"] for t in described if t["error_code"] == 0}
            resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in partitions]
            configs = self._admin.describe_configs(resources, config_filter="all") if resources else {}
            for name, settings in configs.get("topic", {}).items():
                if not settings.get("max.message.bytes", {}).get("value"):
                    # Made a moment ago, and this broker has not heard of it: nothing of it would be true.
                    raise UnknownTopicOrPartitionError(name)
        return {
            name: Found(
                len(partitions[name]),
                min((len(each["replica_nodes"]) for each in partitions[name]), default=0),
                {key: entry["value"] for key, entry in settings.items()},
            )
            for name, settings in configs.get("topic", {}).items()
        }

    def describe(self, topics: Sequence[Topic]) -> list[str]:
        """What is wrong with them, a line each. Empty: nothing. Raises LogUnavailable."""
        found = self.found(topics)
        problems = []
        for topic in topics:
            if topic.name not in found:
                problems.append(f"{topic.name}: missing; make it with `bufferproxy topics create`")
                continue
            wrong = differences(topic, found[topic.name], self._replication)
            problems += [f"{topic.name}: {each.text}" for each in wrong]
        return problems

    # --- measure --------------------------------------------------------------------------------------------

    def lag(self, group: str, names: Sequence[str]) -> dict[Partition, Lag]:
        """As LogInspector.lag."""
        with self._asking("measuring the lag"):
            places = [
                TopicPartition(name, number)
                for name, count in self.partitions(names).items()
                for number in range(count)
            ]
            if not places:
                return {}
            # Before the ends: so a commit beyond one is of records that Kafka has lost, as in reader.py.
            committed = self._admin.list_group_offsets({group: places}).get(group, {})
            starts = self._admin.list_partition_offsets(dict.fromkeys(places, OffsetSpec.EARLIEST))
            ends = self._admin.list_partition_offsets(dict.fromkeys(places, OffsetSpec.LATEST))
            sizes = self._sizes({place.topic for place in places})
        lags = {}
        for place in places:
            start, end = starts[place].offset, ends[place].offset
            found = committed.get(place)
            at = found.offset if found is not None and start <= found.offset <= end else start
            # Of the bytes on disk, the share that is not settled: batches differ, so it is an estimate.
            share = (end - at) / (end - start) if end > start else 0.0
            lag = Lag(start, at, end, end - at, int(sizes.get(place, 0) * share))
            marks = found.metadata if found is not None and found.offset == at else None
            lags[Partition(*place)] = lag.without(marks or "")
        return lags

    def ends(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        """The next offset to be written of each."""
        if not partitions:
            return {}
        with self._asking("asking for ends"):
            places = {TopicPartition(*partition): OffsetSpec.LATEST for partition in partitions}
            found = self._admin.list_partition_offsets(places)
        return {Partition(*place): at.offset for place, at in found.items()}

    def _sizes(self, names: Collection[str]) -> dict[TopicPartition, int]:
        """Bytes on disk, of the largest replica."""
        sizes: dict[TopicPartition, int] = {}
        for broker in self._admin.describe_log_dirs(list(names)):
            for directory in broker["log_dirs"]:
                for topic in directory["topics"]:
                    for partition in topic["partitions"]:
                        place = TopicPartition(topic["name"], partition["partition_index"])
                        sizes[place] = max(sizes.get(place, 0), partition["partition_size"])
        return sizes

    def ping(self) -> None:
        with self._asking("asking for the brokers"):
            self._admin.describe_cluster()

    # --- trim -----------------------------------------------------------------------------------------------

    def trim(self, settled: Mapping[Partition, int]) -> None:
        """Deletes the records below these offsets."""
        if settled:
            with self._asking("deleting settled records"):
                self._admin.delete_records({TopicPartition(*p): offset for p, offset in settled.items()})

    def close(self) -> None:
        with self._making:
            self._closed = True
            admin = self._made
        if admin is not None:
            self._forget(admin)
