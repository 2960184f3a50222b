"""Which service a request is for: by host and path prefix, over the bytes that were sent. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Match(NamedTuple):
    """`path` b"" matches every path, `host` None every host. `strip` takes the prefix off."""

    path: bytes = b""
    host: bytes | None = None
    strip: bool = False


class Router(Generic[T]):
    """Hosts go before no host, longer prefixes before shorter ones. A prefix ends at a segment: `/auth`
    matches `/auth`, `/auth/x` and `/auth?x`, not `/authors`. Nothing is decoded or normalised."""

    def __init__(self, routes: Iterable[tuple[Match, T]]) -> None:
        cleaned = [(match._replace(path=match.path.rstrip(b"/")), service) for match, service in routes]
        self._routes = sorted(cleaned, key=lambda route: (route[0].host is None, -len(route[0].path)))

    def route(self, host: bytes, target: bytes) -> tuple[T, bytes] | None:
        """The service and the target it shall get."""
        name = host_name(host)
        for match, service in self._routes:
            if match.host is not None and match.host != name:
                continue
            prefix = match.path
            if not prefix:
                return service, target
            if target.startswith(prefix) and target[len(prefix) : len(prefix) + 1] in (b"", b"/", b"?"):
                if not match.strip:
                    return service, target
                rest = target[len(prefix) :]
                return service, rest if rest.startswith(b"/") else b"/" + rest
        return None


def host_name(host: bytes) -> bytes:
    """The Host header without its port, in lower case."""
    if host.startswith(b"["):
        return host[: host.find(b"]") + 1].lower()
    return host.partition(b":")[0].lower()
