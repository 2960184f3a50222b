"""`bufferproxy check`: is the configuration valid, and what does it come to?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from bufferproxy.cli.options import (
    ConfigFile,
    Output,
    OutputForm,
    UnusedAdmin,
    print_json,
    say,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bufferproxy.config.show import Row

Show = Annotated[
    bool, typer.Option("--show", help="Print the resolved settings, each with its origin, to stdout.")
]


def check(
    config: ConfigFile = None,
    show: Show = False,
    output: OutputForm = Output.TABLE,
    admin: UnusedAdmin = None,
) -> None:
    """Validate the configuration: every error at once, as FILE:LINE:COL: key: message."""
    from bufferproxy.config.disk import disk_of, never_held
    from bufferproxy.config.load import load
    from bufferproxy.config.not_yet import not_yet
    from bufferproxy.config.show import rows

    loaded = load(config)
    for line in (*not_yet(loaded), *never_held(loaded.settings, disk_of(loaded.settings))):
        say(f"bufferproxy: {line}")
    if show and output is Output.JSON:
        print_json([row._asdict() for row in rows(loaded)])
    elif show:
        _print_table(rows(loaded))
    say(f"{config or 'configuration'}: ok")


def _print_table(found: Sequence[Row]) -> None:
    """Columns of plain text, for eyes and for grep alike."""
    lines = [(row.key, _text(row.value), row.origin) for row in found]
    key, value = (max(len(line[column]) for line in lines) for column in (0, 1))
    for line in lines:
        print(f"{line[0]:<{key}}  {line[1]:<{value}}  {line[2]}")


def _text(value: Any) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return str(value).lower()
        case list():
            return f"[{', '.join(map(_text, value))}]"
    return str(value)
