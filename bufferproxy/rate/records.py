"""What replicas say to each other in the control topic, and how it is stored: small JSON, versioned.

No moment of a clock is in it, since no clocks are compared: what lasts is told as seconds.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from bufferproxy.records import Entry

VERSION = 2

SHARES = 4000
"""Shares in one grant at most, a service counting as SERVICE more: half of what a record may be."""

SERVICE = 4


class Claim(NamedTuple):
    """`worker` leads `services` from here on. Their epoch is this record's own offset."""

    worker: str
    services: tuple[str, ...]


class Ask(NamedTuple):
    """What a worker has and wants of one service. `partitions` are those it holds that have backlog.

    `floor`: a share that quotes an older report than this one is given up and counts no more. `outcomes`:
    what the service did since the last report, by kind; for whoever decides the regime.
    """

    backlog: int
    partitions: int
    in_flight: int
    floor: int = 0
    outcomes: Mapping[str, float] = {}


class Report(NamedTuple):
    """Report `number` (from 1, rising) of a worker. It has applied all that the log says up to offset `seen`;
    -1: it has read nothing yet. A service that is not named: no backlog and nothing in flight.

    `worker` names one life of one process: a restarted one has another name.
    """

    worker: str
    number: int
    seen: int
    asks: Mapping[str, Ask]


class Share(NamedTuple):
    """What a worker may do until TTL seconds after it sent its report number `report`.

    `rate` per second (inf: unlimited), `tokens` its bucket may hold, `concurrency` attempts in flight.
    `turn`: give it up after so many sends or when nothing is left to send; 0: nobody waits for it.
    """

    rate: float
    tokens: int
    concurrency: int
    report: int
    turn: int = 0


class Terms(NamedTuple):
    """All shares of one service: who is not named holds nothing. `ceiling` is what they are part of (per
    second); `regime` is the leader's verdict on the service (paused, resting, ...), opaque here."""

    ceiling: float
    shares: Mapping[str, Share]
    regime: Mapping[str, Any] = {}


class Grant(NamedTuple):
    """Grant `number` of a leader. `epochs` names services that it leads, each with its claim: their leader
    lives. All of `services` are among them; one that is not in `services` stays as it was, and its leases
    run on."""

    number: int
    epochs: Mapping[str, int]
    services: Mapping[str, Terms]


class Release(NamedTuple):
    """A worker's last word: it will send nothing any more. `in_flight`: by service, what still is.
    `alone_since`: the offset up to which it has read, by which nobody else may act on anything."""

    worker: str
    in_flight: Mapping[str, int]
    alone_since: int | None = None


class Unreadable(NamedTuple):
    """Something else was in the topic, or another version of this. To be logged and counted. `may_lead`: it
    may be what a leader of another version says; all versions are JSON objects that name their version."""

    why: str
    may_lead: bool = True


Said = Claim | Report | Grant | Release
Read = Said | Unreadable


def encode(said: Said) -> Entry:
    match said:
        case Claim(worker, services):
            body: dict[str, Any] = {"claim": worker, "services": services}
        case Report(worker, number, seen, asks):
            body = {"report": number, "worker": worker, "seen": seen, "asks": dict(asks)}
        case Grant(number, epochs, terms_of):
            body = {
                "grant": number,
                "epochs": _by_epoch(epochs),
                "services": {
                    name: [
                        _rate(terms.ceiling),
                        {who: [_rate(share.rate), *share[1:]] for who, share in terms.shares.items()},
                        dict(terms.regime),
                    ]
                    for name, terms in terms_of.items()
                },
            }
        case Release(worker, in_flight, alone_since):
            body = {"release": worker, "in_flight": dict(in_flight)}
            if alone_since is not None:
                body["alone_since"] = alone_since
    value = json.dumps({"version": VERSION, **body}, separators=(",", ":"), allow_nan=False)
    return Entry(None, value.encode(), ())


def pieces(grant: Grant, most: int = SHARES) -> list[Grant]:
    """The same in grants that are no larger than a record may be, of disjoint services."""
    parts: list[dict[str, Terms]] = [{}]
    size = 0
    for name, terms in grant.services.items():
        more = len(terms.shares) + SERVICE
        if parts[-1] and size + more > most:
            parts.append({})
            size = 0
        parts[-1][name] = terms
        size += more
    if len(parts) == 1:
        return [grant]
    rest = {name: epoch for name, epoch in grant.epochs.items() if name not in grant.services}
    epochs = [{name: grant.epochs[name] for name in part} for part in parts]
    epochs[0] |= rest
    return [Grant(grant.number, *each) for each in zip(epochs, parts, strict=True)]


def decode(value: bytes) -> Read:
    """Never raises: what cannot be read says why."""
    try:
        body = json.loads(value)
    except (ValueError, RecursionError) as error:
        return Unreadable(f"{type(error).__name__}: {error}", may_lead=False)
    if not isinstance(body, dict) or not isinstance(body.get("version"), int):
        return Unreadable("it names no version", may_lead=False)
    may_lead = "report" not in body and "release" not in body
    if body["version"] != VERSION:
        return Unreadable(f"version {body['version']}", may_lead)
    try:
        for kind, read in _KINDS.items():
            if kind in body:
                return read(body)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        return Unreadable(f"{type(error).__name__}: {error}", may_lead)
    return Unreadable("of no known kind", may_lead)


def _by_epoch(epochs: Mapping[str, int]) -> dict[int, list[str]]:
    """A leader has few claims, and many services by each."""
    named: dict[int, list[str]] = {}
    for name, epoch in epochs.items():
        named.setdefault(epoch, []).append(name)
    return named


def _rate(rate: float) -> float | None:
    return None if rate == math.inf else round(rate, 6)


def _read_rate(rate: Any) -> float:
    return math.inf if rate is None else _at_least_0(float(rate))


def _at_least_0(number: float) -> float:
    if not 0 <= number < math.inf:
        raise ValueError(f"{number} is not a limit")
    return number


def _claim(body: dict[str, Any]) -> Claim:
    return Claim(str(body["claim"]), tuple(map(str, body["services"])))


def _report(body: dict[str, Any]) -> Report:
    asks = {
        str(name): Ask(int(backlog), int(partitions), int(in_flight), int(floor), dict(outcomes))
        for name, (backlog, partitions, in_flight, floor, outcomes) in body["asks"].items()
    }
    return Report(str(body["worker"]), int(body["report"]), int(body["seen"]), asks)


def _grant(body: dict[str, Any]) -> Grant:
    epochs = {str(name): int(epoch) for epoch, names in body["epochs"].items() for name in names}
    services = {
        str(name): Terms(
            _read_rate(ceiling), {str(who): _share(*share) for who, share in shares.items()}, dict(regime)
        )
        for name, (ceiling, shares, regime) in body["services"].items()
    }
    if not services.keys() <= epochs.keys():
        raise ValueError("terms of a service without its claim")
    return Grant(int(body["grant"]), epochs, services)


def _share(rate: Any, tokens: Any, concurrency: Any, report: Any, turn: Any) -> Share:
    return Share(
        _read_rate(rate), int(_at_least_0(tokens)), int(_at_least_0(concurrency)), int(report), int(turn)
    )


def _release(body: dict[str, Any]) -> Release:
    in_flight = {str(name): int(n) for name, n in body["in_flight"].items()}
    alone_since = body.get("alone_since")
    return Release(str(body["release"]), in_flight, None if alone_since is None else int(alone_since))


_KINDS: dict[str, Callable[[dict[str, Any]], Said]] = {
    "claim": _claim,
    "report": _report,
    "grant": _grant,
    "release": _release,
}
