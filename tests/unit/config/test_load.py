from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer

from bufferproxy.config.addresses import Address, KafkaLog, SqliteLog
from bufferproxy.config.checks import contradictions, kafka_only
from bufferproxy.config.load import load
from bufferproxy.config.phrases import KeySource, Reply, SafeMethods
from bufferproxy.config.places import is_text_option
from bufferproxy.config.service import AdaptiveConcurrency
from bufferproxy.config.settings import Settings
from bufferproxy.config.show import rows
from bufferproxy.errors import ConfigurationError
from bufferproxy.ids import service_number

EXAMPLE = Path(__file__).parents[3] / "examples" / "full.yaml"
ONE = "services: {auth: {to: http://auth, rate: 10/s}}\n"


def test_the_example_with_every_setting_loads_and_means_what_it_says() -> None:
    settings = load(str(EXAMPLE), environ={}).settings
    auth = settings.services["auth"]
    assert settings.log == KafkaLog((Address("kafka-1", 9092), Address("kafka-2", 9092)))
    assert settings.storage.reserve == 256 << 20
    assert settings.worker.id == "worker-0"
    assert settings.kafka.options == {"session_timeout_ms": 15000}
    assert auth.retry.first == 1.0
    assert auth.retry.on == ("5xx", "408", "425", "timeout")
    assert auth.retry.budget == 0.2
    assert auth.key == KeySource("header", "X-User-Id")
    assert auth.safe_methods == SafeMethods("wait", 30.0)
    assert auth.backlog.bytes == 10 << 30
    assert auth.match is not None
    assert auth.match.strip


def test_the_example_names_every_setting_there_is() -> None:
    loaded = load(str(EXAMPLE), environ={})
    unnamed = {key for key in _keys(loaded.settings.model_dump(mode="json")) if key not in loaded.origins}
    assert unnamed == {"services.auth.match.host", "admin.tls.client_ca_file"}


def _keys(dump: dict[str, object], prefix: str = "") -> list[str]:
    found = []
    for key, value in dump.items():
        found += _keys(value, f"{prefix}{key}.") if isinstance(value, dict) else [prefix + key]
    return found


def test_a_service_needs_nothing_but_where_it_is(loaded) -> None:  # type: ignore[no-untyped-def]
    settings = loaded("services: {auth: {to: http://auth}}").settings
    auth = settings.services["auth"]
    assert settings.listen == Address("127.0.0.1", 8080)
    assert settings.admin.listen == Address("127.0.0.1", 8081)
    assert settings.trusted_proxies == ("loopback",)
    assert settings.log == SqliteLog("./bufferproxy-data/log.db")
    assert settings.storage.index == "./bufferproxy-data/index.db"
    assert (auth.to, auth.rate, auth.burst, auth.concurrency) == (("http://auth",), 50.0, 1, 20)
    assert (auth.reply, auth.order, auth.key) == (Reply("async"), "none", None)
    assert (auth.expire, auth.body, auth.dead.keep) == (3600.0, 1 << 20, 14 * 86400.0)


def test_the_example_says_the_defaults_where_there_are_any(loaded) -> None:  # type: ignore[no-untyped-def]
    said = load(str(EXAMPLE), environ={}).settings.services["auth"]
    bare = loaded("services: {auth: {to: http://auth}}").settings.services["auth"]
    own = {"match", "to", "tls", "key", "key_rate", "priority", "breaker"}
    assert said.model_dump(exclude=own) == bare.model_dump(exclude=own)


def test_every_form_of_a_value_is_understood(loaded) -> None:  # type: ignore[no-untyped-def]
    settings = loaded(
        """
        log: sqlite:///srv/log.db
        listen: "[::1]:0"
        trusted_proxies: [private, 10.2.0.0/16, 192.0.2.7, '2001:DB8::/32', private]
        services:
          a:
            to: [http://a:1/base, https://b]
            rate: unlimited
            concurrency: {adaptive: {max: 50}}
            reply: wait 500ms
            safe_methods: refuse
            key: client
            retry: {on: [503, TIMEOUT, 503]}
            delivered: [2XX, 304, 2xx, 500]
            match: {host: Auth.Example.}
        """
    ).settings
    a = settings.services["a"]
    assert settings.log == SqliteLog("/srv/log.db")
    assert (settings.listen, str(settings.listen)) == (Address("::1", 0), "[::1]:0")
    assert settings.listen.loopback
    assert settings.trusted_proxies == ("private", "10.2.0.0/16", "192.0.2.7", "2001:db8::/32")
    assert a.to == ("http://a:1/base", "https://b")
    assert a.rate == math.inf
    assert isinstance(a.concurrency, AdaptiveConcurrency)
    assert (a.concurrency.adaptive.min, a.concurrency.adaptive.max) == (2, 50)
    assert (a.reply, a.safe_methods) == (Reply("wait", 0.5), SafeMethods("refuse"))
    assert a.key == KeySource("client")
    assert a.retry.on == ("503", "timeout")
    assert a.delivered == ("2xx", "304", "500")
    assert a.match is not None
    assert a.match.host == "auth.example"


