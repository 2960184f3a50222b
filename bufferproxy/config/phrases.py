"""Settings that are a word or two: how to reply, where the key is, what to try again."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from bufferproxy.config.forms import Form, text_of, written
from bufferproxy.config.units import format_duration, parse_duration, quoted

if TYPE_CHECKING:
    from collections.abc import Callable

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_STATUS = re.compile(r"[45][0-9][0-9]|[45]xx")
_ANSWER = re.compile(r"[2-5][0-9][0-9]|[2-5]xx")
_WAIT = r"wait [0-9]+(\.[0-9]+)?(ms|s|m|h|d)"


class Reply(NamedTuple):
    """What a caller gets: `seconds` is how long it is held, 0 unless `mode` is wait."""

    mode: Literal["async", "wait"]
    seconds: float = 0.0

    def __str__(self) -> str:
        return _show(self)


class SafeMethods(NamedTuple):
    """What GET, HEAD and OPTIONS get; `seconds` as in Reply."""

    mode: Literal["wait", "async", "refuse"]
    seconds: float = 0.0

    def __str__(self) -> str:
        return _show(self)


class KeySource(NamedTuple):
    """Where the ordering key is. `arg`: the header's name, the number of the path segment (from 1), the
    query parameter's name; empty for client."""

    kind: Literal["header", "path", "query", "client"]
    arg: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.arg}" if self.arg else self.kind


def _show(phrase: Reply | SafeMethods) -> str:
    return f"wait {format_duration(phrase.seconds)}" if phrase.mode == "wait" else phrase.mode


def _held(kind: Callable[[Any, float], Any], words: tuple[str, ...], example: str) -> Callable[[Any], Any]:
    def parse(value: Any) -> Any:
        if isinstance(value, tuple) and hasattr(value, "mode"):
            return value
        text = text_of(value, f"{' or '.join(words)} or {example}")
        if text in words:
            return kind(text, 0.0)
        word, _, rest = text.partition(" ")
        if word != "wait":
            raise ValueError(f"must be {', '.join(words)} or {example}, not {quoted(text)}")
        if not rest:
            raise ValueError(f"says not how long: write {example}")
        seconds = parse_duration(rest.strip())
        if seconds == 0:
            raise ValueError(f"waits for no time: write {example} or {words[0]}")
        return kind("wait", seconds)

    return parse


def _key(value: Any) -> KeySource:
    if isinstance(value, KeySource):
        return value
    text = text_of(value, "header:NAME, path:N, query:NAME or client")
    kind, _, arg = text.partition(":")
    match kind:
        case "client" if not arg:
            return KeySource("client")
        case "header" if _TOKEN.fullmatch(arg):
            return KeySource("header", arg)
        case "path" if re.fullmatch(r"[1-9][0-9]?", arg):
            return KeySource("path", arg)
        case "query" if arg and arg.isprintable() and " " not in arg:
            return KeySource("query", arg)
    wanted = {
        "header": "header: needs the name of a header, like header:X-User-Id",
        "path": "path: needs the number of a segment from 1 to 99, like path:2",
        "query": "query: needs the name of a parameter, like query:user",
        "client": "client takes nothing after it",
    }.get(kind, "must be header:NAME, path:N, query:NAME or client")
    raise ValueError(f"{wanted}, not {quoted(text)}" if kind not in ("header", "path", "query") else wanted)


def _retry_on(value: Any) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)):
        raise ValueError("must be a list, like [5xx, 408, 425, timeout]")
    return tuple(dict.fromkeys(_cause(item) for item in value))


def _cause(item: Any) -> str:
    text = str(item).lower() if isinstance(item, int) else text_of(item, "5xx, a status or timeout").lower()
    if text != "timeout" and not _STATUS.fullmatch(text):
        raise ValueError(
            f"{quoted(text)} cannot be tried again: write 5xx, a status from 400 to 599 or timeout"
        )
    return text


def _delivered(value: Any) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)):
        raise ValueError("must be a list, like [2xx, 3xx]")
    if not value:
        raise ValueError("is an empty list: nothing could be delivered")
    return tuple(dict.fromkeys(_answer(item) for item in value))


def _answer(item: Any) -> str:
    text = str(item).lower() if isinstance(item, int) else text_of(item, "2xx or a status").lower()
    if not _ANSWER.fullmatch(text):
        raise ValueError(f"{quoted(text)} is not an answer: write 2xx, 3xx or a status from 200 to 599")
    return text


@lru_cache(maxsize=64)
def statuses(written: tuple[str, ...]) -> frozenset[int]:
    """The statuses that `5xx`, `503` and the like stand for; words are none. Most services name the same,
    and share the set."""
    found: set[int] = set()
    for text in written:
        if text.endswith("xx"):
            first = int(text[0]) * 100
            found.update(range(first, first + 100))
        elif text.isdecimal():
            found.add(int(text))
    return frozenset(found)


ReplyPhrase = Annotated[
    Reply, Form(_held(Reply, ("async",), "wait 5s"), str, written({"pattern": f"^(async|{_WAIT})$"}))
]
SafeMethodsPhrase = Annotated[
    SafeMethods,
    Form(
        _held(SafeMethods, ("async", "refuse"), "wait 30s"),
        str,
        written({"pattern": f"^(async|refuse|{_WAIT})$"}),
    ),
]
KeyPhrase = Annotated[
    KeySource,
    Form(_key, str, written({"pattern": r"^(header:\S+|path:[1-9][0-9]?|query:\S+|client)$"})),
]
RetryCauses = Annotated[
    tuple[str, ...],
    Form(
        _retry_on,
        list,
        {
            "type": "array",
            "items": {
                "anyOf": [
                    {"type": "string", "pattern": "^([45]xx|[45][0-9][0-9]|timeout)$"},
                    {"type": "integer", "minimum": 400, "maximum": 599},
                ]
            },
        },
    ),
]
Statuses = Annotated[
    tuple[str, ...],
    Form(
        _delivered,
        list,
        {
            "type": "array",
            "minItems": 1,
            "items": {
                "anyOf": [
                    {"type": "string", "pattern": "^([2-5]xx|[2-5][0-9][0-9])$"},
                    {"type": "integer", "minimum": 200, "maximum": 599},
                ]
            },
        },
    ),
]
