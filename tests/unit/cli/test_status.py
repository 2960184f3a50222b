"""Against a real replica in a process of its own; where a real one would not misbehave, a raw answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from bufferproxy.cli.status import row_of


@contextmanager
def running(folder: Path, **environ: str) -> Iterator[str]:
    """The admin plane's HOST:PORT of a `bufferproxy run`."""
    command = [sys.executable, "-m", "bufferproxy.cli", "run", "--to", "http://127.0.0.1:9", "--rate", "10/s"]
    command += ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
    with subprocess.Popen(
        command, cwd=folder, env={**os.environ, **environ}, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        ready = next((line for line in process.stderr if '"event": "ready"' in line), None)
        assert ready is not None, "it ended before it was ready"
        rest = threading.Thread(target=process.stderr.read)
        rest.start()
        try:
            yield json.loads(ready)["admin"]
        finally:
            process.terminate()
            code = process.wait(30)
            rest.join()
        assert code == 0


@pytest.fixture(scope="module")
def replica(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running(tmp_path_factory.mktemp("replica")) as admin:
        yield admin


def test_the_table_has_a_line_a_service(replica: str, bufferproxy) -> None:  # type: ignore[no-untyped-def]
    ran = bufferproxy("status", "--admin", f"http://{replica}")
    assert (ran.code, ran.err) == (0, "")
    heading, line = ran.out.splitlines()
    assert heading.split()[:2] == ["SERVICE", "RATE"]
    assert line.split()[:4] == ["default", "10/s", "0", "0"]


def test_json_is_what_the_admin_plane_says(replica: str, bufferproxy) -> None:  # type: ignore[no-untyped-def]
    (service,) = json.loads(bufferproxy("status", "-o", "json", "--admin", replica).out)
    alone = json.loads(bufferproxy("status", "default", "-o", "json", "--admin", replica).out)
    assert service["name"] == alone["name"] == "default"
    assert service["rate_limit"] == 10


def test_the_admin_plane_is_found_by_flag_then_variable_then_file(
    replica: str, bufferproxy, monkeypatch
) -> None:  # type: ignore[no-untyped-def]
    Path("f.yaml").write_text(f"admin: {{listen: '{replica}'}}\nservices: {{a: {{to: http://a}}}}\n")
    assert bufferproxy("status", "-c", "f.yaml").code == 0
    monkeypatch.setenv("BUFFERPROXY_ADMIN", "http://127.0.0.1:1")
    assert bufferproxy("status", "-c", "f.yaml").code == 4
    assert bufferproxy("status", "-c", "f.yaml", "--admin", replica).code == 0


def test_a_service_that_is_not_there_is_exit_6(replica: str, bufferproxy) -> None:  # type: ignore[no-untyped-def]
    ran = bufferproxy("status", "nope", "--admin", replica)
    assert (ran.code, ran.out) == (6, "")
    assert ran.err == f"http://{replica}: there is no service nope\n"


def test_nobody_there_is_exit_4(bufferproxy) -> None:  # type: ignore[no-untyped-def]
    ran = bufferproxy("status", "--admin", "http://127.0.0.1:1")
    assert (ran.code, ran.out) == (4, "")
    assert ran.err.startswith("http://127.0.0.1:1: no answer (Connection refused)")


def test_a_token_file_that_cannot_be_read_is_exit_3(bufferproxy, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("BUFFERPROXY_TOKEN_FILE", "none")
    ran = bufferproxy("status", "--admin", "http://127.0.0.1:1")
    assert (ran.code, ran.err) == (
        3,
        "BUFFERPROXY_TOKEN_FILE: none cannot be read: No such file or directory\n",
    )


def test_what_is_no_url_is_a_usage_error(bufferproxy) -> None:  # type: ignore[no-untyped-def]
    assert bufferproxy("status", "--admin", "ftp://127.0.0.1:1").code == 2


def test_a_proxy_with_a_token_wants_it(tmp_path: Path, bufferproxy, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.write_text("the-right-token-of-this-test\n")
    wrong.write_text("another-token\n")
    with running(tmp_path, BUFFERPROXY__ADMIN__TOKEN_FILE=str(right)) as admin:
        ran = bufferproxy("status", "--admin", admin)
        assert (ran.code, ran.err) == (5, f"http://{admin}: a token is wanted: set BUFFERPROXY_TOKEN_FILE\n")
        monkeypatch.setenv("BUFFERPROXY_TOKEN_FILE", str(wrong))
        ran = bufferproxy("status", "--admin", admin)
        assert (ran.code, ran.err) == (5, f"http://{admin}: the token is not accepted\n")
        monkeypatch.setenv("BUFFERPROXY_TOKEN_FILE", str(right))
        assert bufferproxy("status", "--admin", admin).code == 0


@pytest.fixture
def answering() -> Iterator[tuple[str, list[tuple[int, bytes]]]]:
    """An HTTP server: its URL, and the answers that it shall give."""
    answers: list[tuple[int, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answers.pop(0)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", answers
        server.shutdown()
        thread.join()


def test_who_answers_something_else_is_no_admin_plane(answering, bufferproxy) -> None:  # type: ignore[no-untyped-def]
    url, answers = answering
    answers.append((200, b"<html>"))
    assert bufferproxy("status", "--admin", url).code == 4


def test_a_problem_is_told_in_its_own_words(answering, bufferproxy) -> None:  # type: ignore[no-untyped-def]
    url, answers = answering
    answers.append((503, b'{"title": "Log unavailable", "detail": "the log does not answer"}'))
    ran = bufferproxy("status", "--admin", url)
    assert (ran.code, ran.err) == (1, f"{url}: the log does not answer\n")


SERVICE = {
    "name": "auth",
    "rate_limit": None,
    "backlog": {"ready": 5, "delayed": 1, "in_flight": 2},
    "rates": {"accepted": 12.34, "delivered": 10.0},
    "drain_eta_seconds": 7380,
    "dead_letters": 3,
    "paused": False,
    "resting": None,
    "rate_share": 25.0,
    "breaker": "closed",
    "throttled": {"ceiling": 0.02, "ramp": 0.01},
    "shadow": [],
}


@pytest.mark.parametrize(
    ("change", "column", "text"),
    [
        ({}, 1, "unlimited"),
        ({"rate_limit": 1 / 60}, 1, "1/min"),
        ({}, 7, "2h03m"),
        ({"drain_eta_seconds": 119}, 7, "119s"),
        ({"drain_eta_seconds": 150}, 7, "2m"),
        ({"drain_eta_seconds": None}, 7, "-"),
        ({}, 9, "25/s"),
        ({"rate_share": None}, 9, "unlimited"),
        ({}, 10, "running"),
        ({"breaker": "half-open"}, 10, "running, breaker half-open"),
        ({"throttled": {"ceiling": 0.3, "adaptive": 0.6}}, 10, "running, held back by adaptive"),
        ({"shadow": ["breaker"]}, 10, "running, breaker would hold it back (shadow)"),
        ({"paused": True}, 10, "paused"),
        ({"resting": {"reason": "connect", "until": "T"}}, 10, "resting (connect) until T"),
    ],
)
def test_a_service_is_told_in_one_line(change: dict[str, object], column: int, text: str) -> None:
    assert row_of({**SERVICE, **change})[column] == text
