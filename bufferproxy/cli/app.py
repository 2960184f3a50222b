"""All commands, put together."""

from __future__ import annotations

from typing import Annotated

import typer

from bufferproxy import __version__
from bufferproxy.cli.check import check
from bufferproxy.cli.config import config
from bufferproxy.cli.dead import dead
from bufferproxy.cli.demo import demo
from bufferproxy.cli.run import proxy, run, worker
from bufferproxy.cli.status import status
from bufferproxy.cli.topics import topics

# Plain messages: rich would take longer to import than most commands take, and wrap what scripts read.
app = typer.Typer(
    name="bufferproxy", no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False
)


def _version(asked: bool) -> None:
    if asked:
        print(f"bufferproxy {__version__}")
        raise typer.Exit


@app.callback()
def bufferproxy(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A load-buffering queue proxy: durable requests in, a flat line out."""


for command in (run, proxy, worker, demo, check, status):
    app.command()(command)
app.add_typer(dead, name="dead")
app.add_typer(topics, name="topics")
app.add_typer(config, name="config")
