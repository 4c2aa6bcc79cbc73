"""Requests made up from our own description of the admin API, some of them against it."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import httpx
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from proxy.admin.openapi import document

DOCUMENT = json.loads(json.dumps(document()))
SCHEMAS = DOCUMENT["components"]["schemas"]
OPERATIONS = [
    (path, method, operation)
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
    if path != "/logout" and "text/event-stream" not in str(operation["responses"])  # such an answer never ends
]
OPEN = {"type": "object", "required": ["status"], "properties": {"status": {"type": "string"}}}
TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
ODD_TEXT = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        [
            "",
            "0",
            "-1",
            "1e999",
            "NaN",
            "null",
            "²",
            "\x00",
            "now-7d",
            "now-9999999999d",
            "a" * 5000,
            "\ud7ff",
            "\u202e",
        ]
    ),
    st.from_regex(r"[a-z]+:(>=|<|)[0-9a-z*\"]{0,12}", fullmatch=True),
    st.integers(-(2**70), 2**70).map(str),
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | ODD_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def values(schema: dict[str, Any], depth: int = 0) -> st.SearchStrategy[Any]:
    """Return values that a schema describes, and one time in ten something else."""
    return st.integers(0, 9).flatmap(lambda dice: ANYTHING if dice == 0 else fitting(schema, depth))


def fitting(schema: dict[str, Any], depth: int) -> st.SearchStrategy[Any]:
    if "$ref" in schema:
        return fitting(SCHEMAS[schema["$ref"].rpartition("/")[2]], depth + 1)
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "const" in schema:
        return st.just(schema["const"])
    if "anyOf" in schema:
        return st.one_of([values(each, depth) for each in schema["anyOf"]])
    kind = schema.get("type")
    if kind == "object":
        return members(schema, depth)
    if kind in ("array", "integer", "number", "string", "boolean", "null"):
        return {
            "array": lambda: st.lists(values(schema.get("items", {}), depth), max_size=2),
            "integer": lambda: st.integers(schema.get("minimum", -(2**70)), schema.get("maximum", 2**70)),
            "number": lambda: st.floats(allow_nan=True) | st.integers(0, 1000),
            "string": lambda: st.from_regex(schema["pattern"], fullmatch=True) if "pattern" in schema else ODD_TEXT,
            "boolean": st.booleans,
            "null": st.none,
        }[kind]()
    return ANYTHING


def members(schema: dict[str, Any], depth: int) -> st.SearchStrategy[Any]:
    known = {name: values(part, depth) for name, part in schema.get("properties", {}).items() if depth < 4}
    required = {name: known.pop(name) for name in schema.get("required", ()) if name in known}
    return st.fixed_dictionaries(required, optional=known) | st.dictionaries(st.text(max_size=8), ANYTHING, max_size=2)


@st.composite
def requests(draw: st.DrawFn) -> dict[str, Any]:
    place, method, operation = draw(st.sampled_from(OPERATIONS))
    path = place
    query: list[tuple[str, str]] = []
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "path":
            name = draw(st.sampled_from(["app", "the-viewer", "viewer"]) | ODD_TEXT)
            path = path.replace(f"{{{parameter['name']}}}", httpx.QueryParams({"x": name}).__str__()[2:] or "x")
        else:
            query += [(parameter["name"], value) for value in draw(st.lists(ODD_TEXT, max_size=2))]
    query += draw(st.lists(st.tuples(ODD_TEXT, ODD_TEXT), max_size=1))
    declared = {"responses": operation["responses"]}
    made: dict[str, Any] = {"method": method.upper(), "url": path, "params": query, "extensions": declared}
    if "requestBody" in operation:
        ((media_type, content),) = operation["requestBody"]["content"].items()
        body = draw(values(content["schema"]))
        sent_as = draw(st.sampled_from([media_type] * 9 + ["text/plain"]))
        made["headers"] = {"content-type": sent_as, "sec-fetch-site": "same-origin"}
        made["content"] = draw(st.sampled_from([json.dumps(body).encode()] * 9 + [b"", b"{", b"[" * 5000, b"\xff"]))
    elif method == "delete":
        made["headers"] = {"content-type": "application/json"}
    return made


def fuzz(client: httpx.Client, cases: int, start: int = 0) -> Counter[int]:
    """Send so many made-up requests; count the statuses of the answers, fail at one that is wrong.

    `start`: where to begin among all that could be made up.
    """
    statuses: Counter[int] = Counter()

    @seed(start)
    @settings(max_examples=cases, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(request=requests())
    def send(request: dict[str, Any]) -> None:
        try:
            answer = client.request(**request)
        except httpx.InvalidURL:
            return
        statuses[answer.status_code] += 1
        check(answer, request)

    send()
    return statuses


def check(answer: httpx.Response, request: dict[str, Any]) -> None:
    """Fail unless an answer is one that our description names."""
    assert answer.status_code < 500, (request, answer.text)
    if answer.status_code >= 400 and answer.content and "html" not in answer.headers["content-type"]:
        assert set(answer.json()["error"]) - {"position"} == {"code", "message"}, request
    assert "Traceback" not in answer.text
    if answer.is_success:
        check_described(answer, request["extensions"]["responses"])


def check_described(answer: httpx.Response, responses: dict[str, Any]) -> None:
    """Check that our description names the status of an answer, its type and, where it has a schema, its shape."""
    described = responses[str(answer.status_code)].get("content", {})
    media_type = answer.headers["content-type"].partition(";")[0]
    assert media_type in described or not described, answer
    if schema := described.get(media_type, {}).get("schema"):
        check_shape(answer.json(), schema)


def check_shape(value: Any, schema: dict[str, Any]) -> None:
    if "$ref" in schema:
        schema = SCHEMAS[schema["$ref"].rpartition("/")[2]]
    kinds = schema.get("type", [])
    kinds = kinds if isinstance(kinds, list) else [kinds]
    assert not kinds or any(isinstance(value, TYPES[kind]) for kind in kinds), (value, schema)
    if "enum" in schema:
        assert value in schema["enum"]
    if isinstance(value, dict):
        assert set(schema.get("required", ())) <= set(value), (value, schema)
        for name, part in schema.get("properties", {}).items():
            if name in value:
                check_shape(value[name], part)
    if isinstance(value, list):
        for item in value:
            check_shape(item, schema.get("items", {}))
