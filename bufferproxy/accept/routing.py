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
    matches `/auth`, `/auth/x` and `/auth?x`, not `/authors`. Nothing is decoded or normalised.

    A request costs two look-ups, however many services there are: by host, and by the first segment."""

    def __init__(self, routes: Iterable[tuple[Match, T]]) -> None:
        self._hosts: dict[bytes | None, dict[bytes, list[tuple[Match, T]]]] = {}
        cleaned = [(match._replace(path=match.path.rstrip(b"/")), service) for match, service in routes]
        for match, service in sorted(cleaned, key=lambda route: -len(route[0].path)):
            segments = self._hosts.setdefault(match.host, {})
            segments.setdefault(first_segment(match.path), []).append((match, service))

    def route(self, host: bytes, target: bytes) -> tuple[T, bytes] | None:
        """The service and the target it shall get."""
        segment = first_segment(target)
        for name in (host_name(host), None) if len(self._hosts) > 1 or None not in self._hosts else (None,):
            segments = self._hosts.get(name)
            if segments is None:
                continue
            for match, service in segments.get(segment, ()):
                prefix = match.path
                if target.startswith(prefix) and target[len(prefix) : len(prefix) + 1] in (b"", b"/", b"?"):
                    return service, _stripped(match, target)
            for _, service in segments.get(b"", ()):  # no prefix: it takes the rest
                return service, target
        return None


def first_segment(target: bytes) -> bytes:
    """Of a path or a prefix, with its slash: `/auth` of `/auth/login?next=/x`."""
    path = target.partition(b"?")[0]
    end = path.find(b"/", 1)
    return path if end < 0 else path[:end]


def _stripped(match: Match, target: bytes) -> bytes:
    if not match.strip:
        return target
    rest = target[len(match.path) :]
    return rest if rest.startswith(b"/") else b"/" + rest


def taken_off(sent: bytes, target: bytes) -> bytes:
    """The prefix that `route` took off the target that was `sent`; empty when it took none."""
    if sent == target:
        return b""
    # Of what does not begin with a slash behind the prefix, one was put before it.
    return sent[: len(sent) - len(target) + (not sent.endswith(target))]


def host_name(host: bytes) -> bytes:
    """The Host header without its port, in lower case."""
    if host.startswith(b"["):
        return host[: host.find(b"]") + 1].lower()
    return host.partition(b":")[0].lower()
