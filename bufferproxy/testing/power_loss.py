"""What a power loss may leave of a folder. Pure.

The model is a journalling file system that keeps what POSIX promises and hardly more:
1. What a sync covers is on the disk: of a file its bytes and its size, of a folder the names in it.
2. What was written since is on the disk or not, in any order. Each sector of 512 bytes is as it was after one
   of the writes to it, so a write to several may be torn between any two. Nothing changes but what was
   written (SQLite's "powersafe overwrite", https://www.sqlite.org/psow.html).
3. A size may be there without the bytes, and bytes without the size. What is missing within a size is zero,
   not what another file left there (ext4 with `data=ordered`, XFS).
4. A name that was made or removed since its folder was synced is there or not, each for itself. That a file
   was synced says nothing about its name.

ext4 and XFS keep more than 2 and 4 say, for one the order of names; what they do not keep in some of their
settings is in Pillai et al., "All File Systems Are Not Created Equal" (OSDI 2014). A disk that says it has
flushed and has not is in no model: nothing can be built on it.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from bufferproxy.testing.strace import Make, Operation, Remove, Resize, Say, Sync, Write

SECTOR = 512
ARRIVES = (0.0, 0.3, 0.7, 0.95, 1.0)
"""The part of what was not synced that arrives; one of them for each state."""
TORN = 0.2
"""The part of the writes to several sectors of which only some arrive."""

Names = Mapping[str, bytes | None]
"""Paths of files with their bytes, and of folders (None)."""


class State(NamedTuple):
    """What is found when the power is back."""

    seed: int
    point: int
    """So many operations had been done."""
    fates: Mapping[str, int]
    """Of what was done and not synced."""
    said: Sequence[str]
    """By then, in this order."""
    names: Names

    def __str__(self) -> str:
        fates = ", ".join(f"{fate} {many}" for fate, many in sorted(self.fates.items()))
        return f"seed {self.seed}: after {self.point} operations; {fates or 'all synced'}"


def states(operations: Sequence[Operation], seeds: Iterable[int]) -> Iterator[State]:
    """One for each seed, at a point of its own. The same seed makes the same of the same operations. They
    come in the order of their points, so that the operations are gone through once."""
    chances = {seed: random.Random(seed) for seed in seeds}
    points = sorted((chance.randint(0, len(operations)), seed) for seed, chance in chances.items())
    disk, done = Disk(), 0
    said: list[str] = []
    for point, seed in points:
        for number, operation in enumerate(operations[done:point], done):
            disk.take(number, operation)
            if isinstance(operation, Say):
                said.append(operation.text)
        done = point
        names, fates = disk.lose_power(chances[seed])
        yield State(seed, point, fates, tuple(said), names)


class _File:
    """What is on the disk for sure, and what was done since, by the numbers of the operations."""

    def __init__(self) -> None:
        self.synced = bytearray()
        self.pending: dict[int, Write | Resize] = {}

    def sync(self, since: int) -> None:
        for number in [number for number in self.pending if number < since]:
            _apply(self.synced, self.pending.pop(number))

    def left(self, chance: random.Random, arrives: float, fates: Counter[str]) -> bytes:
        now, disk, size = bytearray(self.synced), bytearray(self.synced), len(self.synced)
        for change in self.pending.values():
            _apply(now, change)
            if isinstance(change, Write):
                for sector in _arriving(change, chance, arrives, fates):
                    begin = sector * SECTOR
                    _apply(disk, Write("", begin, bytes(now[begin : begin + SECTOR])))
            if chance.random() < arrives:
                size = len(now)
                if isinstance(change, Resize):
                    del disk[size:]
        _apply(disk, Resize("", size))
        return bytes(disk)


def _apply(content: bytearray, change: Write | Resize) -> None:
    match change:
        case Write(_, offset, data):
            content.extend(bytes(max(0, offset - len(content))))
            content[offset : offset + len(data)] = data
        case Resize(_, size):
            del content[size:]
            content.extend(bytes(size - len(content)))


def _arriving(write: Write, chance: random.Random, arrives: float, fates: Counter[str]) -> Sequence[int]:
    """The sectors of it that reach the disk."""
    sectors = range(write.offset // SECTOR, (write.offset + len(write.data) - 1) // SECTOR + 1)
    if len(sectors) > 1 and chance.random() < TORN:
        fates["writes torn"] += 1
        return [sector for sector in sectors if chance.random() < 0.5]
    kept = chance.random() < arrives
    fates["writes kept" if kept else "writes lost"] += 1
    return sectors if kept else ()


_Nodes = dict[str, _File | None]
"""None: a folder."""


class _Naming(NamedTuple):
    """A name was given to a file or a folder, or taken away."""

    number: int
    path: str
    node: _File | None
    made: bool

    def apply(self, names: _Nodes) -> None:
        if self.made:
            names[self.path] = self.node
        else:
            names.pop(self.path, None)


class Disk:
    """The folder "." in the hands of the processes that work in it."""

    def __init__(self) -> None:
        self._names: _Nodes = {}
        self._synced: _Nodes = {}
        self._pending: list[_Naming] = []

    def take(self, number: int, operation: Operation) -> None:
        """Operations are numbered from 0 on."""
        match operation:
            case Make(path, folder):
                self._name(_Naming(number, path, None if folder else _File(), made=True))
            case Remove(path):
                self._name(_Naming(number, path, None, made=False))
            case Write(path) | Resize(path):
                node = self._names[path]
                assert node is not None, f"{path} is a folder"
                node.pending[number] = operation
            case Sync(path, since):
                node = self._names.get(path)
                if node is not None:
                    node.sync(since)
                else:
                    self._sync_names(path, since)
            case Say():
                pass

    def _name(self, naming: _Naming) -> None:
        naming.apply(self._names)
        self._pending.append(naming)

    def _sync_names(self, folder: str, since: int) -> None:
        covered = [n for n in self._pending if n.number < since and _folders_of(n.path)[0] == folder]
        for naming in covered:
            naming.apply(self._synced)
        self._pending = [naming for naming in self._pending if naming not in covered]

    def lose_power(self, chance: random.Random) -> tuple[Names, Mapping[str, int]]:
        """What is left, and what became of what was not synced. Changes nothing: it may go on."""
        fates: Counter[str] = Counter()
        arrives = chance.choice(ARRIVES)
        names = dict(self._synced)
        for naming in self._pending:
            kept = chance.random() < arrives
            fates["names kept" if kept else "names lost"] += 1
            if kept:
                naming.apply(names)
        reached = {path: node for path, node in names.items() if {*_folders_of(path)} <= {".", *names}}
        left = {path: node.left(chance, arrives, fates) if node else None for path, node in reached.items()}
        return left, fates


def _folders_of(path: str) -> Sequence[str]:
    """The one it lies in, and those above, up to "."."""
    return [str(folder) for folder in PurePosixPath(path).parents]
