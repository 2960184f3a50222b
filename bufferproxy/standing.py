"""The status of one request for the admin plane: the data plane's own, as a mapping."""

from __future__ import annotations

import json
from collections.abc import Callable

from bufferproxy.accept import answers
from bufferproxy.accept.status import StatusBook
from bufferproxy.admin.contract import Absence, Status
from bufferproxy.errors import EnvelopeError, LogError
from bufferproxy.http1.problems import Problem


class AdminRequests:
    """`book` is None where nothing is accepted, and before the results are open."""

    def __init__(self, book: Callable[[], StatusBook | None], prefix: str) -> None:
        self._book = book
        self._prefix = prefix

    async def status(self, id: str) -> Status | Absence:  # noqa: A002
        book = self._book()
        if book is None:
            return Absence.UNAVAILABLE
        try:
            standing = await book.standing(id)
        except (EnvelopeError, LogError, TimeoutError):
            return Absence.UNAVAILABLE
        if isinstance(standing, Problem):
            return Absence(standing.slug)
        found: Status = json.loads(answers.status(standing, self._prefix))
        return found
