"""Bad files and exactly what is said about them. `f.yaml:` is left out of the expected lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from bufferproxy.config.load import load
from bufferproxy.errors import ConfigurationError

OK = "services: {a: {to: http://a}}\n"

TOO_LARGE = "and its headers are more than a record can hold: write at most 63MiB"

CASES = {
    "a value is pointed at": (
        "services:\n  auth:\n    to: http://auth\n    rate: 50\n",
        ['4:11: services.auth.rate: "50" has no unit: write 50/s'],
    ),
    "an unknown key is pointed at itself, with a suggestion": (
        "services:\n  auth:\n    to: http://auth\n    rat: 50/s\n",
        ["4:5: services.auth.rat: unknown key: did you mean rate?"],
    ),
    "a key in the wrong place is told where it belongs": (
        OK + "attempts: 3\n",
        ["2:1: attempts: unknown key: it belongs under services.NAME.retry"],
    ),
    "an adaptive concurrency beside the concurrency is sent under it": (
        "services: {a: {to: http://a, adaptive: {min: 1}}}\n",
        ["1:30: services.a.adaptive: unknown key: it belongs under services.NAME.concurrency"],
    ),
    "a key like no other gets the list": (
        OK + "worker: {zzz: 1}\n",
        ["2:10: worker.zzz: unknown key: here there are id"],
    ),
    "a missing key is pointed at its parent": (
        "services:\n  auth:\n    rate: 50/s\n",
        ["2:3: services.auth.to: is missing: write to: http://HOST:PORT"],
    ),
    "a body that the backlog would always refuse": (
        "services: {a: {to: http://a, body: 2MiB, backlog: {bytes: 1MiB}}}\n",
        ["1:36: services.a.body: 2MiB is more than backlog.bytes (1MiB), which refuses it"],
    ),
    "bodies that no SQLite log can hold": (
        "services: {a: {to: http://a, body: 1GiB, results: {body: 600MiB}}}\n",
        [
            f"1:36: services.a.body: 1GiB {TOO_LARGE}",
            f"1:58: services.a.results.body: 600MiB {TOO_LARGE}",
        ],
    ),
    "no services at all": (
        "grace: 30s\n",
        ["1:1: services: is missing: name at least one service, or give --to URL"],
    ),
    "empty file": ("", ["1:1: services: is missing: name at least one service, or give --to URL"]),
    "services without a service": (
        "services: {}\n",
        ["1:11: services: is empty: name at least one service, or give --to URL"],
    ),
    "a breaker that any attempt would open": (
        "services:\n  a:\n    to: http://a\n    breaker: {failures: 0%}\n",
        ["4:25: services.a.breaker.failures: must be more than 0"],
    ),
    "a section without a value": (
        OK + "admin:\n",
        ["2:7: admin: has no value: give it keys, or leave it out"],
    ),
    "a value where a map belongs": (
        OK + "admin: 8081\n",
        ["2:8: admin: must be a map of keys to values, not a single value"],
    ),
    "a list where a map belongs": (
        "services: [a]\n",
        ["1:11: services: must be a map of keys to values, not a list"],
    ),
    "a map where text belongs": (
        "services: {a: {to: {url: x}}}\n",
        ["1:20: services.a.to: must be a URL like http://auth.internal:8000, not a map"],
    ),
    "a file that is a list": ("- a\n", ["1:1: settings: must be a map of keys to values"]),
    "no YAML": (
        "services:\n  a: b: c\n",
        ["2:7: yaml: mapping values are not allowed here"],
    ),
    "a tab": (
        "services:\n\ta: b\n",
        ["2:1: yaml: found character '\\t' that cannot start any token"],
    ),
    "two documents": (OK + "---\n" + OK, ["2:1: yaml: but found another document"]),
    "a control character": ("a: \x01\n", ["1:4: yaml: the character #x0001 is not allowed"]),
    "a repeated key": (
        "services:\n  a:\n    to: http://a\n    rate: 1/s\n    rate: 2/s\n",
        ["5:5: services.a.rate: is given twice: first in line 4"],
    ),
    "a tag": (OK + "grace: !seconds 5s\n", ["2:8: grace: the tag !seconds is not known here: leave it out"]),
    "a value within itself": ("services: &s {a: *s}\n", ["1:11: services.a: contains itself"]),
    "a variable that is not set": (
        "services: {a: {to: '${NO_SUCH}'}}\n",
        ["1:20: services.a.to: ${NO_SUCH} is not set: set it, or write ${NO_SUCH:-default}"],
    ),
    "a malformed reference": (
        "services: {a: {to: 'http://${A-B}'}}\n",
        ["1:20: services.a.to: ${A-B} is not a reference: write ${VAR} or ${VAR:-default}"],
    ),
    "a bad name": (
        "services: {My_Auth: {to: http://a}}\n",
        [
            (
                '1:12: services.My_Auth: "My_Auth" cannot name a service: use a-z, 0-9 and - '
                "(not at the ends), at most 100 characters"
            )
        ],
    ),
    "a word that is none of those": (
        "services: {a: {to: http://a, order: keys}}\n",
        ['1:37: services.a.order: must be none, key or strict, not "keys": write key'],
    ),
    "proxies that are none": (
        OK + "trusted_proxies: [10.2.0.1/16, private, proxy.internal, 10.0.0.0/33, '2001:db8::1/32']\n",
        ['2:18: trusted_proxies: "10.2.0.1/16" has bits set behind its prefix: write 10.2.0.0/16'],
    ),
    "a proxy by its name": (
        OK + "trusted_proxies: [proxy.internal]\n",
        [
            (
                '2:18: trusted_proxies: "proxy.internal" is not a network: '
                "write one like 10.2.0.0/16, an address, loopback or private"
            )
        ],
    ),
    "a proxy that is no list": (
        OK + "trusted_proxies: 10.0.0.0/8\n",
        ["2:18: trusted_proxies: must be a list, like [loopback, 10.2.0.0/16]"],
    ),
    "a status that ends and is tried again": (
        "services: {a: {to: http://a, delivered: [2xx, 4xx, 503]}}\n",
        [
            (
                "1:41: services.a.delivered: 4xx, 503 would end what retry.on (5xx, 408, 425) tries again: "
                "take it out of one of them"
            )
        ],
    ),
    "a status tried again that ends": (
        "services: {a: {to: http://a, retry: {on: [3xx]}, delivered: []}}\n",
        [
            (
                '1:42: services.a.retry.on: "3xx" cannot be tried again: '
                "write 5xx, a status from 400 to 599 or timeout"
            ),
            "1:61: services.a.delivered: is an empty list: nothing could be delivered",
        ],
    ),
    "an answer that is none": (
        "services: {a: {to: http://a, delivered: [2xx, 1xx]}}\n",
        [('1:41: services.a.delivered: "1xx" is not an answer: write 2xx, 3xx or a status from 200 to 599')],
    ),
    "bodies that no record can hold": (
        "receive: {header_bytes: 1MiB}\nservices: {a: {to: http://a, body: 63MiB, results: {body: 64MiB}}}\n",
        [
            (
                "2:36: services.a.body: 63MiB and its headers are more than a record can hold: "
                "write at most 62MiB"
            ),
            (
                "2:59: services.a.results.body: 64MiB and its headers are more than a record can hold: "
                "write at most 63MiB"
            ),
        ],
    ),
    "priorities in what is one queue": (
        "services: {a: {to: http://a, order: strict, priority: {default: low}}}\n",
        [
            (
                "1:55: services.a.priority: has no place beside order: strict, which is one queue: "
                "take one of them out"
            )
        ],
    ),
    "YAML's other booleans": (
        "services: {a: {to: http://a, preserve_host: yes}}\n",
        ['1:45: services.a.preserve_host: must be true or false, not "yes"'],
    ),
    "numbers that are none, or too small": (
        "services: {a: {to: http://a, burst: 0, held: many, concurrency: {adaptive: {min: 1.5}}}}\n",
        [
            "1:37: services.a.burst: must be at least 1, not 0",
            '1:46: services.a.held: must be a whole number, not "many"',
            '1:82: services.a.concurrency.adaptive.min: must be a whole number, not "1.5"',
        ],
    ),
    "schemes of later versions": (
        "services: {a: {to: 'dns+srv://a'}, b: {to: 'registry:b', match: {path: /b}}}\n",
        [
            "1:20: services.a.to: dns+srv comes in a later version: write http:// or https:// for now",
            "1:44: services.b.to: registry comes in a later version: write http:// or https:// for now",
        ],
    ),
    "targets that are none": (
        (
            "services:\n  a: {to: [a.internal:80]}\n  b: {to: 'http://u:p@b', match: {path: /b}}\n"
            "  c: {to: [], match: {path: /c}}\n  d: {to: 'http://d:99999', match: {path: /d}}\n"
        ),
        [
            '2:11: services.a.to: "a.internal:80" is not a URL: write http://a.internal:80',
            (
                "3:11: services.b.to: a URL cannot carry a user name or password: callers' own headers reach "
                "the service"
            ),
            "4:11: services.c.to: is an empty list: give at least one URL",
            '5:11: services.d.to: "http://d:99999" is not a URL: Port out of range 0-65535',
        ],
    ),
    "phrases that are none": (
        (
            "services: {a: {to: http://a, reply: wait, safe_methods: hold 3s, key: cookie:x,"
            " retry: {on: 5xx}}}\n"
        ),
        [
            "1:37: services.a.reply: says not how long: write wait 5s",
            '1:57: services.a.safe_methods: must be async, refuse or wait 30s, not "hold 3s"',
            '1:71: services.a.key: must be header:NAME, path:N, query:NAME or client, not "cookie:x"',
            "1:93: services.a.retry.on: must be a list, like [5xx, 408, 425, timeout]",
        ],
    ),
    "addresses that are none": (
        OK + "listen: 8080\nadmin: {listen: ':8081'}\nadvertise: host\nlog: /var/log.db\n",
        [
            '2:9: listen: "8080" is a port only: write 127.0.0.1:8080',
            '3:17: admin.listen: ":8081" has no host: write 127.0.0.1:8081, or 0.0.0.0:8081 for all',
            '4:12: advertise: "host" has no port: write HOST:PORT, like 127.0.0.1:8080',
            '5:6: log: "/var/log.db" is not a log: write sqlite:PATH or kafka://HOST:9092',
        ],
    ),
    "an admin plane for everybody without a token": (
        OK + "admin:\n  listen: 0.0.0.0:8081\n",
        ["3:11: admin.listen: 0.0.0.0:8081 is not loopback: set admin.token_file, or listen on 127.0.0.1"],
    ),
    "a viewer's token alone": (
        OK + "admin: {viewer_token_file: v}\n",
        ["2:1: admin.token_file: is missing: with viewer_token_file alone nobody could change anything"],
    ),
    "both planes on one port": (
        OK + "listen: 127.0.0.1:8081\n",
        ["2:9: admin.listen: 127.0.0.1:8081 is the data plane's own: give the admin plane another port"],
    ),
    "half a TLS": (
        OK + "tls: {cert_file: c}\nadmin: {tls: {client_ca_file: ca}}\n",
        [
            "2:1: tls.key_file: is missing: cert_file needs it",
            "3:9: admin.tls.cert_file: is missing: client_ca_file needs TLS",
        ],
    ),
    "callbacks that nothing signs": (
        OK + "callbacks: {allow: [hooks.example]}\n",
        ["2:1: callbacks.secret_file: is missing: callbacks are signed with it"],
    ),
    "options that promises rest on": (
        OK + "kafka: {options: {acks: 0}}\n",
        ["2:25: kafka.options.acks: cannot be set: what is accepted has to be durable"],
    ),
    "two services that take everything": (
        "services:\n  a: {to: http://a}\n  b: {to: http://b, match: {path: /}}\n",
        ["3:28: services.b.match: a and b both take everything: give one of them another match"],
    ),
    "two services with one match": (
        (
            "services:\n  a: {to: http://a, match: {path: /x, host: H}}\n"
            "  b: {to: http://b, match: {path: /x/, host: h}}\n"
        ),
        ["3:28: services.b.match: a and b both match the same requests: give one of them another match"],
    ),
    "two services without a match": (
        "services:\n  a: {to: http://a}\n  b: {to: http://b}\n",
        ["3:3: services.b: a and b both take everything: give one of them another match"],
    ),
    "a match of nothing, of what is ours, and nothing to strip": (
        (
            "services:\n  a: {to: http://a, match: {}}\n  b: {to: http://b, match: {path: /_bufferproxy/x}}\n"
            "  c: {to: http://c, match: {host: c, strip: true}}\n"
        ),
        [
            (
                "2:28: services.a.match: matches nothing in particular: give path, host or both, "
                "or leave match out"
            ),
            "3:35: services.b.match.path: is the proxy's own: everything under /_bufferproxy is",
            "4:45: services.c.match.strip: there is nothing to strip without path",
        ],
    ),
    "bounds the wrong way round": (
        "services: {a: {to: http://a, retry: {max: 500ms}, concurrency: {adaptive: {min: 9, max: 8}}}}\n",
        [
            "1:43: services.a.retry.max: 500ms is shorter than retry.first (1s)",
            "1:89: services.a.concurrency.adaptive.max: 8 is less than min (9)",
        ],
    ),
    "a bound that conflicts with a default is told where it is written": (
        "services: {a: {to: http://a, retry: {first: 10m}}}\n",
        ["1:45: services.a.retry.max: 5m is shorter than retry.first (10m)"],
    ),
    "everything at once, contradictions beside what is missing and wrong": (
        (
            "services:\n  a:\n    rate: 5\n    match: {path: /x}\n    retry: {first: 2s, max: 1s}\n"
            "  b: {to: '${NO_SUCH}', match: {path: /x}}\nadmin: {listen: '0.0.0.0:1', token: x}\n"
        ),
        [
            "2:3: services.a.to: is missing: write to: http://HOST:PORT",
            '3:11: services.a.rate: "5" has no unit: write 5/s',
            "5:29: services.a.retry.max: 1s is shorter than retry.first (2s)",
            "6:11: services.b.to: ${NO_SUCH} is not set: set it, or write ${NO_SUCH:-default}",
            "6:32: services.b.match: a and b both match the same requests: give one of them another match",
            "7:17: admin.listen: 0.0.0.0:1 is not loopback: set admin.token_file, or listen on 127.0.0.1",
            "7:30: admin.token: unknown key: did you mean token_file?",
        ],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_bad_file_gets_every_error_with_its_place(case: str, errors) -> None:  # type: ignore[no-untyped-def]
    text, expected = CASES[case]
    assert errors(text) == [f"f.yaml:{line}" for line in expected]


def test_a_contradiction_with_a_value_that_is_wrong_is_none_yet(errors) -> None:  # type: ignore[no-untyped-def]
    found = errors("services: {a: {to: http://a, retry: {first: 10m, max: soon}}}\n")
    assert [line.partition(": ")[2].partition(":")[0] for line in found] == ["services.a.retry.max"]


def test_a_file_is_named_as_it_was_given(tmp_path: Path) -> None:
    file = tmp_path / "conf" / "b.yaml"
    file.parent.mkdir()
    file.write_text("grace: 1\n")
    with pytest.raises(ConfigurationError, match=r"^conf/\.\./conf/b\.yaml:1:8: grace: "):
        load("conf/../conf/b.yaml", environ={"BUFFERPROXY__SERVICES__A__TO": "http://a"})


@pytest.mark.parametrize("name", ["missing.yaml", "."])
def test_a_file_that_cannot_be_read_is_one_clear_line(name: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(name, environ={})
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith(f"{name}: cannot be read: ")
    assert caught.value.exit_code == 3


def test_bytes_that_are_no_utf_8_have_a_place() -> None:
    Path("f.yaml").write_bytes("a: é\nb: ".encode() + b"\xff\n")
    with pytest.raises(ConfigurationError, match=r"^f\.yaml:2:4: yaml: is not UTF-8$"):
        load("f.yaml", environ={})


def test_columns_count_characters_and_a_byte_order_mark_is_none() -> None:
    Path("f.yaml").write_text("\ufeffgrace: 1\nservices: {a: {key: 'é', to: 1}}\n")
    with pytest.raises(ConfigurationError) as caught:
        load("f.yaml", environ={})
    assert [line.partition(": ")[0] for line in caught.value.problems] == [
        "f.yaml:1:8",
        "f.yaml:2:21",
        "f.yaml:2:30",
    ]


def test_depth_and_aliases_cannot_exhaust_the_loader(errors) -> None:  # type: ignore[no-untyped-def]
    assert errors("a: " + "[" * 1500) == ["f.yaml:1:1: yaml: nested too deeply"]
    bomb = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9))
    (line,) = errors("a0: &a0 [x]\n" + bomb)
    assert line.endswith("the file has more values than any configuration needs")
