"""JSON that fits a JSON Schema: arguments of tool calls and structured outputs.

Covers what SDKs generate: objects, arrays, scalars, enum, const, anyOf, `$ref` into `$defs`. Depth is bounded,
so a recursive schema ends.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence

from proxy.simulator.prose import write_prose

_MAX_DEPTH = 8
"""Deeper values become null. OpenAI allows ten levels in a strict schema."""
_LIKELY: dict[str, Sequence[str]] = {
    "city": ("Paris", "Berlin", "Lisbon", "Oslo"),
    "country": ("France", "Germany", "Portugal", "Norway"),
    "currency": ("EUR", "USD", "NOK"),
    "date": ("2026-03-14", "2026-05-01", "2026-09-30"),
    "email": ("ada@example.com", "grace@example.com"),
    "location": ("Paris, France", "Berlin, Germany", "Oslo, Norway"),
    "name": ("Ada", "Grace", "Linus"),
    "order_id": ("A-1047", "A-2210", "A-3391"),
}


def write_json(schema: Mapping[str, object], rng: random.Random) -> str:
    """Write a compact JSON text that fits the schema."""
    return json.dumps(_value(schema, schema, "", rng, 0), ensure_ascii=False, separators=(",", ":"))


def _value(schema: object, root: Mapping[str, object], name: str, rng: random.Random, depth: int) -> object:
    if not isinstance(schema, Mapping) or depth > _MAX_DEPTH:
        return None
    if isinstance(reference := schema.get("$ref"), str):
        return _value(_resolve(root, reference), root, name, rng, depth + 1)
    if "const" in schema:
        return schema["const"]
    for choice in ("enum", "anyOf", "oneOf"):
        options = schema.get(choice)
        if isinstance(options, list) and options:
            return rng.choice(options) if choice == "enum" else _value(options[0], root, name, rng, depth + 1)
    if isinstance(parts := schema.get("allOf"), list) and parts:
        return _value(parts[0], root, name, rng, depth + 1)
    return _typed_value(schema, root, name, rng, depth)


def _typed_value(
    schema: Mapping[str, object], root: Mapping[str, object], name: str, rng: random.Random, depth: int
) -> object:
    match _first_type(schema):
        case "object":
            properties = schema.get("properties")
            items = properties.items() if isinstance(properties, Mapping) else ()
            return {str(key): _value(part, root, str(key), rng, depth + 1) for key, part in items}
        case "array":
            return [_value(schema.get("items"), root, name, rng, depth + 1) for _ in range(rng.randint(1, 3))]
        case "string":
            return rng.choice(_LIKELY[name]) if name in _LIKELY else "".join(write_prose(rng, rng.randint(2, 6)))
        case "integer":
            return rng.randint(1, 40)
        case "number":
            return round(rng.uniform(0, 40), 2)
        case "boolean":
            return rng.random() < 0.5
        case _:
            return None


def _first_type(schema: Mapping[str, object]) -> str:
    declared = schema.get("type")
    if isinstance(declared, list):
        declared = next((kind for kind in declared if kind != "null"), "null")
    if isinstance(declared, str):
        return declared
    return "object" if "properties" in schema else "null"


def _resolve(root: Mapping[str, object], reference: str) -> object:
    target: object = root
    for part in reference.removeprefix("#").strip("/").split("/"):
        if part:
            target = target.get(part) if isinstance(target, Mapping) else None
    return target
