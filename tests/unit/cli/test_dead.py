"""Against an HTTP server that answers what a test says and writes down what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from bufferproxy.cli import dead_work
from bufferproxy.cli.dead import lines_of

URL = "/api/v1/services/a/dead"
ROW = {
    "id": "x",
    "service": "a",
    "reason": "attempts",
    "attempts": 8,
    "status": 500,
    "accepted_at": "T1",
    "died_at": "T2",
}
DONE = {
    "action": "redrive",
    "state": "done",
    "count": 2,
    "done": 2,
    "skipped": 0,
    "missing": [],
    "error": None,
}
WOULD = {**DONE, "state": "dry-run", "done": 0, "ids": ["x", "y"]}


class Plane:
    def __init__(self) -> None:
        self.answers: list[tuple[int, Any]] = []
        self.asked: list[tuple[str, str, Any]] = []
        self.url = ""

    def __call__(self, *answers: Any, status: int = 200) -> None:
        self.answers += [(status, answer) for answer in answers]


@pytest.fixture
def plane(monkeypatch: pytest.MonkeyPatch) -> Iterator[Plane]:
    monkeypatch.setattr(dead_work, "LOOK", 0.0)
    plane = Plane()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            plane.asked.append((self.command, self.path, json.loads(body) if body else None))
            status, answer = plane.answers.pop(0)
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_DELETE = _answer  # noqa: N815 - named by http.server

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        plane.url = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("BUFFERPROXY_ADMIN", plane.url)
        yield plane
        server.shutdown()
        thread.join()


def test_a_list_is_a_table_or_its_rows(plane: Plane, bufferproxy) -> None:  # type: ignore[no-untyped-def]
    plane({"dead": [ROW, {**ROW, "id": "y", "status": None, "accepted_at": None}], "count": 2, "next": None})
    ran = bufferproxy("dead", "list", "a")
    assert (ran.code, ran.err) == (0, "")
    assert [line.split() for line in ran.out.splitlines()] == [
        ["ID", "REASON", "STATUS", "ATTEMPTS", "ACCEPTED", "DIED"],
        ["x", "attempts", "500", "8", "T1", "T2"],
        ["y", "attempts", "-", "8", "-", "T2"],
    ]
    plane({"dead": [ROW], "count": 1, "next": None})
    assert json.loads(bufferproxy("dead", "list", "a", "-o", "json").out) == [ROW]


def test_a_list_goes_on_over_pages_up_to_its_limit(plane: Plane, bufferproxy) -> None:  # type: ignore[no-untyped-def]
    page = {"dead": [ROW] * 1000, "count": 5000, "next": 1000}
    plane(page, {**page, "dead": [ROW] * 500, "next": 1500})
    arguments = ("--where", "path=/a b&c", "--where", "status=5xx", "--limit", "1500", "-o", "json")
    ran = bufferproxy("dead", "list", "a", *arguments)
    assert len(json.loads(ran.out)) == 1500
    assert ran.err == "1500 of 5000: --limit N shows more\n"
    query = "path=%2Fa+b%26c&status=5xx"
    assert [path for _, path, _ in plane.asked] == [
        f"{URL}?{query}&limit=1000&after=0",
        f"{URL}?{query}&limit=500&after=1000",
    ]


def test_what_goes_on_is_watched_until_it_is_done(plane: Plane, bufferproxy) -> None:  # type: ignore[no-untyped-def]
    running = {**DONE, "state": "running", "done": 0}
    plane(running, status=202)
    plane({**running, "done": 1}, {**DONE, "done": 1, "skipped": 1})
    ran = bufferproxy("dead", "redrive", "a", "--all", "--rate", "5/s", "--limit", "2", "--yes")
    assert ran.code == 0
    assert ran.err == "1 of 2 redriven, 1 skipped (they could not be understood, or were gone)\n"
    assert plane.asked[0] == ("POST", f"{URL}/redrive", {"where": {}, "limit": 2, "rate": "5/s"})
    assert plane.asked[1:] == [("GET", f"{URL}/work", None)] * 2


def test_a_dry_run_prints_the_ids_and_changes_nothing(plane: Plane, bufferproxy) -> None:  # type: ignore[no-untyped-def]
    plane(WOULD)
    ran = bufferproxy("dead", "redrive", "a", "--where", "reason=rejected", "--dry-run")
    assert (ran.code, ran.out, ran.err) == (0, "x\ny\n", "would redrive 2 dead letters\n")
    assert [asked["dry_run"] for _, _, asked in plane.asked] == [True]


def test_ids_need_no_yes_to_be_redriven_but_one_to_be_purged(plane: Plane, bufferproxy) -> None:  # type: ignore[no-untyped-def]
    plane(DONE)
    assert bufferproxy("dead", "redrive", "a", "x", "y").code == 0
    assert plane.asked == [("POST", f"{URL}/redrive", {"where": {}, "ids": ["x", "y"]})]
    plane({**WOULD, "action": "purge"})
    ran = bufferproxy("dead", "purge", "a", "x", "y")
    assert (ran.code, ran.err) == (2, "purge 2 dead letters? add --yes\n")
    assert plane.asked[1][2]["dry_run"] is True
    plane({**DONE, "action": "purge"})
    ran = bufferproxy("dead", "purge", "a", "x", "y", "--yes")
    assert (ran.code, ran.err) == (0, "2 of 2 purged\n")
    assert plane.asked[2] == ("DELETE", URL, {"where": {}, "ids": ["x", "y"]})


def test_ids_that_are_no_letters_are_exit_6_when_the_others_are_done(plane: Plane, bufferproxy) -> None:  # type: ignore[no-untyped-def]
    plane({**DONE, "missing": ["z"]})
    ran = bufferproxy("dead", "redrive", "a", "x", "y", "z")
    assert (ran.code, ran.err) == (6, "2 of 2 redriven\nno dead letters: z\n")


def test_a_dry_run_names_ids_that_are_no_letters_as_the_real_run_does(plane: Plane, bufferproxy) -> None:  # type: ignore[no-untyped-def]
    plane({**WOULD, "missing": ["z"]})
    ran = bufferproxy("dead", "redrive", "a", "x", "y", "z", "--dry-run")
    assert (ran.code, ran.out) == (6, "x\ny\n")
    assert ran.err == "would redrive 2 dead letters\nno dead letters: z\n"
    plane({**WOULD, "missing": ["z"]})
    ran = bufferproxy("dead", "purge", "a", "x", "y", "z", "--dry-run", "-o", "json")
    assert (ran.code, json.loads(ran.out)["missing"], ran.err) == (6, ["z"], "no dead letters: z\n")


def test_what_fails_or_is_stopped_is_exit_1(plane: Plane, bufferproxy) -> None:  # type: ignore[no-untyped-def]
    plane({**DONE, "state": "failed", "done": 1, "error": "the log is away"})
    ran = bufferproxy("dead", "redrive", "a", "--all", "--yes")
    assert (ran.code, ran.err) == (1, "1 of 2 redriven\na: failed: the log is away\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ("redrive", "a"),
        ("purge", "a", "--yes"),
        ("redrive", "a", "x", "--all"),
        ("list", "a", "--where", "state=dead"),
        ("list", "a", "--where", "reason"),
        ("list", "a", "--where", "reason=a", "--where", "reason=b"),
        ("purge", "a", "--where", "path=", "--yes"),
        ("list", "a", "--limit", "0"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(plane: Plane, bufferproxy, arguments: Any) -> None:  # type: ignore[no-untyped-def]
    assert bufferproxy("dead", *arguments).code == 2
    assert plane.asked == []


@pytest.mark.parametrize(("status", "code"), [(400, 2), (401, 5), (403, 5), (404, 6), (409, 1), (503, 1)])
def test_a_refusal_is_told_by_the_exit_code(plane: Plane, bufferproxy, status: int, code: int) -> None:  # type: ignore[no-untyped-def]
    plane({"detail": "no"}, status=status)
    ran = bufferproxy("dead", "redrive", "a", "x")
    assert ran.code == code
    assert status in (401, 403) or ran.err.endswith("no\n")


def test_a_letter_is_shown_as_it_was_sent() -> None:
    body = {"size": 9, "text": "hello", "base64": None, "truncated": True}
    part = {"line": "GET / HTTP/1.1", "headers": [["Host", "a"]], "body": body}
    answer = {"line": "HTTP/1.1 500", "headers": [], "body": {**body, "text": "", "truncated": False}}
    letter = {**ROW, "error": None, "generation": 1, "key": None, "request": part, "response": answer}
    assert lines_of(letter) == [
        "id:          x",
        "service:     a",
        "reason:      attempts",
        "attempts:    8",
        "generation:  1",
        "accepted_at: T1",
        "died_at:     T2",
        *("", "--- request", "GET / HTTP/1.1", "Host: a", "", "hello", "… (9 bytes in all)"),
        *("", "--- last answer", "HTTP/1.1 500", ""),
    ]
