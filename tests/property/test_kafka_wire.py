"""Our records against kafka-python's own encoder and decoder."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from kafka import TopicPartition
from kafka.errors import CorruptRecordError
from kafka.producer.producer_batch import ProducerBatch
from kafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from kafka.record.memory_records import MemoryRecordsBuilder
from kafka.record.util import decode_varint

from bufferproxy.log.kafka.life import Batch
from bufferproxy.log.kafka.wire import contents, record, records
from bufferproxy.records import Headers, Partition, Record

PARTITION = Partition("t", 3)
HEAD = DefaultRecordBatchBuilder.header_size_in_bytes()

sizes = st.sampled_from([0, 1, 62, 63, 64, 65, 127, 128, 4095, 4096, 4097, 9000])
values = st.binary(max_size=80) | sizes.map(bytes)
names = st.sampled_from(["bufferproxy-version", "bufferproxy-head", "", "é", "n" * 63, "n" * 64]) | st.text(
    st.characters(codec="utf-8"), max_size=70
)
headers = st.lists(st.tuples(names, values), max_size=8).map(tuple)
entries = st.tuples(
    st.integers(1_700_000_000_000, 1_710_000_000_000),
    st.none() | values,
    st.none() | values,
    headers,
)
Entries = list[tuple[int, bytes | None, bytes | None, Headers]]


def theirs(batch: Entries, compression: int = 0) -> bytes:
    builder = DefaultRecordBatchBuilder(2, compression, False, -1, -1, -1, 1 << 30)
    for offset, (time, key, value, own) in enumerate(batch):
        builder.append(offset, time, key, value, list(own))
    return bytes(builder.build())


def read(data: bytes, base: int = 0) -> list[Record]:
    batch = DefaultRecordBatch(data)
    iter(batch)
    body = bytes(batch._buffer)
    return list(records(PARTITION, body, batch._pos, batch.records_count, base, batch.first_timestamp))


def attributes(data: bytes | bytearray) -> set[int]:
    """Where they lie."""
    found, at = set(), HEAD
    while at < len(data):
        length, at = decode_varint(data, at)
        found.add(at)
        at += length
    return found


@given(st.lists(entries, min_size=1, max_size=5))
def test_what_we_write_is_byte_for_byte_what_kafka_python_writes(batch: Entries) -> None:
    first = batch[0][0]
    ours = [record(time - first, offset, contents(*rest)) for offset, (time, *rest) in enumerate(batch)]
    assert b"".join(ours) == theirs(batch)[HEAD:]


@given(st.lists(entries, min_size=1, max_size=5), st.integers(0, 1 << 40), st.sampled_from([0, 1]))
def test_what_kafka_python_writes_is_read_as_it_was(batch: Entries, base: int, compression: int) -> None:
    assert read(theirs(batch, compression), base) == [
        Record(PARTITION, base + offset, key, value or b"", own, time / 1000)
        for offset, (time, key, value, own) in enumerate(batch)
    ]


@given(st.lists(entries, min_size=1, max_size=3), st.data())
def test_damage_is_told_as_kafka_python_tells_it(batch: Entries, data: st.DataObject) -> None:
    """Beneath a checksum that fits: what theirs reads ours reads alike, and what it refuses ours refuses."""
    damaged = bytearray(theirs(batch))
    at = data.draw(st.integers(HEAD, len(damaged) - 1))
    assume(at not in attributes(damaged))  # one byte, which kafka-python takes for the first of a number
    damaged[at] ^= data.draw(st.integers(1, 255))
    try:
        expected = [
            (each.offset, each.key, each.value or b"", tuple((n, v or b"") for n, v in each.headers))
            for each in DefaultRecordBatch(damaged)
        ]
    except CorruptRecordError:
        with pytest.raises(CorruptRecordError):
            read(bytes(damaged))
    else:
        assert [(r.offset, r.key, r.value, r.headers) for r in read(bytes(damaged))] == expected


def test_a_time_that_the_broker_sets_is_that_of_all() -> None:
    data = theirs([(1000, None, b"a", ()), (2000, None, b"b", ())])
    found = records(PARTITION, data, HEAD, 2, 0, 1000, 5000)
    assert [each.appended_at for each in found] == [5.0, 5.0]


@given(
    st.lists(entries, min_size=1, max_size=8), st.sampled_from([0, 1]), st.sampled_from([200, 5000, 65536])
)
def test_a_batch_is_filled_and_closed_as_kafka_pythons_own(
    batch: Entries, compression: int, limit: int
) -> None:
    place = TopicPartition("t", 3)
    ours = Batch(place, MemoryRecordsBuilder(2, compression, limit))
    theirs = ProducerBatch(place, MemoryRecordsBuilder(2, compression, limit))
    taken = []
    for number, (time, key, value, own) in enumerate(batch):
        fits = theirs.try_append(time, key, value, list(own)) is not None
        assert ours.add(time, contents(key, value, own), number) == fits
        taken += [number] if fits else []
    assert ours.owners == taken
    assert (ours.record_count, ours.records.is_full()) == (theirs.record_count, theirs.records.is_full())
    for each in (ours, theirs):
        each.records.set_producer_state(7, 1, 42, False)
        each.records.close()
    assert ours.records.buffer() == theirs.records.buffer()
    assert not ours.add(0, contents(None, b"late", ()), 99)
