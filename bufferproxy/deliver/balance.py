"""Whose turn it is, and who is left out. Pure: `now` is an argument.

A service has one or several URLs, and each has the addresses of its name. URLs take turns, and within each
its addresses do, request by request. An address that cannot be connected to is left out for a while; then one
trial shows whether it takes turns again.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

FIRST_LEFT_OUT_SECONDS = 1.0
"""After the first failed connect; twice as long after each further one in a row."""

LONGEST_LEFT_OUT_SECONDS = 30.0

M = TypeVar("M", bound=Hashable)


class _LeftOut:
    """`trial_at`: when it is to be tried again; inf while somebody does."""

    __slots__ = ("failures", "trial_at")

    def __init__(self) -> None:
        self.failures = 0
        self.trial_at = math.inf


class RoundRobin(Generic[M]):
    """Members of `groups` groups, numbered from 0. A group all of whose members are left out has no turn."""

    __slots__ = ("_group_of", "_groups", "_left_out", "_turn")

    def __init__(self, groups: int) -> None:
        self._groups: list[deque[M]] = [deque() for _ in range(groups)]
        self._turn: deque[deque[M]] = deque()  # those with members in rotation; the next one on the left
        self._group_of: dict[M, int] = {}
        self._left_out: dict[M, _LeftOut] = {}

    # --- turns ---

    def first(self) -> M | None:
        """Whose turn it is; None when nobody is in rotation. It stays so until `advance`."""
        return self._turn[0][0] if self._turn else None

    def advance(self) -> None:
        """`first` had its turn."""
        turn = self._turn
        turn[0].rotate(-1)
        turn.rotate(-1)

    def order(self) -> list[M]:
        """Whom to try, one after the other, for one turn. Those left out are not among them, except when all
        are: then each may be tried."""
        if not self._turn:
            return sorted(self._left_out, key=lambda member: self._left_out[member].trial_at)
        rows = [list(group) for group in self._turn]
        self.advance()
        return [row[place] for place in range(max(map(len, rows))) for row in rows if place < len(row)]

    # --- who takes part ---

    def add(self, group: int, member: M) -> None:
        self._group_of[member] = group
        self._enter(member)

    def remove(self, member: M) -> None:
        """It takes part no more."""
        self._leave(member)
        self._left_out.pop(member, None)
        del self._group_of[member]

    # --- what connecting showed ---

    def worked(self, member: M) -> bool:
        """A connect worked. True: it had failed, and takes turns again."""
        out = self._left_out.pop(member, None)
        if out is None:
            return False
        self._enter(member)
        return out.failures > 0

    def failed(self, member: M, now: float) -> bool:
        """A connect failed. True: the one before had worked."""
        if member not in self._group_of:
            return False  # removed while somebody connected to it
        out = self._left_out.get(member)
        if out is None:
            out = self._leave_out(member)
        elif now < out.trial_at < math.inf:
            return False  # several failed in the same moment: one step of backoff
        out.failures += 1
        seconds = FIRST_LEFT_OUT_SECONDS * 2.0 ** min(out.failures - 1, 30)
        out.trial_at = now + min(seconds, LONGEST_LEFT_OUT_SECONDS)
        return out.failures == 1

    def doubt(self, member: M) -> None:
        """A connect takes long: it is left out until `worked` or `failed` tells how that went."""
        if member in self._group_of and member not in self._left_out:
            self._leave_out(member)

    def trials(self, now: float) -> list[M]:
        """Those whose time is over. `worked` or `failed` must follow for each; until then they are not named
        again."""
        due = [member for member, out in self._left_out.items() if out.trial_at <= now]
        for member in due:
            self._left_out[member].trial_at = math.inf
        return due

    def _leave_out(self, member: M) -> _LeftOut:
        self._leave(member)
        out = self._left_out[member] = _LeftOut()
        return out

    def _enter(self, member: M) -> None:
        if member in self._group_of:
            group = self._groups[self._group_of[member]]
            group.append(member)
            if len(group) == 1:
                self._turn.append(group)

    def _leave(self, member: M) -> None:
        group = self._groups[self._group_of[member]]
        if member in group:
            group.remove(member)
            if not group:
                # By identity: two empty deques are equal, and so are two that hold the same.
                self._turn = deque(one for one in self._turn if one is not group)

    def __len__(self) -> int:
        """Members, those left out too."""
        return len(self._group_of)

    def __repr__(self) -> str:
        return f"<RoundRobin members={len(self._group_of)} left_out={len(self._left_out)}>"
