from __future__ import annotations

import pytest

from bufferproxy.config.redact import redact


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("services.auth.rate", 50.0, 50.0),
        ("services.auth.key", "header:X-User-Id", "header:X-User-Id"),
        ("admin.token_file", "/run/secrets/admin", "/run/secrets/admin"),
        ("callbacks.secret_file", "/run/secrets/hooks", "/run/secrets/hooks"),
        ("admin.token_file", None, None),
        ("kafka.security.sasl_plain_password", "hunter2", "***"),
        ("kafka.security.ssl_password", "hunter2", "***"),
        ("kafka.options.api_key", "hunter2", "***"),
        ("kafka.security.ssl_keyfile", "/run/tls.key", "/run/tls.key"),
        ("services.auth.to", "http://me:hunter2@auth/x", "http://***@auth/x"),
        ("services.auth.to", ["http://me@a", "http://b/p@th"], ["http://***@a", "http://b/p@th"]),
        ("kafka.security.sasl_plain_password", {"hunter2": None}, "***"),
        ("kafka.security.sasl_plain_password.hunter2", "x", "***"),
        ("kafka.security.sasl_plain_password", None, None),
        ("kafka.options.sasl.jaas.config", "hunter2", "***"),
        ("kafka.options.of", [{"secret": {"hunter2": 1}}], [{"secret": "***"}]),
        ("kafka.options.proxy_url", "http://me:hunt@er2@proxy:1", "http://***@proxy:1"),
        ("services.token-secret.rate", 50.0, 50.0),
        ("services.password.key", "header:X", "header:X"),
        ("kafka.security", {"sasl_plain_username": "me", "sasl_plain_password": "hunter2"}, None),
    ],
)
def test_secrets_are_hidden_and_everything_else_is_shown(key: str, value: object, shown: object) -> None:
    if shown is None and isinstance(value, dict):
        shown = {"sasl_plain_username": "me", "sasl_plain_password": "***"}
    assert redact(tuple(key.split(".")), value) == shown


def test_an_object_is_shown_as_its_text_without_userinfo() -> None:
    class Url:
        def __str__(self) -> str:
            return "kafka://me:hunter2@broker:9092"

    assert redact(("log",), Url()) == "kafka://***@broker:9092"
