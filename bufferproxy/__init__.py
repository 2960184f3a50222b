"""bufferproxy: a load-buffering queue proxy.

    caller ──HTTP──▶ accept ──▶ log ──▶ drain ──▶ deliver ──HTTP──▶ service
              202 ◀─┘ (durable)          │ rate, order     └─▶ settle ──▶ results ──▶ status, reply

It stands in front of a service, keeps every request in a durable log, and hands them on at a configured
rate that is never exceeded. Read it in the order of the story:

    records.py, envelope.py   the nouns, and how they are stored
    accept/                   STEP 1  answer 202 only when it is durable
    log/                      STEP 2  keep it: one contract; memory, SQLite, Kafka
    drain/                    STEP 3  take it out at the configured pace
    deliver/                  STEP 4  hand it to the service
    settle/                   STEP 5  decide its fate, exactly once
    results/                  the reply comes back
    wiring.py                 the only place that assembles

Around it: http1/ (the wire, both ways), policy/ (pure rules), config/, observe/, admin/, cli/, and testing/,
the kit that tests use. Promises: durable before 202 · one end for every id · a rate ceiling that is never
exceeded · order where asked for · bounded · isolated · byte for byte · progress or alarm · duplicates only
after a fault. `docs/decisions/` says why things are as they are.
"""

__version__ = "0.1.0"
