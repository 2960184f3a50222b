"""What a head asks for: the service it goes to, how its caller wants to be answered, how it is sent on. Pure.

Made once for each head that is known by its bytes (`http1/heads.py`), for callers repeat themselves. So only
what follows from these bytes and the settings belongs here: nothing of the connection, the body, the moment
or the backlog.
"""

from __future__ import annotations

from bufferproxy.accept.fields import IDEMPOTENCY_KEY, key_too_long, malformed
from bufferproxy.accept.front import Front, Terms, ordering_key
from bufferproxy.accept.preferences import NONE, REFUSED, Mode, mode_of, preference
from bufferproxy.accept.routing import taken_off
from bufferproxy.accept.schedule import NOTHING, Schedule, schedule_of
from bufferproxy.http1.forwarding import BELIEVED, around_client, loops
from bufferproxy.http1.framing import Head
from bufferproxy.http1.problems import Problem, bad_request
from bufferproxy.http1.trust import ONLY_LOOPBACK, TrustedProxies
from bufferproxy.records import Priority
from bufferproxy.sizes import KEY_BYTES

NO_MODE = Mode(0.0, strict=False, applied=None)

NO_SERVICE = Problem("no-service", "No service matches this host and path.")
LOOP = Problem("loop-detected", "This request has come through this proxy before.")


class Demand:
    """What requests with one head ask of one service.

    `at_head`: why they are refused before their body comes. `at_end`: why they are after it, when there is
    no other reason. `unheld` is `mode` for a caller who is not held after all. `lives`: milliseconds from
    acceptance to expiry, for what need not wait (`delayed`). `key` counts unless `keyed_by_client`.
    """

    __slots__ = (
        "_around", "_asked", "_believable", "_expire", "_schedule", "_scheme", "_told", "_trusted", "_via",
        "at_end", "at_head", "delayed", "front", "head", "idempotency_key", "key", "keyed_by_client", "lives",
        "mode", "priority", "proxies", "target", "unheld",
    )  # fmt: skip

    def __init__(
        self,
        head: Head,
        front: Front,
        target: bytes,
        via: bytes,
        longest: float,
        proxies: TrustedProxies = ONLY_LOOPBACK,
    ) -> None:
        """`target` is that for the service, `via` this proxy's pseudonym, `longest` caps a wait (seconds)."""
        terms, headers = front.terms, head.headers
        self.head = head
        self.front = front
        self.target = target
        self.at_head = LOOP if b"via" in head.names and loops(headers, via) else None
        self.at_end, self.mode = _mode(head, front, longest)
        self.unheld = self.mode._replace(hold=0.0) if self.mode.hold > 0.0 else self.mode
        schedule = schedule_of(headers, head.names)
        if isinstance(schedule, Problem):
            self.at_end, schedule = self.at_end or schedule, NOTHING
        self.at_end = self.at_end or malformed(headers, head.names)
        self._asked = schedule
        if self.mode.strict:
            # A strict caller is gone when its time is over, so what is not sent by then need not be sent.
            schedule = schedule.living(int(self.mode.hold * 1000))
        self._schedule = schedule
        self._expire = int(terms.expire * 1000)
        self.delayed = schedule.delayed
        self.lives = self._expire if schedule.lives is None else min(self._expire, schedule.lives)
        self.priority = _priority(terms, schedule)
        self.idempotency_key = head.names.get(IDEMPOTENCY_KEY) or None
        self.key = ordering_key(terms.key, target, headers, "") if terms.keyed else None
        if self.key is not None and len(self.key) > KEY_BYTES and terms.key is not None:
            # Hashed it could not be read in a list of dead letters, and it is copied with every record.
            self.at_end = self.at_end or bad_request(key_too_long(terms.key.place, self.key))
        self.keyed_by_client = (
            terms.keyed and self.key is None and terms.key is not None and terms.key.kind == "client"
        )
        self._via = via
        self._scheme = ""
        self._told = self._trusted = False
        self.proxies = proxies
        self._believable = not BELIEVED.isdisjoint(head.names)
        self._around = (b"", b"")

    def impossible(self, now_ms: int) -> Problem | None:
        """Why what is `delayed` cannot be sent as asked when it is accepted now."""
        return self._asked.impossible(now_ms)

    def moments(self, now_ms: int) -> tuple[int | None, int]:
        """When what is accepted now is due (None: it need not wait), and when it expires."""
        if self.delayed:
            return self._schedule.moments(now_ms, self._expire)
        return None, now_ms + self.lives

    def over_within_hold(self, now_ms: int) -> bool:
        """Sent or not, it has ended by the time that its caller wants to be held for, and that is told. A
        strict caller wants it sent."""
        hold = int(self.mode.hold * 1000)
        return not self.mode.strict and self.moments(now_ms)[1] - now_ms <= hold

    def delay(self, now_ms: int) -> float:
        """Seconds before which it is not sent."""
        due_at = self._schedule.due_at(now_ms)
        return 0.0 if due_at is None else (due_at - now_ms) / 1000

    def key_of(self, client: str) -> bytes | None:
        """The ordering key of a request from this address."""
        if not self.keyed_by_client:
            return self.key
        return self.proxies.client(client, self.head.headers).encode() or None

    def forwarded(self, client: str, scheme: str, body_length: int) -> bytes:
        """`Request.head` of a request from this address with a body of so many bytes."""
        head, told = self.head, bool(client)
        trusted = self._believable and self.proxies.trusts(client)
        if (
            scheme != self._scheme
            or told is not self._told
            or trusted is not self._trusted
            or head.length is None
        ):
            self._around = around_client(
                head.method,
                self.target,
                head.headers,
                body_length=body_length,
                told=told,
                scheme=scheme,
                via=self._via,
                version=head.version,
                trusted=trusted,
                prefix=taken_off(head.target, self.target),
            )
            self._scheme, self._told, self._trusted = scheme, told, trusted
        before, after = self._around
        return b"%b%b%b" % (before, client.encode(), after)

    def __repr__(self) -> str:
        return f"<Demand {self.front.name} {self.target!r} {self.mode}>"


def _priority(terms: Terms, schedule: Schedule) -> Priority:
    if terms.priority is None:
        return Priority.NORMAL
    told = schedule.priority if terms.priority_told else None
    return terms.priority if told is None else told


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
