"""Who may ask what of the admin plane. Pure: `guard.py` feeds it and acts.

1. On loopback a request for a foreign Host is not for us: a web page may have bound its own name to
   127.0.0.1 (DNS rebinding), and then its scripts count as same-origin. 421.
2. Health and metrics are open: who asks for them (kubelet, Prometheus) has no token.
3. An unsafe request that a browser sends for another site is refused, token or not: on loopback there may
   be no token, and Basic credentials are sent along by themselves. Without Sec-Fetch-Site and Origin it is
   no browser.
4. A token, wherever one is configured; off loopback nothing starts without one. The viewer's only reads.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from hmac import compare_digest
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from bufferproxy.admin.problems import Problem
from bufferproxy.errors import ConfigurationError

OPEN = frozenset({"/livez", "/readyz", "/metrics"})
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})

# Both schemes in one line: programs send the token as Bearer, browsers ask a person and send it as the
# password of Basic.
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="bufferproxy", Basic realm="bufferproxy", charset="UTF-8"'}


class Tokens(NamedTuple):
    """Secrets as they stand in their files, without surrounding white space."""

    operator: bytes | None = None
    viewer: bytes | None = None

    @classmethod
    def read(cls, token_file: str | None, viewer_token_file: str | None) -> Tokens:
        """Raises ConfigurationError when a file cannot be read or is empty."""
        return cls(
            _secret("admin.token_file", token_file), _secret("admin.viewer_token_file", viewer_token_file)
        )

    def __repr__(self) -> str:
        return f"<Tokens operator {self.operator is not None}, viewer {self.viewer is not None}>"


def _secret(key: str, file: str | None) -> bytes | None:
    if file is None:
        return None
    try:
        secret = Path(file).read_bytes().strip()
    except OSError as error:
        raise ConfigurationError(f"{key}: {file}: {error.strerror}") from error
    if not secret:
        raise ConfigurationError(f"{key}: {file}: is empty")
    return secret


class Access(NamedTuple):
    """Where the admin plane listens, and who may use it."""

    loopback: bool
    tokens: Tokens = Tokens()

    @classmethod
    def for_host(cls, host: str, tokens: Tokens) -> Access:
        """Raises ConfigurationError when `host` is not loopback and there is no operator's token, or when
        there is a viewer's only: then nobody could change anything."""
        loopback = is_loopback(host)
        if tokens.viewer is not None and tokens.operator is None:
            raise ConfigurationError("admin.token_file: is needed beside admin.viewer_token_file")
        if not loopback and tokens.operator is None:
            raise ConfigurationError(
                f"admin.token_file: is needed, for the admin plane listens on {host}, which is not loopback"
            )
        return cls(loopback, tokens)


class Asked(NamedTuple):
    """The parts of a request that decide."""

    method: str
    path: str
    hosts: Sequence[str]
    authorization: Sequence[bytes]
    site: str | None
    """Sec-Fetch-Site."""
    origin: str | None


def judge(asked: Asked, access: Access) -> Problem | None:
    """None when the request may go on."""
    if access.loopback and not all(is_loopback(_host(host)) for host in asked.hosts):
        return Problem(421, "misdirected", "This address is loopback: use localhost as the host.")
    if asked.path in OPEN:
        return None
    unsafe = asked.method not in SAFE
    if unsafe and _is_foreign_page(asked):
        return Problem(403, "forbidden", "A page of another site may not change anything here.")
    tokens = access.tokens
    if tokens.operator is None and tokens.viewer is None:
        return None
    operator, viewer = _presented(asked.authorization, tokens)
    if operator or (viewer and not unsafe):
        return None
    if viewer:
        return Problem(403, "forbidden", "The viewer's token only reads; this needs the operator's.")
    return Problem(401, "unauthenticated", "This needs the token, as Authorization: Bearer.", _CHALLENGE)


def is_loopback(host: str) -> bool:
    """Of a host without port. Names other than localhost are not: whoever runs their DNS may say so."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ip_address(host.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False


def _host(host: str) -> str:
    """A Host field without its port."""
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]


def _is_foreign_page(asked: Asked) -> bool:
    if asked.site is not None:
        return asked.site != "same-origin"
    if asked.origin is None:
        return False
    # The scheme is left out: behind a proxy that ends TLS ours is http where the page's is https.
    return [urlsplit(asked.origin).netloc.lower()] != [host.lower() for host in asked.hosts]


def _presented(authorization: Sequence[bytes], tokens: Tokens) -> tuple[bool, bool]:
    """Whether the operator's, the viewer's token was sent. Both are compared, in constant time."""
    secret = _credentials(authorization[0]) if len(authorization) == 1 else None
    if secret is None:
        return False, False
    operator = tokens.operator is not None and compare_digest(secret, tokens.operator)
    viewer = tokens.viewer is not None and compare_digest(secret, tokens.viewer)
    return operator, viewer


def _credentials(field: bytes) -> bytes | None:
    scheme, _, rest = field.partition(b" ")
    match scheme.lower():
        case b"bearer":
            return rest.strip()
        case b"basic":
            try:
                return base64.b64decode(rest.strip(), validate=True).partition(b":")[2]
            except binascii.Error:
                return None
        case _:
            return None
