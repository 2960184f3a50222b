"""Apache Kafka itself for tests: KRaft brokers as child processes on loopback, to be killed and frozen.

The jars come from Maven once (`kafka/pom.xml` names what) and stay in the user's cache folder. A
`Broker` keeps its ports and its data over `kill()` and `start()`; `cluster(3, ...)` gives three that know
each other. Everything here blocks: call it from fixtures, or in a thread.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from bufferproxy.testing.ports import bind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

VERSION = "4.3.0"
POM = Path(__file__).parent / "kafka" / "pom.xml"
CLUSTER_ID, OTHER_CLUSTER_ID = "YnVmZmVycHJveHktdGVzdA", "YW5vdGhlci1jbHVzdGVyMQ"
START_TIMEOUT = 60.0
"""Seconds until a broker has to serve. One takes 3 to 6 s on two idle cores."""

_STARTED = "Kafka Server started"
_LOG4J = """\
status=off
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d{HH:mm:ss.SSS} %-5p %c{1} %m%n
rootLogger.level=warn
rootLogger.appenderRef.out.ref=out
logger.started.name=kafka.server.KafkaRaftServer
logger.started.level=info
"""


class KafkaMissing(Exception):
    """Kafka cannot be run here; says why."""


class Ports(NamedTuple):
    clients: int
    controller: int


class Detour(NamedTuple):
    """A second way to a broker, for clients that shall reach it through a `FaultProxy`: the broker listens on
    `port`, and tells those who come that way that it is reached at `advertised`."""

    port: int
    advertised: int


class Broker:
    """One broker and controller. `bootstrap` is its host:port, the same for all its lives."""

    def __init__(
        self,
        jars: Path,
        directory: Path,
        *,
        node: int = 1,
        peers: Mapping[int, Ports] | None = None,
        settings: Mapping[str, object] | None = None,
        detour: Detour | None = None,
        heap: str = "512m",
        cluster_id: str = CLUSTER_ID,
    ) -> None:
        peers = peers or {node: free_ports()}
        self.bootstrap = f"127.0.0.1:{peers[node].clients}"
        self._jars = jars
        self._heap = heap
        self._cluster_id = cluster_id
        self._directory = directory
        self._process: subprocess.Popen[str] | None = None
        self._guard: subprocess.Popen[bytes]
        self._tail: list[str] = []
        directory.mkdir(parents=True)
        (directory / "log4j2.properties").write_text(_LOG4J)
        properties = _properties(node, peers, directory / "data")
        if detour is not None:
            _add_listener(properties, detour)
        lines = {**properties, **(settings or {})}
        (directory / "server.properties").write_text("".join(f"{k}={v}\n" for k, v in lines.items()))
        self._format()

    def _java(self, main: str, *arguments: str, heap: str) -> list[str]:
        return [
            "java",
            f"-Xmx{heap}",
            "-XX:+UseSerialGC",
            "-Xshare:auto",
            f"-Dlog4j2.configurationFile={self._directory / 'log4j2.properties'}",
            "-cp",
            f"{self._jars}/*",
            main,
            *arguments,
        ]

    def _format(self) -> None:
        properties = str(self._directory / "server.properties")
        command = self._java(
            "kafka.tools.StorageTool", "format", "-t", self._cluster_id, "-c", properties, heap="128m"
        )
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=START_TIMEOUT)
        if done.returncode != 0:
            raise KafkaMissing(f"the storage could not be formatted: {done.stdout}{done.stderr}")

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    def launch(self) -> Future[bool]:
        """Start the process. The result: whether it serves (or has ended)."""
        assert self._process is None, "running"
        # A session of its own: Ctrl-C in the terminal ends the test, whose fixture then ends the broker.
        self._process = subprocess.Popen(
            self._java("kafka.Kafka", str(self._directory / "server.properties"), heap=self._heap),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self._directory,
            start_new_session=True,
        )
        # Dies with us however we end: at the end of its input the shell kills it.
        self._guard = subprocess.Popen(
            ["sh", "-c", f"read _; kill -9 {self._process.pid}"],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        serving: Future[bool] = Future()
        assert self._process.stdout is not None
        threading.Thread(target=self._read, args=(self._process.stdout, serving), daemon=True).start()
        return serving

    def _read(self, output: IO[str], serving: Future[bool]) -> None:
        with output:
            for line in output:
                self._tail = [*self._tail[-40:], line]
                if _STARTED in line:
                    serving.set_result(True)
        if not serving.done():
            serving.set_result(False)

    def start(self) -> None:
        """Returns when it serves."""
        self.await_serving(self.launch())

    def await_serving(self, serving: Future[bool]) -> None:
        with suppress(TimeoutError):
            if serving.result(START_TIMEOUT):
                return
        self.kill()
        raise RuntimeError(f"{self!r} did not start:\n{''.join(self._tail)}")

    def kill(self) -> None:
        """SIGKILL: no flush, no goodbye. Nothing when it does not run."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, and wait for its orderly end."""
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        """SIGSTOP: connections stay open, nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def cont(self) -> None:
        """SIGCONT after `pause`."""
        os.kill(self.pid, signal.SIGCONT)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        process.send_signal(signal.SIGCONT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        # Only now, and before anything else can get the broker's pid.
        self._guard.kill()
        self._guard.communicate()

    def __repr__(self) -> str:
        state = f"pid {self._process.pid}" if self._process else "down"
        return f"<Broker {self.bootstrap} {state}>"


def _properties(node: int, peers: Mapping[int, Ports], data: Path) -> dict[str, object]:
    mine = peers[node]
    copies = min(3, len(peers))
    return {
        "process.roles": "broker,controller",
        "node.id": node,
        "controller.quorum.voters": ",".join(f"{n}@127.0.0.1:{p.controller}" for n, p in peers.items()),
        "listeners": f"PLAINTEXT://127.0.0.1:{mine.clients},CONTROLLER://127.0.0.1:{mine.controller}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{mine.clients}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": data,
        "num.network.threads": 2,
        "num.io.threads": 4,
        "auto.create.topics.enable": "false",
        "default.replication.factor": copies,
        "offsets.topic.replication.factor": copies,
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": min(2, copies),
        "group.initial.rebalance.delay.ms": 0,
        # Tests of lost sessions should take one second, not the six that are the least by default.
        "group.min.session.timeout.ms": 500,
        # A killed broker may not register again before its former session has run out (9 s by default).
        "broker.session.timeout.ms": 1500,
        "broker.heartbeat.interval.ms": 300,
        "log.cleaner.dedupe.buffer.size": 8 << 20,
    }


def _add_listener(properties: dict[str, object], detour: Detour) -> None:
    properties["listeners"] = f"{properties['listeners']},DETOUR://127.0.0.1:{detour.port}"
    advertised = f"{properties['advertised.listeners']},DETOUR://127.0.0.1:{detour.advertised}"
    properties["advertised.listeners"] = advertised
    protocols = f"{properties['listener.security.protocol.map']},DETOUR:PLAINTEXT"
    properties["listener.security.protocol.map"] = protocols
    properties["inter.broker.listener.name"] = "PLAINTEXT"


@contextmanager
def cluster(
    nodes: int,
    jars: Path,
    *,
    settings: Mapping[str, object] | None = None,
    detour: Detour | None = None,
    heap: str = "512m",
    cluster_id: str = CLUSTER_ID,
) -> Iterator[Sequence[Broker]]:
    """`nodes` brokers that serve, with their data in a temporary folder; all are killed at the end. `heap`:
    of each; 256m is enough for one of three. `detour`: where there is one."""
    with tempfile.TemporaryDirectory(prefix="bufferproxy-kafka-", ignore_cleanup_errors=True) as folder:
        peers = {node: free_ports() for node in range(1, nodes + 1)}
        brokers = [
            Broker(
                jars,
                Path(folder) / str(node),
                node=node,
                peers=peers,
                settings=settings,
                detour=detour,
                heap=heap,
                cluster_id=cluster_id,
            )
            for node in peers
        ]
        try:
            for broker, serving in [(broker, broker.launch()) for broker in brokers]:
                broker.await_serving(serving)
            yield brokers
        finally:
            for broker in brokers:
                broker.kill()


@contextmanager
def broker(
    jars: Path,
    *,
    settings: Mapping[str, object] | None = None,
    detour: Detour | None = None,
    cluster_id: str = CLUSTER_ID,
) -> Iterator[Broker]:
    """One broker that serves, as in `cluster`."""
    with cluster(1, jars, settings=settings, detour=detour, cluster_id=cluster_id) as (only,):
        yield only


def free_ports() -> Ports:
    with socket.socket() as first, socket.socket() as second:
        return Ports(bind(first), bind(second))


def kafka_jars() -> Path:
    """The folder with Kafka's jars, filled on the first call (90 MB from Maven Central). Raises KafkaMissing.

    Safe under concurrent calls (a lock file) and interruption (the folder appears whole or not at all).
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    home = cache / "bufferproxy" / f"kafka-{VERSION}"
    if shutil.which("java") is None:
        raise KafkaMissing("no java on the PATH")
    jars = home / "jars"
    if jars.is_dir():
        return jars
    if shutil.which("mvn") is None:
        raise KafkaMissing("no mvn on the PATH, and Kafka's jars are not cached")
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not jars.is_dir():
            _download(home / "partial")
            (home / "partial").rename(jars)
    return jars


def _download(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    command = ["mvn", "-q", "-B", "-f", str(POM), "dependency:copy-dependencies"]
    done = subprocess.run(
        [*command, f"-DoutputDirectory={folder}"], capture_output=True, text=True, check=False, timeout=900
    )
    if done.returncode != 0:
        raise KafkaMissing(f"Maven could not fetch Kafka {VERSION}: {done.stdout[-2000:]}")
