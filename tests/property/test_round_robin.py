"""Whatever happens to addresses: turns are even, and nobody is lost."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from bufferproxy.deliver.balance import RoundRobin

Step = tuple[str, int, int]

steps = st.lists(
    st.tuples(
        st.sampled_from(["add", "remove", "failed", "worked", "doubt", "advance", "order", "trials"]),
        st.integers(0, 2),
        st.integers(0, 3),
    ),
    max_size=60,
)


def walked(
    taken: list[Step],
) -> tuple[RoundRobin[tuple[int, int]], set[tuple[int, int]], set[tuple[int, int]]]:
    """The turns, all members, and those in rotation."""
    turns: RoundRobin[tuple[int, int]] = RoundRobin(3)
    members: set[tuple[int, int]] = set()
    failed: set[tuple[int, int]] = set()
    rotating: set[tuple[int, int]] = set()
    for now, (what, group, number) in enumerate(taken):
        member = (group, number)
        match what:
            case "add" if member not in members:
                turns.add(group, member)
                members.add(member)
                rotating.add(member)
            case "remove" if member in members:
                turns.remove(member)
                members.discard(member)
                failed.discard(member)
                rotating.discard(member)
            case "failed":
                assert turns.failed(member, float(now)) == (member in members - failed)
                failed |= members & {member}
                rotating.discard(member)
            case "doubt":
                turns.doubt(member)
                rotating.discard(member)
            case "worked":
                assert turns.worked(member) == (member in failed)
                failed.discard(member)
                rotating |= members & {member}
            case "advance" if turns.first() is not None:
                turns.advance()
            case "order":
                assert set(order := turns.order()) == (rotating or members)
                assert len(order) == len(set(order))
            case "trials":
                assert set(turns.trials(float(now))) <= members - rotating
    return turns, members, rotating


@given(steps)
def test_groups_have_equal_parts_and_so_have_the_members_of_each(taken: list[Step]) -> None:
    turns, members, rotating = walked(taken)
    assert len(turns) == len(members)
    sizes = Counter(group for group, _ in rotating)
    if not sizes:
        assert turns.first() is None
        return
    rounds = 12 * len(sizes)  # every group's size divides 12
    seen: Counter[tuple[int, int]] = Counter()
    for _ in range(rounds):
        member = turns.first()
        assert member is not None
        seen[member] += 1
        turns.advance()
    assert seen == {member: 12 // sizes[member[0]] for member in rotating}


@given(steps)
def test_whoever_is_left_out_is_tried_again(taken: list[Step]) -> None:
    turns, members, rotating = walked(taken)
    for member in sorted(members - rotating):
        turns.failed(member, 1000.0)  # whoever is being tried fails
    trials = set(turns.trials(1031.0))
    assert trials == members - rotating
    for member in trials:
        assert turns.worked(member)
    assert set(turns.order()) == members
