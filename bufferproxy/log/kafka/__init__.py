"""The log on Apache Kafka. Nothing of a client library is seen outside; what is, is `open_kafka`.

How a record gets in:   log.py submit -> outbox.py -> SendClient -> Kafka, and back: landed -> done(Position)
How it comes out:       FetchClient -> fetcher.py (a thread) -> feed.py -> reader.py or tail.py fetch
Who may read it:        GroupClient -> membership.py -> reader.py: leases begin and end
How far it is settled:  reader.py commit -> commits.py -> membership.py -> GroupClient

engine.py      what is needed of a client library; kafka_python/ and librdkafka/ give it, choice.py chooses
poller.py      the thread of one client, and its replacement
offsets.py     ends, starts and commits, asked of each broker by itself; measure.py makes lags of them
lookup.py      what lies at a position
topics.py      administration; terms.py says what a topic must promise
troubles.py    what is wrong at the moment
instance.py    a name among the members of the group that outlives the process
options.py     settings and deadlines that both engines share
log.py         all of it as one `Log`
"""

from bufferproxy.log.kafka.log import KafkaLog, open_kafka
from bufferproxy.log.kafka.options import KafkaOptions

__all__ = ["KafkaLog", "KafkaOptions", "open_kafka"]
