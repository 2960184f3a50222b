from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bufferproxy.admin.contract import Absence, Check
from bufferproxy.observe.events import Accepted, Finished

if TYPE_CHECKING:
    import httpx2

    from tests.unit.admin.conftest import Plane

PROBLEM = "application/problem+json"


async def test_livez_looks_at_no_dependency(client: httpx2.AsyncClient, plane: Plane) -> None:
    plane.checks_now = [Check("log", ok=False, detail="gone")]
    assert (await client.get("/livez")).status_code == 200


async def test_readyz_is_200_when_every_check_is_fine(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json()["ready"] is True
    assert answer.json()["reasons"] == []


async def test_readyz_is_503_with_each_reason(client: httpx2.AsyncClient, plane: Plane) -> None:
    plane.checks_now = [
        Check("log", ok=False, detail="broker is gone"),
        Check("draining", ok=True),
        Check("progress", ok=False, detail="auth moved nothing for 61 s"),
    ]
    answer = await client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["reasons"] == ["log: broker is gone", "progress: auth moved nothing for 61 s"]
    assert [check["ok"] for check in answer.json()["checks"]] == [False, True, False]


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
async def test_a_probe_may_ask_with_head(client: httpx2.AsyncClient, path: str) -> None:
    assert (await client.head(path)).status_code == 200


async def test_metrics_are_prometheus_text(client: httpx2.AsyncClient, plane: Plane) -> None:
    plane.events.emit(Accepted("auth", 5, 0.1))
    answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    accepted = families["bufferproxy_requests_accepted"].samples
    assert {sample.labels["service"]: sample.value for sample in accepted} == {"auth": 1, "mail": 0}


async def test_a_scraper_may_ask_for_openmetrics(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert answer.text.endswith("# EOF\n")


async def test_services_are_listed_in_the_order_of_the_configuration(client: httpx2.AsyncClient) -> None:
    listed = (await client.get("/api/v1/services")).json()["services"]
    assert [service["name"] for service in listed] == ["auth", "mail"]


async def test_a_service_tells_how_it_is_set_what_waits_and_what_moves(
    client: httpx2.AsyncClient, plane: Plane
) -> None:
    plane.events.emit(Accepted("auth", 5, 0.1))
    plane.events.emit(Finished("auth", "delivered"))
    auth = (await client.get("/api/v1/services/auth")).json()
    assert auth.pop("rates").keys() == {"accepted", "delivered"}
    assert auth == {
        "name": "auth",
        "to": ["http://auth.internal:8000"],
        "rate_limit": 50.0,
        "rate_allowed": 40.0,
        "rate_share": 20.0,
        "burst": 1,
        "concurrency": 20,
        "concurrency_allowed": 8,
        "concurrency_found": 8,
        "paused": False,
        "breaker": "closed",
        "resting": {"reason": "connect", "until": "2023-11-14T22:14:20.500000Z"},
        "backlog": {
            "ready": 3,
            "delayed": 2,
            "in_flight": 1,
            "bytes": 600,
            "oldest_at": "2023-11-14T22:13:20.250000Z",
        },
        "drain_eta_seconds": 12.5,
        "throttled": {},
        "shadow": ["breaker"],
        "accepted": 1,
        "finished": {"delivered": 1, "rejected": 0, "dead": 0, "expired": 0, "cancelled": 0},
        "dead_letters": 4,
        "in_flight": 1,
        "held": 7,
        "partitions": 12,
    }


async def test_unlimited_and_never_are_null(client: httpx2.AsyncClient) -> None:
    mail = (await client.get("/api/v1/services/mail")).json()
    assert (mail["rate_limit"], mail["rate_share"], mail["rate_allowed"]) == (None, None, 0.0)
    assert mail["drain_eta_seconds"] is None
    assert (mail["resting"], mail["paused"], mail["backlog"]["oldest_at"]) == (None, True, None)


async def test_an_unknown_service_is_a_problem(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/api/v1/services/ghost")
    assert (answer.status_code, answer.headers["content-type"]) == (404, PROBLEM)
    assert answer.json()["type"] == "urn:bufferproxy:problem:no-service"


async def test_a_request_is_shown_as_the_data_plane_gives_it(
    client: httpx2.AsyncClient, plane: Plane
) -> None:
    plane.requests_now["abc"] = {"id": "abc", "state": "queued", "attempts": 0}
    assert (await client.get("/api/v1/requests/abc")).json() == plane.requests_now["abc"]


@pytest.mark.parametrize(
    ("absence", "status"), [(Absence.UNKNOWN, 404), (Absence.GONE, 410), (Absence.UNAVAILABLE, 503)]
)
async def test_a_request_without_a_status_is_a_problem(
    client: httpx2.AsyncClient, plane: Plane, absence: Absence, status: int
) -> None:
    plane.requests_now["abc"] = absence
    answer = await client.get("/api/v1/requests/abc")
    assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM)
    assert answer.json()["type"] == f"urn:bufferproxy:problem:{absence.value}"
    assert ("retry-after" in answer.headers) == (status == 503)


async def test_settings_come_with_their_origins_and_without_secrets(
    client: httpx2.AsyncClient, plane: Plane
) -> None:
    plane.settings_now = [
        ("services.auth.rate", 50.0, "file"),
        ("admin.token_file", "/run/secrets/admin", "env"),
        ("kafka.security", {"sasl_plain_password": "hunter2"}, "file"),
    ]
    answer = await client.get("/api/v1/settings")
    assert answer.json()["settings"] == [
        {"key": "services.auth.rate", "value": 50.0, "origin": "file"},
        {"key": "admin.token_file", "value": "/run/secrets/admin", "origin": "env"},
        {"key": "kafka.security", "value": {"sasl_plain_password": "***"}, "origin": "file"},
    ]


async def test_what_is_not_there_is_a_problem_too(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/api/v2")
    assert (answer.status_code, answer.headers["content-type"]) == (404, PROBLEM)
    assert answer.json()["type"] == "urn:bufferproxy:problem:not-found"


async def test_a_wrong_method_is_told_the_right_ones(client: httpx2.AsyncClient) -> None:
    answer = await client.post("/api/v1/services")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    assert answer.json()["type"] == "urn:bufferproxy:problem:method-not-allowed"


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("/livez", "GET, HEAD, OPTIONS"),
        ("/", "GET, HEAD, OPTIONS"),
        ("/api/v1/services/auth", "GET, HEAD, OPTIONS"),
        ("/api/v1/services/auth/dead", "GET, HEAD, DELETE, OPTIONS"),
        ("/api/v1/services/auth/dead/redrive", "GET, HEAD, POST, OPTIONS"),
    ],
)
async def test_options_and_a_wrong_method_are_told_all_that_a_path_takes(
    client: httpx2.AsyncClient, path: str, allow: str
) -> None:
    answer = await client.options(path)
    assert (answer.status_code, answer.headers["allow"], answer.content) == (204, allow, b"")
    wrong = await client.put(path)
    assert (wrong.status_code, wrong.headers["allow"]) == (405, allow)


async def test_options_of_nothing_is_404(client: httpx2.AsyncClient) -> None:
    assert (await client.options("/api/v2")).status_code == 404


@pytest.mark.parametrize("path", ["/", "/readyz", "/metrics", "/api/v1/services", "/api/v1/services/none"])
async def test_head_is_get_without_its_body(client: httpx2.AsyncClient, path: str) -> None:
    get, head = await client.get(path), await client.head(path)
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert head.headers["content-type"] == get.headers["content-type"]


async def test_a_bug_is_a_problem_that_tells_nothing(
    client: httpx2.AsyncClient, plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise RuntimeError("hunter2")

    monkeypatch.setattr(plane.snapshots, "services", broken)
    answer = await client.get("/api/v1/services")
    assert (answer.status_code, answer.headers["content-type"]) == (500, PROBLEM)
    assert "hunter2" not in answer.text


async def test_openapi_names_the_token_and_no_answer_that_is_never_given(client: httpx2.AsyncClient) -> None:
    described = (await client.get("/openapi.json")).json()
    shown = described["paths"]["/api/v1/services/{service}"]["get"]
    assert set(shown["responses"]) == {"200", "4XX", "5XX"}
    assert shown["security"] == [{"HTTPBearer": []}]
    assert "security" not in described["paths"]["/livez"]["get"]


async def test_openapi_describes_every_route_of_the_api(client: httpx2.AsyncClient) -> None:
    paths = (await client.get("/openapi.json")).json()["paths"]
    assert set(paths) == {
        "/livez",
        "/readyz",
        "/metrics",
        "/api/v1/services",
        "/api/v1/services/{service}",
        "/api/v1/services/{service}/dead",
        "/api/v1/services/{service}/dead/work",
        "/api/v1/services/{service}/dead/{id}",
        "/api/v1/services/{service}/dead/redrive",
        "/api/v1/requests/{id}",
        "/api/v1/settings",
    }
