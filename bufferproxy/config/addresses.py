"""Where things are: what we listen on, what we protect, where the log lies."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any, NamedTuple
from urllib.parse import urlsplit

from bufferproxy.config.forms import Form, text_of, written
from bufferproxy.config.units import quoted

_HOST = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*\.?")
_LATER = ("dns+srv", "registry")


class Address(NamedTuple):
    """`host` is a name, an IPv4 or an IPv6 address (without brackets). Port 0 means any free one."""

    host: str
    port: int

    @property
    def loopback(self) -> bool:
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host.lower() == "localhost"

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class SqliteLog(NamedTuple):
    """`path` of the database, relative to where the process was started."""

    path: str

    def __str__(self) -> str:
        return f"sqlite:{self.path}"


class KafkaLog(NamedTuple):
    brokers: tuple[Address, ...]

    def __str__(self) -> str:
        return "kafka://" + ",".join(map(str, self.brokers))


Log = SqliteLog | KafkaLog


def parse_address(text: str, example: str = "127.0.0.1:8080") -> Address:
    """`HOST:PORT` or `[IPv6]:PORT`. Raises ValueError."""
    host, colon, port = text.rpartition(":")
    if not colon:
        if text.isdecimal():
            raise ValueError(f"{quoted(text)} is a port only: write {example.rpartition(':')[0]}:{text}")
        raise ValueError(f"{quoted(text)} has no port: write HOST:PORT, like {example}")
    if not host:
        raise ValueError(f"{quoted(text)} has no host: write 127.0.0.1{text}, or 0.0.0.0{text} for all")
    if not (port.isascii() and port.isdecimal() and len(port) < 6 and int(port) < 65536):
        raise ValueError(f"{quoted(port)} is not a port: write a number from 0 to 65535")
    return Address(parse_host(host, text), int(port))


def parse_host(host: str, text: str) -> str:
    """A name or an address, without its brackets. Raises ValueError, which may quote `text`, the whole."""
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        version = ipaddress.ip_address(bare).version
    except ValueError:
        if bare != host or not _HOST.fullmatch(host):
            raise ValueError(f"{quoted(host)} is not a host name or an address") from None
        return host
    if (version == 6) != (bare != host):
        raise ValueError(f"{quoted(text)} is ambiguous: write an IPv6 address in brackets, [::1]:8080")
    return bare


def parse_target(text: str) -> str:
    """`http://host[:port][/path]`, returned as written. Raises ValueError."""
    scheme, colon, _ = text.partition("://")
    if not colon and text.startswith("registry:"):
        scheme = "registry"
    if scheme.lower() in _LATER:
        raise ValueError(f"{scheme} comes in a later version: write http:// or https:// for now")
    if not colon:
        raise ValueError(f"{quoted(text)} is not a URL: write http://{text.lstrip('/')}")
    if scheme.lower() not in ("http", "https"):
        raise ValueError(f"{quoted(scheme)} is not a known scheme: write http:// or https://")
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise ValueError(f"{quoted(text)} is not a URL: it contains a space or a non-ASCII character")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as problem:
        raise ValueError(f"{quoted(text)} is not a URL: {problem}") from None
    if parts.username is not None or parts.password is not None:
        raise ValueError("a URL cannot carry a user name or password: callers' own headers reach the service")
    if "?" in text or "#" in text:
        raise ValueError(f"{quoted(text)} cannot have a query or a fragment: they come with each request")
    if not parts.hostname or port == 0:
        raise ValueError(f"{quoted(text)} has no {'port' if parts.hostname else 'host'}")
    parse_host(parts.netloc.removesuffix(f":{port}"), text)
    return text


def parse_log(text: str) -> Log:
    """`sqlite:PATH` or `kafka://HOST:PORT,...`. Raises ValueError."""
    if text.startswith("sqlite:"):
        path = text.removeprefix("sqlite:")
        if not path.removeprefix("//").strip("/"):
            raise ValueError(f"{quoted(text)} has no path: write sqlite:./bufferproxy-data/log.db")
        # sqlite:///srv/log.db is how other tools spell the path /srv/log.db.
        return SqliteLog(path.removeprefix("//"))
    if text.startswith("kafka://"):
        if "@" in text:  # not quoted: it holds a password
            raise ValueError("kafka:// cannot carry a user name or password: set kafka.security")
        brokers = text.removeprefix("kafka://").rstrip("/").split(",")
        return KafkaLog(tuple(_broker(broker.strip()) for broker in brokers))
    raise ValueError(f"{quoted(text)} is not a log: write sqlite:PATH or kafka://HOST:9092")


def _broker(text: str) -> Address:
    address = parse_address(text, "kafka-1:9092")
    if address.port == 0:
        raise ValueError("0 is not a port of a broker: write kafka-1:9092")
    return address


def _address(value: Any) -> Address:
    if isinstance(value, Address):
        return value
    return parse_address(text_of(value, "HOST:PORT, like 127.0.0.1:8080"))


def _targets(value: Any) -> tuple[str, ...]:
    items = value if isinstance(value, (list, tuple)) else [value]
    if not items:
        raise ValueError("is an empty list: give at least one URL")
    urls = tuple(parse_target(text_of(item, "a URL like http://auth.internal:8000")) for item in items)
    if len(set(urls)) < len(urls):
        twice = next(url for index, url in enumerate(urls) if url in urls[:index])
        raise ValueError(f"{twice} is there twice")
    return urls


def _log(value: Any) -> Log:
    if isinstance(value, (SqliteLog, KafkaLog)):
        return value
    return parse_log(text_of(value, "sqlite:PATH or kafka://HOST:9092"))


def _show_targets(urls: tuple[str, ...]) -> str | list[str]:
    return urls[0] if len(urls) == 1 else list(urls)


_URL = written({"pattern": "^https?://[^/?#@ ]+[^?# ]*$"})

Listen = Annotated[
    Address, Form(_address, str, written({"pattern": r"^(\[[0-9A-Fa-f:.]+\]|[^:\s]+):[0-9]{1,5}$"}))
]
Targets = Annotated[
    tuple[str, ...],
    Form(_targets, _show_targets, {"anyOf": [_URL, {"type": "array", "items": _URL, "minItems": 1}]}),
]
LogPlace = Annotated[Log, Form(_log, str, written({"pattern": r"^(sqlite:.+|kafka://.+)$"}))]
