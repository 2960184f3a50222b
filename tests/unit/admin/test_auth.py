from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest

from bufferproxy.admin.auth import Access, Asked, Tokens, is_loopback, judge
from bufferproxy.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.admin.conftest import Plane

TOKENS = Tokens(operator=b"op-secret", viewer=b"view-secret")
REMOTE = Access(loopback=False, tokens=TOKENS)
LOCAL = Access(loopback=True)
ASKED = Asked("GET", "/api/v1/services", ["localhost:8081"], [], None, None)


def status(asked: Asked, access: Access) -> int:
    problem = judge(asked, access)
    return 200 if problem is None else problem.status


def bearer(token: str) -> list[bytes]:
    return [b"Bearer " + token.encode()]


def basic(token: str) -> list[bytes]:
    return [b"Basic " + base64.b64encode(b"me:" + token.encode())]


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("LOCALHOST.", True),
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("::1", True),
        ("[::1]", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.7", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("2130706433", False),
        ("", False),
    ],
)
def test_loopback_is_told_from_everything_else(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "admin.example"])
def test_off_loopback_nothing_starts_without_a_token(host: str) -> None:
    with pytest.raises(ConfigurationError, match=r"admin\.token_file: is needed") as caught:
        Access.for_host(host, Tokens())
    assert caught.value.exit_code == 3
    assert Access.for_host(host, Tokens(operator=b"x")).loopback is False


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_viewer_alone_could_change_nothing(host: str) -> None:
    with pytest.raises(ConfigurationError, match=r"admin\.token_file: is needed beside"):
        Access.for_host(host, Tokens(viewer=b"only"))


def test_on_loopback_no_token_is_needed() -> None:
    assert Access.for_host("127.0.0.1", Tokens()) == Access(loopback=True)


def test_tokens_are_read_without_their_line_ends(tmp_path: Path) -> None:
    (tmp_path / "op").write_text("op-secret\n")
    assert Tokens.read(str(tmp_path / "op"), None) == Tokens(operator=b"op-secret")
    assert "op-secret" not in repr(Tokens.read(str(tmp_path / "op"), None))


def test_a_missing_or_empty_token_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"admin\.token_file: .*No such file"):
        Tokens.read(str(tmp_path / "none"), None)
    (tmp_path / "empty").write_text(" \n")
    with pytest.raises(ConfigurationError, match=r"admin\.viewer_token_file: .*is empty"):
        Tokens.read(None, str(tmp_path / "empty"))


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
def test_health_and_metrics_are_open(path: str) -> None:
    assert status(ASKED._replace(path=path, hosts=["10.0.0.7:8081"]), REMOTE) == 200


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/api/v1/services", "/livez/x", "/metricsx"])
def test_everything_else_needs_a_token(path: str) -> None:
    problem = judge(ASKED._replace(path=path), REMOTE)
    assert problem is not None
    assert (problem.status, problem.slug) == (401, "unauthenticated")
    assert problem.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    ("authorization", "reads", "writes"),
    [
        (bearer("op-secret"), 200, 200),
        (bearer("view-secret"), 200, 403),
        (basic("op-secret"), 200, 200),
        (basic("view-secret"), 200, 403),
        ([b"bEARER  op-secret"], 200, 200),
        (bearer("op-secre"), 401, 401),
        (bearer(""), 401, 401),
        ([b"Bearer"], 401, 401),
        ([b"op-secret"], 401, 401),
        ([b"Basic op-secret"], 401, 401),
        ([b"Basic " + base64.b64encode(b"op-secret")], 401, 401),
        (bearer("op-secret") * 2, 401, 401),
        ([], 401, 401),
    ],
)
def test_a_token_opens_what_it_may(authorization: list[bytes], reads: int, writes: int) -> None:
    asked = ASKED._replace(authorization=authorization)
    assert status(asked, REMOTE) == reads
    assert status(asked._replace(method="DELETE"), REMOTE) == writes


def test_a_token_that_is_configured_on_loopback_is_needed_there_too() -> None:
    local = Access(loopback=True, tokens=TOKENS)
    assert status(ASKED, local) == 401
    assert status(ASKED._replace(authorization=bearer("op-secret")), local) == 200


@pytest.mark.parametrize(
    "hosts", [["evil.example"], ["evil.example:8081"], ["10.0.0.7"], [""], ["localhost", "evil.example"]]
)
def test_a_foreign_host_on_loopback_is_misdirected(hosts: list[str]) -> None:
    assert status(ASKED._replace(hosts=hosts), LOCAL) == 421
    assert status(ASKED._replace(hosts=hosts, path="/metrics"), LOCAL) == 421


@pytest.mark.parametrize("host", ["localhost", "localhost:9999", "127.0.0.1:8081", "[::1]:8081", "[::1]"])
def test_a_host_of_our_own_on_loopback_is_fine(host: str) -> None:
    assert status(ASKED._replace(hosts=[host]), LOCAL) == 200


@pytest.mark.parametrize(
    ("site", "origin", "expected"),
    [
        (None, None, 200),
        ("same-origin", None, 200),
        ("same-origin", "http://localhost:8081", 200),
        (None, "http://localhost:8081", 200),
        (None, "https://LOCALHOST:8081", 200),
        ("cross-site", None, 403),
        ("same-site", None, 403),
        ("none", None, 403),
        ("cross-site", "http://localhost:8081", 403),
        (None, "http://localhost:3000", 403),
        (None, "http://evil.example", 403),
        (None, "null", 403),
    ],
)
def test_a_page_of_another_site_changes_nothing(site: str | None, origin: str | None, expected: int) -> None:
    asked = ASKED._replace(site=site, origin=origin)
    assert status(asked._replace(method="POST"), LOCAL) == expected
    assert status(asked, LOCAL) == 200


async def test_the_guard_stands_before_every_route(plane: Plane) -> None:
    async with plane.client(REMOTE, "admin.example") as client:
        assert (await client.get("/metrics")).status_code == 200
        answer = await client.get("/api/v1/services")
        assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")
        assert (await client.get("/nowhere")).status_code == 401
        client.headers["Authorization"] = "Bearer view-secret"
        assert (await client.get("/api/v1/services")).status_code == 200
        assert (await client.delete("/api/v1/services")).status_code == 403
