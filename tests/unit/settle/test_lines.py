"""What is copied of a key is always the first of it, whatever fails."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bufferproxy.records import Entry
from bufferproxy.settle.lines import BYTES, TOGETHER, Copy, Lines


class World:
    """Names begin with their key. `begun`: what was appended together, in order."""

    def __init__(self) -> None:
        self.lines = Lines()
        self.begun: list[list[str]] = []
        self.stored: list[str] = []
        self.unwanted: set[str] = set()
        self._decide: dict[str, Callable[[bool], None]] = {}
        self._copies: dict[str, Copy] = {}

    def join(self, *names: str, size: int = 0) -> None:
        for name in names:
            entry = Entry(name.encode(), bytes(size), ())
            copy = self._copies[name] = Copy(
                entry,
                lambda name=name: self.stored.append(name),
                lambda name=name: name not in self.unwanted,
            )
            self.lines.join(name[:1].encode(), copy, self._append)

    def ready(self, *names: str) -> None:
        for name in names:
            self.lines.ready(name[:1].encode(), self._copies[name])

    def decide(self, first: str, *, stored: bool = True) -> None:
        """Of those that went together with `first` as the first of them."""
        self._decide.pop(first)(stored)

    def _append(self, entries: list[Entry], done: Callable[[bool], None]) -> None:
        names = [(entry.key or b"").decode() for entry in entries]
        self.begun.append(names)
        self._decide[names[0]] = done


def test_of_a_key_the_next_go_when_those_before_are_stored_and_keys_side_by_side() -> None:
    world = World()
    world.join("a1", "a2", "a3", "b1")
    world.ready("a1", "a2", "a3", "b1")
    assert world.begun == [["a1"], ["b1"]]
    assert repr(world.lines) == "<Lines 4 copies of 2 keys>"
    world.decide("a1")
    assert world.begun[2:] == [["a2", "a3"]]
    world.decide("a2")
    world.decide("b1")
    assert world.stored == ["a1", "a2", "a3", "b1"]
    assert len(world.lines) == 0


def test_who_is_ready_first_waits_for_those_before() -> None:
    world = World()
    world.join("a1", "a2")
    world.ready("a2")
    assert world.begun == []
    world.ready("a1")
    assert world.begun == [["a1", "a2"]]


def test_what_could_not_be_stored_together_goes_alone_and_nothing_overtakes_it() -> None:
    world = World()
    names = ["a1", "a2", "a3"]
    world.join("a0", *names)
    world.ready("a0", *names)
    world.decide("a0")
    assert world.begun[-1] == names
    world.decide("a1", stored=False)
    assert world.begun[-1] == ["a1"]
    world.decide("a1", stored=False)
    assert world.begun[-1] == ["a1"]
    assert world.stored == ["a0"]
    world.decide("a1")
    assert (world.begun[-1], world.stored) == (["a2", "a3"], ["a0", "a1"])


@pytest.mark.parametrize(("size", "together"), [(0, TOGETHER), (BYTES // 2, 2), (2 * BYTES, 1)])
def test_so_many_go_together_and_so_much(size: int, together: int) -> None:
    world = World()
    world.join("a")
    names = [f"a{n}" for n in range(2 * TOGETHER)]
    world.join(*names, size=size)
    world.ready("a", *names)
    world.decide("a")
    assert world.begun[-1] == names[:together]


def test_what_is_not_wanted_when_its_turn_has_come_is_not_copied() -> None:
    world = World()
    world.join("a1", "a2", "a3")
    world.ready("a1", "a2", "a3")
    world.unwanted = {"a2", "a3"}
    world.decide("a1")
    assert (world.begun, world.stored, len(world.lines)) == ([["a1"]], ["a1"], 0)
    world.ready("a3")
    world.join("a4")
    world.ready("a4")
    assert world.begun == [["a1"], ["a4"]]
