"""Settings -> an open log."""

from __future__ import annotations

from pathlib import Path

from bufferproxy.clock import Clock
from bufferproxy.config.addresses import KafkaLog, SqliteLog
from bufferproxy.config.settings import Settings
from bufferproxy.log.contract import Log


async def open_log(settings: Settings, clock: Clock, instance: str | None, *, shared: bool = False) -> Log:
    """`instance` names this replica among the members of its groups, when it has a name that lasts; `shared`:
    others on this host may have it too. Raises LogUnusable or LogUnavailable. A backend is imported when it
    is used."""
    match settings.log:
        case SqliteLog(path=path):
            from bufferproxy.log.sqlite.log import open_sqlite  # noqa: PLC0415

            return await open_sqlite(Path(path), clock=clock, reserve=settings.storage.reserve)
        case KafkaLog(brokers=brokers):
            from bufferproxy.log.kafka import KafkaOptions, open_kafka  # noqa: PLC0415

            kafka = settings.kafka
            options = KafkaOptions(
                client_id=f"{kafka.prefix}-{settings.worker.id}",
                instance_id=instance,
                shared=shared,
                client=kafka.client,
                replication=kafka.replication,
                security=kafka.security,
                options=kafka.options,
            )
            return await open_kafka(",".join(map(str, brokers)), clock, options)
