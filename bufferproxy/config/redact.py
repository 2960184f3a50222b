"""Which settings are secrets, and what may be shown of the others. Pure.

Secrets belong into `*_file`s, but some end up in the options of Kafka's clients and in URLs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from bufferproxy.config.origin import Path

HIDDEN = "***"

_SECRET_NAME = re.compile(
    r"passw(or)?d|passphrase|pass$|secret|token|credential|oauth|jaas|private_?key|api_?key", re.IGNORECASE
)
_SHOWN_NAME = re.compile(r"_?(file|path|location|cafile|certfile|keyfile)$", re.IGNORECASE)
_USERINFO = re.compile(r"(?<=://)[^/?#\s]*@")


def is_secret(path: Path) -> bool:
    """Whether the key at `path`, or one that it hangs below, is named like a secret. The path of a file is
    none, and neither is the name of a service."""
    keys = path[2:] if path[:1] == ("services",) else path
    return any(_SECRET_NAME.search(str(key)) and not _SHOWN_NAME.search(str(key)) for key in keys)


def redact(path: Path, value: object) -> object:
    """`value` as it may be shown: `***` for a secret and for whatever hangs below one, and for the user and
    password in URLs, at any depth."""
    if is_secret(path):
        return None if value is None else HIDDEN
    match value:
        case str():
            return _USERINFO.sub(f"{HIDDEN}@", value)
        case Mapping():
            return {inner: redact((*path, str(inner)), held) for inner, held in value.items()}
        case list() | tuple():
            return [redact(path, held) for held in value]
        case bool() | int() | float() | None:
            return value
        case _:
            return _USERINFO.sub(f"{HIDDEN}@", str(value))
