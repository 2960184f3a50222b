"""Values with their origins, before anybody knows what they mean: what file, environment and flags become."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bufferproxy.config.origin import Origin, Path


@dataclass(slots=True)
class Node:
    """`value`: text, None, a list of nodes or a dict of nodes."""

    value: Any
    origin: Origin


def plain(node: Node) -> Any:
    match node.value:
        case dict():
            return {key: plain(inner) for key, inner in node.value.items()}
        case list():
            return [plain(inner) for inner in node.value]
    return node.value


def origins(node: Node, path: Path = ()) -> Iterator[tuple[Path, Origin]]:
    """Every node below and `node` itself, in the order they were written."""
    yield path, node.origin
    items: Any = ()
    if isinstance(node.value, dict):
        items = node.value.items()
    elif isinstance(node.value, list):
        items = enumerate(node.value)
    for key, inner in items:
        yield from origins(inner, (*path, key))


def merged(base: Node, over: Node) -> Node:
    """Maps are merged key by key; anything else of `over` takes the place of what `base` has."""
    if not (isinstance(base.value, dict) and isinstance(over.value, dict)):
        return over
    both = dict(base.value)
    for key, inner in over.value.items():
        both[key] = merged(both[key], inner) if key in both else inner
    return Node(both, base.origin)


def grown(path: Path, node: Node, origin: Origin) -> Node:
    """A tree with nothing but `node` in it."""
    for part in reversed(path):
        node = Node({part: node}, origin)
    return node
