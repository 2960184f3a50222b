"""Dead letters as JSON. Times are RFC 3339."""

from __future__ import annotations

import base64
import re
from typing import Literal

from pydantic import BaseModel, Field

from bufferproxy.clock import rfc3339
from bufferproxy.config.redact import HIDDEN
from bufferproxy.records import Letter, Record
from bufferproxy.settle.redrive import Work

SHOWN = 64 * 1024
"""Bytes of a body that are shown."""

_CREDENTIALS = re.compile(
    "authorization|proxy-authorization|cookie|set-cookie|.*(token|secret|password|api-?key).*", re.IGNORECASE
)


class RowView(BaseModel):
    id: str
    service: str
    reason: str
    attempts: int
    status: int | None = Field(description="Of the last answer, when there was one.")
    accepted_at: str | None
    died_at: str

    @classmethod
    def of(cls, service: str, letter: Letter) -> RowView:
        return cls(**_row(service, letter))


class ListView(BaseModel):
    dead: list[RowView] = Field(description="The oldest first.")
    count: int = Field(description="How many there are in all that match.")
    next: int | None = Field(description="`after` of the next page; null behind the last.")


class BodyView(BaseModel):
    size: int
    text: str | None = Field(description="Where it is UTF-8.")
    base64: str | None = Field(description="Where it is not.")
    truncated: bool

    @classmethod
    def of(cls, body: bytes) -> BodyView:
        shown = body[:SHOWN]
        cut = len(shown) < len(body)
        try:
            # A character may have been cut in two.
            text = shown.decode("utf-8", "ignore" if cut else "strict")
            return cls(size=len(body), text=text, base64=None, truncated=cut)
        except UnicodeDecodeError:
            return cls(size=len(body), text=None, base64=base64.b64encode(shown).decode(), truncated=cut)


class PartView(BaseModel):
    """A request or an answer. Values of headers that carry credentials are hidden."""

    line: str = Field(description="The request line, or the status line.")
    headers: list[tuple[str, str]]
    body: BodyView

    @classmethod
    def of(cls, head: bytes, body: bytes) -> PartView:
        line, *rest = head.decode("latin-1").split("\r\n")
        pairs = [header.partition(":") for header in rest if header]
        headers = [
            (name, HIDDEN if _CREDENTIALS.fullmatch(name) else value.strip()) for name, _, value in pairs
        ]
        return cls(line=line, headers=headers, body=BodyView.of(body))


class LetterView(RowView):
    generation: int = Field(description="How often it was redriven before it died this time.")
    path: str = Field(description="As the service gets it, without the query.")
    key: str | None = Field(description="The ordering key.")
    request: PartView | None = Field(description="null for a record that could not be understood.")
    response: PartView | None = Field(description="The last answer.")
    error: str | None

    @classmethod
    def of_record(cls, service: str, letter: Letter, record: Record) -> LetterView:
        fields = dict(record.headers)
        head, reply = fields.get("bufferproxy-head"), fields.get("bufferproxy-reply-head")
        error = fields.get("bufferproxy-error")
        return cls(
            **_row(service, letter),
            generation=letter.generation,
            path=letter.path,
            key=None if letter.key is None else letter.key.decode("latin-1"),
            request=None if head is None else PartView.of(head, record.value),
            response=None if reply is None else PartView.of(reply, fields.get("bufferproxy-reply-body", b"")),
            error=None if error is None else error.decode(),
        )


class WorkView(BaseModel):
    """How far a redrive or a purge is."""

    action: Literal["redrive", "purge"]
    state: Literal["running", "done", "stopped", "failed", "dry-run"]
    count: int = Field(description="Letters that were chosen.")
    done: int = Field(description="Letters that were redriven, or purged.")
    skipped: int = Field(description="Letters that could not be understood, or were gone.")
    missing: list[str] = Field(
        default=[], description="Of the ids that were named, those that are no letters."
    )
    ids: list[str] | None = Field(default=None, description="Of a dry run: which ones it would be.")
    error: str | None = None

    @classmethod
    def of(cls, work: Work, missing: list[str]) -> WorkView:
        return cls(
            action=work.order.action,
            state=work.state,
            count=work.count,
            done=work.done,
            skipped=work.skipped,
            missing=missing,
            error=work.error,
        )


def _row(service: str, letter: Letter) -> dict[str, object]:
    return {
        "id": letter.id,
        "service": service,
        "reason": letter.reason,
        "attempts": letter.attempts,
        "status": letter.status,
        "accepted_at": None if letter.accepted_at is None else rfc3339(letter.accepted_at),
        "died_at": rfc3339(letter.died_at),
    }
