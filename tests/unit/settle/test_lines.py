"""What is copied of a key is always the first of it, whatever fails."""

from __future__ import annotations

from collections.abc import Callable

from bufferproxy.settle.lines import Copy, Lines


class World:
    def __init__(self) -> None:
        self.lines = Lines()
        self.begun: list[str] = []
        self.stored: list[str] = []
        self.unwanted: set[str] = set()
        self._decide: dict[str, Callable[[], None]] = {}
        self._copies: dict[str, Copy] = {}

    def join(self, *names: str) -> None:
        for name in names:
            copy = self._copies[name] = Copy(
                lambda done, name=name: self._append(name, done),
                lambda name=name: self.stored.append(name),
                lambda name=name: name not in self.unwanted,
            )
            self.lines.join(name[:1].encode(), copy)

    def ready(self, *names: str) -> None:
        for name in names:
            self.lines.ready(name[:1].encode(), self._copies[name])

    def store(self, name: str) -> None:
        self._decide.pop(name)()

    def _append(self, name: str, done: Callable[[], None]) -> None:
        self.begun.append(name)
        self._decide[name] = done


def test_of_a_key_one_at_a_time_of_several_side_by_side() -> None:
    world = World()
    world.join("a1", "a2", "b1", "b2")
    world.ready("a1", "a2", "b1", "b2")
    assert world.begun == ["a1", "b1"]
    world.store("b1")
    assert (world.begun, world.stored) == (["a1", "b1", "b2"], ["b1"])
    world.store("a1")
    world.store("a2")
    world.store("b2")
    assert world.stored == ["b1", "a1", "a2", "b2"]
    assert len(world.lines) == 0


def test_who_is_ready_first_waits_for_those_before() -> None:
    world = World()
    world.join("a1", "a2")
    world.ready("a2")
    assert world.begun == []
    world.ready("a1")
    assert world.begun == ["a1"]
    world.store("a1")
    assert world.begun == ["a1", "a2"]


def test_what_is_not_wanted_when_its_turn_has_come_is_not_copied() -> None:
    world = World()
    world.join("a1", "a2", "a3")
    world.ready("a1", "a2", "a3")
    world.unwanted = {"a2", "a3"}
    world.store("a1")
    assert (world.begun, world.stored, len(world.lines)) == (["a1"], ["a1"], 0)
    world.ready("a3")
    world.join("a4")
    world.ready("a4")
    assert world.begun == ["a1", "a4"]
