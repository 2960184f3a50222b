"""Who is believed, and where a request came from."""

from __future__ import annotations

import pytest

from bufferproxy.http1 import trust
from bufferproxy.http1.trust import MOST_HOPS, TrustedProxies, address_of

MINE = TrustedProxies(["loopback", "10.2.0.0/16", "2001:db8:1::/48", "192.0.2.7"])


@pytest.mark.parametrize(
    ("address", "trusted"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("10.2.255.1", True),
        ("10.3.0.1", False),
        ("::ffff:10.2.0.1", True),
        ("2001:db8:1::5", True),
        ("2001:db8:2::5", False),
        ("192.0.2.7", True),
        ("192.0.2.8", False),
        ("", False),
        ("unix:/run/x", False),
        ("localhost", False),
    ],
)
def test_a_proxy_is_trusted_by_its_address(address: str, *, trusted: bool) -> None:
    assert MINE.trusts(address) is trusted
    assert MINE.trusts(address) is trusted, "remembered"


@pytest.mark.parametrize(
    ("address", "private"),
    [
        ("10.0.0.1", True), ("172.16.0.1", True), ("172.32.0.1", False), ("192.168.9.9", True),
        ("fd00::1", True), ("fe80::1%eth0", True), ("127.0.0.1", True), ("8.8.8.8", False),
        ("2001:db8::1", False),
    ],
)  # fmt: skip
def test_private_stands_for_all_private_ranges(address: str, *, private: bool) -> None:
    assert TrustedProxies(["private"]).trusts(address) is private
    assert not TrustedProxies([]).trusts(address)


@pytest.mark.parametrize(
    ("peer", "told", "client"),
    [
        ("198.51.100.1", [], "198.51.100.1"),
        ("198.51.100.1", [b"203.0.113.9"], "198.51.100.1"),
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", [b"203.0.113.9"], "203.0.113.9"),
        ("127.0.0.1", [b"1.1.1.1, 203.0.113.9, 10.2.0.4"], "203.0.113.9"),
        ("127.0.0.1", [b"1.1.1.1", b"203.0.113.9", b"10.2.0.4,"], "203.0.113.9"),
        ("127.0.0.1", [b"10.2.0.5,10.2.0.4"], "10.2.0.5"),
        ("127.0.0.1", [b"1.1.1.1, unknown, 10.2.0.4"], "10.2.0.4"),
        ("127.0.0.1", [b"unknown"], "127.0.0.1"),
        ("127.0.0.1", [b"203.0.113.9:4711"], "203.0.113.9"),
        ("127.0.0.1", [b"[2001:DB8::9]:4711"], "2001:db8::9"),
        ("127.0.0.1", [b"::ffff:203.0.113.9"], "203.0.113.9"),
        ("::ffff:203.0.113.9", [b"1.1.1.1"], "203.0.113.9"),
        ("127.0.0.1", [b"1" * 70_000], "127.0.0.1"),
        ("127.0.0.1", [b"\xff"], "127.0.0.1"),
        ("", [b"1.1.1.1"], ""),
    ],
)
def test_the_client_is_the_nearest_that_no_trusted_proxy_is(
    peer: str, told: list[bytes], client: str
) -> None:
    headers = [(b"X-FORWARDED-FOR", value) for value in told]
    assert MINE.client(peer, [(b"Host", b"a"), *headers]) == client


def test_only_so_many_hops_are_looked_at_however_many_there_are() -> None:
    hops = b", ".join([b"203.0.113.9", *[b"10.2.0.1"] * MOST_HOPS])
    assert MINE.client("127.0.0.1", [(b"X-Forwarded-For", hops)]) == "10.2.0.1"
    assert (
        MINE.client("127.0.0.1", [(b"X-Forwarded-For", hops.replace(b", 10.2.0.1", b"", 1))]) == "203.0.113.9"
    )


def test_addresses_that_callers_make_up_do_not_fill_the_memory() -> None:
    proxies = TrustedProxies(["loopback"])
    for number in range(10_000):
        proxies.client("127.0.0.1", [(b"X-Forwarded-For", b"10.%d.%d.1" % divmod(number, 256))])
        proxies.client("127.0.0.1", [(b"X-Forwarded-For", b"x" * 100 + b"%d" % number)])
    assert len(proxies._known) <= trust._MOST_KNOWN
    assert max(map(len, proxies._known)) <= trust._LONGEST
    assert repr(proxies).startswith("<TrustedProxies 2 networks, ")


def test_what_is_no_address_is_none() -> None:
    assert [address_of(text) for text in ("", "a", "1.2.3", "1.2.3.4.5", "[", ":::", "_x", "1:2")] == [
        None
    ] * 8


def test_a_network_that_is_none_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"10\.2\.0\.1/16"):
        TrustedProxies(["10.2.0.1/16"])
