"""`bufferproxy demo`: a fragile service, a spike, with and without the buffer."""

from __future__ import annotations

from bufferproxy.cli.options import ConfigFile, UnusedAdmin
from bufferproxy.errors import BufferproxyError


def demo(config: ConfigFile = None, admin: UnusedAdmin = None) -> None:
    """A fragile service under a spike, with and without the buffer."""
    raise BufferproxyError("demo: not yet in this version")
