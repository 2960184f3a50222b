from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING

import pytest

from bufferproxy.database.file import hold
from bufferproxy.results.temporary import make_folder, remove_folder

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_the_folder_of_a_process_that_was_killed_is_removed_by_the_next(elsewhere: Path) -> None:
    dead, living = make_folder("bufferproxy-x-", "x.db"), make_folder("bufferproxy-x-", "x.db")
    hold(dead / "x.db").close()
    held = hold(living / "x.db")
    being_made = elsewhere / "bufferproxy-x-new"
    being_made.mkdir()
    third = make_folder("bufferproxy-x-", "x.db")
    assert {folder.name for folder in elsewhere.iterdir()} == {living.name, third.name, being_made.name}
    held.close()
    remove_folder(third)
    assert not third.exists()


def test_a_link_that_somebody_laid_there_is_not_followed(elsewhere: Path) -> None:
    trap, target = elsewhere / "bufferproxy-x-trap", elsewhere / "target"
    trap.mkdir()
    target.touch()
    os.symlink(target, trap / "x.db.lock")
    make_folder("bufferproxy-x-", "x.db")
    assert trap.exists()
