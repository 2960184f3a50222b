"""Whose grants count: those of the newest claim before them in the log. All readers find the same.

A replica that began to read later has not seen the newest claim. It takes the highest epoch that it has met:
a grant of an older leader can then seem to count, but it cannot name this replica, because whoever quotes one
of its reports has read the log up to there, and with it every claim that this replica has not seen.
"""

from __future__ import annotations

from bufferproxy.rate.records import Claim, Grant, Read, Release, Unreadable

NOBODY = -1

SILENCE = 1.5
"""Seconds without a word of a leader after which a replica claims."""


class Fence:
    __slots__ = ("epoch", "heard_at", "leader")

    def __init__(self, now: float) -> None:
        self.epoch = NOBODY
        self.leader = ""
        self.heard_at = now
        """When a leader was last heard, by this replica's clock."""

    def admits(self, offset: int, record: Read, now: float) -> bool:
        """Take note of what the log says at `offset`; False for a grant that does not count."""
        match record:
            case Claim(worker):
                self.epoch, self.leader, self.heard_at = offset, worker, now
            case Grant(epoch):
                if epoch < self.epoch:
                    return False
                self.epoch, self.heard_at = epoch, now
            case Unreadable():
                # It may be the claim of a later version. Nobody of ours leads any more: the ceiling first.
                self.epoch, self.leader = offset, ""
            case Release(worker) if worker == self.leader:
                self.leader, self.heard_at = "", now - SILENCE
            case _:
                pass
        return True

    def __repr__(self) -> str:
        return f"<Fence epoch={self.epoch} leader={self.leader!r} heard_at={self.heard_at:.3f}>"
