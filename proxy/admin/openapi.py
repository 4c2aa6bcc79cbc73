"""The OpenAPI description of the admin port: small, and held to the routes by a test."""

from __future__ import annotations

from typing import Any, Final

from proxy import __version__
from proxy.store.query import MAX_ROWS, RequestRow

_JSON: Final = "application/json"


def document() -> dict[str, Any]:
    """Return the description."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "Glassline admin", "version": __version__},
        "paths": {path: dict(operations) for path, operations in _PATHS.items()},
        "components": {"schemas": _schemas()},
    }


def _operation(summary: str, media_type: str, *parameters: dict[str, Any], schema: str | None = None) -> dict[str, Any]:
    content = {media_type: {"schema": {"$ref": f"#/components/schemas/{schema}"}} if schema else {}}
    answers: dict[str, Any] = {"200": {"description": "ok", "content": content}}
    if media_type == _JSON and parameters:
        answers["400"] = _error("a parameter cannot be understood")
    if any(parameter["in"] == "path" for parameter in parameters):
        answers["404"] = _error("there is no such thing, or its bytes were not kept whole")
    answers["503"] = _error("the store cannot be read")
    operation: dict[str, Any] = {"summary": summary, "responses": answers}
    return operation | ({"parameters": list(parameters)} if parameters else {})


def _error(description: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Error"}
    return {"description": description, "content": {_JSON: {"schema": schema}}}


def _asked(name: str, description: str, kind: str = "string") -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": {"type": kind}}


def _named(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


_FILTER: Final = _asked("q", "filter, such as `key:search status:>=400 latency:>2s`")
_CREATE: Final = {
    "summary": "Create a virtual key; the answer is the only one that holds it",
    "requestBody": {"required": True, "content": {_JSON: {"schema": {"$ref": "#/components/schemas/KeyRequest"}}}},
    "responses": {
        "201": {"description": "the key", "content": {_JSON: {}}},
        "400": _error("the key's fields cannot be used"),
        "409": _error("the name is taken"),
    },
}
_REVOKE: Final = {
    "summary": "Revoke a virtual key",
    "parameters": [_named("name")],
    "responses": {"200": {"description": "the key", "content": {_JSON: {}}}, "404": _error("no such key in force")},
}
_PATHS: Final[dict[str, dict[str, Any]]] = {
    "/": {"get": _operation("A status page for people", "text/html")},
    "/healthz": {"get": _operation("This process lives", "text/plain")},
    "/metrics": {"get": _operation("Prometheus metrics", "text/plain")},
    "/status": {"get": _operation("The verdict in plain text", "text/plain")},
    "/api/status": {"get": _operation("The verdict and its reasons", _JSON, schema="Status")},
    "/api/requests": {
        "get": _operation(
            "Requests, newest first",
            _JSON,
            _FILTER,
            _asked("limit", f"1 to {MAX_ROWS}", "integer"),
            _asked("before", "`next_before` of the page before"),
            schema="RequestPage",
        )
    },
    "/api/requests/{id}": {"get": _operation("One request; the start of an id will do", _JSON, _named("id"))},
    "/api/requests/{id}/request_body": {
        "get": _operation("The exact bytes that the client sent", "application/octet-stream", _named("id"))
    },
    "/api/requests/{id}/response_body": {
        "get": _operation("The exact bytes that the upstream sent", "application/octet-stream", _named("id"))
    },
    "/api/cost": {
        "get": _operation(
            "What was spent, grouped",
            _JSON,
            _asked("by", "comma-separated: key, model, upstream, user, day, session, endpoint"),
            _asked("from", "such as now-7d or 2026-11-01"),
            _asked("to", "up to, not including"),
            _FILTER,
        )
    },
    "/api/budgets": {"get": _operation("Budgets in their current windows", _JSON)},
    "/api/keys": {"get": _operation("Keys created at run time, without their secrets", _JSON), "post": _CREATE},
    "/api/keys/{name}": {"delete": _REVOKE},
    "/api/openapi.json": {"get": _operation("This description", _JSON)},
}


def _schemas() -> dict[str, Any]:
    # Imported late: pydantic builds the schema, and only this route needs it.
    from proxy.admin.keys import KeyRequest

    text = {"type": "string"}
    error = {"type": "object", "properties": {"code": text, "message": text}, "required": ["code", "message"]}
    reason = {"type": "object", "properties": {"level": text, "code": text, "text": text}}
    row = {"type": "object", "properties": {name: {} for name in RequestRow.__struct_fields__}}
    key = KeyRequest.model_json_schema(ref_template="#/components/schemas/{model}")
    return {
        **key.pop("$defs", {}),
        "KeyRequest": key,
        "Error": {"type": "object", "properties": {"error": error}, "required": ["error"]},
        "Status": {
            "type": "object",
            "properties": {
                "verdict": {"enum": ["ok", "degraded", "failing"]},
                "reasons": {"type": "array", "items": reason},
                "processes": {"type": "array", "items": {"type": "object"}},
            },
        },
        "RequestPage": {
            "type": "object",
            "properties": {
                "requests": {"type": "array", "items": row},
                "next_before": {"type": ["string", "null"]},
            },
        },
    }
