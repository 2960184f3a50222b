"""Indexes made elsewhere when their place is taken: in a folder of this process, removed at its end.

What a process that was killed has left is removed by the next one.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path


def make_folder(prefix: str, name: str) -> Path:
    """A folder for the database file `name`. Those of processes that were killed are removed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        if _abandoned(folder / f"{name}.lock"):
            remove_folder(folder)
    return Path(tempfile.mkdtemp(prefix=prefix))


def remove_folder(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def _abandoned(lock: Path) -> bool:
    """It is ours, and nobody holds it (`database/file.py`). Without a lock it is being made just now."""
    try:
        if lock.lstat().st_uid != os.geteuid():
            return False
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(descriptor)
