from __future__ import annotations

import subprocess
import sys
import uuid

import pytest

from bufferproxy.log.kafka.instance import Instance

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="an abstract address is Linux's")


@pytest.fixture
def scope() -> str:
    return uuid.uuid4().hex


def claimed(scope: str) -> Instance:
    found = Instance.claim("host", scope)
    assert found is not None
    return found


def test_the_second_on_a_host_has_a_number_and_a_free_name_is_taken_again(scope: str) -> None:
    first, second = claimed(scope), claimed(scope)
    assert (first.name, second.name) == ("host", "host.1")
    first.close()
    third, fourth = claimed(scope), claimed(scope)
    assert (third.name, fourth.name) == ("host", "host.2")
    for each in (second, third, fourth):
        each.close()


def test_those_of_another_log_are_not_in_the_way(scope: str) -> None:
    one, other = claimed(scope), claimed(scope + "x")
    assert one.name == other.name == "host"
    one.close()
    other.close()


def test_a_killed_process_leaves_its_name(scope: str) -> None:
    code = (
        "import sys; from bufferproxy.log.kafka.instance import Instance;"
        f"held = Instance.claim('host', {scope!r}); print(held.name, flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline().strip() == "host"
    during = claimed(scope)
    child.kill()
    child.communicate()
    after = claimed(scope)
    assert (during.name, after.name) == ("host.1", "host")
    during.close()
    after.close()
