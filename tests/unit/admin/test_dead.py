from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest

from bufferproxy.admin import dead
from bufferproxy.admin.letters import SHOWN
from bufferproxy.errors import LogUnavailable
from bufferproxy.records import Letter, Partition, Position, Record
from bufferproxy.results.selection import ALL, Selection
from bufferproxy.settle.redrive import Order
from tests.unit.admin.conftest import NOW

if TYPE_CHECKING:
    import httpx2

    from tests.unit.admin.conftest import Plane

URL = "/api/v1/services/auth/dead"
AT = Position(Partition("p.auth.dead", 0), 5)
HEAD = b"POST /a?b HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer x\r\nX-Api-Key: y\r\nX: \xe9\r\n"


@pytest.fixture
def letters(plane: Plane) -> dict[str, tuple[Letter, Record]]:
    for id_, body in (("x", b"{}"), ("y", b"\xff"), ("z", b"\xc3\xa9" * SHOWN)):
        letter = Letter(id_, 1, AT, "attempts", 500, 8, 1_700_000_000_000, 1_700_000_001_500, "/a", b"k")
        headers = (
            ("bufferproxy-head", HEAD),
            ("bufferproxy-reply-head", b"HTTP/1.1 500 No\r\nSet-Cookie: s\r\n"),
            ("bufferproxy-reply-body", b"no"),
        )
        plane.dead.letters[id_] = (letter, Record(AT.partition, 5, b"x", body, headers, 0.0))
    return plane.dead.letters


ROW = {
    "id": "x",
    "service": "auth",
    "reason": "attempts",
    "attempts": 8,
    "status": 500,
    "accepted_at": "2023-11-14T22:13:20.000Z",
    "died_at": "2023-11-14T22:13:21.500Z",
}


async def test_a_list_has_rows_the_count_and_where_the_next_page_begins(
    client: httpx2.AsyncClient, plane: Plane, letters: Any
) -> None:
    first = (await client.get(f"{URL}?limit=2")).json()
    assert first == {"dead": [ROW, {**ROW, "id": "y"}], "count": 3, "next": 2}
    rest = (await client.get(f"{URL}?limit=2&after={first['next']}")).json()
    assert ([row["id"] for row in rest["dead"]], rest["next"]) == (["z"], None)
    await client.get(f"{URL}?status=5xx&path=/a&since=1h")
    since = int((NOW - 3600) * 1000)
    assert plane.dead.asked[-1] == Selection(status=(500, 599), path="/a", since=since)


async def test_one_is_shown_with_its_request_and_the_last_answer_but_no_credentials(
    client: httpx2.AsyncClient, letters: Any
) -> None:
    shown = (await client.get(f"{URL}/x")).json()
    body = {"size": 2, "text": "{}", "base64": None, "truncated": False}
    assert shown["request"] == {
        "line": "POST /a?b HTTP/1.1",
        "headers": [["Host", "a"], ["Authorization", "***"], ["X-Api-Key", "***"], ["X", "é"]],
        "body": body,
    }
    assert shown["response"]["headers"] == [["Set-Cookie", "***"]]
    assert shown["response"]["body"]["text"] == "no"
    assert (shown["generation"], shown["path"], shown["key"]) == (1, "/a", "k")
    other = (await client.get(f"{URL}/y")).json()["request"]["body"]
    assert (other["text"], other["base64"]) == (None, "/w==")
    long = (await client.get(f"{URL}/z")).json()["request"]["body"]
    assert (long["size"], long["truncated"], len(long["text"].encode())) == (2 * SHOWN, True, SHOWN)


@pytest.mark.parametrize(
    ("asked", "wanted", "order"),
    [
        ({"where": {}}, ALL, Order("redrive")),
        ({"ids": ["x", "x"]}, Selection(ids=("x",)), Order("redrive")),
        ({"where": {"status": 404}, "limit": 3}, Selection(status=(404, 404)), Order("redrive", limit=3)),
        ({"where": {}, "rate": 2.5}, ALL, Order("redrive", 2.5)),
        ({"where": {}, "rate": "30/min"}, ALL, Order("redrive", 0.5)),
        ({"where": {}, "rate": "unlimited"}, ALL, Order("redrive", math.inf)),
    ],
)  # fmt: skip
async def test_a_redrive_is_begun_as_asked(
    client: httpx2.AsyncClient, plane: Plane, letters: Any, asked: Any, wanted: Selection, order: Order
) -> None:
    answer = await client.post(f"{URL}/redrive", json=asked)
    assert answer.status_code == 200
    assert plane.dead.begun == [(wanted, order)]
    told = answer.json()
    assert (told["state"], told["count"], told["done"], told["missing"]) == ("done", 3, 3, [])


