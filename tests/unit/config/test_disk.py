"""What follows from the size of the disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from bufferproxy.config import load as loading
from bufferproxy.config.disk import Disk, disk_of, never_held, with_reserve
from bufferproxy.config.load import load
from bufferproxy.config.settings import Settings
from bufferproxy.config.show import rows

MIB = 1 << 20
GIB = 1 << 30


def settings(**more: object) -> Settings:
    return Settings.model_validate({"services": {"a": {"to": "http://a"}}, **more})


def said(disk: Disk | None, **more: object) -> list[str]:
    return list(never_held(settings(**more), disk))


@pytest.mark.parametrize(
    ("total", "reserve"),
    [(100 * GIB, 256 * MIB), (5 * GIB + 1, 256 * MIB), (100 * MIB, 5 * MIB), (24 * MIB, 1228 << 10)],
)
def test_the_reserve_is_256_mib_or_a_twentieth_of_a_small_disk(total: int, reserve: int) -> None:
    assert with_reserve(settings(), Disk("log.db", total)).storage.reserve == reserve


def test_a_reserve_that_was_set_stays() -> None:
    set_ = settings(storage={"reserve": "256MiB"})
    assert with_reserve(set_, Disk("log.db", MIB)).storage.reserve == 256 * MIB


def test_without_a_disk_to_ask_it_is_256_mib() -> None:
    assert with_reserve(settings(), None).storage.reserve == 256 * MIB


def test_the_resolved_settings_show_what_holds_on_this_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "disk_of", lambda _: Disk("log.db", 1000 * MIB))
    loaded = load(None, flags={"--to": "http://a"}, environ={})
    (row,) = [row for row in rows(loaded) if row.key == "storage.reserve"]
    assert (row.value, row.origin) == ("50MiB", "default")


def test_the_disk_of_a_file_that_is_not_there_yet_is_that_of_its_nearest_folder(tmp_path: Path) -> None:
    there = disk_of(settings(log=f"sqlite:{tmp_path}/log.db"))
    deeper = disk_of(settings(log=f"sqlite:{tmp_path}/not/yet/log.db"))
    assert there is not None
    assert deeper is not None
    assert there.total == deeper.total > 0


def test_a_reserve_of_more_than_the_disk_is_said_with_both_numbers() -> None:
    (line,) = said(Disk("/data/log.db", 200 * GIB), storage={"reserve": "300GiB"})
    assert line.startswith("storage.reserve: 300GiB is more than all of the disk of /data/log.db")
    assert "200 GiB" in line


def test_a_backlog_that_the_disk_cannot_hold_is_said_where_somebody_set_it() -> None:
    disk = Disk("/data/log.db", GIB)
    assert said(disk) == []
    (line,) = said(disk, services={"a": {"to": "http://a", "backlog": {"bytes": "2GiB"}}})
    assert line.startswith("services.a.backlog.bytes: 2GiB is more than")
    assert "768 MiB" in line


def test_a_backlog_smaller_than_the_default_body_is_said() -> None:
    (line,) = said(None, services={"a": {"to": "http://a", "backlog": {"bytes": "64KiB"}}})
    assert line.startswith("services.a.body: 1MiB is more than backlog.bytes (64KiB)")


def test_with_a_kafka_log_the_reserve_is_no_limit() -> None:
    assert said(Disk("index.db", GIB), log="kafka://a:9092", storage={"reserve": "2GiB"}) == []
