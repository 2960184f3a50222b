"""The table of routes finds what a search through all of them would."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bufferproxy.accept.routing import Match, Router, host_name

SEGMENTS = st.sampled_from([b"", b"a", b"ab", b"b", b"%61", b".."])
PATHS = st.lists(SEGMENTS, max_size=3).map(lambda parts: b"/" + b"/".join(parts))
HOSTS = st.sampled_from([b"x.example", b"y.example"])
MATCHES = st.builds(Match, path=st.one_of(st.just(b""), PATHS), host=st.one_of(st.none(), HOSTS))
TARGETS = st.one_of(
    st.just(b"*"), st.tuples(PATHS, st.sampled_from([b"", b"?", b"?q=/a/b", b"/"])).map(b"".join)
)


def searched(matches: list[Match], host: bytes, target: bytes) -> int | None:
    """The first that matches, hosts before no host and longer prefixes before shorter ones."""
    cleaned = [match._replace(path=match.path.rstrip(b"/")) for match in matches]
    order = sorted(range(len(cleaned)), key=lambda n: (cleaned[n].host is None, -len(cleaned[n].path)))
    for number in order:
        path, wanted, _ = cleaned[number]
        rest = target[len(path) : len(path) + 1]
        if wanted in (None, host_name(host)) and (
            not path or (target.startswith(path) and rest in (b"", b"/", b"?"))
        ):
            return number
    return None


@given(st.lists(MATCHES, max_size=8), HOSTS, TARGETS)
def test_a_table_of_routes_finds_what_a_search_finds(
    matches: list[Match], host: bytes, target: bytes
) -> None:
    found = Router((match, number) for number, match in enumerate(matches)).route(host, target)
    assert (None if found is None else found[0]) == searched(matches, host, target)
