"""The power goes at any moment while SQLite writes: from one trace of what it really did, many states of the
disk are made, and each is opened."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from bufferproxy.testing import power_cut
from bufferproxy.testing.power_loss import State, states
from bufferproxy.testing.strace import Operation, Remove, Resize, Say, Sync, Write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

pytestmark = [pytest.mark.acceptance, pytest.mark.usefixtures("strace")]

WAL = f"{power_cut.FILE}-wal"
PER_TRACE = 2000


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder in memory, where there is such a thing: what is looked at once need not wait for a disk."""
    shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="bufferproxy-power-", dir=shared) as folder:
        yield Path(folder)


class Tried(NamedTuple):
    count: int
    unsynced: int
    """States in which something was not on the disk, or in part, that had been done."""
    wrong: Sequence[tuple[State, Sequence[str]]]
    """States with complaints."""

    def __str__(self) -> str:
        return (
            f"{self.count} states, {self.unsynced} of them without all that was done: {len(self.wrong)} wrong"
        )


async def record(folder: Path, mutant: str = "") -> Sequence[Operation]:
    return await asyncio.to_thread(power_cut.record, folder, mutant)


async def try_all(operations: Sequence[Operation], seeds: Iterable[int], folder: Path) -> Tried:
    wrong: list[tuple[State, Sequence[str]]] = []
    count = unsynced = 0
    for state in states(operations, seeds):
        complaints = await power_cut.judge(state, folder)
        shutil.rmtree(folder)
        count += 1
        unsynced += any(fate.endswith(("lost", "torn")) for fate in state.fates)
        if complaints:
            wrong.append((state._replace(names={}), complaints))
    return Tried(count, unsynced, wrong)


async def test_whatever_a_power_loss_leaves_the_log_keeps_what_it_acknowledged(
    tmp_path: Path, memory: Path, times: Callable[[int, int], int], tell: Callable[[str], None]
) -> None:
    left = times(200, 20_000)
    while left > 0:
        trace = tmp_path / f"trace-{left}"
        operations = await record(trace)
        assert_much_happened(operations)
        count = min(left, PER_TRACE)
        tried = await try_all(operations, range(left - count, left), memory / "state")
        tell(f"power loss: {tried}, from {len(operations)} operations")
        assert not tried.wrong, explained(tried, trace)
        assert tried.unsynced > count / 2
        shutil.rmtree(trace)
        left -= count


def explained(tried: Tried, trace: Path) -> str:
    some = [line for state, complaints in tried.wrong[:5] for line in (str(state), *complaints[:5])]
    again = f"one of them again: python -m bufferproxy.testing.power_cut {trace} SEED"
    return "\n".join([str(tried), *some, again])


def assert_much_happened(operations: Sequence[Operation]) -> None:
    """Else there would be little to lose."""
    said = Counter(one.text.split()[0] for one in operations if isinstance(one, Say))
    assert said["stored"] > 300
    assert said["committed"] > 10
    copied = sum(isinstance(one, Sync) and one.path == power_cut.FILE for one in operations)
    assert copied > 20, "the write-ahead log is copied into the file"
    begun = sum(isinstance(one, Write) and one.path == WAL and one.offset == 0 for one in operations)
    assert begun > 20, "the write-ahead log is begun anew"
    sizes = [one.size for one in operations if isinstance(one, Resize) and one.path == power_cut.FILE]
    assert any(after < before for before, after in pairwise(sizes)), "what was trimmed is given back"
    assert Remove(WAL) in operations, "one life ended in order"


@pytest.mark.parametrize("mutant", ["acknowledge-before-flush", "acknowledge-before-sync"])
async def test_what_was_acknowledged_too_early_is_missed(
    tmp_path: Path, memory: Path, times: Callable[[int, int], int], tell: Callable[[str], None], mutant: str
) -> None:
    count = times(200, 2000)
    operations = await record(tmp_path / "trace", mutant)
    tried = await try_all(operations, range(count), memory / "state")
    tell(f"power loss, {mutant}: {tried}")
    assert len(tried.wrong) > count / 20
    # It has lost what came last, and nothing else.
    assert [one for _, complaints in tried.wrong for one in complaints if not one.endswith(": lost")] == []
