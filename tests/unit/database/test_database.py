from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import sys
from pathlib import Path

import pytest

from bufferproxy.database import Connection, Database, Schema, open_database
from bufferproxy.errors import LogUnavailable

SCHEMA = Schema(application=7, version=1, script="CREATE TABLE words (word TEXT UNIQUE);")


def add(word: str) -> object:
    return lambda connection: connection.execute("INSERT INTO words VALUES (?)", (word,)).rowcount


def words(connection: Connection) -> list[str]:
    return [word for (word,) in connection.execute("SELECT word FROM words ORDER BY word")]


async def opened(path: Path) -> Database:
    return await open_database(path / "words.db", SCHEMA)


async def test_what_a_call_wrote_is_read_and_kept(tmp_path: Path) -> None:
    database = await opened(tmp_path)
    assert await database.transact(add("one")) == 1  # type: ignore[arg-type]
    assert await database.read(words) == ["one"]
    await database.close()
    database = await opened(tmp_path)
    assert await database.read(words) == ["one"]
    await database.close()


async def test_every_folder_that_is_made_on_the_way_to_the_file_has_a_durable_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    sync = os.fsync

    def note(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    folder = tmp_path / "new" / "data"
    await (await opened(folder)).close()
    assert synced == [str(tmp_path), str(folder.parent), str(folder)]
    await (await opened(folder)).close()
    assert synced[3:] == [str(folder)]


async def test_a_call_that_fails_is_undone_and_harms_no_other(tmp_path: Path) -> None:
    database = await opened(tmp_path)

    def fail(connection: Connection) -> None:
        connection.execute("INSERT INTO words VALUES ('half done')")
        raise ValueError("no more")

    def blunder(connection: Connection) -> None:
        connection.execute("INSERT INTO sentences VALUES (1)")

    answers = await asyncio.gather(
        *[database.transact(call) for call in (add("a"), fail, add("a"), blunder, add("b"))],  # type: ignore[arg-type]
        return_exceptions=True,
    )
    assert [type(answer).__name__ for answer in answers] == [
        "int",
        "ValueError",
        "IntegrityError",
        "OperationalError",
        "int",
    ]
    assert await database.read(words) == ["a", "b"]
    await database.close()


async def test_who_no_longer_waits_harms_nobody(tmp_path: Path) -> None:
    database = await opened(tmp_path)
    waiting = asyncio.ensure_future(database.transact(add("one")))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    waiting.cancel()
    await database.transact(add("two"))  # type: ignore[arg-type]
    assert "two" in await database.read(words)
    await database.close()


async def test_reading_cannot_write(tmp_path: Path) -> None:
    database = await opened(tmp_path)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        await database.read(add("one"))  # type: ignore[arg-type]
    await database.close()


async def test_after_a_close_there_is_nothing_to_ask(tmp_path: Path) -> None:
    database = await opened(tmp_path)
    await database.close()
    await database.close()
    with pytest.raises(LogUnavailable):
        await database.transact(words)
    with pytest.raises(LogUnavailable):
        await database.read(words)


CHILD = """
import asyncio, os, pathlib, sys
from bufferproxy.errors import AppendUncertain
from bufferproxy.log.contract import Keep, Topic
from bufferproxy.log.sqlite import open_sqlite
from bufferproxy.records import Entry, Partition

async def main():
    log = await open_sqlite(pathlib.Path(sys.argv[1]))
    await log.ensure([Topic("t", 1, Keep())], create=True)
    for number in range(1000):
        await log.append(Partition("t", 0), Entry(None, b"%d" % number, ()))
        os.write(1, b"%d\\n" % number)

asyncio.run(main())
"""


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace makes the disk fail, and is not here")
@pytest.mark.parametrize("call", ["fdatasync", "pwrite64"])
async def test_a_failed_sync_or_write_ends_the_process_and_acknowledges_nothing(
    tmp_path: Path, call: str
) -> None:
    child = await asyncio.create_subprocess_exec(
        *("strace", "-f", "-qq", "-o", os.devnull, "-e", f"trace={call}"),
        *("-e", f"inject={call}:error=EIO:when=60+", sys.executable, "-c", CHILD, str(tmp_path / "log.db")),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await child.communicate()
    if b"ptrace" in err:
        pytest.skip(f"strace may not trace here: {err.decode().strip()}")
    assert child.returncode == 1, err.decode()
    acknowledged = [int(line) for line in out.splitlines()]
    assert acknowledged == list(range(len(acknowledged)))
    assert 0 < len(acknowledged) < 100
