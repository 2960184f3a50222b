"""Where a value came from, and what is wrong with it: what every message about a setting begins with."""

from __future__ import annotations

from typing import Literal, NamedTuple

Path = tuple[str | int, ...]
"""The way to a value: ("services", "auth", "retry", "on", 0)."""


def dotted(path: Path) -> str:
    """`services.auth.retry.on[0]`; the whole tree is `settings`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.lstrip(".") or "settings"


def within(path: Path, whole: Path) -> bool:
    """Whether `path` is `whole` or a part of it."""
    return path[: len(whole)] == whole


class Spot(NamedTuple):
    """A place in a file, counted from 1."""

    line: int
    column: int


class Origin(NamedTuple):
    """`name`: of the flag (`--rate`), the environment variable, or the file as given; empty for a default.

    `key` and `value` are where the two stand in the file. A value that came through a YAML anchor stands
    where the anchor is.
    """

    kind: Literal["flag", "env", "file", "default"]
    name: str = ""
    key: Spot = Spot(1, 1)
    value: Spot = Spot(1, 1)

    def at(self, spot: Spot) -> str:
        """What a message begins with; `spot` is one of the two, and only a file's matters."""
        if self.kind == "file":
            return f"{self.name}:{spot.line}:{spot.column}"
        return self.name or "bufferproxy"

    def __str__(self) -> str:
        """For people: `flag --rate`, `env BUFFERPROXY__…`, `FILE:LINE`, `default`."""
        if self.kind == "file":
            return f"{self.name}:{self.value.line}"
        return f"{self.kind} {self.name}".rstrip()


DEFAULT = Origin("default")


class Problem(NamedTuple):
    """Something wrong with the value at `path`, or (`kind` unknown) with its key, or (missing) that it is
    not there. `also`: other settings that take part; the first of all that somebody wrote is pointed at.
    `where`: exactly there, at its value."""

    path: Path
    message: str
    kind: Literal["value", "unknown", "missing"] = "value"
    also: tuple[Path, ...] = ()
    where: Origin | None = None
