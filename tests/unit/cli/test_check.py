from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

GOOD = "services:\n  auth:\n    to: http://auth\n    hangup: keep\n"
BAD = "services:\n  auth:\n    rate: 50\n    rat: 3/s\n"


@pytest.fixture(autouse=True)
def _files() -> None:
    Path("good.yaml").write_text(GOOD)
    Path("bad.yaml").write_text(BAD)


def test_a_good_file_is_ok_and_nothing_goes_to_stdout(bufferproxy) -> None:  # type: ignore[no-untyped-def]
    ran = bufferproxy("check", "-c", "good.yaml")
    assert (ran.code, ran.out) == (0, "")
    assert ran.err.splitlines() == [
        "bufferproxy: services.auth.hangup: accepted, not yet enforced in this version",
        "good.yaml: ok",
    ]


def test_a_bad_file_is_every_error_on_stderr_and_exit_3(bufferproxy) -> None:  # type: ignore[no-untyped-def]
    ran = bufferproxy("check", "-c", "bad.yaml")
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.splitlines() == [
        "bad.yaml:2:3: services.auth.to: is missing: write to: http://HOST:PORT",
        'bad.yaml:3:11: services.auth.rate: "50" has no unit: write 50/s',
        "bad.yaml:4:5: services.auth.rat: unknown key: did you mean rate?",
    ]


@pytest.mark.parametrize("command", ["run", "proxy", "worker"])
def test_serving_a_bad_file_prints_the_same_and_exits_3(command: str, bufferproxy) -> None:  # type: ignore[no-untyped-def]
    Path("bad.yaml").write_text(BAD + "log: kafka://k:9092\n")
    assert bufferproxy(command, "-c", "bad.yaml") == bufferproxy("check", "-c", "bad.yaml")


def test_a_missing_file_is_one_line_and_exit_3(bufferproxy) -> None:  # type: ignore[no-untyped-def]
    ran = bufferproxy("check", "-c", "no.yaml")
    assert (ran.code, ran.err) == (3, "no.yaml: cannot be read: No such file or directory\n")


def test_show_prints_each_setting_with_its_origin(bufferproxy, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("BUFFERPROXY__GRACE", "5s")
    ran = bufferproxy("check", "-c", "good.yaml", "--show")
    rows = {line.split()[0]: line.split()[1:] for line in ran.out.splitlines()}
    assert ran.code == 0
    assert rows["services.auth.to"] == ["http://auth", "good.yaml:3"]
    assert rows["grace"] == ["5s", "env", "BUFFERPROXY__GRACE"]
    assert rows["max_wait"] == ["1m", "default"]


def test_show_as_json_is_a_list_of_key_value_origin(bufferproxy) -> None:  # type: ignore[no-untyped-def]
    ran = bufferproxy("check", "-c", "good.yaml", "--show", "-o", "json")
    rows = json.loads(ran.out)
    assert {"key": "services.auth.burst", "value": 1, "origin": "default"} in rows
    assert {"key": "services.auth.hangup", "value": "keep", "origin": "good.yaml:4"} in rows


def test_the_schema_goes_to_stdout(bufferproxy) -> None:  # type: ignore[no-untyped-def]
    ran = bufferproxy("config", "schema")
    assert (ran.code, ran.err) == (0, "")
    jsonschema.Draft7Validator.check_schema(json.loads(ran.out))


def test_what_is_no_command_or_option_is_a_usage_error(bufferproxy) -> None:  # type: ignore[no-untyped-def]
    for arguments in (["nonsense"], ["check", "--nonsense"], ["proxy"], ["check", "-o", "xml"]):
        ran = bufferproxy(*arguments)
        assert (ran.code, ran.out) == (2, "")
        assert ran.err


@pytest.mark.parametrize(
    "command",
    [
        "run",
        "proxy",
        "worker",
        "demo",
        "check",
        "status",
        "topics create",
        "topics describe",
        "config schema",
    ],
)
def test_every_command_takes_a_file_and_an_admin_plane(command: str, bufferproxy) -> None:  # type: ignore[no-untyped-def]
    ran = bufferproxy(*command.split(), "-c", "f.yaml", "--admin", "http://127.0.0.1:1", "--help")
    assert (ran.code, ran.err) == (0, "")


def test_the_version_is_that_of_the_package(bufferproxy) -> None:  # type: ignore[no-untyped-def]
    from bufferproxy import __version__

    assert bufferproxy("--version").out == f"bufferproxy {__version__}\n"


@pytest.mark.parametrize("command", ["proxy", "worker"])
def test_proxy_and_worker_refuse_an_sqlite_log(command: str, bufferproxy) -> None:  # type: ignore[no-untyped-def]
    ran = bufferproxy(command, "-c", "good.yaml")
    assert ran.code == 3
    assert ran.err.startswith(f"good.yaml:1:1: log: {command} needs kafka://")


def test_run_names_the_flag_that_is_wrong(bufferproxy) -> None:  # type: ignore[no-untyped-def]
    ran = bufferproxy("run", "--to", "auth:8000", "--rate", "50")
    assert ran.code == 3
    assert ran.err.splitlines() == [
        '--rate: services.default.rate: "50" has no unit: write 50/s',
        '--to: services.default.to: "auth:8000" is not a URL: write http://auth:8000',
    ]


def test_check_imports_nothing_that_it_does_not_use() -> None:
    program = (
        "import sys\nsys.argv = ['bufferproxy', 'check', '-c', 'good.yaml']\n"
        "from bufferproxy.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'kafka', 'fastapi', 'uvicorn', 'uvloop', 'sqlite3', 'prometheus_client', 'rich'}\n"
        "print(*sorted(heavy & set(sys.modules)))\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == ""
