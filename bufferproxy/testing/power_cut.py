"""Records what is done to a SQLite log under strace, and shows what a power loss leaves of it.

    python -m bufferproxy.testing.power_cut FOLDER SEED

makes one state of the trace in FOLDER again (there it stays), and says what is wrong with it.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bufferproxy.testing.log_witness import complaints
from bufferproxy.testing.power_loss import Disk, Names, State, states
from bufferproxy.testing.strace import COMMAND, MEMORY, Make, Operation, Sync, operations

if TYPE_CHECKING:
    from collections.abc import Sequence

FILE = "data/log.db"
LIVES = (25, None, 12)
"""Processes, one after the other. The n-th sync of a thread kills all of it: what was written is not on the
disk then, and the next process finds it all the same. None: it ends by itself."""


def record(folder: Path, mutant: str = "") -> Sequence[Operation]:
    """What `busy_log` does to a new log, and says. The trace stays in `folder`, which is made."""
    folder = folder.resolve()
    (folder / "disk").mkdir(parents=True)
    for life, sync in enumerate(LIVES):
        kill = ("-e", f"inject=fdatasync,fsync:signal=KILL:when={sync}") if sync else ()
        strace = (*COMMAND, *kill, "-o", str(folder / f"trace.{life}"))
        busy = (sys.executable, "-m", "bufferproxy.testing.busy_log", str(folder / "disk" / FILE), str(life))
        command = [*strace, *busy, mutant] if mutant else [*strace, *busy]
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
        assert done.returncode == (-signal.SIGKILL if sync else 0), done
    found = read(folder)
    _compare(found, folder / "disk")
    return found


def read(folder: Path) -> Sequence[Operation]:
    """What was recorded in `folder`."""
    folder = folder.resolve()
    traces = [(folder / f"trace.{life}").read_text("ascii") for life in range(len(LIVES))]
    return operations("".join(traces).splitlines(), str(folder / "disk"))


def _compare(operations: Sequence[Operation], folder: Path) -> None:
    """Nothing was left out and nothing misunderstood: with all of it synced, it makes what is there now."""
    disk = Disk()
    names = {operation.path for operation in operations if isinstance(operation, Make)}
    everything = [Sync(path, len(operations)) for path in (".", *names)]
    for number, operation in enumerate([*operations, *everything]):
        disk.take(number, operation)
    made, _ = disk.lose_power(random.Random(0))
    there = {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
        if not path.name.endswith(MEMORY)
    }
    wrong = [path for path in {*there, *made} if path not in there or made.get(path, "") != there[path]]
    assert not wrong, f"the trace does not explain {wrong}"


def lay_out(names: Names, folder: Path) -> None:
    """Makes the files, in an empty folder."""
    folder.mkdir(parents=True)
    for path, content in sorted(names.items()):
        if content is None:
            (folder / path).mkdir()
        else:
            (folder / path).write_bytes(content)


async def judge(state: State, folder: Path) -> list[str]:
    """What is wrong with `state`, which is laid out in `folder`."""
    lay_out(state.names, folder)
    return await complaints(folder / FILE, state.said)


def main(folder: Path, seed: int) -> None:
    shutil.rmtree(folder / f"seed.{seed}", ignore_errors=True)
    (state,) = states(read(folder), [seed])
    print(state, *asyncio.run(judge(state, folder / f"seed.{seed}")), sep="\n")  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
