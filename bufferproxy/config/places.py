"""Names: of services, topics and hosts, path prefixes, and what is handed to Kafka's client by name."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any

from bufferproxy.config.addresses import parse_host
from bufferproxy.config.forms import Form, text_of, written
from bufferproxy.config.redact import is_secret
from bufferproxy.config.scalars import natural
from bufferproxy.config.units import quoted

# What a request target may hold before its query (RFC 3986 and llhttp's own tolerance): no `?`, no `#`.
_PATH = re.compile(r"/[!$-;=@-~]*")
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
LONGEST_NAME = 100
_TOPIC = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")


def _path(value: Any) -> str:
    text = text_of(value, "a path like /auth")
    if not text.startswith("/"):
        raise ValueError(f"{quoted(text)} is not a path prefix: write /{text}")
    if not _PATH.fullmatch(text):
        raise ValueError(
            f"{quoted(text)} is not a path: no spaces, queries, fragments or non-ASCII characters"
        )
    return text if text == "/" else text.rstrip("/") or "/"


def _own_path(value: Any) -> str:
    path = _path(value)
    if path == "/":
        raise ValueError("cannot be /: no service could be reached")
    return path


def _match_host(value: Any) -> str:
    text = text_of(value, "a host like auth.example")
    if ":" in text and not text.startswith("["):
        raise ValueError(f"{quoted(text)} has a port or a scheme: write the host only")
    return parse_host(text, text).lower().rstrip(".")


def _name(value: Any) -> str:
    text = text_of(value, "a name")
    if not _NAME.fullmatch(text) or len(text) > LONGEST_NAME:
        raise ValueError(
            f"{quoted(text)} cannot name a service: use a-z, 0-9 and - (not at the ends), "
            f"at most {LONGEST_NAME} characters"
        )
    return text


def _topic_prefix(value: Any) -> str:
    text = text_of(value, "a name")
    if not _TOPIC.fullmatch(text):
        raise ValueError(
            f"{quoted(text)} cannot begin a topic's name: use letters, digits, . _ and -, at most 100"
        )
    return text


def _hosts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)):
        raise ValueError("must be a list, like [hooks.example]")
    return tuple(_match_host(item) for item in value)


def _proxies(value: Any) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)):
        raise ValueError("must be a list, like [loopback, 10.2.0.0/16]")
    return tuple(dict.fromkeys(_proxy(item) for item in value))


def _proxy(value: Any) -> str:
    text = text_of(value, "a network like 10.2.0.0/16, loopback or private")
    if text in ("loopback", "private"):
        return text
    try:
        network = ipaddress.ip_network(text, strict=False)
        whole = str(network)
        if "/" not in text:
            return str(network.network_address)
    except ValueError:
        raise ValueError(
            f"{quoted(text)} is not a network: write one like 10.2.0.0/16, an address, loopback or private"
        ) from None
    if ipaddress.ip_address(text.partition("/")[0]) != network.network_address:
        raise ValueError(f"{quoted(text)} has bits set behind its prefix: write {whole}")
    return whole


_TEXT_OPTION = re.compile(
    r"(sasl|ssl)_(?!check_hostname$|context$)|(auto_offset_reset|client_dns_lookup|client_id|client_rack"
    r"|compression_type|group_id|group_instance_id|isolation_level|metric_group_prefix|proxy_url"
    r"|security_protocol|socks5_proxy|transactional_id)$"
)
"""The options of kafka-python's clients that are text."""


def is_text_option(name: str) -> bool:
    """Whether an option of Kafka's clients is text, so that `0071` and `true` in it are text as well."""
    return _TEXT_OPTION.match(name) is not None or is_secret((name,))


def _options(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("must be a map of names to values")
    return {str(name): _option(str(name), held) for name, held in value.items()}


def _option(name: str, value: Any) -> Any:
    if not is_text_option(name):
        return natural(value)
    if isinstance(value, dict | list | tuple):
        raise ValueError(f"{name} must be text: put it in quotes")
    return str(value) if value else None


_PATH_SCHEMA = written({"pattern": r"^/[^?#\s]*$"})
PathPrefix = Annotated[str, Form(_path, str, _PATH_SCHEMA)]
OwnPath = Annotated[str, Form(_own_path, str, written({"pattern": r"^/[^?#\s]+$"}))]
HostName = Annotated[str, Form(_match_host, str, written({"pattern": r"^[^\s/?#@]+$"}))]
ServiceName = Annotated[
    str,
    Form(_name, str, written({"pattern": "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", "maxLength": LONGEST_NAME})),
]
TopicPrefix = Annotated[
    str, Form(_topic_prefix, str, written({"pattern": r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}$"}))
]
HostList = Annotated[
    tuple[str, ...], Form(_hosts, list, {"type": "array", "items": {"type": "string", "minLength": 1}})
]
ProxyList = Annotated[
    tuple[str, ...], Form(_proxies, list, {"type": "array", "items": {"type": "string", "minLength": 1}})
]
Options = Annotated[dict[str, Any], Form(_options, dict, {"type": "object"})]