async def test_what_takes_long_goes_on_and_can_be_watched(
    client: httpx2.AsyncClient, plane: Plane, letters: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead, "WAIT", 0.01)
    assert (await client.get(f"{URL}/work")).status_code == 404
    plane.dead.at_once = False
    answer = await client.post(f"{URL}/redrive", json={"where": {}})
    assert (answer.status_code, answer.json()["state"]) == (202, "running")
    assert plane.dead.last is not None
    plane.dead.last.done = 2
    assert (await client.get(answer.headers["location"])).json()["done"] == 2
    plane.dead.last.end("failed", "the log is away")
    told = (await client.get(answer.headers["location"])).json()
    assert (told["state"], told["error"]) == ("failed", "the log is away")


async def test_a_dry_run_names_them_and_begins_nothing(
    client: httpx2.AsyncClient, plane: Plane, letters: Any
) -> None:
    asked = {"ids": ["x", "nobody"], "dry_run": True, "limit": 2}
    told = (await client.post(f"{URL}/redrive", json=asked)).json()
    assert (told["state"], told["count"], told["missing"]) == ("dry-run", 2, ["nobody"])
    assert told["ids"] == ["x", "y"]  # the double does not look at the selection
    told = (await client.request("DELETE", URL, json={"where": {}, "dry_run": True})).json()
    assert (told["action"], told["count"]) == ("purge", 3)
    assert plane.dead.begun == []


async def test_a_purge_is_begun_as_asked(client: httpx2.AsyncClient, plane: Plane, letters: Any) -> None:
    answer = await client.request("DELETE", URL, json={"where": {"reason": "rejected"}, "limit": 2})
    assert answer.json()["action"] == "purge"
    assert plane.dead.begun == [(Selection(reason="rejected"), Order("purge", limit=2))]


@pytest.mark.parametrize(
    ("asked", "status", "slug"),
    [
        ({}, 400, "bad-request"),
        ({"limit": 5}, 400, "bad-request"),
        ({"where": {"state": "dead"}}, 400, "bad-request"),
        ({"where": {"status": "600"}}, 400, "bad-request"),
        ({"where": {"reason": "bogus"}}, 400, "bad-request"),
        ({"where": {"path": ""}}, 400, "bad-request"),
        ({"where": {"path": "?x"}}, 400, "bad-request"),
        ({"where": {"key": ""}}, 400, "bad-request"),
        ({"where": {}, "limit": 0}, 400, "bad-request"),
        ({"where": {}, "rate": 0}, 400, "bad-request"),
        ({"where": {}, "rate": "5"}, 400, "bad-request"),
        ({"where": {}, "all": True}, 400, "bad-request"),
        ({"ids": ["nobody", "no one"]}, 404, "unknown-request"),
    ],
)
async def test_what_cannot_be_meant_changes_nothing(
    client: httpx2.AsyncClient, plane: Plane, letters: Any, asked: Any, status: int, slug: str
) -> None:
    answer = await client.post(f"{URL}/redrive", json=asked)
    assert answer.status_code == status
    assert answer.json()["type"] == f"urn:bufferproxy:problem:{slug}"
    assert plane.dead.begun == []


async def test_one_order_of_a_service_at_a_time(
    client: httpx2.AsyncClient, plane: Plane, letters: Any
) -> None:
    plane.dead.busy = True
    answer = await client.post(f"{URL}/redrive", json={"where": {}})
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:bufferproxy:problem:redrive-running")


@pytest.mark.parametrize(
    "query", ["path=", "path=orders", "reason=", "reason=bogus", "status=", "key=", "since="]
)
async def test_a_list_of_what_cannot_be_meant_is_refused(
    client: httpx2.AsyncClient, letters: Any, query: str
) -> None:
    answer = await client.get(f"{URL}?{query}")
    assert (answer.status_code, answer.json()["type"]) == (400, "urn:bufferproxy:problem:bad-request")
    assert f"{query.partition('=')[0]}=" in answer.json()["detail"]


@pytest.mark.parametrize("path", ["", "/x", "/work"])
async def test_a_service_that_is_not_there_is_404(client: httpx2.AsyncClient, path: str) -> None:
    answer = await client.get(f"/api/v1/services/none/dead{path}")
    assert (answer.status_code, answer.json()["type"]) == (404, "urn:bufferproxy:problem:no-service")


async def test_a_letter_that_is_not_there_is_404_and_a_lost_log_503(
    client: httpx2.AsyncClient, plane: Plane
) -> None:
    answer = await client.get(f"{URL}/p.auth.requests/0/5")
    assert (answer.status_code, answer.json()["type"]) == (404, "urn:bufferproxy:problem:unknown-request")
    plane.dead.failure = LogUnavailable("away")
    answer = await client.get(URL)
    assert (answer.status_code, answer.json()["detail"]) == (503, "away")
