"""The log on Apache Kafka. Everything of kafka-python stays in here; outside there is `open_kafka`.

options.py    settings for the three kinds of client, and how foreign errors become ours
producer.py   submit: records out, answers back to the loop in batches
life.py       one kafka-python producer, and records into its batches
wire.py       records to bytes and back
instance.py   a name among the members of a group that outlives the process
client.py     the network client of all of them
asks.py       what a fetch asks for
feed.py       records from an I/O thread to the loop, bounded
pump.py       fetches, on the I/O thread of a consumer
poller.py     the thread that polls a consumer, for its group's sake
reader.py     a member of a group: leases, commits, pause; assignor.py says who gets what
leases.py     where they begin; membership.py whether the group still counts it
watchdog.py   a reader or tail that is replaced when it is stuck; watch.py decides that
tail.py       partitions without a group
topics.py     make, describe, trim, measure
log.py        all of it as one `Log`
"""

from bufferproxy.log.kafka.log import KafkaLog, open_kafka
from bufferproxy.log.kafka.options import KafkaOptions

__all__ = ["KafkaLog", "KafkaOptions", "open_kafka"]
