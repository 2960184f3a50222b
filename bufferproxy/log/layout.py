"""What a service's backlog was written under. It decides where requests lie and in which order they go, so it
may not change while any of them wait. Kept in the topic `state`, one record a service."""

from __future__ import annotations

import asyncio
import json
from typing import NamedTuple

from bufferproxy.errors import AppendRefused, AppendUncertain, LogUnavailable, LogUnusable
from bufferproxy.log.contract import Log
from bufferproxy.log.topics import ServiceTopics
from bufferproxy.records import Entry, Partition

VERSION = 1
KEY = b"layout/"
"""Before the service's name, in the key of its record."""


class Layout(NamedTuple):
    """Of the requests of one service. `key` is as in the settings, empty where none is set."""

    order: str
    key: str
    partitions: int


class Unknown(NamedTuple):
    """What is stored cannot be read."""

    why: str


def encode(service: str, layout: Layout) -> Entry:
    value = json.dumps({"version": VERSION, **layout._asdict()}, separators=(",", ":"))
    return Entry(KEY + service.encode(), value.encode(), ())


def decode(value: bytes) -> Layout | Unknown:
    try:
        body = json.loads(value)
        if body["version"] != VERSION:
            return Unknown(f"version {body['version']!r}")
        return Layout(str(body["order"]), str(body["key"]), int(body["partitions"]))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        return Unknown(f"{type(error).__name__}: {error}")


def refusal(
    service: str, names: ServiceTopics, before: Layout | Unknown | None, now: Layout, waiting: int
) -> str:
    """Why a start cannot go on that finds `waiting` requests, accepted under `before` (None: not known, so as
    now); empty when it can."""
    if not waiting or before is None or before == now:
        return ""
    if isinstance(before, Unknown):
        told = f"services.{service}: {waiting} requests wait, and under what they were accepted"
        return f"{told} cannot be read ({before.why})"
    waited = f"{waiting} requests wait that were accepted"
    for name in ("order", "key"):
        was, is_ = getattr(before, name), getattr(now, name)
        if was != is_:
            back = f"set `{name}: {was}` again" if was else f"take `{name}` out again"
            return (
                f"services.{service}.{name}: {waited} with {_said(name, was)}, and now it is "
                f"{_said(name, is_)}: {back}, and drain first"
            )
    return (
        f"services.{service}: {waited} while {names.requests} had {before.partitions} partitions, and now "
        f"it has {now.partitions}: drain first, by `bufferproxy worker` alone"
    )


def _said(name: str, value: str) -> str:
    return f"`{name}: {value}`" if value else f"no `{name}`"


def unlike(service: str, names: ServiceTopics, wanted: int, found: int, waiting: int) -> str:
    """Why `kafka.partitions: wanted` is not what the topics have, which is `found`; empty when it is."""
    if wanted == found:
        return ""
    told = f"kafka.partitions: {wanted} is set, and {names.requests} has {found}"
    if waiting:
        return f"{told}, where {waiting} requests of {service} wait: set {found} again, and drain first"
    if wanted < found:
        return f"{told}: Kafka takes none away. Set {found} again, or another kafka.prefix"
    topics = ", ".join((*names.fresh, names.parked))
    return (
        f"{told}: nothing waits there, so stop all that use it and give {wanted} to {topics} (those that "
        f"exist; `kafka-topics.sh --alter --partitions {wanted}`), or set {found} again"
    )


class Layouts:
    """Of all services: `read` once at the start, `judge` each service, then `store` what has changed."""

    def __init__(self, log: Log, topic: str, *, partitions: int | None, accepts: bool) -> None:
        """`partitions`: as set for requests, None where it is not. `accepts`: this process appends requests;
        one that only drains does so where they lie, however many partitions there are now."""
        self._log = log
        self._place = Partition(topic, 0)
        self._partitions = partitions
        self._accepts = accepts
        self._stored: dict[str, Layout | Unknown] = {}
        self._changed: dict[str, Layout] = {}

    async def read(self) -> None:
        """Raises LogUnavailable."""
        lag = (await self._log.lag("", (self._place.topic,)))[self._place]
        async for page in self._log.pages(self._place, lag.start, lag.end):
            for record in page:
                if record.key is not None and record.key.startswith(KEY):
                    self._stored[record.key[len(KEY) :].decode()] = decode(record.value)

    def judge(self, service: str, names: ServiceTopics, order: str, key: str, waiting: int) -> None:
        """`waiting`: requests of the service that have not ended, wherever they lie. Raises LogUnusable."""
        found = self._log.partitions(names.requests)
        if order == "key" and (parked := self._log.partitions(names.parked)) != found:
            raise LogUnusable(
                f"services.{service}.order: key needs as many partitions in {names.parked}, which has "
                f"{parked}, as in {names.requests}, which has {found}: give it as many, or delete it while "
                "it is empty"
            )
        before, now = self._stored.get(service), Layout(order, key, found)
        if self._partitions is not None and (why := unlike(service, names, self._partitions, found, waiting)):
            raise LogUnusable(why)
        same = before._replace(partitions=found) if isinstance(before, Layout) else before
        if why := refusal(service, names, before if self._accepts else same, now, waiting):
            raise LogUnusable(why)
        if before != now and (before is None or not waiting):
            self._changed[service] = now

    async def store(self) -> None:
        """All that changed, at once. Raises LogUnavailable: the next call tries again what is missing."""
        changed = list(self._changed.items())
        stored = await asyncio.gather(
            *(self._log.append(self._place, encode(*each)) for each in changed), return_exceptions=True
        )
        for (service, _), outcome in zip(changed, stored, strict=True):
            if isinstance(outcome, AppendRefused | AppendUncertain):
                raise LogUnavailable(f"the layout of {service} could not be stored: {outcome}") from outcome
            if isinstance(outcome, BaseException):
                raise outcome
            del self._changed[service]

    def __repr__(self) -> str:
        return f"<Layouts of {list(self._stored)}, changed {list(self._changed)}>"
