"""What was seen so far in one run. Times are monotonic seconds."""

from __future__ import annotations

from typing import NamedTuple

from bufferproxy.demo.reports import Ending, How, Report
from bufferproxy.demo.spike import Call, Fate


class Standing(NamedTuple):
    """What the proxy says of itself: requests `accepted` and `finished` since it started, of these
    `delivered`; the rest is its backlog."""

    accepted: int
    finished: int
    delivered: int

    @property
    def backlog(self) -> int:
        return self.accepted - self.finished

    def __str__(self) -> str:
        return f"{self.accepted} accepted, {self.finished} finished, {self.delivered} delivered"


class Tally:
    """One run. `limit` is the line it is measured against: the capacity, or the ceiling."""

    def __init__(self, title: str, began: float, limit: float, *, buffered: bool) -> None:
        self.title = title
        self.began = began
        self.limit = limit
        self.buffered = buffered
        self.over = False
        self.kernel = False
        self.sent: list[float] = []
        self.calls: list[Call] = []
        self.arrived: list[float] = []
        self.ended: list[Ending] = []
        self.served: list[float] = []
        self.failed: list[float] = []
        self.backlog: list[tuple[float, int]] = []
        self.standing: Standing | None = None
        self.now: Report | None = None
        self._open: set[str] = set()
        self._answered: dict[str, float] = {}

    # --- what callers see ---

    def sending(self, at: float) -> None:
        self.sent.append(at)

    def called(self, call: Call) -> None:
        self.calls.append(call)
        match call.fate:
            case Fate.SERVED:
                self.served.append(call.ended_at)
            case Fate.ACCEPTED:
                # The service may have been quicker with the request than the 202 with its caller.
                if call.id in self._answered:
                    self.served.append(self._answered[call.id])
                else:
                    self._open.add(call.id)
            case _:
                self.failed.append(call.ended_at)

    # --- what the service and the proxy say ---

    def heard(self, report: Report) -> None:
        self.now = report
        self.arrived += report.arrived
        self.ended += report.ended
        for ending in report.ended:
            if ending.how is How.OK and ending.id and ending.id not in self._answered:
                self._answered[ending.id] = ending.at
                if ending.id in self._open:
                    self._open.discard(ending.id)
                    self.served.append(ending.at)

    def stands(self, at: float, standing: Standing) -> None:
        self.standing = standing
        self.backlog.append((at, standing.backlog))

    @property
    def waiting(self) -> int:
        """Accepted requests that the service has not answered."""
        return len(self._open)

    def __repr__(self) -> str:
        return f"<Tally {self.title!r} sent={len(self.sent)} served={len(self.served)} open={self.waiting}>"
