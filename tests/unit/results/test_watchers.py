from __future__ import annotations

from bufferproxy import ids
from bufferproxy.ids import nonce_text
from bufferproxy.records import Change, State
from bufferproxy.results.watchers import Watchers

A, B = b"nonce of a..", b"nonce of b.."


def change(state: State) -> Change:
    """Of the id with the nonce A."""
    return Change(ids.id_at(7, 0, 3, 1 << 40, 2, A), state, 1, 1, 1, 0)


def test_who_watches_is_told_until_the_end() -> None:
    watchers, told = Watchers(), []
    watchers.watch(nonce_text(A), lambda change: told.append((1, change.state)))
    watchers.watch(nonce_text(A), lambda change: told.append((2, change.state)))
    watchers.watch(nonce_text(B), lambda change: told.append((3, change.state)))
    for state in (State.RETRYING, State.DELIVERED, State.DELIVERED):
        watchers.tell(change(state))
    assert told == [(1, "retrying"), (2, "retrying"), (1, "delivered"), (2, "delivered")]
    assert (len(watchers), repr(watchers)) == (1, "<Watchers of 1 ids>")


def test_who_stops_watching_is_told_nothing_more() -> None:
    watchers, told = Watchers(), []
    watchers.watch(nonce_text(A), told.append)
    other: list[Change] = []
    watchers.watch(nonce_text(A), other.append)
    watchers.unwatch(nonce_text(A), told.append)
    assert len(watchers) == 1
    watchers.tell(change(State.RETRYING))
    assert (len(told), len(other)) == (0, 1)
    watchers.unwatch(nonce_text(A), other.append)
    assert len(watchers) == 0


def test_to_stop_watching_is_harmless_when_nobody_watches() -> None:
    watchers: Watchers = Watchers()
    watchers.unwatch(nonce_text(A), print)
    watchers.watch(nonce_text(A), print)
    watchers.unwatch(nonce_text(A), repr)
    assert len(watchers) == 1


def test_a_watcher_may_stop_watching_while_it_is_told() -> None:
    watchers, told = Watchers(), []

    def once(change: Change) -> None:
        told.append(change.state)
        watchers.unwatch(nonce_text(A), once)

    watchers.watch(nonce_text(A), once)
    watchers.watch(nonce_text(A), once)
    watchers.tell(change(State.RETRYING))
    watchers.tell(change(State.DELIVERED))
    assert told == ["retrying", "retrying"]
