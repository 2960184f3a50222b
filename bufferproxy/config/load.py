"""Flag > environment > file > default: one frozen tree, or every error there is, each with its place.

FILE:LINE:COL: key: message          COL of the value, of the key for an unknown or repeated one, of the
                                     parent's key for a missing one
BUFFERPROXY__…: key: message         what an environment variable says
--flag: key: message                 what a flag says
bufferproxy: key: message            what nobody said
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from bufferproxy.config.checks import Check, contradictions
from bufferproxy.config.describe import problems_of
from bufferproxy.config.disk import disk_of, with_reserve
from bufferproxy.config.document import Document
from bufferproxy.config.layers import from_environment, from_flags
from bufferproxy.config.origin import DEFAULT, Origin, Path, Problem, Spot, dotted, within
from bufferproxy.config.settings import Settings
from bufferproxy.config.tree import Node, merged, origins, plain
from bufferproxy.errors import ConfigurationError


@dataclass(frozen=True)
class Loaded:
    """`origins`: dotted path -> where it was set; what is not in it is a default. `path`: of the file, as
    given, None without one. `flags`: what the command line set, for loading again."""

    settings: Settings
    origins: Mapping[str, Origin]
    path: str | None
    flags: Mapping[str, str]

    def origin(self, path: str) -> Origin:
        """Of a dotted path."""
        return self.origins.get(path, DEFAULT)


def load(
    path: str | None,
    *,
    flags: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
    checks: Iterable[Check] = (),
) -> Loaded:
    """Read, merge, check. Raises ConfigurationError with every problem, those of `checks` too.

    `flags`: `--to`, `--rate`, `--listen`, `--admin`, `--log` -> text. `environ` is os.environ by default.
    """
    environ = os.environ if environ is None else environ
    given = dict(flags or {})
    file = _read(path, environ) if path is not None else None
    below = file.root if file is not None and file.root is not None else Node({}, DEFAULT)
    variables = from_environment(environ)
    below = merged(below, variables.root)
    named = from_flags(given, below)
    tree = merged(below, named.root)

    where = dict(origins(tree))
    noted = [*(file.problems if file else ()), *variables.problems, *named.problems]
    broken = [*(file.broken if file else ()), *variables.broken]
    if file is not None and file.root is None:
        raise ConfigurationError(*_lines(noted, where))
    settings, found = _build(plain(tree), broken, (contradictions, *checks))
    if settings is None or noted or found:
        raise ConfigurationError(*_lines([*noted, *found], where))
    settings = with_reserve(settings, disk_of(settings))
    return Loaded(settings, {dotted(key): origin for key, origin in where.items() if key}, path, given)


def _read(path: str, environ: Mapping[str, str]) -> Document:
    """Raises ConfigurationError when there is no text to be had."""
    try:
        with open(path, "rb") as file:
            raw = file.read()
    except OSError as problem:
        raise ConfigurationError(f"{path}: cannot be read: {problem.strerror}") from problem
    try:
        text = raw.decode()
    except UnicodeDecodeError as problem:
        before = raw[: problem.start].decode()
        column = len(before) - before.rfind("\n")
        line = before.count("\n") + 1
        raise ConfigurationError(f"{path}:{line}:{column}: yaml: is not UTF-8") from problem
    return Document(path, environ).read(text)


def _build(raw: Any, broken: list[Path], checks: Iterable[Check]) -> tuple[Settings | None, list[Problem]]:
    """The settings, if they can be built at all, and what is wrong with them.

    Fields come first. So that contradictions are found in the same go, wrong values are then cut out, and
    missing ones filled in, until the rest holds; a contradiction with one of these is none yet.
    """
    found: list[Problem] | None = None
    cut = list(broken)
    while True:
        try:
            settings = Settings.model_validate(raw)
        except ValidationError as failure:
            wrong = problems_of(failure)
            # The first look sees every field; later ones would only tell of our own cuts.
            found = [each for each in wrong if not _known(each, broken)] if found is None else found
            mended = [path for each in wrong if (path := _mended(raw, each)) is not None]
            cut += mended
            if not mended:
                return None, found
        else:
            break
    found = found or []
    for check in checks:
        for problem in check(settings):
            if not any(_inside(path, cut) for path in (problem.path, *problem.also)):
                found.append(problem)
    return settings, found


def _known(problem: Problem, broken: list[Path]) -> bool:
    """Whether it only follows from what could not be read: something in it, or around it, is not there."""
    missed = problem.kind == "value" and any(within(gone, problem.path) for gone in broken)
    return missed or _inside(problem.path, broken)


def _inside(path: Path, cut: list[Path]) -> bool:
    return any(within(path, gone) for gone in cut)


_STAND_INS: Mapping[str | int, Any] = {
    "to": "http://stand.in",
    "file": "-",
    "services": {"stand-in": {"to": "http://stand.in"}},
}
"""For what is missing and has no default, so that the rest can be looked at."""


def _mended(raw: Any, problem: Problem) -> Path | None:
    """Cut what `problem` is about out of `raw`, or fill in what is missing. Returns the path that is no
    longer what somebody wrote; None when nothing can be done."""
    inner = raw
    for depth, part in enumerate(problem.path[:-1]):
        # A Form judges a list as a whole: all of it goes.
        if part not in inner:  # another problem of the same place has cut it
            return None
        if not isinstance(inner[part], dict):
            del inner[part]
            return problem.path[: depth + 1]
        inner = inner[part]
    key = problem.path[-1]
    if problem.kind != "missing":
        inner.pop(key, None)
    elif key in _STAND_INS:
        inner[key] = _STAND_INS[key]
    else:
        return None
    return problem.path


def _lines(problems: Iterable[Problem], where: Mapping[Path, Origin]) -> list[str]:
    """Whole lines, each once: the file's from top to bottom, then variables and flags."""
    lines = {}
    for problem in problems:
        origin, spot = _place(problem, where)
        line = f"{origin.at(spot)}: {dotted(problem.path)}: {problem.message}"
        lines[line] = (origin.kind != "file", spot, line)
    return sorted(lines, key=lambda line: lines[line])


def _place(problem: Problem, where: Mapping[Path, Origin]) -> tuple[Origin, Spot]:
    if problem.where is not None:
        return problem.where, problem.where.value
    if problem.kind == "unknown" and problem.path in where:
        return where[problem.path], where[problem.path].key
    if problem.kind == "value":
        # The first that somebody wrote; a default can be wrong only beside something written.
        for path in (problem.path, *problem.also):
            if path in where:
                return where[path], where[path].value
    above = problem.path[:-1]
    while above not in where:
        above = above[:-1]
    return where[above], where[above].key
