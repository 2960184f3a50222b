"""Where a service is: the URL of `to`, taken apart once."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit

_PORTS = {"http": 80, "https": 443}


class Target(NamedTuple):
    """`host` is a name or an address without brackets; `base` is the path of the URL without a slash at its
    end (b"" for none), put before the path of every request."""

    scheme: str
    host: str
    port: int
    base: bytes

    @property
    def tls(self) -> bool:
        return self.scheme == "https"

    @property
    def authority(self) -> bytes:
        """What belongs into a Host line: brackets around IPv6, the port unless it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}").encode("ascii")

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority.decode()}{self.base.decode()}"


def parse_target(url: str) -> Target:
    """The target in `http[s]://host[:port][/base]`. Raises ValueError that says what is wrong: user info, a
    query or a fragment would silently change what a service receives."""
    parts = urlsplit(url)
    if parts.scheme not in _PORTS:
        raise ValueError(f"{url!r} must begin with http:// or https://")
    if "@" in parts.netloc:
        raise ValueError("credentials do not belong into the URL of a service")
    if "?" in url or "#" in url:
        raise ValueError(f"{url!r} must not have a query or a fragment")
    if not parts.hostname:
        raise ValueError(f"{url!r} names no host")
    if any(character <= " " or character > "~" for character in url):
        raise ValueError(f"{url!r} must be printable ASCII (a host in its xn-- form, a path percent-encoded)")
    port = parts.port  # raises ValueError itself when it is no number up to 65535
    if port == 0:
        raise ValueError(f"{url!r} has port 0")
    base = parts.path.rstrip("/").encode("ascii")
    return Target(parts.scheme, parts.hostname, port or _PORTS[parts.scheme], base)
