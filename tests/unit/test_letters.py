"""Dead letters and their markers as they are stored."""

from __future__ import annotations

import pytest

from bufferproxy.envelope import buried, copy_of, letter_key, letter_of, mark_entry, request_of
from bufferproxy.errors import EnvelopeError
from bufferproxy.records import Entry, Letter, Mark, Partition, Position, Record, Request, State

DEAD = Partition("p.a.dead", 3)
REQUEST = Request(
    "i" * 48, Position(DEAD, 7), b"key", b"GET /a//b?q HTTP/1.1\r\nHost: a\r\n", b"\x00", 5, 3, generation=2
)
LETTER = copy_of(REQUEST, reason=b"attempts", died_at=b"9", status=b"500", key=b"key")._replace(
    key=letter_key(REQUEST.id, 2)
)


def stored(entry: Entry) -> Record:
    return Record(DEAD, 7, entry.key, entry.value, entry.headers, 1.0)


def changed(entry: Entry, **values: bytes | None) -> Entry:
    """`values` by header, without prefix; None: without it."""
    fields = {**dict(entry.headers), **{f"bufferproxy-{name}": value for name, value in values.items()}}
    return entry._replace(headers=tuple((name, value) for name, value in fields.items() if value is not None))


def test_a_letter_says_what_lists_show_and_gives_the_request_back() -> None:
    record = stored(LETTER)
    assert letter_of(record) == Letter(
        REQUEST.id, 2, record.position, "attempts", 500, 0, 5, 9, "/a//b", b"key"
    )
    assert buried(record) == REQUEST


def test_a_generation_is_part_of_every_later_copy() -> None:
    assert request_of(stored(copy_of(REQUEST)), 0, 3).generation == 2
    assert request_of(stored(copy_of(REQUEST._replace(generation=0))), 0, 3).generation == 0
    assert REQUEST.sent_again()._replace(attempts=0, sends=0) == REQUEST


@pytest.mark.parametrize(
    ("mark", "about"),
    [
        (Mark("i" * 48, 1, purged=False, at=9, results=3), b"i" * 48),
        (Mark("i" * 48, 2, False, 9, 3, 5, State.RETRYING, 1, 10, 11), b"i" * 48 + b"/1"),
        (Mark("i" * 48, 0, purged=True, at=9, results=3), b"i" * 48),
        (Mark("i" * 48, 2, purged=True, at=9, results=3), b"i" * 48 + b"/2"),
        (Mark("p.a.requests/0/5", 0, purged=True, at=9, results=3), b"p.a.requests/0/5"),
    ],
)
def test_a_mark_reads_as_it_was_told_and_takes_the_place_of_its_letter(mark: Mark, about: bytes) -> None:
    entry = mark_entry(mark)
    assert letter_of(stored(entry)) == mark
    assert entry.key == about


def test_what_could_not_be_understood_is_a_letter_too() -> None:
    headers = (
        ("bufferproxy-version", b"9"),
        ("bufferproxy-reason", b"undecodable"),
        ("bufferproxy-died-at", b"9"),
    )
    record = stored(Entry(b"p.a.requests/0/5", b"?", headers))
    assert letter_of(record) == Letter(
        "p.a.requests/0/5", 0, record.position, "undecodable", None, 0, None, 9, "", None
    )


def test_a_tombstone_says_nothing() -> None:
    assert letter_of(stored(Entry(b"i", b"", ()))) is None


@pytest.mark.parametrize(
    "entry",
    [
        changed(LETTER, version=b"9"),
        changed(LETTER, reason=None),
        changed(LETTER, **{"died-at": b"now"}),
        changed(LETTER, head=b"GET"),
        changed(mark_entry(Mark("i", 1, purged=False, at=9, results=3)), generation=None),
        changed(mark_entry(Mark("i", 1, purged=False, at=9, results=3)), state=b"lost"),
    ],
)
def test_a_letter_that_cannot_be_understood_is_an_error_of_the_envelope(entry: Entry) -> None:
    with pytest.raises(EnvelopeError):
        letter_of(stored(entry))
