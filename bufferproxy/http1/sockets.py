"""Listening sockets: one for each address that a host has."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import Any

BACKLOG = 2048


async def bind(host: str, port: int) -> list[socket.socket]:
    """As asyncio itself would: `localhost` can be two. Port 0 becomes the same port for all of them. Raises
    OSError, and then leaves none open."""
    found = await asyncio.get_running_loop().getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    sockets: list[socket.socket] = []
    try:
        # IPv4 first: `localhost` has an IPv6 address even where the system has no IPv6, and that is no error.
        for family, _, _, _, address in sorted(
            dict.fromkeys(found), key=lambda one: one[0] != socket.AF_INET
        ):
            taken = sockets[0].getsockname()[1] if sockets else address[1]
            try:
                sockets.append(_bound(family, (address[0], taken, *address[2:])))
            except OSError as error:
                if not sockets or error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
    except OSError:
        for bound in sockets:
            bound.close()
        raise
    return sockets


def _bound(family: int, address: tuple[Any, ...]) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.setblocking(False)  # noqa: FBT003
        bound.bind(address)
        # Now, not when the loop comes to it: a second process on this port is found out by listening only.
        bound.listen(BACKLOG)
    except OSError:
        bound.close()
        raise
    return bound
