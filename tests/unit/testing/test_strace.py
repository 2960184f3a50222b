"""Lines of strace become what was done, and what is not understood is refused."""

from __future__ import annotations

import re

import pytest

from bufferproxy.testing.strace import (
    Make,
    NotUnderstood,
    Operation,
    Remove,
    Resize,
    Say,
    Sync,
    Write,
    operations,
)

ROOT = "/t/disk"
MADE = "1 openat(AT_FDCWD</t>, '/t/disk/a', O_RDWR|O_CREAT, 0600) = 3</t/disk/a>"


def done(*lines: str) -> list[Operation]:
    """Of lines as strace would write them without `-xx`: with '...' for strings."""
    return list(operations([_escaped(line) for line in lines], ROOT))


def _escaped(line: str) -> str:
    def escape(found: re.Match[str]) -> str:
        return found[1] + "".join(f"\\x{byte:02x}" for byte in found[2].encode("latin-1")) + found[3]

    return re.sub(r"(<)(/[^>]*)(>)", escape, re.sub(r"(')([^']*)(')", escape, line)).replace("'", '"')


@pytest.mark.parametrize(
    ("line", "operation"),
    [
        (MADE, Make("a", folder=False)),
        ("1 open('/t/disk/a', O_CREAT|O_RDWR, 0600) = 3</t/disk/a>", Make("a", folder=False)),
        ("1  mkdir('/t/disk/a/b', 0777) = 0", Make("a/b", folder=True)),
        ("1 pwrite64(3</t/disk/a>, 'ab\xff', 3, 512) = 3", Write("a", 512, b"ab\xff")),
        ("1 pwrite64(3</t/disk/a>, 'abc', 3, 0)     = 2", Write("a", 0, b"ab")),
        ("1 pwrite64(3</t/disk/a>, '), = 1, (', 9, 0) = 9", Write("a", 0, b"), = 1, (")),
        ("1 ftruncate(3</t/disk/a>, 7) = 0", Resize("a", 7)),
        ("1 fsync(3</t/disk>) = 0", Sync(".", 0)),
        ("1 fdatasync(3</t/disk/a>) = 0", Sync("a", 0)),
        ("1 unlink('/t/disk/a') = 0", Remove("a")),
        ("1 write(1</dev/null>, 'stored 7\n', 9) = 9", Say("stored 7")),
    ],
)
def test_a_call_is_an_operation(line: str, operation: Operation) -> None:
    assert done(line) == [operation]


@pytest.mark.parametrize(
    "line",
    [
        "1 openat(AT_FDCWD</t>, '/t/disk/a', O_RDWR) = 3</t/disk/a>",
        "1 openat(AT_FDCWD</t>, '/t/disk/a', O_RDWR|O_CREAT|O_EXCL, 0600) = -1 EEXIST (File exists)",
        "1 unlink('/t/disk/a') = -1 ENOENT (No such file or directory)",
        "1 pwrite64(3</t/other>, 'abc', 3, 0) = 3",
        "1 rename('/t/a', '/t/b') = 0",
        "1 write(2</dev/null>, 'oh', 2) = 2",
        "1 mmap(NULL, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f0000000000",
        "1 openat(AT_FDCWD</t>, '/t/disk/a-shm', O_RDWR|O_CREAT, 0600) = 3</t/disk/a-shm>",
        "1 pwrite64(3</t/disk/a-shm>, 'a', 1, 0) = 1",
        "1 mmap(NULL, 9, PROT_READ|PROT_WRITE, MAP_SHARED, 3</t/disk/a-shm>, 0) = 0x7f0000000000",
        "1 fdatasync(3</t/disk/a>) = ?",
        "1 write(1</dev/null>, 'stored 7\n', 9) = ?",
    ],
)
def test_what_failed_or_changed_nothing_that_lasts_is_left_out(line: str) -> None:
    assert done(line) == []


@pytest.mark.parametrize(
    "line",
    [
        "1 openat(AT_FDCWD</t>, '/t/disk/a', O_RDWR|O_CREAT|O_TRUNC, 0600) = 3</t/disk/a>",
        "1 write(3</t/disk/a>, 'abc', 3) = 3",
        "1 pwrite64(3</t/disk/a>, 'abc', 3, 0) = ?",
        "1 pwrite64(3</t/disk/a>, 'abc'..., 999, 0) = 999",
        "1 pwrite64(3</t/disk/a>(deleted), 'abc', 3, 0) = 3",
        "1 ftruncate(3</t/disk/a>, 7) = ?",
        "1 mmap(NULL, 9, PROT_READ|PROT_WRITE, MAP_SHARED, 3</t/disk/a>, 0) = 0x7f0000000000",
        "1 rename('/t/disk/a', '/t/disk/b') = 0",
        "1 mkdir('/t/disk-of-others', 0777) = 0",
        "1 strace: something is amiss",
    ],
)
def test_what_cannot_be_told_is_refused(line: str) -> None:
    with pytest.raises(NotUnderstood):
        done(line)


def test_a_file_is_made_once_and_again_after_it_was_removed() -> None:
    assert done(MADE, MADE, "1 unlink('/t/disk/a') = 0", MADE) == [
        Make("a", folder=False),
        Remove("a"),
        Make("a", folder=False),
    ]


def test_a_call_stands_where_it_returned_and_a_sync_covers_what_had_returned_when_it_began() -> None:
    assert done(
        "1 pwrite64(3</t/disk/a>, 'a', 1, 0) = 1",
        "1 pwrite64(3</t/disk/a>, 'b', 1, 1 <unfinished ...>",
        "2 fdatasync(3</t/disk/a> <unfinished ...>",
        "1 <... pwrite64 resumed>) = 1",
        "2 <... fdatasync resumed>) = 0",
        "1 write(1</dev/null>, 'stored\n', 7) = 7",
    ) == [Write("a", 0, b"a"), Write("a", 1, b"b"), Sync("a", 1), Say("stored")]


def test_who_is_killed_in_a_sync_has_not_synced() -> None:
    assert done(
        "1 pwrite64(3</t/disk/a>, 'a', 1, 0) = 1",
        "1 fdatasync(3</t/disk/a> <unfinished ...>",
        "2 futex(0x7f, FUTEX_WAIT <unfinished ...>",
        "1 <... fdatasync resumed>) = ?",
    ) == [Write("a", 0, b"a")]
