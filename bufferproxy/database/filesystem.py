"""What a file lies on, as far as the system tells: a lock and a sync are worth what it makes of them."""

from __future__ import annotations

import errno
import os
from pathlib import Path

IN_MEMORY = frozenset({"tmpfs", "ramfs"})
"""Nothing outlives the machine there, synced or not."""

OVER_NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "glusterfs", "lustre", "fuse.sshfs", "fuse.glusterfs"}
)
"""Where locks are another machine's word, and SQLite's write-ahead log has no shared memory."""

_PROBE = bytes(64 << 10)
"""More than the page that had no room."""


def kind_of(path: Path) -> str:
    """The kind of file system, as in `mount`; empty where it is not known."""
    try:
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return kind_in(mounts, os.path.realpath(path))


def kind_in(mounts: str, path: str) -> str:
    """The same for an absolute path, by the text of `mountinfo`. Pure."""
    longest, kind = -1, ""
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) < 5 or not after:
            continue
        point = fields[4].encode().decode("unicode_escape") if "\\" in fields[4] else fields[4]
        inside = point == "/" or path == point or path.startswith(point + "/")
        if inside and len(point) >= longest:  # of two on one point the later covers the earlier
            longest, kind = len(point), after.split(" ", 1)[0]
    return kind


def has_no_room(beside: Path) -> bool:
    """Whether the system would not store 64 KiB more in the folder of this file: SQLite takes a quota that is
    used up for a fault of the disk."""
    probe = f"{beside}.probe"
    try:
        descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            return os.pwrite(descriptor, _PROBE, 0) < len(_PROBE)
        finally:
            os.close(descriptor)
            os.unlink(probe)
    except OSError as error:
        return error.errno in (errno.EDQUOT, errno.ENOSPC)
