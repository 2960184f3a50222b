"""YAML text -> a tree of values that know their line and column, and everything that is wrong on the way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import yaml

from bufferproxy.config.interpolate import interpolated
from bufferproxy.config.origin import Origin, Path, Problem, Spot
from bufferproxy.config.redact import is_secret
from bufferproxy.config.scalars import Plain, is_null
from bufferproxy.config.tree import Node

if TYPE_CHECKING:
    pass

_MOST_NODES = 100_000
_TAGS = ("tag:yaml.org,2002:str", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")


class _Loader(yaml.SafeLoader):
    """Composes only. Without YAML 1.1's resolvers every plain scalar stays text; see scalars.py."""

    yaml_implicit_resolvers: dict[str, list[object]] = {}  # noqa: RUF012  (that of the base, emptied)


class _Skip(Exception):
    """The value is wrong and its problem is noted."""


class _Enough(Exception):
    """So much is wrong that nothing more is looked at."""


class Document:
    """`root` is None when there is nothing in the file that could be looked at. `broken`: what is known to
    be wrong already."""

    def __init__(self, name: str, environ: Mapping[str, str] | None) -> None:
        """`name`: of the file, as given. `environ`: for references; None leaves them as they are."""
        self.name = name
        self.root: Node | None = None
        self.problems: list[Problem] = []
        self.broken: list[Path] = []
        self._environ = environ
        self._nodes = 0
        self._within: list[yaml.Node] = []

    def read(self, text: str) -> Document:
        """Fill in what `text` says. Raises nothing: whatever is wrong is in `problems`."""
        try:
            composed = yaml.compose(text, Loader=_Loader)
        except yaml.MarkedYAMLError as wrong:
            mark = wrong.problem_mark or wrong.context_mark
            spot = Spot(mark.line + 1, mark.column + 1) if mark else Spot(1, 1)
            self._wrong(("yaml",), str(wrong.problem or wrong.context), spot)
        except yaml.reader.ReaderError as wrong:
            before = text[: wrong.position]
            line_start = before.rfind("\n") + 1
            spot = Spot(before.count("\n") + 1, len(before) - line_start + 1)
            self._wrong(("yaml",), f"the character #x{wrong.character:04x} is not allowed", spot)
        except RecursionError:
            self._wrong(("yaml",), "nested too deeply", Spot(1, 1))
        else:
            self._take(composed)
        return self

    def _take(self, composed: yaml.Node | None) -> None:
        if composed is None:
            self.root = Node({}, Origin("file", self.name))
            return
        if not isinstance(composed, yaml.MappingNode):
            self._wrong((), "must be a map of keys to values", self._origin(None, composed).value)
            return
        try:
            self.root = self._node(composed, None, ())
        except (_Skip, _Enough):
            self.root = None

    def _node(self, node: yaml.Node, key: yaml.Node | None, path: Path) -> Node:
        origin = self._origin(key, node)
        self._nodes += 1
        if node in self._within:
            raise self._wrong(path, "contains itself", origin.value)
        if self._nodes > _MOST_NODES:
            self._wrong(path, "the file has more values than any configuration needs", origin.value)
            raise _Enough
        if node.tag not in _TAGS:
            raise self._wrong(path, f"the tag {node.tag} is not known here: leave it out", origin.value)
        self._within.append(node)
        try:
            match node:
                case yaml.MappingNode():
                    return Node(self._map(node, path), origin)
                case yaml.SequenceNode():
                    return Node(self._list(node, path), origin)
                case _:
                    return Node(self._scalar(node, path, origin), origin)
        finally:
            self._within.pop()

    def _map(self, node: yaml.MappingNode, path: Path) -> dict[str, Node]:
        values: dict[str, Node] = {}
        seen: dict[str, int] = {}
        inherited: dict[str, Node] = {}
        for key, value in node.value:
            where = self._origin(key, value)
            if not isinstance(key, yaml.ScalarNode):
                self._wrong(path, "a key must be text", where.key)
            elif key.value == "<<" and key.style is None:
                inherited = {**self._inherited(value, path, where), **inherited}
            elif key.value in seen:
                message = f"is given twice: first in line {seen[key.value]}"
                self._wrong((*path, key.value), message, where.key)
            else:
                seen[key.value] = where.key.line
                try:
                    values[key.value] = self._node(value, key, (*path, key.value))
                except _Skip:
                    self.broken.append((*path, key.value))
        return {**inherited, **values}

    def _inherited(self, value: yaml.Node, path: Path, where: Origin) -> dict[str, Node]:
        """`<<: *defaults`, or a list of such: earlier ones win."""
        parts = value.value if isinstance(value, yaml.SequenceNode) else [value]
        found: dict[str, Node] = {}
        for part in parts:
            if not isinstance(part, yaml.MappingNode):
                self._wrong((*path, "<<"), "must be a map, or a list of maps", where.value)
                continue
            try:
                inner = self._node(part, None, path)
            except _Skip:
                continue
            found = {**inner.value, **found}
        return found

    def _list(self, node: yaml.SequenceNode, path: Path) -> list[Node]:
        values = []
        for index, item in enumerate(node.value):
            try:
                values.append(self._node(item, None, (*path, index)))
            except _Skip:
                # A list with a hole in it means something else: all of it counts as broken.
                self.broken.append(path)
        return values

    def _scalar(self, node: yaml.Node, path: Path, origin: Origin) -> str | None:
        bare = getattr(node, "style", None) is None
        text = str(node.value)
        if bare and is_null(Plain(text)):
            return None
        if self._environ is not None:
            try:
                text = interpolated(text, self._environ, secret=is_secret(path))
            except ValueError as wrong:
                raise self._wrong(path, str(wrong), origin.value) from None
        return Plain(text) if bare else text

    def _origin(self, key: yaml.Node | None, value: yaml.Node) -> Origin:
        at_value = Spot(value.start_mark.line + 1, value.start_mark.column + 1)
        if key is None:
            return Origin("file", self.name, at_value, at_value)
        return Origin("file", self.name, Spot(key.start_mark.line + 1, key.start_mark.column + 1), at_value)

    def _wrong(self, path: Path, message: str, spot: Spot) -> _Skip:
        """Note it; whoever cannot go on raises what is returned."""
        self.problems.append(Problem(path, message, where=Origin("file", self.name, spot, spot)))
        return _Skip()
