"""`bufferproxy status [SERVICE]`: one look at a running proxy."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from bufferproxy.cli.options import AdminUrl, ConfigFile, Output, OutputForm, print_json
from bufferproxy.errors import NotFound

if TYPE_CHECKING:
    from bufferproxy.cli.client import AdminClient

NOTABLE = 0.05
"""Share of the last ten seconds for which delivery was held back, from which on it is worth a word."""

Service = Annotated[str | None, typer.Argument(metavar="[SERVICE]", help="Only this one.")]


def status(
    service: Service = None,
    output: OutputForm = Output.TABLE,
    config: ConfigFile = None,
    admin: AdminUrl = None,
) -> None:
    """Backlog, rate and state of each service, now."""
    from bufferproxy.cli.client import AdminClient, admin_url

    client = AdminClient(admin_url(admin, config))
    answer = _all(client) if service is None else _one(client, service)
    if output is Output.JSON:
        print_json(answer)
    else:
        _print_table(answer if isinstance(answer, list) else [answer])


def _all(client: AdminClient) -> Any:
    return client.get("/api/v1/services")["services"]


def _one(client: AdminClient, service: str) -> Any:
    try:
        return client.get(f"/api/v1/services/{quote(service, safe='')}")
    except NotFound as missing:
        raise NotFound(f"{client.url}: there is no service {service}") from missing


def _print_table(services: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("SERVICE", box=None, pad_edge=False)
    for heading in ("RATE", "READY", "DELAYED", "IN FLIGHT", "IN/S", "OUT/S", "EMPTY IN", "DEAD", "SHARE"):
        table.add_column(heading, justify="right")
    table.add_column("STATE")
    for service in services:
        table.add_row(*row_of(service))
    # In a pipe nothing is cut to the width of a terminal that is not there.
    Console(width=None if sys.stdout.isatty() else 250, markup=False, highlight=False).print(table)


def row_of(service: dict[str, Any]) -> list[str]:
    """One line of the table from what the admin plane says of a service."""
    backlog, rates = service["backlog"], service["rates"]
    return [
        service["name"],
        _rate(service["rate_limit"]),
        str(backlog["ready"]),
        str(backlog["delayed"]),
        str(backlog["in_flight"]),
        f"{rates['accepted']:.1f}",
        f"{rates['delivered']:.1f}",
        _eta(service["drain_eta_seconds"]),
        str(service["dead_letters"]),
        _rate(service["rate_share"]),
        _state(service),
    ]


def _rate(rate: float | None) -> str:
    from bufferproxy.config.units import format_rate

    return "unlimited" if rate is None else format_rate(float(rate))


def _eta(seconds: float | None) -> str:
    """Rough on purpose: it is a prediction."""
    if seconds is None:
        return "-"
    whole = round(seconds)
    if whole < 120:
        return f"{whole}s"
    return f"{whole // 60}m" if whole < 7200 else f"{whole // 3600}h{whole % 3600 // 60:02}m"


def _state(service: dict[str, Any]) -> str:
    if service["paused"]:
        return "paused"
    resting = service["resting"]
    if resting:
        return f"resting ({resting['reason']}) until {resting['until']}"
    said = ["running"]
    if service["breaker"] != "closed":
        said.append(f"breaker {service['breaker']}")
    throttled = service["throttled"]
    if throttled and max(throttled.values()) >= NOTABLE:
        said.append(f"held back by {max(throttled, key=throttled.get)}")
    said += [f"{each} would hold it back (shadow)" for each in service["shadow"]]
    return ", ".join(said)
