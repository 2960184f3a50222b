"""A key's partition is the one that Kafka's own clients choose."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from kafka.partitioner.default import murmur2 as kafkas_murmur2

from bufferproxy.log.partitioning import murmur2, partition_for


@given(st.binary(max_size=200))
def test_the_hash_is_that_of_kafka(key: bytes) -> None:
    assert murmur2(key) == kafkas_murmur2(key) & 0xFFFFFFFF


@given(st.binary(max_size=64), st.integers(1, 512))
def test_the_partition_is_that_of_kafka(key: bytes, partitions: int) -> None:
    assert partition_for(key, partitions) == (kafkas_murmur2(key) & 0x7FFFFFFF) % partitions
