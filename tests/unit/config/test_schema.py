from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest

from bufferproxy.config.document import Document
from bufferproxy.config.scalars import natural
from bufferproxy.config.schema import schema
from bufferproxy.config.tree import plain

EXAMPLE = Path(__file__).parents[3] / "examples" / "full.yaml"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return schema()


def service_of(document: dict[str, Any]) -> dict[str, Any]:
    described: dict[str, Any] = document["properties"]["services"]["additionalProperties"]["properties"]
    return described


@pytest.mark.parametrize("draft", [jsonschema.Draft7Validator, jsonschema.Draft202012Validator])
def test_it_is_valid_in_both_drafts_and_takes_the_example(draft: Any, document: dict[str, Any]) -> None:
    draft.check_schema(document)
    # Read as our loader does: to YAML 1.1 the key `on` is a boolean.
    root = Document("full.yaml", None).read(EXAMPLE.read_text()).root
    assert root is not None
    draft(document).validate(natural(plain(root)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"rate": 50},
        {"rate": "50"},
        {"burst": 0},
        {"order": "keys"},
        {"rat": "50/s"},
        {"retry": {"on": [200]}},
        {"to": "ftp://a"},
        {"concurrency": {"min": 1}},
    ],
)
def test_it_refuses_what_check_refuses(wrong: dict[str, Any], document: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"services": {"a": {"to": "http://a", **wrong}}}, document)


def test_it_refuses_names_that_no_service_can_have(document: dict[str, Any]) -> None:
    for name in ("A", "a_b", "-a", "a" * 101):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({"services": {name: {"to": "http://a"}}}, document)


def test_a_reference_may_stand_for_any_value(document: dict[str, Any]) -> None:
    service = {"to": "${TO}", "rate": "${RATE:-5/s}", "burst": "${BURST}", "preserve_host": "${KEEP}"}
    jsonschema.validate({"services": {"a": service}, "listen": "0.0.0.0:${PORT}"}, document)


def test_what_can_change_while_running_is_marked_and_nothing_else(document: dict[str, Any]) -> None:
    service = service_of(document)
    live = {"rate", "burst", "concurrency", "timeout", "reply", "safe_methods", "held", "expire"}
    fixed = {"match", "to", "order", "key", "priority", "body", "delivery"}
    assert all(service[key].get("x-reloadable") for key in live)
    assert not any(service[key].get("x-reloadable") for key in fixed)
    assert all(each.get("x-reloadable") for each in service["retry"]["properties"].values())
    kafka = document["properties"]["kafka"]["properties"]
    assert not any(each.get("x-reloadable") for each in (*kafka.values(), document["properties"]["log"]))


def test_defaults_are_written_as_in_the_file(document: dict[str, Any]) -> None:
    service = service_of(document)
    assert (service["rate"]["default"], service["expire"]["default"]) == ("50/s", "1h")
    assert service["backlog"]["properties"]["bytes"]["default"] == "10GiB"
    assert service["safe_methods"]["default"] == "wait 30s"
    assert document["properties"]["admin"]["properties"]["listen"]["default"] == "127.0.0.1:8081"


def test_every_key_is_described(document: dict[str, Any]) -> None:
    bare = [key for key, described in _properties(document) if not described.get("description")]
    assert bare == []


def _properties(part: Any) -> list[tuple[str, dict[str, Any]]]:
    if isinstance(part, list):
        return [found for item in part for found in _properties(item)]
    if not isinstance(part, dict):
        return []
    here = list(part.get("properties", {}).items())
    return here + [found for value in part.values() for found in _properties(value)] if part else here
