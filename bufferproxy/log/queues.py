"""What must hold of a service's topics of requests before anything of it is accepted or drained."""

from __future__ import annotations

from collections.abc import Sequence

from bufferproxy.errors import LogUnusable
from bufferproxy.log.contract import Log
from bufferproxy.log.topics import ServiceTopics


async def check_queues(services: Sequence[ServiceTopics], log: Log) -> None:
    """Raises LogUnusable, or LogUnavailable while the log cannot tell.

    1. With priorities all three have as many partitions: a key has one number, and who holds that number of
       one of them holds it of all.
    2. Without, nothing is left in the two that are not read any more: it would wait for ever.
    """
    for names in services:
        if names.priorities:
            counts = {topic: log.partitions(topic) for topic in names.fresh}
            if len(set(counts.values())) > 1:
                told = ", ".join(f"{topic} has {count}" for topic, count in counts.items())
                raise LogUnusable(f"priorities need as many partitions for each: {told}")
    plain = {names.requests: names for names in services if not names.priorities}
    if not plain:
        return
    asked = {name: (names.group, (names.high, names.low)) for name, names in plain.items()}
    lags = await log.lags(asked)
    for name, names in plain.items():
        if name not in lags:
            continue  # not known now, which is a matter of this service: others begin meanwhile
        left = sum(lag.records for lag in lags[name].values())
        if left:
            raise LogUnusable(
                f"{left} requests wait in {names.high} and {names.low}, and only a service with `priority`"
                " reads these: set it again, and drain first"
            )
