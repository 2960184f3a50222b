"""`bufferproxy demo` as a newcomer runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

pytestmark = pytest.mark.acceptance

COMMAND = [sys.executable, "-m", "bufferproxy", "demo"]


def children_of(pid: int) -> set[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return {int(child) for child in children.split()}


def surroundings(folder: Path) -> dict[str, str]:
    """Its temporary files where we see what is left of them; settings that are none of its business."""
    (folder / "tmp").mkdir()
    unwanted = {"BUFFERPROXY__SERVICES__DEFAULT__RATE": "1/h", "BUFFERPROXY__LISTEN": "127.0.0.1:1"}
    return {**os.environ, **unwanted, "TMPDIR": str(folder / "tmp")}


def test_the_demo_shows_the_difference_within_a_minute(tmp_path: Path) -> None:
    began = time.monotonic()
    done = subprocess.run(
        COMMAND, cwd=tmp_path, env=surroundings(tmp_path), capture_output=True, text=True, check=False
    )
    took = time.monotonic() - began
    assert done.returncode == 0, done.stderr[-2000:]
    assert took <= 60

    shown = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "sent 2700 2700" in shown
    served = next(line for line in shown if line.startswith("served"))
    assert served.endswith("2700 (100 %)")
    assert shown[-1] == "./bufferproxy-demo.svg"
    assert ET.parse(tmp_path / "bufferproxy-demo.svg").getroot().tag == "{http://www.w3.org/2000/svg}svg"

    seconds = [line for line in done.stderr.splitlines() if line.startswith("through bufferproxy")]
    assert len(seconds) > 20
    assert "backlog" in seconds[5]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bufferproxy-demo.svg", "tmp"]
    assert not list((tmp_path / "tmp").iterdir())


@pytest.mark.parametrize("run", ["straight at the service", "through bufferproxy"])
def test_ctrl_c_leaves_nothing_behind(run: str, tmp_path: Path) -> None:
    with subprocess.Popen(
        COMMAND, cwd=tmp_path, env=surroundings(tmp_path), stderr=subprocess.PIPE, text=True
    ) as demo:
        assert demo.stderr is not None
        assert any(line.startswith(run) for line in demo.stderr)
        children = children_of(demo.pid)
        assert len(children) == (1 if run.startswith("straight") else 2)
        demo.send_signal(signal.SIGINT)
        words = demo.stderr.read()
        assert demo.wait(15) == 130
    assert "Interrupted" in words
    assert "Traceback" not in words
    assert not any(Path(f"/proc/{child}").exists() for child in children)
    assert not list((tmp_path / "tmp").iterdir())


def test_a_folder_that_cannot_be_written_is_told_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "bufferproxy-demo.svg").mkdir()
    done = subprocess.run(COMMAND, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 1
    assert done.stderr == "./bufferproxy-demo.svg: cannot be written here\n"
