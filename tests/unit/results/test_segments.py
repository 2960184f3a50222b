from __future__ import annotations

from bufferproxy.ids import REQUESTS, Identity, id_of
from bufferproxy.results.segments import block_of, pack, parted, spots_in, spots_of


def key(offset: int, *, partition: int = 0, nonce: bytes = b"n" * 12) -> bytes:
    return id_of(Identity(7, REQUESTS, partition, offset, 0, nonce)).encode()


def found(wanted: bytes, *keys: bytes) -> list[int]:
    segment = pack(keys, range(100, 100 + len(keys)), 5)
    return spots_of(wanted, segment.tokens, segment.spots)


def test_an_end_is_found_by_its_token() -> None:
    keys = [key(number, nonce=b"%012d" % number) for number in range(300)]
    for number, wanted in enumerate(keys):
        assert found(wanted, *keys) == [100 + number]
    assert found(key(0, nonce=b"unknown     "), *keys) == []


def test_every_end_of_an_id_is_found() -> None:
    once, twice = key(1, nonce=b"once" * 3), key(2, nonce=b"both" * 3)
    assert found(twice, twice, once, twice) == [100, 102]


def test_a_token_that_lies_across_two_others_is_none() -> None:
    left, right, across = (
        b"." * 32 + ends for ends in (b"aaaaaaaabbbbbbbb", b"ccccccccdddddddd", b"bbbbbbbbcccccccc")
    )
    assert found(across, left, right) == []
    assert found(across, left, right, across) == [102]


def test_keys_that_are_no_ids_are_found_too() -> None:
    assert found(b"short", key(1), b"short", b"") == [101]
    assert found(key(1), b"short", key(1), b"x" * 99) == [101]


def test_a_block_holds_64_positions_of_one_partition() -> None:
    assert len({block_of(key(offset, nonce=b"%012d" % offset)) for offset in range(128, 192)}) == 1
    assert len({block_of(key(offset)) for offset in (0, 63, 64, 128, 1 << 40)}) == 4
    assert block_of(key(5)) != block_of(key(5, partition=1))
    assert pack([key(offset) for offset in range(640)], range(640), 5).blocks == {
        block_of(key(offset)) for offset in range(0, 640, 64)
    }


def test_a_spot_keeps_place_and_offset_apart() -> None:
    (spot,) = spots_in(65535, [(1 << 48) - 1])
    assert parted(spot) == (65535, (1 << 48) - 1)
    segment = pack([key(1)], [spot], 5)
    assert spots_of(key(1), segment.tokens, segment.spots) == [spot]
