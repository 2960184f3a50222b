"""Asks the admin plane of a running proxy."""

from __future__ import annotations

import http.client
import json
import os
from typing import Any
from urllib.parse import urlsplit

from bufferproxy.errors import (
    BufferproxyError,
    ConfigurationError,
    NotAuthorised,
    NotFound,
    Unreachable,
    UsageError,
)

TIMEOUT = 5.0
"""Seconds for connecting, and for each read."""
PATIENCE = 20.0
"""The same for what is sent: it is answered when something was done."""
_TOKEN_VARIABLE = "BUFFERPROXY_TOKEN_FILE"  # noqa: S105  (the name of a variable)
_LARGEST_ANSWER = 64 << 20


def admin_url(given: str | None, config: str | None) -> str:
    """`given` (flag or environment), else what the file says, else the default. Raises ConfigurationError."""
    if given is not None:
        return given if "://" in given else f"http://{given}"
    if config is None:
        return "http://127.0.0.1:8081"
    from bufferproxy.config.load import load

    admin = load(config).settings.admin
    host, port = admin.listen
    # What listens everywhere listens here too.
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  (compared, not bound)
    scheme = "https" if admin.tls.cert_file else "http"
    return f"{scheme}://{admin.listen._replace(host=reachable)}" if port else f"{scheme}://{reachable}"


class AdminClient:
    """One question a connection: commands ask once. Raises the errors that commands end with."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(f"{url} is not the URL of an admin plane: write http://HOST:PORT")
        self.url = url.rstrip("/")
        self._parts = parts
        self._token = _token()

    def get(self, path: str) -> Any:
        """The JSON that `path` answers with. Raises Unreachable, NotAuthorised, NotFound."""
        return self._answer(*self._ask("GET", path))

    def send(self, method: str, path: str, data: Any) -> Any:
        """Like `get`, with a method and JSON of its own."""
        return self._answer(*self._ask(method, path, json.dumps(data).encode()))

    def _answer(self, status: int, body: bytes) -> Any:
        if status in (401, 403):
            hint = "the token is not accepted" if self._token else f"a token is wanted: set {_TOKEN_VARIABLE}"
            raise NotAuthorised(f"{self.url}: {hint}")
        try:
            answer = json.loads(body)
        except ValueError as problem:
            raise Unreachable(f"{self.url} answers, but is no admin plane of bufferproxy") from problem
        if status == 404:
            raise NotFound(f"{self.url}: {_detail(answer, 'not found')}")
        if status == 400:
            raise UsageError(_detail(answer, "the proxy does not understand this"))
        if status not in (200, 202):
            raise BufferproxyError(f"{self.url}: {_detail(answer, f'status {status}')}")
        return answer

    def _ask(self, method: str, path: str, data: bytes | None = None) -> tuple[int, bytes]:
        kind = http.client.HTTPSConnection if self._parts.scheme == "https" else http.client.HTTPConnection
        headers = {"Accept": "application/json"}
        if data is not None:
            headers["Content-Type"] = "application/json"
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        try:
            connection = kind(
                self._parts.hostname or "", self._parts.port, timeout=TIMEOUT if data is None else PATIENCE
            )
            try:
                connection.request(method, self._parts.path.rstrip("/") + path, data, headers)
                reply = connection.getresponse()
                return reply.status, reply.read(_LARGEST_ANSWER)
            finally:
                connection.close()
        except (OSError, http.client.HTTPException, ValueError) as problem:
            reason = getattr(problem, "strerror", None) or str(problem) or type(problem).__name__
            raise Unreachable(f"{self.url}: no answer ({reason}): is bufferproxy running there?") from problem


def _token() -> str | None:
    path = os.environ.get(_TOKEN_VARIABLE)
    if not path:
        return None
    try:
        with open(path, encoding="ascii") as file:
            token = file.read().strip()
    except OSError as problem:
        raise ConfigurationError(f"{_TOKEN_VARIABLE}: {path} cannot be read: {problem.strerror}") from problem
    except UnicodeDecodeError as problem:
        raise ConfigurationError(f"{_TOKEN_VARIABLE}: {path} holds no token") from problem
    if not token or not token.isprintable() or " " in token:
        raise ConfigurationError(f"{_TOKEN_VARIABLE}: {path} holds no token")
    return token


def _detail(answer: Any, otherwise: str) -> str:
    """What an application/problem+json says."""
    problem = answer if isinstance(answer, dict) else {}
    return str(problem.get("detail") or problem.get("title") or otherwise)
