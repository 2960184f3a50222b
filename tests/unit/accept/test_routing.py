from __future__ import annotations

import pytest

from bufferproxy.accept.routing import Match, Router, host_name, taken_off

ROUTER = Router(
    [
        (Match(), "rest"),
        (Match(b"/auth"), "auth"),
        (Match(b"/auth/admin/", strip=True), "admin"),
        (Match(b"/auth", host=b"api.example"), "api auth"),
        (Match(host=b"api.example"), "api"),
    ]
)


@pytest.mark.parametrize(
    ("host", "target", "found"),
    [
        (b"x", b"/", ("rest", b"/")),
        (b"x", b"*", ("rest", b"*")),
        (b"x", b"/auth", ("auth", b"/auth")),
        (b"x", b"/auth?x=/auth/admin", ("auth", b"/auth?x=/auth/admin")),
        (b"x", b"/auth/%2e%2e//", ("auth", b"/auth/%2e%2e//")),
        (b"x", b"/authors", ("rest", b"/authors")),
        (b"x", b"/Auth", ("rest", b"/Auth")),
        (b"x", b"/%61uth", ("rest", b"/%61uth")),
        (b"x", b"//auth", ("rest", b"//auth")),
        (b"x", b"/auth/admin", ("admin", b"/")),
        (b"x", b"/auth/admin?", ("admin", b"/?")),
        (b"x", b"/auth/admin?a=b", ("admin", b"/?a=b")),
        (b"x", b"/auth/admin//a/../b", ("admin", b"//a/../b")),
        (b"x", b"/auth/administrator", ("auth", b"/auth/administrator")),
        (b"API.Example:8080", b"/auth/admin", ("api auth", b"/auth/admin")),
        (b"api.example", b"/other", ("api", b"/other")),
    ],
)
def test_a_request_goes_to_the_longest_prefix_and_hosts_before_all(
    host: bytes, target: bytes, found: tuple[str, bytes]
) -> None:
    assert ROUTER.route(host, target) == found


def test_without_a_service_for_the_rest_what_matches_nothing_has_none() -> None:
    router = Router([(Match(b"/auth"), "auth"), (Match(host=b"a"), "a")])
    assert router.route(b"b", b"/other") is None


@pytest.mark.parametrize(
    ("host", "name"),
    [
        (b"A.b:80", b"a.b"),
        (b"a", b"a"),
        (b"[::1]:80", b"[::1]"),
        (b"[::1]", b"[::1]"),
        (b"[::1", b""),
        (b"", b""),
    ],
)
def test_the_name_of_a_host_is_without_its_port(host: bytes, name: bytes) -> None:
    assert host_name(host) == name


@pytest.mark.parametrize(
    ("prefix", "sent"),
    [
        (b"/auth", b"/auth"), (b"/auth", b"/auth/"), (b"/auth", b"/auth?x"), (b"/auth", b"/auth/?x"),
        (b"/auth", b"/auth//auth"), (b"/auth", b"/auth/auth"), (b"/a/b", b"/a/b/c?d/"), (b"/a", b"/a?/"),
    ],
)  # fmt: skip
def test_the_prefix_that_was_taken_off_is_known(prefix: bytes, sent: bytes) -> None:
    found = Router([(Match(prefix, strip=True), "a")]).route(b"h", sent)
    assert found is not None
    assert taken_off(sent, found[1]) == prefix
    assert taken_off(sent, sent) == b""
