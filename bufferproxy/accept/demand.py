"""What a head asks for: the service it goes to, how its caller wants to be answered, how it is sent on. Pure.

Made once for each head that is known by its bytes (`http1/heads.py`), for callers repeat themselves. So only
what follows from these bytes and the settings belongs here: nothing of the connection, the body, the moment
or the backlog.
"""

from __future__ import annotations

from bufferproxy.accept.front import Front, ordering_key
from bufferproxy.accept.preferences import NONE, REFUSED, Mode, mode_of, preference
from bufferproxy.http1.forwarding import around_client, loops
from bufferproxy.http1.framing import Head
from bufferproxy.http1.problems import Problem

NO_MODE = Mode(0.0, strict=False, applied=None)

NO_SERVICE = Problem("no-service", "No service matches this host and path.")
LOOP = Problem("loop-detected", "This request has come through this proxy before.")


class Demand:
    """What requests with one head ask of one service.

    `at_head`: why they are refused before their body comes. `at_end`: why they are after it, when there is
    no other reason. `unheld` is `mode` for a caller who is not held after all. `lives`: milliseconds from
    acceptance to expiry. `key` counts unless `keyed_by_client`.
    """

    __slots__ = (
        "_around", "_scheme", "_told", "_via", "at_end", "at_head", "front", "head", "idempotency_key", "key",
        "keyed_by_client", "lives", "mode", "target", "unheld",
    )  # fmt: skip

    def __init__(self, head: Head, front: Front, target: bytes, via: bytes, longest: float) -> None:
        """`target` is that for the service, `via` this proxy's pseudonym, `longest` caps a wait (seconds)."""
        terms, headers = front.terms, head.headers
        self.head = head
        self.front = front
        self.target = target
        self.at_head = LOOP if b"via" in head.names and loops(headers, via) else None
        self.at_end, self.mode = _mode(head, front, longest)
        self.unheld = self.mode._replace(hold=0.0) if self.mode.hold > 0.0 else self.mode
        # A strict caller is gone when its time is over, so what is not sent by then need not be sent.
        lives = min(terms.expire, self.mode.hold) if self.mode.strict else terms.expire
        self.lives = int(lives * 1000)
        self.idempotency_key = head.names.get(b"idempotency-key") or None
        self.key = ordering_key(terms.key, target, headers, "") if terms.keyed else None
        self.keyed_by_client = (
            terms.keyed and self.key is None and terms.key is not None and terms.key.kind == "client"
        )
        self._via = via
        self._scheme = ""
        self._told = False
        self._around = (b"", b"")

    def key_of(self, client: str) -> bytes | None:
        """The ordering key of a request from this address."""
        return (client.encode() or None) if self.keyed_by_client else self.key

    def forwarded(self, client: str, scheme: str, body_length: int) -> bytes:
        """`Request.head` of a request from this address with a body of so many bytes."""
        head = self.head
        if scheme != self._scheme or bool(client) != self._told or head.length is None:
            self._around = around_client(
                head.method,
                self.target,
                head.headers,
                body_length=body_length,
                told=bool(client),
                scheme=scheme,
                via=self._via,
                version=head.version,
            )
            self._scheme, self._told = scheme, bool(client)
        before, after = self._around
        return b"%b%b%b" % (before, client.encode(), after)

    def __repr__(self) -> str:
        return f"<Demand {self.front.name} {self.target!r} {self.mode}>"


def _mode(head: Head, front: Front, longest: float) -> tuple[Problem | None, Mode]:
    asked = preference(head.headers) if b"prefer" in head.names else NONE
    if isinstance(asked, Problem):
        return asked, NO_MODE
    terms = front.terms
    mode = mode_of(head.method, asked, reply=terms.reply, safe=terms.safe, longest=longest)
    return (_safe_methods_refused(head.method) if mode is REFUSED else None), mode


def _safe_methods_refused(method: bytes) -> Problem:
    return Problem(
        "method-not-allowed",
        f"{method.decode()} is refused by this service's safe_methods setting.",
        headers=(("Allow", "POST, PUT, PATCH, DELETE"),),
    )
