"""What processes did to the files of one folder, from what strace wrote about them. Pure.

A call stands where it returned, for then it had been done; a sync covers what had returned when it began.
strace holds a thread until it has written down what that thread did, so what one thread did because of
another comes after it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

CALLS = (
    "?open,?openat,?openat2,?creat,?truncate,?ftruncate,?fallocate,?mmap,"
    "?write,?writev,?pwrite64,?pwritev,?pwritev2,?sendfile,?splice,?copy_file_range,"
    "?fsync,?fdatasync,?sync_file_range,?msync,"
    "?link,?linkat,?symlink,?symlinkat,?unlink,?unlinkat,?rename,?renameat,?renameat2,?mkdir,?mkdirat,?rmdir"
)
"""Whatever changes files or names or makes that durable, and is there. Not all of it is understood."""

COMMAND = (
    "strace",
    "-f",
    "-y",
    "-xx",
    "-qq",
    "-s",
    str(1 << 20),
    "-e",
    "signal=none",
    "-e",
    f"trace={CALLS}",
)
"""What goes before the traced command, with `-o FILE` between."""

MEMORY = "-shm"
"""How the names of files end that only share memory: whoever opens the database first makes them anew."""


class Make(NamedTuple):
    path: str
    folder: bool


class Remove(NamedTuple):
    path: str


class Write(NamedTuple):
    path: str
    offset: int
    data: bytes


class Resize(NamedTuple):
    path: str
    size: int


class Sync(NamedTuple):
    """Of a file, or of the names in a folder. It covers the first `since` operations."""

    path: str
    since: int


class Say(NamedTuple):
    """A line on standard output."""

    text: str


Change = Make | Remove | Write | Resize | Sync
Operation = Change | Say


class NotUnderstood(Exception):
    """A call that may have changed the folder. Left out, it would make up states that never were."""


def operations(lines: Iterable[str], root: str) -> Sequence[Operation]:
    """What was done to the folder `root`, which was empty, and what was said. Paths are relative to
    `root`, which is "."; `root` itself, and what the processes opened, is absolute and without links."""
    trace = _Trace(root)
    for line in lines:
        trace.take(line.rstrip("\n"))
    return trace.found


_CALL = re.compile(r"(\w+)\((.*)\) += (.+)")
_BYTES = r"((?:\\x[0-9a-f]{2})*)"
_TEXT = re.compile(rf'"{_BYTES}"')
_OPEN = re.compile(rf"\d+<{_BYTES}>")


class _Trace:
    def __init__(self, root: str) -> None:
        self.found: list[Operation] = []
        self._root = root
        self._escaped = "".join(f"\\x{byte:02x}" for byte in root.encode())
        self._begun: dict[str, tuple[str, int]] = {}
        self._names: set[str] = set()

    def take(self, line: str) -> None:
        thread, text = line.split(maxsplit=1)
        since = len(self.found)
        if text.endswith("<unfinished ...>"):
            self._begun[thread] = text.removesuffix("<unfinished ...>").rstrip(), since
            return
        if text.startswith("<... "):
            begin, since = self._begun.pop(thread)
            text = begin + text.partition(" resumed>")[2]
        call = _CALL.fullmatch(text)
        if call is None:
            raise _not_understood(line)
        name, arguments, result = call[1], call[2].split(", "), call[3]
        if name == "write" and arguments[0].startswith("1<"):
            if result != "?":  # killed in it: nobody heard
                self.found.append(Say(_bytes(arguments[1]).decode().rstrip("\n")))
        elif self._escaped in text and not result.startswith("-1 "):
            operation = self._operation(name, arguments, result, since)
            if operation is not None and not operation.path.endswith(MEMORY):
                self.found.append(operation)

    def _operation(self, name: str, arguments: Sequence[str], result: str, since: int) -> Change | None:
        match name, arguments:
            case "open" | "openat", _:
                return self._opened(self._at(result), " ".join(arguments))
            case "mkdir", [path, _] if result == "0":
                return Make(self._within(_bytes(path)), folder=True)
            case "unlink", [path] if result == "0":
                self._names.discard(self._within(_bytes(path)))
                return Remove(self._within(_bytes(path)))
            case "pwrite64", [file, data, _, offset] if result.isdigit():
                return Write(self._at(file), int(offset), _bytes(data)[: int(result)])
            case "ftruncate", [file, size] if result == "0":
                return Resize(self._at(file), int(size))
            case "fsync" | "fdatasync", [file] if result == "0":
                return Sync(self._at(file), since)
            case "fsync" | "fdatasync", [_] if result == "?":  # killed in it: nobody knows that it was done
                return None
            case "mmap", [_, _, _, _, file, _] if self._at(file).endswith(MEMORY):
                return None
            case _:
                raise _not_understood(f"{name}({', '.join(arguments)}) = {result}")

    def _opened(self, path: str, arguments: str) -> Make | None:
        if "O_TRUNC" in arguments:
            raise NotUnderstood(f"{path} was emptied when it was opened")
        if "O_CREAT" not in arguments or path in self._names:
            return None
        self._names.add(path)
        return Make(path, folder=False)

    def _at(self, descriptor: str) -> str:
        found = _OPEN.fullmatch(descriptor)
        if found is None:  # also of a file that was removed
            raise _not_understood(descriptor)
        return self._within(_unescaped(found[1]))

    def _within(self, absolute: bytes) -> str:
        path = absolute.decode()
        if path == self._root:
            return "."
        if not path.startswith(self._root + "/"):
            raise NotUnderstood(f"{path} is not in {self._root}")
        return path.removeprefix(self._root + "/")


def _bytes(text: str) -> bytes:
    found = _TEXT.fullmatch(text)
    if found is None:
        raise _not_understood(text)
    return _unescaped(found[1])


def _unescaped(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


def _not_understood(text: str) -> NotUnderstood:
    return NotUnderstood(text if len(text) < 1000 else f"{text[:500]} ... {text[-500:]}")
