"""Which topics and partitions the file has, and what groups have committed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bufferproxy.database import Connection, Schema
from bufferproxy.errors import LogUnusable
from bufferproxy.log.contract import Topic
from bufferproxy.log.sqlite.batch_table import BatchTable
from bufferproxy.log.sqlite.row_table import RowTable
from bufferproxy.log.sqlite.tables import Edge, Table
from bufferproxy.records import Partition

SCHEMA = Schema(
    application=0x62756670,  # "bufp"
    version=3,
    oldest=2,
    script=Path(__file__).with_name("schema.sql").read_text(encoding="utf-8"),
)


def load(connection: Connection) -> tuple[int, list[Table], dict[tuple[str, Partition], tuple[int, str]]]:
    """This time's incarnation, all tables, and what every group has committed."""
    connection.execute("UPDATE incarnations SET number = number + 1")
    (incarnation,) = connection.execute("SELECT number FROM incarnations").fetchone()
    tables: dict[int, Table] = {}
    for id_, name, compact, number, start, total in connection.execute(
        "SELECT partitions.id, name, compact, number, start, start_total"
        " FROM partitions JOIN topics ON topics.id = topic ORDER BY partitions.id"
    ):
        kind = RowTable if compact else BatchTable
        tables[id_] = kind(id_, Partition(name, number), Edge(start, total))
    made = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    for table in tables.values():
        if table.name in made:
            table.open(connection)
    committed = {
        (group, tables[id_].partition): (offset, marks)
        for group, id_, offset, marks in connection.execute(
            'SELECT "group", partition, next, marks FROM offsets'
        )
    }
    return incarnation, list(tables.values()), committed


def create(connection: Connection, topics: Iterable[Topic]) -> list[Table]:
    """Makes the topics that are missing; their tables come with their first records. Raises LogUnusable."""
    made: list[Table] = []
    known = dict(connection.execute("SELECT name, compact FROM topics"))
    for topic in topics:
        if topic.name not in known:
            made.extend(_create(connection, topic))
        elif topic.keep.compact and not known[topic.name]:
            raise LogUnusable(f"{topic.name} was made to keep every record: drain it, and use another file")
    return made


def _create(connection: Connection, topic: Topic) -> Iterable[Table]:
    cursor = connection.execute(
        "INSERT INTO topics (name, partitions, compact) VALUES (?, ?, ?)",
        (topic.name, topic.partitions, topic.keep.compact),
    )
    for number in range(topic.partitions):
        id_ = connection.execute(
            "INSERT INTO partitions (topic, number) VALUES (?, ?)", (cursor.lastrowid, number)
        ).lastrowid
        assert id_ is not None  # noqa: S101 - an INSERT has one
        partition = Partition(topic.name, number)
        yield (RowTable if topic.keep.compact else BatchTable)(id_, partition, Edge(0, 0))
