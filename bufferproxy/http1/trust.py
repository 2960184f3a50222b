"""Whose X-Forwarded-* are believed, and which address a request came from. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

LOOPBACK = ("127.0.0.0/8", "::1/128")
PRIVATE = (
    *LOOPBACK,
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "fc00::/7",
    "169.254.0.0/16",
    "fe80::/10",
)
NAMED_RANGES = {"loopback": LOOPBACK, "private": PRIVATE}
"""What a word stands for where a network is asked for."""

MOST_HOPS = 32
"""Addresses of X-Forwarded-For that are looked at, from the nearest on: callers choose how many there are."""

_MOST_KNOWN = 4096
_LONGEST = 64
"""Characters of an address with brackets, port and zone; what is longer is none."""

_Known = tuple[str, bool]


class TrustedProxies:
    """Made once from the settings. Each address is judged once and remembered, for a proxy sends many
    requests and a caller several; the memory is bounded, and begins anew when it is full."""

    __slots__ = ("_known", "_networks")

    def __init__(self, networks: Iterable[str]) -> None:
        """Networks (`10.2.0.0/16`), addresses, `loopback` and `private`. Raises ValueError."""
        named = [text for each in networks for text in NAMED_RANGES.get(each, (each,))]
        found = [ip_network(text) for text in named]
        self._networks: dict[int, list[IPv4Network | IPv6Network]] = {
            version: [network for network in found if network.version == version] for version in (4, 6)
        }
        self._known: dict[str, _Known | None] = {}

    def trusts(self, address: str) -> bool:
        """What a connection from this address says of a request's way is believed."""
        known = self._look_up(address)
        return known is not None and known[1]

    def client(self, peer: str, headers: Sequence[tuple[bytes, bytes]]) -> str:
        """The address that no trusted proxy has, nearest to us: the connection's own (`peer`), or the last in
        X-Forwarded-For. Behind what is no address nothing is believed. When all are trusted, the farthest."""
        known = self._look_up(peer)
        if known is None:
            return peer
        reached, trusted = known
        if not trusted:
            return reached
        told = b",".join(value for name, value in headers if name.lower() == b"x-forwarded-for")
        for hop in reversed(told.rsplit(b",", MOST_HOPS)[-MOST_HOPS:]):
            text = hop.strip()
            if not text:
                continue
            known = self._look_up(text.decode("latin-1"))
            if known is None:
                return reached
            reached, trusted = known
            if not trusted:
                return reached
        return reached

    def _look_up(self, text: str) -> _Known | None:
        """The address in its usual form, and whether it is trusted; None for what is none."""
        try:
            return self._known[text]
        except KeyError:
            pass
        if len(text) > _LONGEST:
            return None
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        address = address_of(text)
        known = None
        if address is not None:
            trusted = any(address in network for network in self._networks[address.version])
            known = (str(address), trusted)
        self._known[text] = known
        return known

    def __repr__(self) -> str:
        return f"<TrustedProxies {sum(map(len, self._networks.values()))} networks, {len(self._known)} known>"


def address_of(text: str) -> IPv4Address | IPv6Address | None:
    """The address in `1.2.3.4`, `1.2.3.4:80`, `2001:db8::1`, `fe80::1%eth0`, `[::1]` and `[::1]:80`. One of
    IPv4 that is mapped into IPv6 is that of IPv4."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped


ONLY_LOOPBACK = TrustedProxies(("loopback",))
"""The default."""
