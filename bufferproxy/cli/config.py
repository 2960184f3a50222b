"""`bufferproxy config schema`."""

from __future__ import annotations

import typer

from bufferproxy.cli.options import ConfigFile, UnusedAdmin, print_json

config = typer.Typer(no_args_is_help=True, help="About the configuration file.", rich_markup_mode=None)


@config.callback()
def about() -> None:
    """About the configuration file."""


@config.command("schema")
def schema_command(config: ConfigFile = None, admin: UnusedAdmin = None) -> None:
    """Print the JSON Schema of the file, for editors; reloadable keys carry x-reloadable."""
    from bufferproxy.config.schema import schema

    print_json(schema())
