from __future__ import annotations

from pathlib import Path

import pytest

from bufferproxy.database.filesystem import kind_in, kind_of
from bufferproxy.log.sqlite.log import durability_on

MOUNTS = r"""
21 26 0:19 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
22 21 0:20 / /dev/shm rw,nosuid - tmpfs tmpfs rw
23 21 0:21 / /data rw - nfs4 server:/export rw
24 21 0:22 / /data/local rw - xfs /dev/sdb1 rw
25 21 0:23 / /with\040space rw - tmpfs tmpfs rw
26 21 0:24 / /twice rw - ext4 /dev/sdc1 rw
27 26 0:25 / /twice rw - tmpfs tmpfs rw
not a line of it
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/log.db", "ext4"),
        ("/dev/shm/log.db", "tmpfs"),
        ("/dev/shmem/log.db", "ext4"),
        ("/data/log.db", "nfs4"),
        ("/data/local/log.db", "xfs"),
        ("/with space/log.db", "tmpfs"),
        ("/twice/log.db", "tmpfs"),
    ],
)
def test_a_file_lies_on_what_is_mounted_nearest_to_it(path: str, kind: str) -> None:
    assert kind_in(MOUNTS, path) == kind


def test_what_cannot_be_read_is_not_known() -> None:
    assert kind_in("", "/x") == ""


def test_a_file_in_memory_is_not_said_to_be_fsynced(tmp_path: Path) -> None:
    shared = Path("/dev/shm")
    if kind_of(shared) != "tmpfs":
        pytest.skip("no tmpfs here")
    assert "memory only" in durability_on(shared / "log.db")
    assert "fsynced" not in durability_on(shared / "log.db")
