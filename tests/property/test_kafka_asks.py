"""What a fetch session is told of, against kafka-python's own."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st
from kafka import TopicPartition
from kafka.consumer.fetcher import FetchSessionHandler, _FetchPartition
from kafka.protocol.consumer import FetchResponse

from bufferproxy.log.kafka.asks import Asks, Session

if TYPE_CHECKING:
    from collections.abc import Mapping

places = st.tuples(st.sampled_from(["t", "u"]), st.integers(0, 3)).map(lambda at: TopicPartition(*at))
rounds = st.lists(
    st.tuples(
        st.dictionaries(places, st.tuples(st.integers(0, 2), st.integers(-1, 1), st.integers(-1, 1))),
        st.sampled_from(["answered", "answered", "answered", "failed", "forgotten"]),
    ),
    max_size=8,
)


class Fetcher:
    config: Mapping[str, int] = {"max_partition_fetch_bytes": 1 << 20}


def told(data: Any) -> Any:
    return (
        data.id,
        data.epoch,
        {
            (topic.topic, part.partition, part.fetch_offset)
            for topic in data.to_send
            for part in topic.partitions
        },
        {(topic.topic, number) for topic in data.to_forget for number in topic.partitions},
    )


def answer(session: FetchSessionHandler, how: str, full: bool) -> None:
    if how == "failed":
        session.handle_error(OSError())
        return
    topic = FetchResponse.FetchableTopicResponse
    named = session.session_partitions if full else ()
    response = FetchResponse(
        error_code=70 if how == "forgotten" else 0,
        session_id=9,
        responses=[
            topic(topic=p.topic, partitions=[topic.PartitionData(partition_index=p.partition)]) for p in named
        ],
    )
    session.handle_response(response)


@given(rounds)
def test_a_session_is_told_the_same_as_by_kafka_python(history: Any) -> None:
    asks, ours, theirs = Asks(Fetcher()), Session(1), FetchSessionHandler(1)
    for wanted, how in history:
        mine = OrderedDict((place, asks._partition(place, at)) for place, at in wanted.items())
        fresh = OrderedDict(
            (
                place,
                _FetchPartition(
                    partition=place.partition,
                    fetch_offset=at[0],
                    current_leader_epoch=at[1],
                    last_fetched_epoch=at[2],
                    partition_max_bytes=1 << 20,
                ),
            )
            for place, at in wanted.items()
        )
        full = theirs.next_metadata.is_full
        assert told(ours.build_next(mine)) == told(theirs.build_next(fresh))
        for session in (ours, theirs):
            answer(session, how, full)
