"""Which headers end at this hop (RFC 9110, 7.6.1), in both directions."""

from __future__ import annotations

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"expect",  # answered by the hop that received it
        b"http2-settings",
        b"keep-alive",
        b"proxy-authenticate",  # credentials between a client and its proxy: not the service's business
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",  # trailers are dropped, so is their announcement
        b"transfer-encoding",
        b"upgrade",
    }
)

_PROTECTED = frozenset({b"host", b"authorization", b"idempotency-key"})


def named_by_connection(value: bytes) -> set[bytes]:
    """The headers, in lower case, that a Connection value takes away. It cannot take what the receiver needs
    to tell requests apart or to find their end: Host, Content-*, Authorization, Idempotency-Key."""
    tokens = {token.strip() for token in value.lower().split(b",")}
    return {
        token
        for token in tokens - _PROTECTED - HOP_BY_HOP
        if token not in {b"", b"close"} and not token.startswith(b"content-")
    }
