"""What is copied of a key is always the first of it, whatever fails."""

from __future__ import annotations

from collections.abc import Callable

from bufferproxy.records import Entry
from bufferproxy.settle.lines import Copy, Lines


class World:
    """Names begin with their key. `begun`: what was appended, in order."""

    def __init__(self) -> None:
        self.lines = Lines()
        self.begun: list[str] = []
        self.stored: list[str] = []
        self.unwanted: set[str] = set()
        self._decide: dict[str, Callable[[bool], None]] = {}
        self._copies: dict[str, Copy] = {}

    def join(self, *names: str) -> None:
        for name in names:
            entry = Entry(name.encode(), b"", ())
            copy = self._copies[name] = Copy(
                entry,
                lambda name=name: self.stored.append(name),
                lambda name=name: name not in self.unwanted,
            )
            self.lines.join(name[:1].encode(), copy, self._append)

    def ready(self, *names: str) -> None:
        for name in names:
            self.lines.ready(name[:1].encode(), self._copies[name])

    def decide(self, name: str, *, stored: bool = True) -> None:
        self._decide.pop(name)(stored)

    def _append(self, entry: Entry, done: Callable[[bool], None]) -> None:
        name = (entry.key or b"").decode()
        self.begun.append(name)
        self._decide[name] = done


def test_of_a_key_the_next_goes_when_the_one_before_is_stored_and_keys_go_side_by_side() -> None:
    world = World()
    world.join("a1", "a2", "a3", "b1")
    world.ready("a1", "a2", "a3", "b1")
    assert world.begun == ["a1", "b1"]
    assert repr(world.lines) == "<Lines 4 copies of 2 keys>"
    world.decide("a1")
    assert world.begun[2:] == ["a2"]
    world.decide("a2")
    world.decide("b1")
    world.decide("a3")
    assert world.stored == ["a1", "a2", "b1", "a3"]
    assert len(world.lines) == 0


def test_a_copy_that_is_ready_first_waits_for_those_before_it() -> None:
    world = World()
    world.join("a1", "a2")
    world.ready("a2")
    assert world.begun == []
    world.ready("a1")
    world.decide("a1")
    assert world.begun == ["a1", "a2"]


def test_a_copy_that_could_not_be_stored_is_tried_again_and_nothing_overtakes_it() -> None:
    world = World()
    world.join("a1", "a2")
    world.ready("a1", "a2")
    world.decide("a1", stored=False)
    assert (world.begun, world.stored) == (["a1", "a1"], [])
    world.decide("a1")
    assert (world.begun, world.stored) == (["a1", "a1", "a2"], ["a1"])


def test_a_copy_that_is_not_wanted_when_its_turn_has_come_is_not_made() -> None:
    world = World()
    world.join("a1", "a2", "a3")
    world.ready("a1", "a2", "a3")
    world.unwanted = {"a2", "a3"}
    world.decide("a1")
    assert (world.begun, world.stored, len(world.lines)) == (["a1"], ["a1"], 0)
    world.ready("a3")
    world.join("a4")
    world.ready("a4")
    assert world.begun == ["a1", "a4"]
