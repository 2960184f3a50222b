"""Dead letters over HTTP: list, show, redrive, purge.

What is begun goes on in the background. An answer waits for it up to a second: small orders are told whole,
large ones get 202, and `…/dead/work` tells how far they are.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from bufferproxy.admin.contract import DeadLetters
from bufferproxy.admin.letters import LetterView, ListView, RowView, WorkView
from bufferproxy.admin.problems import Problem, Refusal
from bufferproxy.config.units import parse_rate
from bufferproxy.errors import LogError
from bufferproxy.results.selection import KEYS, Selection, selection
from bufferproxy.settle.redrive import Order

WAIT = 1.0
"""Seconds that an answer waits for what was begun."""

NAMED = 10_000
"""Ids that may be named, and that a dry run names."""

Action = Literal["redrive", "purge"]
Ids = Annotated[list[str], Field(max_length=NAMED)]
Limit = Annotated[int, Field(ge=1)]


class Where(BaseModel):
    """All of what is given must hold."""

    model_config = ConfigDict(extra="forbid")

    reason: str | None = None
    status: int | str | None = Field(default=None, description="500, or 5xx.")
    path: str | None = Field(default=None, description="Whole segments from the start.")
    key: str | None = Field(default=None, description="The ordering key.")
    since: str | None = Field(default=None, description="A duration like 1h, or a time.")

    def pairs(self) -> dict[str, str]:
        return {key: str(value) for key in KEYS if (value := getattr(self, key)) is not None}


class Listing(Where):
    limit: int = Field(default=100, ge=1, le=NAMED)
    after: int = Field(default=0, description="The `next` of the page before.")


class Chosen(BaseModel):
    """Which letters: `ids`, or `where` (`{}` is all of them), or what both say."""

    model_config = ConfigDict(extra="forbid")

    ids: Ids | None = None
    where: Where | None = None
    limit: Limit | None = None
    dry_run: bool = False


class Redrive(Chosen):
    rate: float | str | None = Field(
        default=None, description="Letters per second, as a number or like 50/s; as fast as possible without."
    )


def dead_letters(letters: DeadLetters, wall: Callable[[], float]) -> APIRouter:
    """`wall`: seconds since the epoch."""
    router = APIRouter(prefix="/api/v1/services/{service}/dead", tags=["dead letters"])
    desk = Desk(letters, wall)

    @router.get("")
    async def list_dead_letters(service: str, asked: Annotated[Listing, Query()]) -> ListView:
        """Dead letters, the oldest first."""
        desk.must_know(service)
        with _words():
            found = await letters.list(service, desk.selection(None, asked), asked.limit, asked.after)
        rows = [RowView.of(service, letter) for letter in found.letters]
        return ListView(dead=rows, count=found.total, next=found.next)

    @router.get("/work")
    async def show_work(service: str) -> WorkView:
        """How far the last redrive or purge is that was begun at this replica."""
        desk.must_know(service)
        work = letters.work(service)
        if work is None:
            raise Refusal(Problem(404, "not-found", "Nothing was redriven or purged here since the start."))
        return WorkView.of(work, [])

    @router.get("/{id:path}")
    async def show_dead_letter(service: str, id: str) -> LetterView:  # noqa: A002
        """One of them, with the request and the last answer."""
        desk.must_know(service)
        with _words():
            found = await letters.show(service, id)
        if found is None:
            raise Refusal(Problem(404, "unknown-request", "No dead letter has this id."))
        return LetterView.of_record(service, *found)

    @router.post("/redrive", responses={202: {"model": WorkView, "description": "It goes on."}})
    async def redrive(service: str, chosen: Redrive, response: Response) -> WorkView:
        """Open dead letters again: the same requests, under their ids, at the end of the queue."""
        return await desk.begin(service, chosen, Order("redrive", _rate(chosen.rate), chosen.limit), response)

    @router.delete("", responses={202: {"model": WorkView, "description": "It goes on."}})
    async def purge(service: str, chosen: Chosen, response: Response) -> WorkView:
        """Remove dead letters for ever."""
        return await desk.begin(service, chosen, Order("purge", limit=chosen.limit), response)

    return router


class Desk:
    """Where orders are taken."""

    def __init__(self, letters: DeadLetters, wall: Callable[[], float]) -> None:
        self._letters = letters
        self._wall = wall

    def must_know(self, service: str) -> None:
        if not self._letters.knows(service):
            raise Refusal(Problem(404, "no-service", "No service of this name is configured."))

    def selection(self, ids: Sequence[str] | None, where: Where | None) -> Selection:
        found = selection({} if where is None else where.pairs(), self._wall())
        return found if ids is None else found._replace(ids=tuple(dict.fromkeys(ids)))

    async def begin(self, service: str, chosen: Chosen, order: Order, response: Response) -> WorkView:
        self.must_know(service)
        if chosen.ids is None and chosen.where is None:
            raise Refusal(Problem(400, "bad-request", "Say which: ids, or where (an empty one means all)."))
        with _words():
            wanted = self.selection(chosen.ids, chosen.where)
            missing = await self._missing(service, wanted)
            if chosen.dry_run:
                return await self._dry_run(service, wanted, order, missing)
            work = await self._letters.begin(service, wanted, order)
        if work is None:
            detail = "Another redrive or purge of this service is under way."
            raise Refusal(Problem(409, "redrive-running", detail, {"Retry-After": "1"}))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(work.over.wait(), WAIT)
        if work.state == "running":
            response.status_code = 202
            response.headers["Location"] = f"/api/v1/services/{service}/dead/work"
        return WorkView.of(work, missing)

    async def _missing(self, service: str, wanted: Selection) -> list[str]:
        if wanted.ids is None:
            return []
        missing = list(await self._letters.missing(service, wanted.ids))
        if missing and len(missing) == len(wanted.ids):
            raise Refusal(Problem(404, "unknown-request", "None of these ids is a dead letter."))
        return missing

    async def _dry_run(self, service: str, wanted: Selection, order: Order, missing: list[str]) -> WorkView:
        limit = NAMED if order.limit is None else order.limit
        found = await self._letters.list(service, wanted, min(NAMED, limit), 0)
        return WorkView(
            action=order.action,
            state="dry-run",
            count=found.total if order.limit is None else min(found.total, order.limit),
            done=0,
            skipped=0,
            missing=missing,
            ids=[letter.id for letter in found.letters],
        )


def _rate(rate: float | str | None) -> float:
    try:
        found = math.inf if rate is None else parse_rate(rate) if isinstance(rate, str) else rate
    except ValueError as problem:
        raise Refusal(Problem(400, "bad-request", f"rate: {problem}")) from problem
    if not found > 0:
        raise Refusal(Problem(400, "bad-request", "rate: must be above 0"))
    return found


@contextlib.contextmanager
def _words() -> Iterator[None]:
    """What goes wrong, as a problem."""
    try:
        yield
    except ValueError as problem:
        raise Refusal(Problem(400, "bad-request", f"where: {problem}")) from problem
    except (LogError, TimeoutError) as problem:
        detail = str(problem) or "The log does not answer now."
        raise Refusal(Problem(503, "log-unavailable", detail, {"Retry-After": "1"})) from problem
