"""Looking names up, without anybody else waiting for it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Awaitable, Callable

from bufferproxy.deliver.names import Answer, NoAnswer

Resolve = Callable[[str, int], Awaitable[Answer | NoAnswer]]
"""Host and port -> what the name stands for now; an OSError is no answer. Only what it returns is connected
to, so a check made here cannot be led astray by a second look-up."""

_NO_SUCH_NAME = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}
"""Answers, not failures: the name does not exist, or has no address. Not every C library has the second."""


async def system_resolve(host: str, port: int) -> Answer | NoAnswer:
    """The system's resolver (hosts file, DNS, whatever nsswitch.conf says), which tells no time to live.

    Each look-up has a thread of its own. The loop's threads are few, and under uvloop two names that hang are
    enough to hold up every other look-up of the process. A daemon, so that nobody waits for it at the end.
    """
    loop = asyncio.get_running_loop()
    told: asyncio.Future[Answer | NoAnswer] = loop.create_future()

    def tell(answer: Answer | NoAnswer) -> None:
        if not told.done():
            told.set_result(answer)

    def look_up() -> None:
        answer = _look_up(host, port)
        with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody waits any more
            loop.call_soon_threadsafe(tell, answer)

    try:
        threading.Thread(target=look_up, name=f"resolve-{host}", daemon=True).start()
    except RuntimeError as error:  # no more threads
        return NoAnswer(str(error))
    return await told


def _look_up(host: str, port: int) -> Answer | NoAnswer:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        return Answer((), detail=str(error))  # no name at all: a label of 64 characters
    except socket.gaierror as error:
        detail = error.strerror or str(error)
        return Answer((), detail=detail) if error.errno in _NO_SUCH_NAME else NoAnswer(detail)
    except OSError as error:
        return NoAnswer(error.strerror or str(error))
    return Answer(tuple(dict.fromkeys(str(address[0]) for _, _, _, _, address in found)))
