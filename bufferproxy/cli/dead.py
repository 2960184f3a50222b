"""`bufferproxy dead list|show|redrive|purge`: the requests that will not be tried again by themselves."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote, urlencode

import typer

from bufferproxy.cli.dead_work import KEYS, carry_out, order_of, pairs, path_of
from bufferproxy.cli.options import AdminUrl, ConfigFile, Output, OutputForm, print_json, say

if TYPE_CHECKING:
    from bufferproxy.cli.client import AdminClient

dead = typer.Typer(no_args_is_help=True, help="Dead letters.", rich_markup_mode=None)

PAGE = 1000
"""Letters that are asked for at once."""
LISTED = 100
"""Letters that `list` prints without --limit."""

Service = Annotated[str, typer.Argument(metavar="SERVICE")]
Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID…]", help="These.")]
Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where", metavar="K=V", help=f"Only those; K: {', '.join(KEYS)}. More than one: all hold."
    ),
]
All = Annotated[bool, typer.Option("--all", help="All of the service, or all that --where leaves.")]
Limit = Annotated[
    int | None, typer.Option("--limit", min=1, metavar="N", help="At most so many, the oldest.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say which it would be; change nothing.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
RateOption = Annotated[
    str | None, typer.Option("--rate", metavar="RATE", help="Like 20/s: how fast they join the queue.")
]


@dead.command("list")
def list_(
    service: Service,
    where: Where = None,
    limit: Limit = None,
    output: OutputForm = Output.TABLE,
    config: ConfigFile = None,
    admin: AdminUrl = None,
) -> None:
    """The oldest first."""
    client = _client(admin, config)
    rows, count = _rows(client, service, pairs(where), LISTED if limit is None else limit)
    if output is Output.JSON:
        print_json(rows)
    else:
        _print_table(rows)
    if count > len(rows):
        say(f"{len(rows)} of {count}: --limit N shows more")


@dead.command()
def show(
    service: Service,
    id: Annotated[str, typer.Argument(metavar="ID")],  # noqa: A002
    output: OutputForm = Output.TABLE,
    config: ConfigFile = None,
    admin: AdminUrl = None,
) -> None:
    """One of them, with the request and the last answer. Credentials in headers are hidden."""
    letter = _client(admin, config).get(f"{path_of(service)}/{quote(id)}")
    if output is Output.JSON:
        print_json(letter)
    else:
        print(*lines_of(letter), sep="\n")


@dead.command()
def redrive(
    service: Service,
    ids: Ids = None,
    all: All = False,  # noqa: A002
    where: Where = None,
    rate: RateOption = None,
    limit: Limit = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    output: OutputForm = Output.TABLE,
    config: ConfigFile = None,
    admin: AdminUrl = None,
) -> None:
    """Put them into the queue again, under their ids. The rate of the service holds for them too."""
    order = order_of(ids, everything=all, where=where, limit=limit)
    if rate is not None:
        order["rate"] = rate
    client = _client(admin, config)
    carry_out(
        client, service, ("POST", "/redrive"), order, dry_run=dry_run, sure=yes or bool(ids), output=output
    )


@dead.command()
def purge(
    service: Service,
    ids: Ids = None,
    all: All = False,  # noqa: A002
    where: Where = None,
    limit: Limit = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    output: OutputForm = Output.TABLE,
    config: ConfigFile = None,
    admin: AdminUrl = None,
) -> None:
    """Remove them for ever."""
    order = order_of(ids, everything=all, where=where, limit=limit)
    carry_out(
        _client(admin, config), service, ("DELETE", ""), order, dry_run=dry_run, sure=yes, output=output
    )


def _rows(client: AdminClient, service: str, where: dict[str, str], limit: int) -> tuple[list[Any], int]:
    rows: list[Any] = []
    after = 0
    while True:
        query = {**where, "limit": min(PAGE, limit - len(rows)), "after": after}
        answer = client.get(f"{path_of(service)}?{urlencode(query, errors='surrogateescape')}")
        rows += answer["dead"]
        after = answer["next"]
        if after is None or len(rows) >= limit:
            return rows, len(rows) if after is None else answer["count"]


def _client(admin: str | None, config: str | None) -> AdminClient:
    from bufferproxy.cli.client import AdminClient, admin_url

    return AdminClient(admin_url(admin, config))


def _print_table(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("ID", "REASON", box=None, pad_edge=False)
    for heading in ("STATUS", "ATTEMPTS"):
        table.add_column(heading, justify="right")
    table.add_column("ACCEPTED")
    table.add_column("DIED")
    for row in rows:
        status = "-" if row["status"] is None else str(row["status"])
        accepted_at = row["accepted_at"] or "-"
        table.add_row(row["id"], row["reason"], status, str(row["attempts"]), accepted_at, row["died_at"])
    Console(width=None if sys.stdout.isatty() else 250, markup=False, highlight=False).print(table)


def lines_of(letter: dict[str, Any]) -> list[str]:
    """A dead letter for people."""
    names = ("id", "service", "reason", "error", "attempts", "generation", "key", "accepted_at", "died_at")
    lines = [f"{name + ':':<13}{letter[name]}" for name in names if letter[name] is not None]
    for heading, part in (("request", letter["request"]), ("last answer", letter["response"])):
        if part is not None:
            lines += [
                "",
                f"--- {heading}",
                part["line"],
                *(f"{name}: {value}" for name, value in part["headers"]),
            ]
            lines += ["", *_body(part["body"])]
    return lines


def _body(body: dict[str, Any]) -> list[str]:
    text = body["text"] if body["text"] is not None else f"(base64) {body['base64']}"
    cut = [f"… ({body['size']} bytes in all)"] if body["truncated"] else []
    return ([text] if text else []) + cut
