"""What lies above the file: environment variables and flags, as trees."""

from __future__ import annotations

from collections.abc import Mapping

from bufferproxy.config.document import Document
from bufferproxy.config.origin import Origin, Path, Problem
from bufferproxy.config.redact import is_secret
from bufferproxy.config.scalars import Plain
from bufferproxy.config.schema import types_at
from bufferproxy.config.tree import Node, grown, merged

PREFIX = "BUFFERPROXY__"

_STRUCTURES: Mapping[str, str] = {"[": "array", "{": "object"}
"""What a value of that type begins with, in the words of JSON Schema."""

_FLAGS: Mapping[str, Path] = {"--listen": ("listen",), "--admin": ("admin", "listen"), "--log": ("log",)}
_SERVICE_FLAGS: Mapping[str, Path] = {"--to": ("to",), "--rate": ("rate",)}


class Layer:
    """A tree to be merged over what lies below, and what was wrong with it."""

    def __init__(self) -> None:
        self.root = Node({}, Origin("default"))
        self.problems: list[Problem] = []
        self.broken: list[Path] = []

    def put(self, path: Path, node: Node, origin: Origin) -> None:
        self.root = merged(self.root, grown(path, node, origin))


def from_environment(environ: Mapping[str, str]) -> Layer:
    """`BUFFERPROXY__SERVICES__AUTH__KEY_RATE=5/s`: two underscores between keys.

    In the name of a service `_` stands for `-`. The key says what its value is: `[…]` is a list only where
    the key takes one, `{…}` a map likewise, both in YAML; anything else is text. Shorter names come first, so
    that `…__RETRY={…}` and `…__RETRY__FIRST=2s` add up.
    """
    layer = Layer()
    names = [name for name in environ if name.startswith(PREFIX)]
    for name in sorted(names, key=lambda name: (name.count("__"), name)):
        origin = Origin("env", name)
        path = _path_of(name)
        text = environ[name]
        if not is_secret(path):  # of a secret, spaces around it may be part
            text = text.strip()
        structure = _STRUCTURES.get(text[:1])
        if structure is None or structure not in types_at(path):
            layer.put(path, Node(Plain(text), origin), origin)
            continue
        value, problem = _structured(text, name, path)
        if problem is None:
            layer.put(path, value, origin)
        else:
            layer.problems.append(problem)
            layer.broken.append(path)
    return layer


def _path_of(name: str) -> Path:
    parts = name.removeprefix(PREFIX).lower().split("__")
    if parts[0] == "services" and len(parts) > 1:
        parts[1] = parts[1].replace("_", "-")
    return tuple(parts)


def _structured(text: str, name: str, path: Path) -> tuple[Node, Problem | None]:
    # The value goes in as that of a key, for a document is a map; lines and columns in it mean nothing.
    document = Document(name, None).read(f"value: {text}")
    origin = Origin("env", name)
    if document.problems or document.root is None:
        reason = document.problems[0].message if document.problems else "nothing in it"
        return Node(None, origin), Problem(path, f"is not valid YAML: {reason}", where=origin)
    return _named(document.root.value["value"], origin), None


def _named(node: Node, origin: Origin) -> Node:
    """The same values, but all from one place."""
    match node.value:
        case dict():
            return Node({key: _named(inner, origin) for key, inner in node.value.items()}, origin)
        case list():
            return Node([_named(inner, origin) for inner in node.value], origin)
    return Node(node.value, origin)


def from_flags(flags: Mapping[str, str], below: Node) -> Layer:
    """`flags`: what was given, by name. `--to` and `--rate` mean the one service that there is below; where
    there is none they make one, named `default`; where there are several they are a problem."""
    layer = Layer()
    services = below.value.get("services") if isinstance(below.value, dict) else None
    names = list(services.value) if services is not None and isinstance(services.value, dict) else []
    for flag, text in flags.items():
        origin = Origin("flag", flag)
        if flag in _FLAGS:
            layer.put(_FLAGS[flag], Node(Plain(text), origin), origin)
        elif len(names) > 1:
            message = f"which of {', '.join(names)} is meant? With several services, set it in the file"
            layer.problems.append(Problem(("services",), message, where=origin))
        else:
            path = ("services", *(names or ["default"]), *_SERVICE_FLAGS[flag])
            layer.put(path, Node(Plain(text), origin), origin)
    return layer
