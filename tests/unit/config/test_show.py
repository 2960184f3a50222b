from __future__ import annotations

from collections.abc import Callable

from bufferproxy.config.describe import keys_at
from bufferproxy.config.load import Loaded
from bufferproxy.config.not_yet import NOT_YET, not_yet
from bufferproxy.config.show import rows

Load = Callable[..., Loaded]


def test_every_setting_is_shown_with_its_unit_and_its_origin(loaded: Load) -> None:
    found = loaded("services:\n  a:\n    to: http://a\n    rate: 3000/min\n", BUFFERPROXY__GRACE="90s")
    shown = {key: (value, origin) for key, value, origin in rows(found)}
    assert shown["services.a.rate"] == ("50/s", "f.yaml:4")
    assert shown["grace"] == ("90s", "env BUFFERPROXY__GRACE")
    assert shown["services.a.retry.on"] == (["5xx", "408", "425", "timeout"], "default")
    assert shown["services.a.key"] == (None, "default")


def test_secrets_among_the_options_are_not_shown(loaded: Load) -> None:
    found = loaded(
        """
        kafka: {security: {sasl_plain_username: u, sasl_plain_password: hunter2, ssl_keyfile: /k}}
        services: {a: {to: http://a}}
        """
    )
    shown = {row.key: row.value for row in rows(found)}
    assert shown["kafka.security.sasl_plain_password"] == "***"
    assert shown["kafka.security.sasl_plain_username"] == "u"
    assert shown["kafka.security.ssl_keyfile"] == "/k"
    assert "hunter2" not in str(rows(found))


def test_what_is_not_done_yet_is_told_to_who_set_it(loaded: Load) -> None:
    found = loaded(
        """
        callers: {file: c}
        services:
          a:
            to: http://a
            results: {total: 5GiB}
        """
    )
    assert [line.partition(": ")[0] for line in not_yet(found)] == [
        "callers",
        "services.a.results.total",
    ]
    assert "services.a.results.total: accepted, not yet enforced in this version" in not_yet(found)


def test_what_holds_anyway_needs_no_word(loaded: Load) -> None:
    text = "callers: null\nservices: {a: {to: http://a, delivery: at_least_once, key_rate: null}}"
    assert not_yet(loaded(text)) == []


def test_the_table_names_settings_that_exist() -> None:
    for pattern in NOT_YET:
        *above, key = pattern.partition("=")[0].replace("*", "x").split(".")
        assert key in keys_at(tuple(above)), pattern
