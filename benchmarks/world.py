"""Processes of a benchmark, and what they cost."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.load import BODY
from bufferproxy import envelope, translate
from bufferproxy.clock import SystemClock
from bufferproxy.config.load import load
from bufferproxy.log.contract import Appended
from bufferproxy.log.open import open_log
from bufferproxy.records import Partition, Position
from bufferproxy.testing.ports import free_port
from bufferproxy.testing.processes import wait_until

TICK = os.sysconf("SC_CLK_TCK")


def cpu_of(pid: int) -> float:
    """CPU seconds a process has used, threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def rss_of(pid: int) -> float:
    """Resident memory in MB, now."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def wakeups_of(pid: int) -> int:
    """How often its threads have gone to sleep and were woken."""
    lines = [
        line
        for thread in Path(f"/proc/{pid}/task").iterdir()
        for line in (thread / "status").read_text().splitlines()
    ]
    return sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))


def ask(url: str, method: str = "GET") -> bytes:
    request = urllib.request.Request(url, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        data: bytes = answer.read()
        return data


@contextlib.contextmanager
def python(module: str, *arguments: object) -> Iterator[subprocess.Popen[bytes]]:
    """A module as a process, ended on the way out."""
    child = subprocess.Popen([sys.executable, "-m", module, *map(str, arguments)])
    try:
        yield child
    finally:
        child.kill()
        child.wait()


def told(module: str, *arguments: object) -> Mapping[str, Any]:
    """What a module prints as JSON."""
    done = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)], check=True, stdout=subprocess.PIPE
    )
    found: Mapping[str, Any] = json.loads(done.stdout)
    return found


@contextlib.contextmanager
def sink() -> Iterator[str]:
    """A running sink's URL."""
    port = free_port()
    with python("benchmarks.sink", port):
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: ask(f"{url}/_count"), "the sink")
        yield url


def settings(log: str, to: str, rate: str, prefix: str = "bufferproxy") -> str:
    """A configuration file's text. Nothing expires and nothing is refused while it is measured."""
    return f"""
log: {log}
kafka: {{replication: 1, prefix: {prefix}}}
services:
  default:
    to: {to}
    rate: {rate}
    concurrency: 64
    expire: 30d
    backlog: {{requests: 10000000, bytes: 100GiB, wait: 300d}}
"""


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="bufferproxy-bench-") as name:
        yield Path(name)


def preload(
    text: str,
    where: Path,
    count: int,
    *,
    skewed: bool = False,
    service: str = "default",
    body: bytes = BODY,
) -> None:
    """Put `count` accepted requests of a service into the log, as the proxy would, without one; `skewed`:
    four fifths of them into one partition."""
    file = where / "preload.yaml"
    file.write_text(text)
    here = Path.cwd()
    os.chdir(where)
    try:
        asyncio.run(_preload(str(file), count, skewed, service, body))
    finally:
        os.chdir(here)


async def _preload(file: str, count: int, skewed: bool, service: str, body: bytes) -> None:
    found = load(file).settings
    clock = SystemClock()
    log = await open_log(found, clock, None)
    try:
        await log.ensure(translate.topics(found), create=True)
        names = translate.names(found, service)
        partitions = log.partitions(names.requests)
        lines = (
            b"POST /x HTTP/1.1",
            b"Host: 127.0.0.1",
            b"Content-Type: application/json",
            b"Content-Length: %d" % len(body),
        )
        head = b"".join(line + b"\r\n" for line in lines)
        stored = 0
        most = min(5000, (16 << 20) // len(body))
        failed: list[object] = []
        moved = asyncio.Event()

        def done(result: Appended) -> None:
            nonlocal stored
            stored += 1
            if not isinstance(result, Position):
                failed.append(result)
            moved.set()

        for number in range(count):
            entry = envelope.accepted(
                key=None,
                head=head,
                body=body,
                accepted_at=int(clock.wall() * 1000),
                nonce=clock.nonce(),
                results=0,
            )
            place = 0 if skewed and number % 5 else number % partitions
            log.submit(Partition(names.requests, place), entry, done)
            while number - stored > most:
                moved.clear()
                await moved.wait()
        while stored < count:
            moved.clear()
            await moved.wait()
        assert not failed, failed[0]
    finally:
        await log.close()


def drained(url: str, count: int, patience: float = 300.0) -> tuple[float, list[float]]:
    """Waits until the sink has `count`; returns deliveries per second, first to last, and all stamps."""
    wait_until(
        lambda: int(ask(f"{url}/_count")) >= count, f"{count} deliveries", patience=patience, every=0.2
    )
    stamps = sorted(json.loads(ask(f"{url}/_stamps")))
    return (len(stamps) - 1) / max(1e-9, stamps[-1] - stamps[0]), stamps


def quiet(seconds: float = 1.0) -> None:
    """Let what just ended settle."""
    time.sleep(seconds)
