"""Real processes for acceptance tests: bufferproxy itself, and the recorder behind it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Self

from bufferproxy.testing.promises import Arrival

PATIENCE = 60.0
"""Seconds that any single wait may take before it is a failure."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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
        self.output = folder / f"{name}.out"
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._child is not None
        return self._child.pid

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.poll() is None

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

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


class RecorderProcess(Process):
    """See recorder.py."""

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.port = port or free_port()
        super().__init__(
            [sys.executable, "-m", "bufferproxy.testing.recorder", str(self.port)], folder, "recorder"
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        super().start()
        wait_until(lambda: self.count() >= 0, "the recorder to listen")

    def count(self) -> int:
        return int(get(f"{self.url}/_recorder/count"))

    def lag(self) -> float:
        return float(get(f"{self.url}/_recorder/lag"))

    def arrivals(self) -> list[Arrival]:
        return [Arrival(*row) for row in get(f"{self.url}/_recorder/arrivals", timeout=60.0)]

    def mode(self, **mode: Any) -> None:
        data = json.dumps(mode).encode()
        urllib.request.urlopen(f"{self.url}/_recorder/mode", data=data, timeout=10.0).close()

    def forget(self) -> None:
        urllib.request.urlopen(f"{self.url}/_recorder/forget", data=b"", timeout=10.0).close()

    def await_count(self, count: int, patience: float = PATIENCE) -> None:
        """Until at least `count` arrived."""
        wait_until(lambda: self.count() >= count, f"{count} arrivals", patience=patience, every=0.1)


class Bufferproxy(Process):
    """`bufferproxy ROLE -c FILE` with ports of its own. `config` is the file's text."""

    def __init__(self, role: str, config: str, folder: Path, name: str = "") -> None:
        self.role = role
        self.port = free_port()
        self.admin_port = free_port()
        file = folder / f"{name or role}.yaml"
        file.write_text(config)
        arguments = [
            sys.executable, "-m", "bufferproxy", role, "-c", str(file),
            "--listen", f"127.0.0.1:{self.port}", "--admin", f"127.0.0.1:{self.admin_port}",
        ]  # fmt: skip
        super().__init__(arguments, folder, name or role)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def admin(self) -> str:
        return f"http://127.0.0.1:{self.admin_port}"

    def start(self) -> None:
        super().start()
        self.await_ready()

    def await_ready(self, patience: float = PATIENCE) -> None:
        def ready() -> bool:
            if not self.running:
                raise AssertionError(f"{self.role} ended:\n{self.output.read_text()}")
            try:
                return bool(get(f"{self.admin}/readyz")["ready"])
            except urllib.error.HTTPError:
                return False

        wait_until(ready, f"{self.role} to be ready", patience=patience)

    def service(self, name: str = "default") -> Any:
        return get(f"{self.admin}/api/v1/services/{name}")

    def metrics(self) -> dict[str, float]:
        """Samples by their whole name, labels included."""
        with urllib.request.urlopen(f"{self.admin}/metrics", timeout=10.0) as answer:
            lines = answer.read().decode().splitlines()
        samples = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, value in samples}