def test_a_flag_wins_over_a_variable_and_that_over_the_file_and_that_over_the_default(loaded) -> None:  # type: ignore[no-untyped-def]
    variable = {"BUFFERPROXY__SERVICES__AUTH__RATE": "20/s", "BUFFERPROXY__GRACE": "5s"}
    text = ONE + "grace: 4s\nmax_wait: 3s\n"
    result = loaded(text, flags={"--rate": "30/s", "--admin": "127.0.0.1:1"}, **variable)
    auth = result.settings.services["auth"]
    assert (auth.rate, result.settings.grace, result.settings.max_wait, auth.burst) == (30.0, 5.0, 3.0, 1)
    assert result.settings.admin.listen.port == 1
    keys = ("services.auth.rate", "admin.listen", "grace", "max_wait", "services.auth.burst")
    assert [str(result.origin(key)) for key in keys] == [
        "flag --rate",
        "flag --admin",
        "env BUFFERPROXY__GRACE",
        "f.yaml:3",
        "default",
    ]


def test_variables_reach_every_depth_and_lists_and_maps(loaded) -> None:  # type: ignore[no-untyped-def]
    settings = loaded(
        ONE,
        BUFFERPROXY__SERVICES__AUTH__RETRY="{attempts: 3, first: 1s}",
        BUFFERPROXY__SERVICES__AUTH__RETRY__FIRST="2s",
        BUFFERPROXY__SERVICES__AUTH__TO="[http://a, http://b]",
        BUFFERPROXY__SERVICES__AUTH__MATCH__PATH="/auth",
        BUFFERPROXY__SERVICES__MY_AUTH__TO="http://my",
        BUFFERPROXY__KAFKA__OPTIONS__LINGER_MS="5",
        BUFFERPROXY_ADMIN="http://elsewhere",
    ).settings
    auth = settings.services["auth"]
    assert (auth.retry.attempts, auth.retry.first, auth.rate) == (3, 2.0, 10.0)
    assert auth.to == ("http://a", "http://b")
    assert settings.services["my-auth"].to == ("http://my",)
    assert settings.kafka.options == {"linger_ms": 5}


SECRETS = [
    "{hunter2: x}", "{hunter2", "[hunter2]", "[hunter2", "{}", "true", "no", "null", "~", "0071", "1e5", "-1",
    "&a", "*a", "!x", "'quoted'", "a: b", "# c", "${X}", " spaced ", "%", "5s",
]  # fmt: skip


@pytest.mark.parametrize("secret", SECRETS)
def test_a_variable_that_is_text_stays_text_whatever_it_looks_like(loaded, secret: str) -> None:  # type: ignore[no-untyped-def]
    found = loaded(ONE, BUFFERPROXY__KAFKA__SECURITY__SASL_PLAIN_PASSWORD=secret)
    assert found.settings.kafka.security == {"sasl_plain_password": secret}
    shown = {row.key: row.value for row in rows(found) if row.key.startswith("kafka.security")}
    assert shown == {"kafka.security.sasl_plain_password": "***"}


@pytest.mark.parametrize("secret", SECRETS)
def test_a_reference_is_replaced_by_text_and_never_by_yaml(loaded, secret: str) -> None:  # type: ignore[no-untyped-def]
    text = ONE + "kafka:\n  security:\n    sasl_plain_password: ${PW}\n    ssl_password: 'x${PW}'\n"
    found = loaded(text, PW=secret)
    security = found.settings.kafka.security
    assert security == {"sasl_plain_password": secret, "ssl_password": f"x{secret}"}
    assert "hunter2" not in str(rows(found))


