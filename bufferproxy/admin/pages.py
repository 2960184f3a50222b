"""The pages for people: a few files of our own, kept in memory. Nothing is loaded from elsewhere."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import NamedTuple

from fastapi import APIRouter, Request
from fastapi.responses import Response

PAGES = {
    "/": "status.html",
    "/docs": "docs.html",
    "/static/page.css": "page.css",
    "/static/status.js": "status.js",
    "/static/docs.js": "docs.js",
}

_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript"}


class Page(NamedTuple):
    body: bytes
    media_type: str
    etag: str

    @classmethod
    def read(cls, name: str) -> Page:
        body = files("bufferproxy.admin").joinpath("static", name).read_bytes()
        etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        return cls(body, _TYPES[name.rpartition(".")[2]], etag)

    def answer(self, known: str | None) -> Response:
        """304 when the browser has this version already."""
        headers = {"ETag": self.etag, "Cache-Control": "no-cache"}
        if known == self.etag:
            return Response(status_code=304, headers=headers)
        return Response(self.body, headers=headers, media_type=self.media_type)


def pages() -> APIRouter:
    router = APIRouter(include_in_schema=False)
    for path, name in PAGES.items():
        _add(router, path, Page.read(name))
    return router


def _add(router: APIRouter, path: str, page: Page) -> None:
    @router.get(path)
    async def show(request: Request) -> Response:
        return page.answer(request.headers.get("if-none-match"))
