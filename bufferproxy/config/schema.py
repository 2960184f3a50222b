"""The settings as JSON Schema, for editors and the chart. Valid as draft-07 and as 2020-12.

No references are left in it: draft-07 ignores whatever stands beside a `$ref`, descriptions and defaults
too. Numbers with units are strings with a pattern; what can change while running has `x-reloadable`;
`${VAR}` may stand for any single value.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import SchemaSerializer

from bufferproxy.config.origin import Path
from bufferproxy.config.settings import Settings

_REFERENCE = r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}"


class _Generator(GenerateJsonSchema):
    def default_schema(self, schema: Any) -> dict[str, Any]:
        """With the default as it is written in the file: 15m, not 900.0."""
        inner = schema["schema"]
        described = dict(self.generate_inner(inner))
        if "default" in schema:
            default = schema["default"]
            if "serialization" in inner:
                default = SchemaSerializer(inner).to_python(default, mode="json")
            described["default"] = default
        return described


def schema() -> dict[str, Any]:
    """The whole document, a new one each time."""
    raw = Settings.model_json_schema(schema_generator=_Generator)
    services = raw["properties"]["services"]
    # Pydantic turns the form of the names into patternProperties, which lets any other name pass.
    ((pattern, service),) = services.pop("patternProperties").items()
    services["propertyNames"] = {**services.get("propertyNames", {}), "pattern": pattern}
    services["additionalProperties"] = service
    whole = _inlined(raw, raw.pop("$defs"))
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$id": "urn:bufferproxy:schema:settings",
        "title": "bufferproxy settings",
        **whole,
    }


def types_at(path: Path) -> frozenset[str]:
    """The types, in the words of JSON Schema, that the value at `path` may have; none for an unknown key."""
    found = [_whole()]
    for key in path:
        found = [inner for part in found for inner in _below(part, str(key))]
    return frozenset(str(each["type"]) for part in found for each in _choices(part) if "type" in each)


_whole = cache(schema)


def _below(part: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """What may stand at `key` of what `part` describes."""
    choices = _choices(part)
    named = [each["properties"][key] for each in choices if key in each.get("properties", {})]
    free = [each.get("additionalProperties") for each in choices if key not in each.get("properties", {})]
    return [*named, *(each for each in free if isinstance(each, dict))]


def _choices(part: dict[str, Any]) -> list[dict[str, Any]]:
    """`part` itself, or each of those that its anyOf names."""
    return [inner for each in part["anyOf"] for inner in _choices(each)] if "anyOf" in part else [part]


def _inlined(part: Any, blocks: dict[str, Any]) -> Any:
    """`part` with each reference replaced by what it means; what stands beside the reference wins."""
    if isinstance(part, list):
        return [_inlined(item, blocks) for item in part]
    if not isinstance(part, dict):
        return part
    here = {key: value for key, value in part.items() if key not in ("$ref", "title", "properties")}
    if "$ref" in part:
        here = {**blocks[part["$ref"].removeprefix("#/$defs/")], **here}
        return _inlined(here, blocks)
    described = {key: _inlined(value, blocks) for key, value in here.items() if key != "default"}
    if "properties" in part:
        # Kept apart: a setting may well be called title.
        described["properties"] = {key: _inlined(value, blocks) for key, value in part["properties"].items()}
    if "default" in here:
        described["default"] = here["default"]
    return _or_reference(described)


def _or_reference(described: dict[str, Any]) -> dict[str, Any]:
    if "pattern" in described:
        return {**described, "pattern": f"{described['pattern']}|{_REFERENCE}"}
    kinds = {"type", "enum", "minimum", "maximum"}
    if "enum" not in described and described.get("type") not in ("integer", "boolean"):
        return described
    value = {key: described[key] for key in described if key in kinds}
    rest = {key: described[key] for key in described if key not in kinds}
    return {"anyOf": [value, {"type": "string", "pattern": _REFERENCE}], **rest}
