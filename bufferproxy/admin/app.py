"""Puts the admin plane together: routes over Protocols, no state of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, FastAPI, Request, Security
from fastapi.responses import JSONResponse, Response
from fastapi.security import HTTPBearer

from bufferproxy import __version__
from bufferproxy.admin.contract import (
    Absence,
    DeadLetters,
    Health,
    Render,
    Requests,
    Settings,
    Snapshot,
)
from bufferproxy.admin.dead import dead_letters
from bufferproxy.admin.guard import Guard
from bufferproxy.admin.methods import Methods
from bufferproxy.admin.pages import pages
from bufferproxy.admin.problems import MEDIA_TYPE, Problem, Refusal, answer_with_problems
from bufferproxy.admin.views import ReadyView, ServicesView, ServiceView, SettingsView, SettingView
from bufferproxy.config.redact import redact

if TYPE_CHECKING:
    from collections.abc import Callable

    from bufferproxy.admin.auth import Access

_ABSENT = {
    Absence.UNKNOWN: (404, "No request has this id.", {}),
    Absence.GONE: (410, "It ended longer ago than results are kept.", {}),
    Absence.UNAVAILABLE: (503, "The log does not answer now.", {"Retry-After": "1"}),
}


_PROBLEM: dict[str, object] = {"description": "Problem", "content": {MEDIA_TYPE: {}}}
# Declaring 4XX keeps FastAPI from describing a 422 that is never sent.
_PROBLEMS: dict[int | str, dict[str, object]] = {"4XX": _PROBLEM, "5XX": _PROBLEM}

# For OpenAPI only: the guard has decided before any route is reached.
_TOKEN = Security(HTTPBearer(auto_error=False, description="Needed wherever a token is configured."))


def admin_app(
    *,
    snapshot: Snapshot,
    health: Health,
    requests: Requests,
    dead: DeadLetters,
    wall: Callable[[], float],
    settings: Settings,
    render: Render,
    access: Access,
) -> FastAPI:
    """The whole admin plane as an ASGI application."""
    app = FastAPI(
        title="bufferproxy",
        summary="The admin plane of a load-buffering queue proxy.",
        version=__version__,
        docs_url=None,  # ours loads nothing from elsewhere: see pages.py
        redoc_url=None,
        responses=_PROBLEMS,
    )
    answer_with_problems(app)
    app.add_middleware(Methods)
    app.add_middleware(Guard, access=access)
    app.include_router(_probes(health, render))
    app.include_router(_services(snapshot))
    app.include_router(dead_letters(dead, wall), dependencies=[_TOKEN])
    app.include_router(_requests(requests))
    app.include_router(_settings(settings))
    app.include_router(pages())
    return app


def _probes(health: Health, render: Render) -> APIRouter:
    router = APIRouter(tags=["health"])

    @router.get("/livez")
    async def livez() -> dict[str, bool]:
        """200 as long as the event loop turns. Looks at nothing else: a restart cures no lost log."""
        return {"live": True}

    @router.get("/readyz", responses={503: {"model": ReadyView, "description": "Not ready, and why"}})
    async def readyz(response: Response) -> ReadyView:
        """Whether requests should be sent here: the log answers, work moves, no shutdown has begun."""
        view = ReadyView.of(list(health.checks()))
        if not view.ready:
            response.status_code = 503
        return view

    @router.get("/metrics", response_class=Response)
    async def metrics(request: Request) -> Response:
        """Prometheus' text format, or OpenMetrics when it is asked for."""
        rendered = await render(request.headers.get("accept", ""))
        return Response(rendered.body, headers={"Content-Type": rendered.content_type})

    return router


def _services(snapshot: Snapshot) -> APIRouter:
    router = APIRouter(prefix="/api/v1/services", tags=["services"], dependencies=[_TOKEN])

    @router.get("")
    async def list_services() -> ServicesView:
        """Every service: how it is set, what waits for it, what moves."""
        return ServicesView(services=[ServiceView.of(found) for found in snapshot.services()])

    @router.get("/{service}")
    async def show_service(service: str) -> ServiceView:
        """One of them."""
        found = snapshot.service(service)
        if found is None:
            raise Refusal(Problem(404, "no-service", "No service of this name is configured."))
        return ServiceView.of(found)

    return router


def _requests(requests: Requests) -> APIRouter:
    router = APIRouter(prefix="/api/v1/requests", tags=["requests"], dependencies=[_TOKEN])

    @router.get("/{id}")
    async def show_request(id: str) -> JSONResponse:  # noqa: A002
        """The status of one request, as the data plane gives it."""
        found = await requests.status(id)
        if isinstance(found, Absence):
            status, detail, headers = _ABSENT[found]
            raise Refusal(Problem(status, found.value, detail, headers))
        return JSONResponse(dict(found))

    return router


def _settings(settings: Settings) -> APIRouter:
    router = APIRouter(prefix="/api/v1/settings", tags=["settings"], dependencies=[_TOKEN])

    @router.get("")
    async def list_settings() -> SettingsView:
        """Every resolved setting with its origin. Secrets are hidden; the paths of their files are not."""
        return SettingsView(
            settings=[
                SettingView(key=key, value=redact(tuple(key.split(".")), value), origin=origin)
                for key, value, origin in settings()
            ]
        )

    return router
