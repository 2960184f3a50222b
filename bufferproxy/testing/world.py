"""A small world for acceptance tests: a recorder, and bufferproxy before it, on one of the logs.

On SQLite `bufferproxy run` does everything; on Kafka there are a `proxy` and a `worker`, and more workers
when asked. All of it is real: processes, sockets, disks.
"""

from __future__ import annotations

import json
import re
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from bufferproxy.testing.processes import PATIENCE, Bufferproxy, RecorderProcess, wait_until

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from types import TracebackType

SERVICE = "orders"


class LogPlace(NamedTuple):
    """Which log, and the settings that go with it."""

    url: str
    settings: Mapping[str, Any]

    @property
    def kafka(self) -> bool:
        return self.url.startswith("kafka:")


def sqlite_place(path: Path) -> LogPlace:
    return LogPlace(f"sqlite:{path}", {})


def kafka_place(bootstrap: str, prefix: str, **settings: Any) -> LogPlace:
    return LogPlace(
        f"kafka://{bootstrap}",
        {"kafka": {"prefix": prefix, "replication": 1, "partitions": 4, **settings}},
    )


class World:
    def __init__(self, folder: Path, place: LogPlace) -> None:
        self.folder = folder
        self.place = place
        self.recorder = RecorderProcess(folder)
        self.settings: dict[str, Any] = {}
        """Of the whole configuration; a test may add to it before it starts anything."""
        self.beside: dict[str, dict[str, Any]] = {}
        """Further services, by name."""
        self.known: dict[str, Collection[str]] = {}
        """Process name -> the services that it knows, where these are not all."""
        self.proxy: Bufferproxy
        """Where callers go. On SQLite it is the worker too."""
        self.workers: list[Bufferproxy] = []
        self.mutants: dict[str, str] = {}
        """Process name (`run`, `proxy`, `worker-0`) -> which of `bufferproxy.testing.mutants` it is."""
        self.prefix: tuple[str, ...] = ()
        """A command that runs the processes: `prlimit ...`."""
        self.logs: dict[str, str] = {}
        """Role -> the log's URL, where it is not that of the place: a way there that is not sound."""
        self._service: dict[str, Any] = {}
        self._stack = ExitStack()

    def start(self, **service: Any) -> Self:
        """Everything up and ready. `service`: settings of the only service (`to` is known)."""
        self._stack.enter_context(self.recorder)
        self._service = {"to": self.recorder.url, "rate": "unlimited", **service}
        if self.place.kafka:
            self.proxy = self._process("proxy", "proxy")
            self._stack.enter_context(self.proxy)
            self.add_worker()
        else:
            self.proxy = self._process("run", "run")
            self._stack.enter_context(self.proxy)
            self.workers = [self.proxy]
        return self

    def add_worker(self, *known: str) -> Bufferproxy:
        """One more, on Kafka; `known`: the services that it knows, where these are not all."""
        name = f"worker-{len(self.workers)}"
        if known:
            self.known[name] = known
        worker = self._process("worker", name)
        self.workers.append(worker)
        return self._stack.enter_context(worker)

    def change(self, **service: Any) -> None:
        """Other settings of the service, for what starts from now on; None takes one out."""
        changed = {**self._service, **service}
        self._service = {name: value for name, value in changed.items() if value is not None}
        for process in self.processes:
            process.configure(json.dumps(self._settings(process.role, process.name)))

    @property
    def worker(self) -> Bufferproxy:
        return self.workers[0]

    @property
    def processes(self) -> list[Bufferproxy]:
        return [self.proxy, *(worker for worker in self.workers if worker is not self.proxy)]

    def _settings(self, role: str, name: str) -> dict[str, Any]:
        settings = {"log": self.logs.get(role, self.place.url), **self.place.settings, **self.settings}
        if role == "worker":
            settings["worker"] = {"id": name}
        services = {SERVICE: self._service, **self.beside}
        known = self.known.get(name, services)
        settings["services"] = {service: services[service] for service in known}
        return settings

    def _process(self, role: str, name: str) -> Bufferproxy:
        config = json.dumps(self._settings(role, name))  # JSON is YAML
        process = Bufferproxy(role, config, self.folder, name)
        process.prefix = self.prefix
        process.mutant = self.mutants.get(name, "")
        return process

    def sum(self, metric: str, **labels: str) -> float:
        """A metric over all running processes and all its labels but these."""
        wanted = [f'{name}="{value}"' for name, value in labels.items()]
        return sum(
            value
            for process in self.processes
            if process.running
            for sample, value in process.metrics().items()
            if re.match(rf"bufferproxy_{metric}(\{{|$)", sample) and all(label in sample for label in wanted)
        )

    def backlog(self) -> float:
        """By the metrics: of a worker that runs, which knows it best."""
        worker = next((one for one in self.workers if one.running), self.worker)
        return sum(
            value
            for sample, value in worker.metrics().items()
            if sample.startswith("bufferproxy_backlog_requests{")
        )

    def await_settled(self, patience: float = PATIENCE) -> None:
        """Until nothing is open."""
        wait_until(lambda: self.backlog() == 0, "the backlog to be empty", patience=patience, every=0.2)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
