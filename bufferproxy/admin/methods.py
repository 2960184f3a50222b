"""What each route answers beside its own methods: HEAD where there is GET, OPTIONS with a true Allow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import Response
from starlette.routing import Match

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_OWN = ("GET", "POST", "PUT", "PATCH", "DELETE")


class Methods:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "HEAD":
            await self._head(scope, receive, send)
        elif scope["type"] == "http" and scope["method"] == "OPTIONS" and (allow := allowed(scope)):
            await Response(status_code=204, headers={"Allow": allow})(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _head(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As GET, up to the body: a stream, too, ends there."""
        over = False

        async def send_head(message: Message) -> None:
            nonlocal over
            if message["type"] == "http.response.start":
                await send(message)
            elif not over:
                over = True
                await send({"type": "http.response.body", "body": b""})

        await self._app({**scope, "method": "GET"}, receive, send_head)

    def __repr__(self) -> str:
        return "<Methods>"


def allowed(scope: Scope) -> str:
    """The value of Allow for the path of `scope`; empty when there is nothing at this path."""
    path, routes = scope["path"], scope["app"].router.routes

    def takes(method: str) -> bool:
        asked = {**scope, "method": method}
        return any(route.matches(asked)[0] is Match.FULL for route in routes)

    found = [method for method in _OWN if path == "*" or takes(method)]
    if not found:
        return ""
    if "GET" in found:
        found.insert(1, "HEAD")
    return ", ".join((*found, "OPTIONS"))
