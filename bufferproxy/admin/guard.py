"""Stands before every route: asks `auth.judge`, and adds the headers that keep browsers safe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders

from bufferproxy.admin.auth import Access, Asked, judge

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Guard:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        problem = judge(asked(scope), self._access)
        app = self._app if problem is None else problem.response()
        await app(scope, receive, send_guarded)

    def __repr__(self) -> str:
        return f"<Guard {self._access!r}>"


def asked(scope: Scope) -> Asked:
    headers = Headers(scope=scope)
    return Asked(
        scope["method"],
        scope["path"],
        headers.getlist("host"),
        [value.encode("latin-1") for value in headers.getlist("authorization")],
        headers.get("sec-fetch-site"),
        headers.get("origin"),
    )
