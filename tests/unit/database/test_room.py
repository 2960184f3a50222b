"""How much of the disk is left, by what the file and its write-ahead log take and will take."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bufferproxy.database import Connection, Schema
from bufferproxy.database.file import open_writer
from bufferproxy.database.room import ROOM_CHECK, ROOM_WRITTEN, Room
from bufferproxy.testing.clock import FakeClock

MIB = 1 << 20
SCHEMA = Schema(application=7, version=1, script="CREATE TABLE pieces (piece BLOB);")


class Disk:
    """So large, and the files of one folder are all that is on it."""

    def __init__(self, size: int) -> None:
        self.size = size

    def statvfs(self, folder: Path) -> os.statvfs_result:
        left = self.size - sum(file.stat().st_size for file in folder.iterdir() if file.suffix != ".db-shm")
        return os.statvfs_result((4096, 4096, 4096, left // 4096, left // 4096, 0, 0, 0, 0, 255))


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk(20 * MIB)
    monkeypatch.setattr(os, "statvfs", disk.statvfs)
    return disk


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    connection = open_writer(tmp_path / "a.db", SCHEMA)
    yield connection
    connection.close()


def write(connection: Connection, mebibytes: int) -> None:
    connection.executemany("INSERT INTO pieces VALUES (?)", [(bytes(MIB),) for _ in range(mebibytes)])


def cut(connection: Connection) -> None:
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()


def test_what_the_write_ahead_log_will_take_in_the_file_is_not_free(
    tmp_path: Path, disk: Disk, connection: Connection
) -> None:
    write(connection, 6)  # which take 6 more when they are copied
    assert disk.statvfs(tmp_path).f_bavail * 4096 > 13 * MIB
    assert Room(tmp_path / "a.db", 8 * MIB, FakeClock()).is_short(connection, lambda: None)
    assert not Room(tmp_path / "a.db", 8 * MIB, FakeClock()).is_short(connection, lambda: cut(connection))


def test_a_log_that_is_cut_gives_its_room_back(tmp_path: Path, disk: Disk, connection: Connection) -> None:
    clock = FakeClock()
    room = Room(tmp_path / "a.db", 8 * MIB, clock)
    write(connection, 11)
    assert not room.is_short(connection, lambda: cut(connection))
    write(connection, 3)
    clock.shift(ROOM_CHECK)
    assert room.is_short(connection, lambda: cut(connection))


def test_pages_that_the_file_does_not_use_are_free(
    tmp_path: Path, disk: Disk, connection: Connection
) -> None:
    clock = FakeClock()
    room = Room(tmp_path / "a.db", 8 * MIB, clock)
    write(connection, 13)
    assert room.is_short(connection, lambda: cut(connection))
    connection.execute("DELETE FROM pieces")
    clock.shift(ROOM_CHECK)
    assert not room.is_short(connection, lambda: cut(connection))


def test_a_look_holds_for_a_while_and_for_some_bytes(
    tmp_path: Path, disk: Disk, connection: Connection
) -> None:
    clock = FakeClock()
    room = Room(tmp_path / "a.db", 8 * MIB, clock)
    assert not room.is_short(connection, lambda: None)
    disk.size = 0
    clock.shift(ROOM_CHECK / 2)
    room.wrote(ROOM_WRITTEN - 1)
    assert not room.is_short(connection, lambda: None)
    room.wrote(1)
    assert room.is_short(connection, lambda: None)
    disk.size = 20 * MIB
    assert room.is_short(connection, lambda: None)
    clock.shift(2 * ROOM_CHECK)
    assert not room.is_short(connection, lambda: None)


def test_without_a_reserve_it_is_never_short_and_the_log_is_kept_short_all_the_same(
    tmp_path: Path, disk: Disk, connection: Connection
) -> None:
    disk.size = MIB
    cuts: list[None] = []
    assert not Room(tmp_path / "a.db", 0, FakeClock()).is_short(connection, lambda: cuts.append(None))
    assert cuts == [None]


def test_a_shortage_names_the_setting_and_both_numbers(
    tmp_path: Path, disk: Disk, connection: Connection
) -> None:
    room = Room(tmp_path / "a.db", 30 * MIB, FakeClock())
    assert room.is_short(connection, lambda: None)
    assert room.shortage.startswith("storage.reserve keeps 30MiB free for what was accepted, and 19 MiB of ")


def test_a_shortage_is_hopeless_when_the_file_could_not_end_it(
    tmp_path: Path, disk: Disk, connection: Connection
) -> None:
    write(connection, 13)
    for reserve, hopeless in ((12 * MIB, False), (19 * MIB, False), (21 * MIB, True)):
        room = Room(tmp_path / "a.db", reserve, FakeClock())
        assert room.is_short(connection, lambda: cut(connection))
        assert room.hopeless == hopeless


def test_what_an_overgrown_write_ahead_log_holds_counts_twice(
    tmp_path: Path, disk: Disk, connection: Connection
) -> None:
    disk.size = 200 * MIB
    clock = FakeClock()
    room = Room(tmp_path / "a.db", 100 * MIB, clock)
    assert not room.is_short(connection, lambda: None)
    room.overgrown = 101 * MIB
    clock.shift(ROOM_CHECK)
    assert room.is_short(connection, lambda: None)
    assert "101 MiB" in room.shortage