def test_an_unquoted_secret_in_a_file_keeps_its_zeros(loaded) -> None:  # type: ignore[no-untyped-def]
    found = loaded(ONE + "kafka: {security: {sasl_plain_password: 0071, ssl_check_hostname: true}}\n")
    assert found.settings.kafka.security == {"sasl_plain_password": "0071", "ssl_check_hostname": True}


def test_a_bracket_is_a_list_only_where_the_key_takes_one(loaded) -> None:  # type: ignore[no-untyped-def]
    settings = loaded(
        ONE,
        BUFFERPROXY__LISTEN="[::1]:9000",
        BUFFERPROXY__STORAGE__INDEX="[index].db",
        BUFFERPROXY__SERVICES__AUTH__MATCH__PATH="/",
        BUFFERPROXY__SERVICES__AUTH__MATCH__HOST="[::1]",
        BUFFERPROXY__SERVICES__AUTH__RETRY__ON="[503]",
        BUFFERPROXY__SERVICES__AUTH__CONCURRENCY="{adaptive: {max: 50}}",
        BUFFERPROXY__KAFKA__OPTIONS="{linger_ms: 5, client_rack: 01}",
        BUFFERPROXY__SERVICES__B="{to: ['http://b'], match: {path: /b}}",
    ).settings
    auth = settings.services["auth"]
    assert (str(settings.listen), settings.storage.index) == ("[::1]:9000", "[index].db")
    assert auth.match is not None
    assert (auth.match.host, auth.retry.on) == ("::1", ("503",))
    assert isinstance(auth.concurrency, AdaptiveConcurrency)
    assert settings.kafka.options == {"linger_ms": 5, "client_rack": "01"}
    assert settings.services["b"].to == ("http://b",)


def test_no_error_quotes_a_secret(errors) -> None:  # type: ignore[no-untyped-def]
    found = errors(
        ONE + "log: kafka://me:hunter2@broker:9092\n"
        "kafka: {security: {sasl_plain_password: {hunter2: x}}, options: {ssl_password: '${hunter2 x'}}\n",
        BUFFERPROXY__KAFKA__SECURITY__SASL_OAUTH_TOKEN="{hunter2",
        BUFFERPROXY__KAFKA__SECURITY__SSL_PASSWORD__X="hunter2",
    )
    assert [line.partition(": ")[2] for line in found] == [
        "log: kafka:// cannot carry a user name or password: set kafka.security",
        "kafka.security: sasl_plain_password must be text: put it in quotes",
        "kafka.options.ssl_password: what follows ${ is not a reference: write ${VAR} or ${VAR:-default}",
    ]


def test_every_text_option_of_the_client_is_known_as_text() -> None:
    known: dict[str, object] = {}
    for client in (KafkaConsumer, KafkaProducer, KafkaAdminClient):
        known.update(client.DEFAULT_CONFIG)
    numbers = {"api_version", "receive_buffer_bytes", "send_buffer_bytes"}
    objects = {name for name in known if name.endswith("serializer")} | {"ssl_context"}
    text = {name for name, default in known.items() if default is None or isinstance(default, str)}
    text -= numbers | objects | {"bootstrap_servers"}
    assert text <= {name for name in known if is_text_option(name)}
    other = {name for name, default in known.items() if isinstance(default, bool | int | float)}
    assert not {name for name in other if is_text_option(name)}


def test_errors_of_variables_and_flags_name_them(errors) -> None:  # type: ignore[no-untyped-def]
    found = errors(
        ONE + "grace: 5\n",
        flags={"--rate": "50", "--listen": "8080"},
        BUFFERPROXY__SERVICES__AUTH__BURST="0",
        BUFFERPROXY__SERVICES__AUTH__RATTE="1/s",
        BUFFERPROXY__SERVICES__AUTH__TO="[http://a",
        BUFFERPROXY__SERVICES__NEW__MATCH__PATH="/new",
    )
    assert found == [
        'f.yaml:2:8: grace: "5" has no unit: write 5s',
        '--listen: listen: "8080" is a port only: write 127.0.0.1:8080',
        "--rate: services: which of auth, new is meant? With several services, set it in the file",
        "BUFFERPROXY__SERVICES__AUTH__BURST: services.auth.burst: must be at least 1, not 0",
        "BUFFERPROXY__SERVICES__AUTH__RATTE: services.auth.ratte: unknown key: did you mean rate?",
        (
            "BUFFERPROXY__SERVICES__AUTH__TO: services.auth.to: is not valid YAML: "
            "expected ',' or ']', but got '<stream end>'"
        ),
        "BUFFERPROXY__SERVICES__NEW__MATCH__PATH: services.new.to: is missing: write to: http://HOST:PORT",
    ]


