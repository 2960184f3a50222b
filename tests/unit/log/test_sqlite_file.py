"""What can be wrong with the file, and what the operator is told."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bufferproxy.errors import LogUnusable
from bufferproxy.log.contract import Keep, Topic
from bufferproxy.log.sqlite import SqliteLog, open_sqlite
from bufferproxy.records import Entry, Partition, Position

PARTITION = Partition("bufferproxy.auth.requests", 0)
TOPIC = Topic(PARTITION.topic, 1, Keep())


async def filled(path: Path, *values: bytes) -> SqliteLog:
    log = await open_sqlite(path)
    await log.ensure([TOPIC], create=True)
    for value in values:
        await log.append(PARTITION, Entry(b"key", value, (("name", b"value"),)))
    return log


async def test_a_second_opener_is_told_who_holds_the_file(tmp_path: Path) -> None:
    log = await filled(tmp_path / "log.db")
    with pytest.raises(LogUnusable, match=rf"log\.db is held by process {os.getpid()}"):
        await open_sqlite(tmp_path / "log.db")
    await log.close()
    await (await open_sqlite(tmp_path / "log.db")).close()


async def test_another_process_is_told_who_holds_the_file(tmp_path: Path) -> None:
    log = await filled(tmp_path / "log.db")
    script = (
        "import asyncio, pathlib, sys\n"
        "from bufferproxy.log.sqlite import open_sqlite\n"
        "asyncio.run(open_sqlite(pathlib.Path(sys.argv[1])))\n"
    )
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, str(tmp_path / "log.db"), stderr=subprocess.PIPE
    )
    _, stderr = await child.communicate()
    assert child.returncode == 1
    assert f"held by process {os.getpid()}" in stderr.decode()
    await log.close()


@pytest.mark.parametrize("link", [os.symlink, os.link])
async def test_a_link_is_no_way_into_a_file_that_is_held(
    tmp_path: Path, link: Callable[[Path, Path], None]
) -> None:
    log = await filled(tmp_path / "log.db")
    (tmp_path / "other").mkdir()
    link(tmp_path / "log.db", tmp_path / "other" / "name.db")
    with pytest.raises(LogUnusable, match=r"name\.db is held by"):
        await open_sqlite(tmp_path / "other" / "name.db")
    await log.close()


async def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    await (await filled(tmp_path / "log.db", b"kept")).close()
    with sqlite3.connect(tmp_path / "log.db") as connection:
        connection.execute("PRAGMA user_version=4")
    connection.close()
    with pytest.raises(LogUnusable, match=r"newer bufferproxy \(format 4, this one knows 3\)"):
        await open_sqlite(tmp_path / "log.db")


async def test_a_file_of_an_older_version_is_left_alone(tmp_path: Path) -> None:
    await (await filled(tmp_path / "log.db", b"kept")).close()
    with sqlite3.connect(tmp_path / "log.db") as connection:
        connection.execute("PRAGMA user_version=1")
    connection.close()
    before = (tmp_path / "log.db").read_bytes()
    with pytest.raises(LogUnusable, match=r"older bufferproxy \(format 1, this one knows 3\): drain it"):
        await open_sqlite(tmp_path / "log.db")
    assert (tmp_path / "log.db").read_bytes() == before


async def test_a_file_of_format_2_is_read_and_becomes_one_of_format_3(tmp_path: Path) -> None:
    await (await filled(tmp_path / "log.db", b"kept")).close()
    with sqlite3.connect(tmp_path / "log.db") as connection:
        connection.execute("PRAGMA user_version=2")
    connection.close()
    log = await open_sqlite(tmp_path / "log.db")
    assert [record.value for record in await log.read(Position(PARTITION, 0), 9)] == [b"kept"]
    await log.close()
    with sqlite3.connect(tmp_path / "log.db") as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (3,)
    connection.close()


async def test_a_topic_has_no_table_before_its_first_record(tmp_path: Path) -> None:
    def tables() -> set[str]:
        with sqlite3.connect(tmp_path / "log.db") as connection:
            names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        connection.close()
        return {name for name in names if name.startswith(("batches_", "records_"))}

    log = await open_sqlite(tmp_path / "log.db")
    await log.ensure([TOPIC], create=True)
    assert tables() == set()
    assert await log.read(Position(PARTITION, 0), 9) == []
    assert (await log.lag("g", [TOPIC.name]))[PARTITION].records == 0
    await log.append(PARTITION, Entry(None, b"first", ()))
    assert len(tables()) == 1
    assert [record.value for record in await log.read(Position(PARTITION, 0), 9)] == [b"first"]
    await log.close()


@pytest.mark.parametrize("version", [0, 1])
async def test_a_database_of_something_else_is_left_alone(tmp_path: Path, version: int) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE contacts (name)")
        connection.execute(f"PRAGMA user_version={version}")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(LogUnusable, match="something else"):
        await open_sqlite(path)
    assert path.read_bytes() == before


async def test_a_file_that_is_no_database_is_reported_with_the_mend(tmp_path: Path) -> None:
    (tmp_path / "log.db").write_bytes(b"once upon a time " * 1000)
    with pytest.raises(LogUnusable, match=r"log\.db is damaged .*move it away"):
        await open_sqlite(tmp_path / "log.db")


async def test_a_folder_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LogUnusable, match="cannot open"):
        await open_sqlite(tmp_path / "file" / "log.db")


async def test_only_the_owner_can_read_what_callers_sent(tmp_path: Path) -> None:
    log = await filled(tmp_path / "data" / "log.db", b"secret")
    for file in (tmp_path / "data").iterdir():
        if file.name != "log.db-shm":
            assert file.stat().st_mode & 0o077 == 0, file
    await log.close()


async def test_an_interrupted_creation_is_finished_by_the_next_start(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "log.db")  # died after the first pragma
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
    log = await filled(tmp_path / "log.db", b"body")
    assert [record.value for record in await log.read(Position(PARTITION, 0), 10)] == [b"body"]
    await log.close()


async def test_a_record_that_changed_on_disk_is_named_and_never_returned(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    await (await filled(path, b"first", b"second-second", b"third")).close()
    content = path.read_bytes()
    assert content.count(b"second-second") == 1
    path.write_bytes(content.replace(b"second-second", b"second-sEcond"))
    log = await open_sqlite(path)
    with pytest.raises(
        LogUnusable, match=r"log\.db: record 1 of bufferproxy\.auth\.requests.*row 1 of table batches_1"
    ) as told:
        await log.read(Position(PARTITION, 0), 10)
    assert "partition 0" in str(told.value)
    assert [record.value for record in await log.read(Position(PARTITION, 2), 10)] == [b"third"]
    await log.close()


async def test_a_clean_close_leaves_one_file_and_the_lock(tmp_path: Path) -> None:
    await (await filled(tmp_path / "log.db", b"body")).close()
    assert sorted(os.listdir(tmp_path)) == ["log.db", "log.db.lock"]
