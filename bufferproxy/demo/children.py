"""Processes that the demo starts, watches and ends. None of them outlives it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import bufferproxy
from bufferproxy.demo.fragile import Fragility
from bufferproxy.demo.reports import Ready, Report, ready_of, report_of
from bufferproxy.errors import BufferproxyError

_STARTS_WITHIN = 15.0
_ENDS_WITHIN = 5.0


class ChildFailed(BufferproxyError):
    """A process of the demo did not start, or ended before its time."""


class FragileService:
    """A fresh one, on `port`. It is over when its `close` has returned: then all reports are in."""

    def __init__(self, process: asyncio.subprocess.Process, ready: Ready) -> None:
        self._process = process
        self._closed = False
        self.pid = process.pid
        self.port = ready.port
        self.kernel = ready.kernel

    async def follow(self, heard: Callable[[Report], None]) -> None:
        """Pass on what it reports until it ends. Raises ChildFailed when it does so before `close`."""
        assert self._process.stdout is not None  # noqa: S101 - a pipe was asked for
        async for line in self._process.stdout:
            heard(report_of(line))
        if not self._closed:
            raise ChildFailed("the process of the fragile service ended before its time")

    def close(self) -> None:
        """Tell it to report the rest and end."""
        self._closed = True
        assert self._process.stdin is not None  # noqa: S101 - a pipe was asked for
        self._process.stdin.close()


@contextlib.asynccontextmanager
async def fragile_service(fragility: Fragility) -> AsyncIterator[FragileService]:
    """Raises ChildFailed when it does not come up."""
    async with child(
        ["bufferproxy.demo.service", json.dumps(fragility)],
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    ) as process:
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        try:
            async with asyncio.timeout(_STARTS_WITHIN):
                ready = ready_of(await process.stdout.readline())
        except (TimeoutError, ValueError) as error:
            raise ChildFailed("the fragile service did not start") from error
        yield FragileService(process, ready)


@contextlib.asynccontextmanager
async def child(
    arguments: list[str],
    *,
    stdin: int = asyncio.subprocess.DEVNULL,
    stdout: int = asyncio.subprocess.DEVNULL,
    stderr: int | None = None,
    folder: Path | None = None,
) -> AsyncIterator[asyncio.subprocess.Process]:
    """`python -m ARGUMENTS`, with this very Python and package; ended with the block. It has a session of its
    own, so that a Ctrl-C reaches us alone and we end it in our order."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        *arguments,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        cwd=folder,
        env=_environment(os.environ),
        start_new_session=True,
        limit=1 << 22,
    )
    try:
        yield process
    finally:
        await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Asked first, then told, then killed; killed at once by a second Ctrl-C. It is given a moment before it
    is told, for one that is ending by itself must not be signalled: Popen would reap it, and asyncio's own
    watcher would find it missing."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        if await _ended(process, _ENDS_WITHIN if process.stdin is not None else 0.05):
            return
        process.terminate()
        await _ended(process, _ENDS_WITHIN)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _ended(process: asyncio.subprocess.Process, within: float) -> bool:
    try:
        async with asyncio.timeout(within):
            await process.wait()
    except TimeoutError:
        return False
    return True


def _environment(own: Mapping[str, str]) -> dict[str, str]:
    """Ours without what would set up a bufferproxy: the demo shows its own settings, not the user's."""
    kept = {name: value for name, value in own.items() if not name.startswith("BUFFERPROXY")}
    package = str(Path(bufferproxy.__file__).parent.parent)
    paths = [package, *filter(None, [own.get("PYTHONPATH")])]
    return kept | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}
