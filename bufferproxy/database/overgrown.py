"""A write-ahead log that another program keeps from beginning anew."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from bufferproxy.database import holders
from bufferproxy.database.file import WAL_CAP

if TYPE_CHECKING:
    from pathlib import Path

LOOK = 1.0
"""Seconds between two looks where little is written."""

logger = logging.getLogger(__name__)


class Overgrown:
    """The write-ahead log is longer than its cap, because another program goes on reading an old state of
    the file. It then grows with all that is written, until that program is done."""

    def __init__(self, path: Path) -> None:
        self.size = 0
        """Bytes beyond the cap, as of the last look."""
        self.why = ""
        """In words for an operator; empty while it is within its cap."""
        self._path = path
        self._looked = 0.0

    def due(self, now: float) -> bool:
        """It may be over: nothing else would tell, where little is written."""
        return self.size > 0 and now - self._looked >= LOOK

    def look(self, size: int, now: float) -> None:
        """`size`: bytes that it holds and cannot let go of."""
        self._looked = now
        before, self.size = self.size, max(0, size - WAL_CAP)
        if self.size:
            reader = holders.readers(self._path)
            self.why = (
                f"{self._path} has been read by another program for long ({reader}): until that is done its"
                f" write-ahead log grows, and has {size >> 20} MiB"
            )
            if not before:
                logger.warning("%s", self.why)
        else:
            self.why = ""
            if before:
                logger.info("the write-ahead log of %s begins anew", self._path)

    def __repr__(self) -> str:
        return f"<Overgrown by {self.size} B>"
