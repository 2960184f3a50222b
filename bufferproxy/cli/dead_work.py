"""An order about dead letters: asked for, carried out by the proxy, watched until it is done."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import typer

from bufferproxy.cli.options import Output, print_json, say
from bufferproxy.errors import BufferproxyError, NotFound, UsageError

if TYPE_CHECKING:
    from bufferproxy.cli.client import AdminClient

KEYS = ("reason", "status", "path", "key", "since")
LOOK = 0.5
"""Seconds between two looks at what goes on in the proxy."""


def pairs(where: list[str] | None) -> dict[str, str]:
    """K=V, each K once. Raises UsageError. What V may be the proxy knows."""
    found: dict[str, str] = {}
    for pair in where or ():
        key, equals, value = pair.partition("=")
        if not equals or key not in KEYS:
            raise UsageError(f"--where {pair}: write K=V, where K is one of {', '.join(KEYS)}")
        if key in found:
            raise UsageError(f"--where {pair}: {key} is there twice")
        if not value:
            raise UsageError(f"--where {pair} is empty: say which {key}, or leave it out")
        found[key] = value
    return found


def order_of(
    ids: list[str] | None, *, everything: bool, where: list[str] | None, limit: int | None
) -> dict[str, Any]:
    if not ids and not where and not everything:
        raise UsageError("say which: ID…, --where K=V, or --all")
    if ids and everything:
        raise UsageError("say either ID… or --all")
    order: dict[str, Any] = {"where": pairs(where)}
    if ids:
        order["ids"] = ids
    if limit is not None:
        order["limit"] = limit
    return order


def carry_out(
    client: AdminClient,
    service: str,
    verb: tuple[str, str],
    order: dict[str, Any],
    *,
    dry_run: bool,
    sure: bool,
    output: Output,
) -> None:
    method, rest = verb
    path = path_of(service)
    if dry_run or not sure:
        would = client.send(method, path + rest, {**order, "dry_run": True})
        if dry_run:
            _print_dry_run(would, output)
            return
        _ask(would)
    work = client.send(method, path + rest, order)
    missing = work["missing"]
    while work["state"] == "running":
        _progress(work)
        time.sleep(LOOK)
        work = client.get(f"{path}/work")
    if output is Output.JSON:
        print_json({**work, "missing": missing})
    _conclude(service, work, missing)


def _ask(would: dict[str, Any]) -> None:
    question = f"{would['action']} {would['count']} dead letters?"
    if not sys.stdin.isatty():
        raise UsageError(f"{question} add --yes")
    if not typer.confirm(question, err=True):
        raise typer.Exit(1)


def _print_dry_run(would: dict[str, Any], output: Output) -> None:
    if output is Output.JSON:
        print_json(would)
    else:
        print(*would["ids"], sep="\n", end="\n" if would["ids"] else "")
        say(f"would {would['action']} {would['count']} dead letters")
    _must_find_all(would["missing"])


def _progress(work: dict[str, Any]) -> None:
    if sys.stderr.isatty():
        print(f"\r{work['done'] + work['skipped']} of {work['count']} ", end="", file=sys.stderr, flush=True)


def _conclude(service: str, work: dict[str, Any], missing: list[str]) -> None:
    if sys.stderr.isatty():
        print("\r", end="", file=sys.stderr)
    verb = {"redrive": "redriven", "purge": "purged"}[work["action"]]
    skipped = f", {work['skipped']} skipped (they could not be understood, or were gone)"
    say(f"{work['done']} of {work['count']} {verb}{skipped if work['skipped'] else ''}")
    if work["state"] != "done":
        raise BufferproxyError(f"{service}: {work['state']}: {work['error'] or 'the proxy was stopped'}")
    _must_find_all(missing)


def _must_find_all(missing: list[str]) -> None:
    if missing:
        raise NotFound("no dead letters: " + " ".join(missing))


def path_of(service: str) -> str:
    return f"/api/v1/services/{quote(service, safe='')}/dead"
