"""Topics through the admin client: made, described, measured, trimmed. Everything here blocks."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from kafka import TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, OffsetSpec
from kafka.errors import (
    AuthorizationError,
    KafkaError,
    NodeNotReadyError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)

from bufferproxy.errors import LogError, LogUnavailable, LogUnusable
from bufferproxy.log.contract import Topic
from bufferproxy.log.kafka.asked import Commit, apart
from bufferproxy.log.kafka.engine import Failure
from bufferproxy.log.kafka.kafka_python.errors import ours
from bufferproxy.log.kafka.terms import Found, differences, settings_of
from bufferproxy.records import Partition

logger = logging.getLogger(__name__)


class Topics:
    """On one admin client, which may be used from several threads. `make` makes it, and another one after its
    I/O loop has crashed: that one answers nothing any more."""

    def __init__(self, make: Callable[[], Any], replication: int) -> None:
        self.counts: dict[str, int] = {}
        """Partitions of each topic that was found or made."""
        self.denied: set[str] = set()
        """Topics that we may not DESCRIBE: whether they exist is not known."""
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
        """Makes what is missing. Returns how many partitions each has, or should have where it is denied.
        Raises LogUnusable, LogUnavailable."""
        with self._asking("looking at topics"):
            found = self.partitions([topic.name for topic in topics])
            for topic in topics:
                if topic.name in self.denied:
                    self.counts[topic.name] = found[topic.name] = topic.partitions
            missing = [topic for topic in topics if topic.name not in found]
            if not missing:
                return found
            names = ", ".join(topic.name for topic in missing)
            if not create:
                raise LogUnusable(f"missing topics: {names}; make them with `bufferproxy topics create`")
            self._create(missing)
            self._admin.wait_for_topics([topic.name for topic in missing])
            # Another broker than the one that was waited for may be asked, and not know of them yet.
            made = {topic.name: topic.partitions for topic in missing}
            return {**made, **self.partitions([topic.name for topic in topics])}

    def learn(self, names: Sequence[str]) -> None:
        """How many partitions these have, into `counts`; none: it does not exist. Raises LogUnavailable."""
        with self._asking("looking at topics"):
            found = self.partitions(names)
        self.counts.update({name: 0 for name in names if name not in found})

    def partitions(self, names: Sequence[str]) -> dict[str, int]:
        """How many partitions each has, of those that exist."""
        described = self._admin.describe_topics(list(names)) if names else ()
        found = {t["name"]: len(t["partitions"]) for t in described if t["error_code"] == 0}
        denied = {t["name"] for t in described if t["error_code"] == TopicAuthorizationFailedError.errno}
        self.denied = (self.denied - found.keys()) | denied
        self.counts.update(found)
        return found

    def _create(self, topics: Sequence[Topic]) -> None:
        """All in one request; one by one where one of them is refused, so that it can be named."""
        wanted = {
            topic.name: {
                "num_partitions": topic.partitions,
                "replication_factor": self._replication,
                "configs": {n: str(value) for n, value in settings_of(topic, self._replication).items()},
            }
            for topic in topics
        }
        try:
            self._admin.create_topics(wanted)
        except KafkaError as error:
            if len(topics) > 1 and not isinstance(error, NodeNotReadyError):
                for topic in topics:
                    self._create([topic])
                return
            if isinstance(error, TopicAlreadyExistsError):  # another replica was faster
                return
            if getattr(error, "retriable", False):
                raise
            name = topics[0].name
            if isinstance(error, AuthorizationError):
                raise LogUnusable(
                    f"topic {name} is missing, and we are not authorized to make it (CREATE on the topic or "
                    "the cluster): grant that, or make it with `bufferproxy topics create` as an admin"
                ) from error
            raise LogUnusable(f"topic {name} cannot be made: {error}") from error

    def found(self, topics: Sequence[Topic], *, whole: bool = True) -> dict[str, Found]:
        """Those that exist, as they are. `whole`: raises LogUnavailable also when the settings of one are not
        to be seen: it was made a moment ago, or we are not authorized (the library does not say which)."""
        with self._asking("describing topics"):
            described = self._admin.describe_topics([topic.name for topic in topics])
            partitions = {t["name"]: t["partitions"] for t in described if t["error_code"] == 0}
            resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in partitions]
            configs = self._admin.describe_configs(resources, config_filter="all") if resources else {}
            seen = {
                name: settings
                for name, settings in configs.get("topic", {}).items()
                if settings.get("max.message.bytes", {}).get("value")
            }
            if whole and (unseen := partitions.keys() - seen.keys()):
                raise UnknownTopicOrPartitionError(", ".join(unseen))
        return {
            name: Found(
                len(partitions[name]),
                min((len(each["replica_nodes"]) for each in partitions[name]), default=0),
                {key: entry["value"] for key, entry in settings.items()},
            )
            for name, settings in seen.items()
        }

    def describe(self, topics: Sequence[Topic]) -> list[str]:
        """What is wrong with them, a line each. Empty: nothing. Raises LogUnavailable."""
        found = self.found(topics)
        problems = []
        for topic in topics:
            if topic.name in self.denied:
                problems.append(f"{topic.name}: not authorized to look at it (DESCRIBE on the topic)")
                continue
            if topic.name not in found:
                problems.append(f"{topic.name}: missing; make it with `bufferproxy topics create`")
                continue
            wrong = differences(topic, found[topic.name], self._replication)
            problems += [f"{topic.name}: {each.text}" for each in wrong]
        return problems

    # --- measure --------------------------------------------------------------------------------------------

    def committed(
        self, group: str, partitions: Collection[Partition]
    ) -> tuple[Mapping[Partition, Commit | None], Sequence[Failure]]:
        """What the group has committed in each; None: nothing."""

        def ask(some: Collection[Partition]) -> Mapping[Partition, Commit | None]:
            places = [TopicPartition(*partition) for partition in some]
            found = self._admin.list_group_offsets({group: places}).get(group, {})
            return {Partition(*place): _commit(found.get(place)) for place in places}

        with self._asking(f"what {group} has committed"):
            return apart(partitions, ask)

    def offsets(
        self, partitions: Collection[Partition], spec: OffsetSpec
    ) -> tuple[Mapping[Partition, int], Sequence[Failure]]:
        def ask(some: Collection[Partition]) -> Mapping[Partition, int]:
            places = {TopicPartition(*partition): spec for partition in some}
            found = self._admin.list_partition_offsets(places)
            return {Partition(*place): at.offset for place, at in found.items()}

        with self._asking("how far partitions go"):
            return apart(partitions, ask)

    def leaders(self, topics: Collection[str]) -> Mapping[Partition, int]:
        """The node of each partition's leader; -1: it has none."""
        with self._asking("who leads"):
            described = self._admin.describe_topics(list(topics))
        return {
            Partition(topic["name"], each["partition_index"]): each["leader_id"]
            for topic in described
            for each in topic["partitions"]
        }

    def sizes(self, names: Collection[str]) -> Mapping[Partition, int]:
        """Bytes on disk of each partition. Raises LogUnavailable."""
        with self._asking("how large partitions are"):
            return {Partition(*place): size for place, size in self._sizes(names).items()}

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


def _commit(found: Any) -> Commit | None:
    if found is None or found.offset < 0:
        return None
    # confluent-kafka counts the zero at the end of a C string in.
    return Commit(found.offset, (found.metadata or "").rstrip("\0"))
