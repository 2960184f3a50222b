"""`bufferproxy demo`: a fragile service, a spike, with and without the buffer."""

from __future__ import annotations

from typing import Annotated

import typer

from bufferproxy.cli.options import UnusedAdmin

UnusedFile = Annotated[
    str | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        hidden=True,
        help="Taken by every command; the demo brings its own settings.",
    ),
]


def demo(config: UnusedFile = None, admin: UnusedAdmin = None) -> None:
    """A fragile service under a 300 % spike, without and with the buffer: live view, table, plot file.

    Takes less than a minute and leaves nothing but ./bufferproxy-demo.svg. Exits 0 when everything was served
    through bufferproxy and the ceiling was kept.
    """
    from bufferproxy.demo.play import play

    raise typer.Exit(play())
