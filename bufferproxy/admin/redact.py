"""What of the settings may be shown. Secrets belong into `*_file`s, but some end up in options and URLs."""

from __future__ import annotations

import re
from collections.abc import Mapping

HIDDEN = "***"

_SECRET_NAME = re.compile(
    r"pass(word|wd|phrase)?$|secret|token|credential|jaas|private_?key|api_?key", re.IGNORECASE
)
_SHOWN_NAME = re.compile(r"_?(file|path|location|cafile|certfile|keyfile)$", re.IGNORECASE)
_USERINFO = re.compile(r"(?<=://)[^/?#\s@]*@")


def redact(key: str, value: object) -> object:
    """`value` as it may be shown: `***` for what is named like a secret (but not for the path of a file),
    and for the user and password in URLs, at any depth."""
    name = key.rpartition(".")[2]
    if _SECRET_NAME.search(name) and not _SHOWN_NAME.search(name) and not isinstance(value, Mapping):
        return None if value is None else HIDDEN
    match value:
        case str():
            return _USERINFO.sub(f"{HIDDEN}@", value)
        case Mapping():
            return {inner: redact(str(inner), held) for inner, held in value.items()}
        case list() | tuple():
            return [redact(key, held) for held in value]
        case bool() | int() | float() | None:
            return value
        case _:
            return _USERINFO.sub(f"{HIDDEN}@", str(value))
