"""Real processes for acceptance tests: bufferproxy itself, and the recorder behind it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Collection
from pathlib import Path
from typing import Any, Self

from bufferproxy.testing.ports import free_port
from bufferproxy.testing.promises import Arrival

PATIENCE = 60.0
"""Seconds that any single wait may take before it is a failure."""


def get(url: str, *, timeout: float = 10.0) -> Any:
    """The JSON behind a URL. Raises OSError (HTTPError is one)."""
    with urllib.request.urlopen(url, timeout=timeout) as answer:
        return json.loads(answer.read())


def wait_until(done: Any, what: str, *, patience: float = PATIENCE, every: float = 0.05) -> Any:
    """Calls `done` until it returns something true, and returns that. OSError means not yet."""
    deadline = time.monotonic() + patience
    while True:
        try:
            found = done()
        except OSError:
            found = None
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {patience:g} s in vain for {what}")
        time.sleep(every)


class Process:
    """A child that is killed at the end, whatever happens. Its output goes to a file beside the data."""

    def __init__(self, arguments: list[str], folder: Path, name: str) -> None:
        self.arguments = arguments
        self.folder = folder
        self.name = name
        self.output = folder / f"{name}.out"
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._child is not None
        return self._child.pid

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    @property
    def code(self) -> int | None:
        """Its exit code; None while it runs, below 0 when a signal ended it."""
        return None if self._child is None else self._child.poll()

    def start(self) -> None:
        with self.output.open("ab") as output:
            self._child = subprocess.Popen(
                self.arguments, cwd=self.folder, stdout=output, stderr=output, stdin=subprocess.DEVNULL
            )

    def kill(self) -> None:
        """kill -9."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()

    def terminate(self, patience: float = PATIENCE) -> int:
        """SIGTERM, and its exit code."""
        assert self._child is not None
        self._child.terminate()
        return self._child.wait(patience)

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def await_end(self, patience: float = PATIENCE) -> int:
        """Its exit code, when it has ended by itself."""
        assert self._child is not None
        return self._child.wait(patience)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


class RecorderProcess(Process):
    """See recorder.py. `host`: each of 127.0.0.0/8 is an address of its own, with ports of its own."""

    def __init__(
        self, folder: Path, name: str = "recorder", *, host: str = "127.0.0.1", port: int | None = None
    ) -> None:
        self.host, self.port, self._control = host, port or free_port(), free_port()
        command = [sys.executable, "-m", "bufferproxy.testing.recorder"]
        super().__init__([*command, str(self.port), str(self._control), host], folder, name)

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def start(self) -> None:
        super().start()
        wait_until(lambda: self._ask("count") is not None, "the recorder to listen")

    def count(self) -> int:
        return int(self._ask("count"))

    def stalls(self) -> list[tuple[float, float]]:
        """When its loop stood still, and for how many seconds, since the last `forget`."""
        return [(at, seconds) for at, seconds in self._ask("stalls")]

    def arrivals(self) -> list[Arrival]:
        return [Arrival(*row) for row in self._ask("arrivals")]

    def mode(self, **mode: Any) -> None:
        """How it answers from now on: fields of recorder.Mode."""
        self._tell("mode", json.dumps(mode).encode())

    def forget(self) -> None:
        self._tell("forget")

    def down(self) -> None:
        """Nobody listens any more, and every connection is cut. What it knows it keeps."""
        self._tell("down")

    def up(self) -> None:
        self._tell("up")

    def await_count(self, count: int, patience: float = PATIENCE) -> None:
        """Until at least `count` arrived."""
        wait_until(lambda: self.count() >= count, f"{count} arrivals", patience=patience, every=0.1)

    def await_ids(self, ids: Collection[str], patience: float = PATIENCE) -> list[Arrival]:
        """Until all of `ids` arrived; all arrivals."""
        wanted = set(ids)

        def there() -> list[Arrival] | None:
            if self.count() < len(wanted):
                return None
            arrivals = self.arrivals()
            return arrivals if wanted <= {arrival.id for arrival in arrivals} else None

        found: list[Arrival] = wait_until(
            there, f"{len(wanted)} requests to arrive", patience=patience, every=0.2
        )
        return found or []

    def _ask(self, what: str) -> Any:
        return get(f"http://127.0.0.1:{self._control}/{what}", timeout=60.0)

    def _tell(self, what: str, data: bytes = b"") -> None:
        urllib.request.urlopen(f"http://127.0.0.1:{self._control}/{what}", data=data, timeout=10.0).close()


class Bufferproxy(Process):
    """`bufferproxy ROLE -c FILE` with ports of its own. `config` is the file's text."""

    mutant = ""
    """Names for `bufferproxy.testing.mutants`, from its next start on."""
    prefix: tuple[str, ...] = ()
    """A command that runs it, from its next start on: `strace ...`."""

    def __init__(self, role: str, config: str, folder: Path, name: str = "") -> None:
        self.role = role
        self.port = free_port()
        self.admin_port = free_port()
        self._file = folder / f"{name or role}.yaml"
        self.configure(config)
        self._command = [
            role, "-c", str(self._file),
            "--listen", f"127.0.0.1:{self.port}", "--admin", f"127.0.0.1:{self.admin_port}",
        ]  # fmt: skip
        super().__init__([], folder, name or role)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def configure(self, config: str) -> None:
        """For its next start."""
        self._file.write_text(config)

    @property
    def admin(self) -> str:
        return f"http://127.0.0.1:{self.admin_port}"

    def start(self) -> None:
        self.launch()
        self.await_ready()

    def launch(self) -> None:
        """As `start`, without waiting until it serves."""
        module = ["bufferproxy.testing.mutants", self.mutant] if self.mutant else ["bufferproxy"]
        self.arguments = [*self.prefix, sys.executable, "-m", *module, *self._command]
        super().start()

    def await_ready(self, patience: float = PATIENCE) -> None:
        def ready() -> bool:
            if not self.running:
                raise AssertionError(f"{self.role} ended:\n{self.output.read_text()}")
            return self.ready

        wait_until(ready, f"{self.role} to be ready", patience=patience)

    @property
    def ready(self) -> bool:
        """What it says of itself; also False when it says nothing."""
        try:
            return bool(get(f"{self.admin}/readyz")["ready"])
        except OSError:
            return False

    def held_partitions(self, service: str = "orders") -> float:
        """How many it holds, as a worker of `service`."""
        return self.metrics()[f'bufferproxy_worker_partitions{{service="{service}"}}']

    def await_partitions(self, count: int) -> None:
        """Until it holds exactly so many."""
        wait_until(lambda: self.held_partitions() == count, f"{self.name} to hold {count} partitions")

    def await_share(self, everything: int) -> None:
        """Until it holds some of all partitions, and not all of them."""
        wait_until(
            lambda: 0 < self.held_partitions() < everything, f"{self.name} to share {everything} partitions"
        )

    def service(self, name: str = "default") -> Any:
        return get(f"{self.admin}/api/v1/services/{name}")

    def metrics(self) -> dict[str, float]:
        """Samples by their whole name, labels included."""
        with urllib.request.urlopen(f"{self.admin}/metrics", timeout=10.0) as answer:
            lines = answer.read().decode().splitlines()
        samples = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, value in samples}
