"""`bufferproxy run`, `proxy` and `worker`: load the settings, then serve until told to stop."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

import typer

from bufferproxy.cli.options import ConfigFile, NeededFile

To = Annotated[str | None, typer.Option(metavar="URL", help="The service; needs no file. One service only.")]
Rate = Annotated[str | None, typer.Option(metavar="RATE", help="Its rate, like 50/s. One service only.")]
Listen = Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Where callers connect.")]
Admin = Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Where the admin plane listens.")]
Log = Annotated[str | None, typer.Option(metavar="URL", help="The log: sqlite:PATH or kafka://HOST:PORT,…")]


def run(
    config: ConfigFile = None,
    to: To = None,
    rate: Rate = None,
    listen: Listen = None,
    admin: Admin = None,
    log: Log = None,
) -> None:
    """Proxy and worker in one process."""
    flags = {"--to": to, "--rate": rate, "--listen": listen, "--admin": admin, "--log": log}
    _serve("all", config, flags)


def proxy(config: NeededFile, listen: Listen = None, admin: Admin = None) -> None:
    """Accept only. Needs a Kafka log."""
    _serve("proxy", config, {"--listen": listen, "--admin": admin})


def worker(config: NeededFile, listen: Listen = None, admin: Admin = None) -> None:
    """Drain only. Needs a Kafka log."""
    _serve("worker", config, {"--listen": listen, "--admin": admin})


def _serve(role: Literal["all", "proxy", "worker"], config: str | None, flags: dict[str, str | None]) -> None:
    from bufferproxy.config.checks import kafka_only
    from bufferproxy.config.load import load

    given = {name: text for name, text in flags.items() if text is not None}
    checks = () if role == "all" else (partial(kafka_only, command=role),)
    loaded = load(config, flags=given, checks=checks)

    from bufferproxy.wiring import serve

    raise typer.Exit(serve(loaded, role))
