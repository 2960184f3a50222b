from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from bufferproxy.clock import SystemClock
from bufferproxy.config.settings import Settings
from bufferproxy.records import Partition
from bufferproxy.results.open import open_index
from bufferproxy.results.tables import SCHEMA

OF_VERSION_1 = f"""
    CREATE TABLE places (number INTEGER PRIMARY KEY, topic TEXT, partition INTEGER, next INTEGER);
    INSERT INTO places VALUES (1, 'p.a.results', 0, 77);
    CREATE TABLE rows (id TEXT PRIMARY KEY);
    PRAGMA application_id={SCHEMA.application};
"""
READ = {Partition("p.a.results", 0): 5}


def settings_in(folder: Path) -> Settings:
    return Settings.model_validate({"log": f"sqlite:{folder}/log.db", "services": {"a": {"to": "http://s"}}})


def made(path: Path, script: str) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(script)
    connection.close()


async def test_an_index_is_kept(tmp_path: Path) -> None:
    index = await open_index(settings_in(tmp_path), SystemClock())
    index.put([], [], READ)
    await index.close()
    index = await open_index(settings_in(tmp_path), SystemClock())
    assert await index.offsets() == READ
    await index.close()


async def test_one_of_an_older_format_is_made_anew_in_its_place(tmp_path: Path) -> None:
    made(tmp_path / "log.index.db", OF_VERSION_1 + "PRAGMA user_version=1;")
    for expected in ({}, READ):
        index = await open_index(settings_in(tmp_path), SystemClock())
        assert await index.offsets() == expected
        index.put([], [], READ)
        await index.close()


@pytest.mark.parametrize("script", [OF_VERSION_1 + "PRAGMA user_version=99;", "CREATE TABLE others (a);"])
async def test_one_that_is_newer_or_not_ours_is_left_alone(
    tmp_path: Path, script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made(tmp_path / "log.index.db", script)
    before = (tmp_path / "log.index.db").read_bytes()
    index = await open_index(settings_in(tmp_path), SystemClock())
    assert await index.offsets() == {}
    await index.close()
    assert (tmp_path / "log.index.db").read_bytes()[100:] == before[100:]


async def test_one_that_is_held_or_damaged_does_not_stop_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "log.index.db").write_bytes(b"damage" * 4096)
    first = await open_index(settings_in(tmp_path), SystemClock())
    await first.close()
    (tmp_path / "log.index.db").unlink()
    first = await open_index(settings_in(tmp_path), SystemClock())
    second = await open_index(settings_in(tmp_path), SystemClock())
    for index in (first, second):
        assert await index.offsets() == {}
        await index.close()
