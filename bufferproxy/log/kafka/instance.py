"""A name for this process among the members of its groups, the same after a restart, though nobody gave it
one: its host's, with a number when there are several on the host.
"""

from __future__ import annotations

import hashlib
import socket
import sys

MOST = 100
"""Processes of one name on one host."""


class Instance:
    """A name, until `close` or the end of the process, however it ends."""

    def __init__(self, name: str, held: socket.socket) -> None:
        self.name = name
        self._held = held

    @classmethod
    def claim(cls, host: str, scope: str) -> Instance | None:
        """The first that no other process of the same scope has. None: the system has nothing to claim with.

        Claimed is an address in Linux's abstract namespace: the kernel frees it with its process, and it is
        shared by just those containers that share a network, and so may share a host name.
        """
        if sys.platform != "linux":
            return None
        for number in range(MOST):
            name = host if number == 0 else f"{host}.{number}"
            held = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            try:
                held.bind(b"\0bufferproxy-" + hashlib.sha256(f"{scope} {name}".encode()).hexdigest().encode())
            except OSError:
                held.close()
                continue
            return cls(name, held)
        return None

    def close(self) -> None:
        self._held.close()
