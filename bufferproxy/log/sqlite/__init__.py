"""The log in one SQLite file, for one process: where there is no Kafka."""

from bufferproxy.log.sqlite.log import SqliteLog, open_sqlite

__all__ = ["SqliteLog", "open_sqlite"]
