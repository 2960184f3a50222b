"""What commands have in common: options, and the way messages go."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from typing import Annotated, Any

import typer


class Output(StrEnum):
    TABLE = "table"
    JSON = "json"


ConfigFile = Annotated[
    str | None, typer.Option("--config", "-c", metavar="FILE", help="The configuration file.")
]
NeededFile = Annotated[str, typer.Option("--config", "-c", metavar="FILE", help="The configuration file.")]
AdminUrl = Annotated[
    str | None,
    typer.Option(
        "--admin",
        metavar="URL",
        envvar="BUFFERPROXY_ADMIN",
        help="Admin plane of a running proxy. Without it, that of -c FILE, or of this host.",
    ),
]
UnusedAdmin = Annotated[
    str | None,
    typer.Option("--admin", metavar="URL", hidden=True, help="Taken by every command; not used by this one."),
]
OutputForm = Annotated[Output, typer.Option("--output", "-o", help="How to print.")]


def say(message: str) -> None:
    """A message for people: stderr."""
    print(message, file=sys.stderr)


def print_json(data: Any) -> None:
    json.dump(data, sys.stdout, indent=2, ensure_ascii=False)
    print()
