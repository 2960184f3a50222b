"""The settings tree: frozen models. Float seconds, int bytes, float rates per second.

Made by `load.load`, which checks what a single field cannot know (`checks.py`).
"""

import socket
from typing import Annotated, Literal

from pydantic import Field

from bufferproxy.config.addresses import Address, Listen, LogPlace, SqliteLog
from bufferproxy.config.block import Block, block, fixed, live, needed
from bufferproxy.config.disk import MOST_RESERVED
from bufferproxy.config.forms import (
    Count,
    Duration,
    Extent,
    FilePath,
    Rate,
    Size,
    Span,
    Switch,
    Text,
    whole,
)
from bufferproxy.config.places import HostList, Options, OwnPath, ProxyList, ServiceName, TopicPrefix
from bufferproxy.config.service import Service


class Kafka(Block):
    """Topics and the way to the brokers; unused with an SQLite log."""

    prefix: TopicPrefix = fixed("bufferproxy", "First part of the name of every topic and group.")
    replication: Annotated[int, whole(1, 32_767)] = fixed(
        3, "Copies of each record, for topics made by us. min.insync.replicas follows from it."
    )
    partitions: Annotated[int, whole(1, 65_535)] = fixed(
        12,
        "Partitions of each service's requests: the most workers that can share it. Fixed once topics exist: "
        "a start where they have another number refuses.",
    )
    create_topics: Switch = fixed(
        default=True, why="Make missing topics at start. false: exit 1, naming `topics create`."
    )
    client: Literal["auto", "librdkafka", "kafka-python"] = fixed(
        "auto",
        "Library that drives Kafka. auto: librdkafka where installed (it costs a tenth), else kafka-python.",
    )
    security: Options = fixed({}, "TLS and SASL, by the names of kafka-python (security_protocol, …).")
    options: Options = fixed({}, "Further options of the clients, by the names of kafka-python.")


class Storage(Block):
    """Local disk."""

    reserve: Size = Field(
        default_factory=lambda: MOST_RESERVED,  # `load` knows the disk
        description="Free bytes below which nothing more is accepted; settling may use them."
        " Default: the smaller of 256MiB and 5 % of the disk.",
    )
    index: FilePath = fixed(
        "./bufferproxy-data/index.db", "Local index of results with a Kafka log. It can be rebuilt."
    )


class Tls(Block):
    """TLS of a listener."""

    cert_file: FilePath | None = fixed(None, "PEM file of the certificate and its chain. Set: TLS is on.")
    key_file: FilePath | None = fixed(None, "PEM file of the key of `cert_file`.")
    client_ca_file: FilePath | None = fixed(
        None, "PEM file of authorities; clients need a certificate of theirs."
    )


class Worker(Block):
    """This replica, among those of one Kafka log."""

    id: Text = Field(
        default_factory=socket.gethostname,
        description="Name of this replica, its own and the same after a restart. Default: the host name.",
    )


class Callers(Block):
    """Who may send. Unset: everybody."""

    file: FilePath = needed("YAML file of API keys and their rates.")
    rate: Rate = live(100.0, "Ceiling for each caller that the file gives none; beyond it 429.")


class Idempotency(Block):
    """Memory of Idempotency-Key."""

    keep: Span = fixed(86_400.0, "How long a key is remembered.")
    entries: Count = fixed(1_000_000, "Most keys remembered.")


class Admin(Block):
    """The admin plane: health, metrics, REST, dashboard."""

    listen: Listen = fixed(Address("127.0.0.1", 8081), "HOST:PORT. Off loopback it needs `token_file`.")
    token_file: FilePath | None = fixed(None, "File with the operator's token: may read and change.")
    viewer_token_file: FilePath | None = fixed(None, "File with the viewer's token: may read.")
    tls: Tls = block(Tls, "TLS of the admin plane.")


class Receive(Block):
    """Limits while a request comes in."""

    headers: Span = fixed(10.0, "Longest time for the request line and the headers; then 408.")
    body: Span = fixed(30.0, "Longest time for the body; then 408.")
    idle: Span = fixed(75.0, "How long a connection may be idle between requests.")
    header_bytes: Extent = fixed(64 << 10, "Most bytes of request line and headers; beyond it 431.")
    header_count: Count = fixed(200, "Most header lines; beyond it 431.")
    target_bytes: Extent = fixed(16 << 10, "Longest request target; beyond it 414.")


class Callbacks(Block):
    """Outcomes POSTed to URLs that callers name."""

    allow: HostList = fixed((), "Hosts that may be called. Empty: none.")
    secret_file: FilePath | None = fixed(None, "File with the secret that signs (Standard Webhooks).")
    allow_private: Switch = fixed(default=False, why="Also call private, loopback and link-local addresses.")


class Settings(Block):
    """Everything. Sizes, times and rates carry units in the file."""

    log: LogPlace = fixed(
        SqliteLog("./bufferproxy-data/log.db"), "The durable log: sqlite:PATH or kafka://HOST:PORT,…"
    )
    kafka: Kafka = block(Kafka, "Topics and the way to the brokers.")
    storage: Storage = block(Storage, "Local disk.")
    memory: Extent = fixed(
        256 << 20, "For requests that are read ahead of their delivery, all services together."
    )
    tls: Tls = block(Tls, "TLS of the data plane.")
    advertise: Listen | None = fixed(None, "HOST:PORT where other replicas reach this one's admin plane.")
    worker: Worker = block(Worker, "This replica.")
    path_prefix: OwnPath = fixed("/_bufferproxy", "Paths under it are the proxy's own.")
    callers: Callers | None = fixed(None, "Who may send. Unset: everybody.")
    idempotency: Idempotency = block(Idempotency, "Memory of Idempotency-Key.")
    listen: Listen = fixed(Address("127.0.0.1", 8080), "HOST:PORT of the data plane.")
    admin: Admin = block(Admin, "The admin plane.")
    receive: Receive = block(Receive, "Limits while a request comes in.")
    callbacks: Callbacks = block(Callbacks, "Outcomes POSTed to URLs that callers name.")
    trusted_proxies: ProxyList = fixed(
        ("loopback",),
        "Whose X-Forwarded-* are believed: networks, addresses, `loopback`, `private` (all private ranges).",
    )
    max_wait: Duration = live(60.0, "Cap on how long a caller may ask to be held.")
    grace: Duration = live(30.0, "How long a stop waits for what is in flight.")
    services: dict[ServiceName, Service] = Field(
        min_length=1, description="The services behind the proxy, by name."
    )
