"""Every refusal of the admin plane, as application/problem+json (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from bufferproxy.admin.methods import allowed

if TYPE_CHECKING:
    from fastapi import FastAPI, Request

MEDIA_TYPE = "application/problem+json"

_SLUGS = {
    400: "bad-request",
    401: "unauthenticated",
    403: "forbidden",
    404: "not-found",
    405: "method-not-allowed",
    422: "bad-request",
}


class Problem(NamedTuple):
    status: int
    slug: str
    detail: str
    headers: Mapping[str, str] = {}

    def response(self) -> JSONResponse:
        body = {
            "type": f"urn:bufferproxy:problem:{self.slug}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        return JSONResponse(body, self.status, dict(self.headers), MEDIA_TYPE)


class Refusal(Exception):
    """Raised by a route that answers with a problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


def answer_with_problems(app: FastAPI) -> None:
    app.add_exception_handler(Refusal, _refusal)
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _unexpected)


async def _refusal(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Refusal)  # noqa: S101  # narrows what Starlette cannot type
    return error.problem.response()


async def _http_exception(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101  # narrows what Starlette cannot type
    if error.status_code == 405:
        # Starlette names the methods of one route; others may have the same path.
        detail = f"Not with {request.method}."
        return Problem(405, "method-not-allowed", detail, {"Allow": allowed(request.scope)}).response()
    slug = _SLUGS.get(error.status_code, "bad-request" if error.status_code < 500 else "internal-error")
    return Problem(error.status_code, slug, str(error.detail), error.headers or {}).response()


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101  # narrows what Starlette cannot type
    # What the caller sent stays out of the detail: it may be long, or a secret in the wrong place.
    said = [f"{'.'.join(str(part) for part in found['loc'])}: {found['msg']}" for found in error.errors()]
    return Problem(400, "bad-request", "; ".join(said)).response()


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    return Problem(500, "internal-error", "This is a bug; the log has its traceback.").response()
