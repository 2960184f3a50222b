from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from bufferproxy.drain.window import Window

if TYPE_CHECKING:
    from random import Random


@given(st.lists(st.integers(1, 50), min_size=1, max_size=60), st.integers(0, 1000), st.randoms(), st.data())
def test_committable_is_the_end_of_the_longest_settled_prefix(
    gaps: list[int], committed: int, random: Random, data: st.DataObject
) -> None:
    offsets, at = [], committed
    for gap in gaps:
        offsets.append(at)
        at += gap
    window, open_, begun = Window(committed, 1), set[int](), 0
    prefix = committed
    while begun < len(offsets) or open_:
        if begun < len(offsets) and (not open_ or data.draw(st.booleans())):
            window.begin(offsets[begun], offsets[begun] + 1, begun)
            open_.add(offsets[begun])
            begun += 1
        else:
            settled = random.choice(sorted(open_))
            open_.discard(settled)
            moved = window.settle(settled)
            before = prefix
            for offset in offsets[:begun]:
                if offset in open_:
                    break
                prefix = max(prefix, offset + 1)
            assert moved == (prefix > before)
        assert window.committable == prefix
        assert len(window) == len(open_)
        assert window.size == sum(offsets.index(offset) for offset in open_)
        assert window.spread == sum(prefix <= offset for offset in offsets[:begun])
