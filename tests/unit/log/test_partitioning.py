from __future__ import annotations

import pytest

from bufferproxy.log.partitioning import murmur2, partition_for


@pytest.mark.parametrize(
    ("key", "signed"),
    [
        # From Kafka's own UtilsTest.
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_the_hash_is_that_of_kafkas_clients(key: bytes, signed: int) -> None:
    assert murmur2(key) == signed & 0xFFFFFFFF
    assert partition_for(key, 12) == (signed & 0x7FFFFFFF) % 12


def test_a_key_of_no_bytes_has_a_partition_too() -> None:
    assert partition_for(b"", 12) in range(12)
