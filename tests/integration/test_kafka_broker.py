"""The broker that the tests kill: it must come back as the same one."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from bufferproxy.testing.kafka_broker import cluster, free_ports

if TYPE_CHECKING:
    from pathlib import Path

    from bufferproxy.testing.kafka_broker import Broker

pytestmark = pytest.mark.kafka


def reachable(bootstrap: str) -> bool:
    host, _, port = bootstrap.partition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def test_a_killed_broker_comes_back_at_the_same_address(fresh_broker: Broker) -> None:
    assert reachable(fresh_broker.bootstrap)
    fresh_broker.kill()
    assert not reachable(fresh_broker.bootstrap)
    fresh_broker.start()
    assert reachable(fresh_broker.bootstrap)


def test_three_brokers_form_one_cluster(jars: Path) -> None:
    with cluster(3, jars) as brokers:
        assert len({broker.bootstrap for broker in brokers}) == 3
        assert all(reachable(broker.bootstrap) for broker in brokers)
    assert not any(reachable(broker.bootstrap) for broker in brokers)


def test_free_ports_are_two_different_ones() -> None:
    ports = free_ports()
    assert ports.clients != ports.controller


DYING_PARENT = """
import os, signal
from bufferproxy.testing.kafka_broker import broker, kafka_jars
with broker(kafka_jars()) as running:
    print(running.bootstrap, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_broker_ends_with_the_process_that_started_it(jars: Path) -> None:
    # Its output is inherited by the broker's guard: the pipe ends with the guard, after the kill.
    died = subprocess.run(
        [sys.executable, "-c", DYING_PARENT], stdout=subprocess.PIPE, text=True, check=False
    )
    assert died.returncode == -signal.SIGKILL
    deadline = time.monotonic() + 30
    while reachable(died.stdout.strip()):  # its last moments, after the signal
        assert time.monotonic() < deadline