def test_flags_alone_make_one_service_named_default() -> None:
    loaded = load(None, flags={"--to": "http://a:8000", "--rate": "5/s"}, environ={})
    assert list(loaded.settings.services) == ["default"]
    assert (loaded.settings.services["default"].rate, loaded.path) == (5.0, None)


def test_flags_mean_the_one_service_of_a_file(loaded) -> None:  # type: ignore[no-untyped-def]
    services = loaded(ONE, flags={"--to": "http://other"}).settings.services
    assert (list(services), services["auth"].to) == (["auth"], ("http://other",))


def test_nothing_at_all_says_what_to_give() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(None, environ={})
    assert str(caught.value) == (
        "bufferproxy: services: is missing: name at least one service, or give --to URL"
    )


def test_references_are_replaced_before_a_value_is_judged(loaded) -> None:  # type: ignore[no-untyped-def]
    settings = loaded(
        """
        worker: {id: "${UNSET:-w-0}"}
        storage: {index: "$${literal}/$x/${DIR}"}
        kafka:
          options:
            linger_ms: ${LINGER}
            client_rack: "${LINGER}"
        services:
          auth: {to: "http://${HOST}:80", burst: "${BURST}", rate: "${EMPTY:-7/s}"}
        """,
        HOST="auth",
        BURST="3",
        EMPTY="",
        DIR="d",
        LINGER="5",
    ).settings
    auth = settings.services["auth"]
    assert (auth.to, auth.burst, auth.rate) == (("http://auth:80",), 3, 7.0)
    assert (settings.worker.id, settings.storage.index) == ("w-0", "${literal}/$x/d")
    assert settings.kafka.options == {"linger_ms": 5, "client_rack": "5"}


def test_anchors_and_merge_keys_share_what_services_have_in_common(loaded) -> None:  # type: ignore[no-untyped-def]
    services = loaded(
        """
        services:
          a: &common {to: http://a, rate: 5/s, burst: 2, match: {path: /a}}
          b: {<<: *common, burst: 3, match: {path: /b}}
        """
    ).settings.services
    assert (services["b"].rate, services["b"].burst) == (5.0, 3)


def test_plain_words_and_numbers_stay_what_was_written(loaded) -> None:  # type: ignore[no-untyped-def]
    settings = loaded("worker: {id: 007}\nkafka: {prefix: on}\nservices: {no: {to: http://a}}").settings
    assert (settings.worker.id, settings.kafka.prefix, list(settings.services)) == ("007", "on", ["no"])


def test_the_settings_cannot_be_changed_and_survive_being_written_out(loaded) -> None:  # type: ignore[no-untyped-def]
    settings = load(str(EXAMPLE), environ={}).settings
    with pytest.raises(ValueError, match="frozen"):
        settings.grace = 1.0
    assert Settings.model_validate(settings.model_dump(mode="json")) == settings


def test_two_names_with_one_number_cannot_stand_side_by_side() -> None:
    seen: dict[int, str] = {}
    for n in range(1_000_000):
        other = seen.setdefault(service_number(f"s{n}"), f"s{n}")
        if other != f"s{n}":
            break
    pair = {name: {"to": "http://a", "match": {"path": f"/{name}"}} for name in (other, f"s{n}")}
    (problem,) = contradictions(Settings.model_validate({"services": pair}))
    assert problem.path == ("services", f"s{n}")
    assert other in problem.message


def test_proxy_and_worker_need_a_log_that_processes_share() -> None:
    Path("f.yaml").write_text("log: sqlite:x\n" + ONE)
    with pytest.raises(ConfigurationError) as caught:
        load("f.yaml", environ={}, checks=(lambda settings: kafka_only(settings, "proxy"),))
    assert str(caught.value) == "f.yaml:1:6: log: proxy needs kafka://…: use run with sqlite:x"


@given(st.text(max_size=200))
def test_any_text_loads_or_is_refused_with_places(text: str) -> None:
    Path("f.yaml").write_text(text, encoding="utf-8", errors="replace", newline="")
    with pytest.raises(ConfigurationError) as caught:
        load("f.yaml", environ={})
    assert all(line.startswith("f.yaml:") for line in caught.value.problems)
