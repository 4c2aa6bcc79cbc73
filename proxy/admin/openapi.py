"""The OpenAPI description of the admin port: small, and held to the routes by a test."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from proxy import __version__
from proxy.admin.cost import CHANGES, GROUPINGS
from proxy.admin.pages import PAGES
from proxy.admin.urgency import CONSIDERED
from proxy.admin.urgency import ORDERS as BUDGET_ORDERS
from proxy.store.query import MAX_ROWS, RequestRow
from proxy.store.sessions import ORDERS as SESSION_ORDERS
from proxy.store.users import ORDERS as USER_ORDERS

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


def _named_in(path: str) -> list[dict[str, Any]]:
    return [_named(part.strip("{}")) for part in path.split("/") if part.startswith("{")]


def _redirect(where: str, name: str) -> dict[str, Any]:
    return {
        "summary": f"Lead to {where}",
        "parameters": [_named(name)],
        "responses": {
            "302": {"description": "there it is"},
            "404": {"description": "there is none", "content": {"text/html": {}}},
        },
    }


def _hint(*names: str) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": "Say that applications talk to the data port",
        "responses": {"404": _error("not here: the message says where")},
    }
    return operation | ({"parameters": [_named(name) for name in names]} if names else {})


_FILTER: Final = _asked("q", "filter, such as `key:search status:>=400 latency:>2s`")
_IDS: Final = _asked("ids", "ids with commas between them")
_MEANT: Final = (
    _FILTER,
    _asked("from", "such as now-7d or 2026-11-01"),
    _asked("to", "up to, not including"),
    _IDS | {"description": "only these, with commas between them"},
)
_SORT: Final = _asked(
    "sort", "time, cost, latency, ttft, input, output or tokens; a `-` in front puts the greatest first"
)
_BUDGETS: Final = (_asked("find", "a part of the name or scope"), _asked("sort", ", ".join(BUDGET_ORDERS)))
_COLS: Final = _asked("cols", "columns, with commas between them, in their order")


def _orders(known: Iterable[str]) -> str:
    return f"{', '.join(known)}; a `-` in front puts the greatest first"


def _change(summary: str, schema: str | None, status: str, answer: str, *named: str, taken: str = "") -> dict[str, Any]:
    responses: dict[str, Any] = {status: {"description": answer, "content": {_JSON: {}}}}
    operation: dict[str, Any] = {"summary": summary, "responses": responses}
    if schema is not None:
        reference = {"$ref": f"#/components/schemas/{schema}"}
        operation["requestBody"] = {"required": True, "content": {_JSON: {"schema": reference}}}
        responses["400"] = _error("a field cannot be used, or is not known")
    if named:
        operation["parameters"] = [_named(name) for name in named]
        responses["404"] = _error("there is none of this name")
    if taken:
        responses["409"] = _error(taken)
    return operation


def _form(summary: str, *fields: str) -> dict[str, Any]:
    properties = {field: {"type": "string"} for field in ("form", *fields)}
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return {
        "summary": summary,
        "requestBody": {"required": True, "content": {"application/x-www-form-urlencoded": {"schema": schema}}},
        "responses": {"303": {"description": "done"}, "400": {"description": "the form is not ours, or too old"}},
    }


_SPAN: Final = (_asked("from", "such as now-7d or 2026-11-01"), _asked("to", "up to, not including"))
_COST: Final = (
    _asked("by", f"comma-separated: {', '.join(GROUPINGS)}; or one tag: meta.TAG"),
    *_SPAN,
    _FILTER,
    _asked("compare", "prev: the period just before, of the same length"),
)
_BEFORE: Final = _asked("before", "`next_before` of the page before")
_LIMIT: Final = _asked("limit", f"1 to {MAX_ROWS}", "integer")
_SESSIONS: Final = (_FILTER, *_SPAN, _asked("sort", _orders(SESSION_ORDERS)), _LIMIT, _BEFORE)
_USERS: Final = (_FILTER, *_SPAN, _asked("sort", _orders(USER_ORDERS)), _LIMIT, _BEFORE)
_LOST: Final = "the last admin stays, and nobody changes their own role"
_FORGET: Final = {
    "summary": "Delete all that is recorded about a user, session or key",
    "parameters": [
        _asked("user", "requests of this user"),
        _asked("session", "requests of this session"),
        _asked("key", "requests of the key with this name"),
        _asked("before", "only requests that started before, such as now-30d"),
        _asked("rows", "true: the rows go, too, with their tokens and costs"),
    ],
    "responses": {
        "200": {"description": "what was deleted, and what could not be reached", "content": {_JSON: {}}},
        "202": {"description": "it goes on: ask /api/deletions/{id}", "content": {_JSON: {}}},
        "400": _error("nobody is named, or a parameter is not known"),
    },
}
_PATHS: Final[dict[str, dict[str, Any]]] = {
    **{page.path: {"get": _operation(f"The page {page.title}", "text/html", *_named_in(page.path))} for page in PAGES},
    "/static/{name}": {"get": _operation("A file of the dashboard", "application/octet-stream", _named("name"))},
    "/go/req/{id}": {"get": _redirect("the request of this id, ours or the provider's", "id")},
    "/go/session/{id}": {"get": _redirect("the session", "id")},
    "/go/trace/{id}": {"get": _redirect("the requests of the trace", "id")},
    "/v1": {"get": _hint()},
    "/v1/{path}": {"get": _hint("path")},
    "/healthz": {"get": _operation("This process lives", "text/plain")},
    "/metrics": {"get": _operation("Prometheus metrics", "text/plain")},
    "/status": {"get": _operation("The verdict in plain text", "text/plain")},
    "/api/status": {"get": _operation("The verdict and its reasons", _JSON, schema="Status")},
    "/api/requests": {
        "get": _operation(
            "Requests, newest first or in the order of `sort`",
            _JSON,
            *_MEANT,
            _SORT,
            _asked("limit", f"1 to {MAX_ROWS}", "integer"),
            _asked("before", "`next_before` of the page before"),
            schema="RequestPage",
        )
    },
    "/api/requests.csv": {"get": _operation("All requests that are meant, as CSV", "text/csv", *_MEANT, _SORT, _COLS)},
    "/api/requests.jsonl": {
        "get": _operation(
            "All requests that are meant, one JSON object a line",
            "application/jsonl",
            *_MEANT,
            _SORT,
            _COLS,
            _asked("bodies", "1: with the texts of requests and answers", "integer"),
            _asked("as", "finetune: examples from which OpenAI's chat models are fine-tuned"),
        )
    },
    "/api/requests/count": {
        "get": _operation(
            "How many are meant and what they cost; exact up to 10,000, or where sums are kept", _JSON, *_MEANT
        )
    },
    "/api/requests/histogram": {
        "get": _operation(
            "When the requests that are meant were",
            _JSON,
            *_MEANT,
            _asked("buckets", "at most so many, up to 240", "integer"),
        )
    },
    "/api/requests/values": {
        "get": _operation(
            "What occurs in a field, the most frequent first",
            _JSON,
            _asked("field", "a field of filters, such as `model` or `meta.team`; `meta` lists the tags"),
            _asked("prefix", "only values that contain this, whatever its case"),
            *_MEANT,
            _asked("limit", "1 to 200", "integer"),
        )
    },
    "/api/requests/previews": {
        "get": _operation("The last message and the beginning of the answer of requests", _JSON, _IDS)
    },
    "/api/requests/stream": {
        "get": _operation(
            "What is recorded from now on, as server-sent events",
            "text/event-stream",
            _FILTER,
            _asked("after", "the id of the last event that was seen"),
        )
    },
    "/api/views": {
        "get": _operation(
            "Saved views: one's own and those of everybody", _JSON, _asked("page", "only of this page of the dashboard")
        ),
        "post": _change("Keep a view", "ViewRequest", "201", "the view", taken="the name is taken"),
    },
    "/api/views/{id}": {
        "patch": _change("Change a view", "ViewChange", "200", "the view", "id", taken="the name is taken"),
        "delete": _change("Forget a view", None, "200", "the view", "id"),
    },
    "/api/filters": {"get": _operation("The fields of filters, and what can be sorted by", _JSON)},
    "/api/requests/{id}": {
        "get": _operation(
            "One request: facts, timing, cost, its place among others; the start of an id will do", _JSON, _named("id")
        )
    },
    "/api/requests/{id}/conversation": {
        "get": _operation(
            "What was said in a request and its answers, the same for every API",
            _JSON,
            _named("id"),
            _asked("from", "messages from this one on; without it the turn at the end", "integer"),
            _asked("to", "up to, not including", "integer"),
            _asked("full", "1: texts of any length"),
        )
    },
    "/api/requests/{id}/events": {
        "get": _operation(
            "The events of a stream: when each came, what it added, and the gaps between them",
            _JSON,
            _named("id"),
            _asked("from", "events from this one on", "integer"),
            _asked("limit", "1 to 5000", "integer"),
        )
    },
    "/api/requests/{id}/text/{side}": {
        "get": _operation(
            "A body as text, its content coding undone; `side`: request or response",
            "text/plain",
            _named("id"),
            _named("side"),
        )
    },
    "/api/requests/{id}/blobs/{number}": {
        "get": _operation(
            "A picture, sound or file of the conversation", "application/octet-stream", _named("id"), _named("number")
        )
    },
    "/api/requests/{id}/code": {
        "get": _operation(
            "The request as something to paste",
            "text/plain",
            _named("id"),
            _asked("as", "curl, python, javascript, markdown or json"),
        )
    },
    "/api/requests/{id}/neighbours": {
        "get": _operation(
            "The requests before and after this one in a list",
            _JSON,
            _named("id"),
            _FILTER,
            _asked("sort", "as of the list"),
            _asked("from", "as of the list"),
            _asked("to", "as of the list"),
        )
    },
    "/api/feedback": {
        "post": _change(
            "Say how good an answer was; null takes it back",
            "FeedbackRequest",
            "201",
            "what is kept, on the disk by now",
        )
    },
    "/api/requests/{id}/request_body": {
        "get": _operation("The exact bytes that the client sent", "application/octet-stream", _named("id"))
    },
    "/api/requests/{id}/response_body": {
        "get": _operation("The exact bytes that the upstream sent", "application/octet-stream", _named("id"))
    },
    "/api/cost": {
        "get": _operation(
            "What was spent, grouped, and in the period before",
            _JSON,
            *_COST,
        )
    },
    "/api/cost.csv": {"get": _operation("The same as CSV", "text/csv", *_COST)},
    "/api/cost.jsonl": {"get": _operation("The same as JSON lines", "application/jsonl", *_COST)},
    "/api/cost/series": {
        "get": _operation(
            "What was spent, step by step: the dearest groups and all others",
            _JSON,
            _asked("by", "one grouping, neither a day nor a tag; none: all in one"),
            *_SPAN,
            _FILTER,
            _asked("step", "hour or day (UTC)"),
            _asked("top", "1 to 20 groups that are shown by themselves", "integer"),
        )
    },
    "/api/cost/change": {
        "get": _operation(
            "Why it cost more or less than in the period before",
            _JSON,
            _asked("by", f"one of {', '.join(CHANGES)}"),
            *_SPAN,
        )
    },
    "/api/cost/forecast": {"get": _operation("Where the cost of this month (UTC) ends", _JSON)},
    "/api/records": {"delete": _FORGET},
    "/api/deletions/{id}": {"get": _operation("What became of a deletion; 202: not done yet", _JSON, _named("id"))},
    "/api/overview": {
        "get": _operation(
            "How a stretch of time went, step by step",
            _JSON,
            _asked("from", "such as now-24h or 2026-11-01"),
            _asked("to", "such as now"),
            _asked("step", "hour or day (UTC)"),
        )
    },
    "/api/quality": {
        "get": _operation("How answers ended and what was said of them: seven days against the week before", _JSON)
    },
    "/api/deployments": {"get": _operation("Models, prompts and versions in use, and since when", _JSON)},
    "/api/test_request": {
        "post": _change("Send a request without a key through the data port", None, "200", "its status and id")
    },
    "/api/system": {"get": _operation("What runs here, in short", _JSON)},
    "/api/budgets": {
        "get": _operation(
            "Budgets in their current windows, with their pace, and how many there are",
            _JSON,
            *_BUDGETS,
            _asked("limit", f"rows at most; no more than {CONSIDERED}", "integer"),
        )
    },
    "/api/budgets.csv": {"get": _operation("All of them as CSV", "text/csv", *_BUDGETS)},
    "/api/budgets.jsonl": {"get": _operation("All of them as JSON lines", "application/jsonl", *_BUDGETS)},
    "/api/budgets/{name}": {
        "get": _operation(
            "One budget: pace, who spends, earlier windows, what it refused",
            _JSON,
            _named("name"),
            _asked("scope", "of a budget per user or key: whose"),
        )
    },
    "/api/budgets/{name}/explain": {
        "get": _operation(
            "Why a request was refused, or whether the next one of a key would be",
            _JSON,
            _named("name"),
            _asked("request", "id of a refused request"),
            _asked("key", "name of a key"),
            _asked("model", "the model it would ask for"),
            _asked("user", "the user it would be for"),
        )
    },
    "/api/budgets/{name}/simulate": {
        "get": _operation(
            "What another limit would have refused in the last 30 days, about",
            _JSON,
            _named("name"),
            _asked("limit_usd", "dollars"),
        )
    },
    "/api/keys": {
        "get": _operation(
            "Keys, those of the configuration included, what they spent and when they were last used", _JSON
        ),
        "post": _change(
            "Create a virtual key; the answer is the only one that holds it",
            "KeyRequest",
            "201",
            "the key",
            taken="the name is taken",
        ),
    },
    "/api/keys.csv": {"get": _operation("The same as CSV", "text/csv")},
    "/api/keys.jsonl": {"get": _operation("The same as JSON lines", "application/jsonl")},
    "/api/keys/{name}": {
        "get": _operation("One key", _JSON, _named("name")),
        "patch": _change("Give a virtual key other limits; its secret stays", "KeyChange", "200", "the key", "name"),
        "delete": _change("Revoke a virtual key", None, "200", "the key", "name"),
    },
    "/api/keys/{name}/test": {
        "post": _change("Send a small request with a key", "KeyTest", "200", "what came of it", "name")
    },
    "/api/playground": {
        "get": _operation(
            "What to begin with: a stored request, where it could go", _JSON, _asked("from", "id of a request")
        )
    },
    "/api/playground/estimate": {
        "post": _change("What a request would cost", "RunRequest", "200", "at most, and probably")
    },
    "/api/playground/runs": {
        "post": _change("Send a request", "RunRequest", "200", "its answer as it comes, one JSON object in each line")
    },
    "/api/upstreams": {"get": _operation("Upstreams, and how their requests went of late", _JSON)},
    "/api/upstreams/{name}/look": {
        "post": _change("Open a connection to an upstream and close it", None, "200", "what came of it", "name")
    },
    "/api/prices": {
        "get": _operation(
            "Prices in force",
            _JSON,
            _asked("q", "words in the name of provider or model"),
            _asked("provider", "only of this one"),
            _asked("limit", "1 to 500", "integer"),
            _asked("offset", "leave out so many", "integer"),
        )
    },
    "/api/prices.csv": {
        "get": _operation(
            "All that are meant, as CSV", "text/csv", _asked("q", "words"), _asked("provider", "only of this one")
        )
    },
    "/api/prices.jsonl": {
        "get": _operation(
            "The same as JSON lines", "application/jsonl", _asked("q", "words"), _asked("provider", "only of this one")
        )
    },
    "/api/prices/unpriced": {
        "get": _operation(
            "Models that were used and have no price",
            _JSON,
            _asked("from", "such as now-30d or 2026-11-01"),
            _asked("to", "up to, not including"),
        )
    },
    "/api/prices/reprice": {
        "get": _operation(
            "What `glassline reprice` would change, with the configuration file as it stands",
            _JSON,
            _asked("from", "such as now-7d or 2026-11-01"),
            _asked("to", "up to, not including"),
            _asked("model", "only these, such as gpt-5*"),
        )
    },
    "/api/retention": {
        "get": _operation(
            "What is kept for how long, and what another retention would delete",
            _JSON,
            _asked("bodies", "keep bodies for so long, such as 14d"),
            _asked("records", "keep records for so long"),
        )
    },
    "/api/redaction": {"get": _operation("What is taken out of records before they are stored", _JSON)},
    "/api/redaction/preview": {"post": _change("What would be stored of a text", "Sample", "200", "the text")},
    "/api/settings/system": {"get": _operation("Processes, journal, files, disk and configuration", _JSON)},
    "/api/settings/tables": {"get": _operation("The sizes of the tables of records.db", _JSON)},
    "/api/settings/doctor": {"get": _operation("What `glassline doctor` finds", _JSON)},
    "/api/settings/config": {
        "get": _operation(
            "The configuration in force, secrets hidden", _JSON, _asked("all", "true: the defaults as well")
        )
    },
    "/login": {
        "get": _operation("The login page", "text/html"),
        "post": _form("Begin a session", "user", "password"),
    },
    "/logout": {"post": _form("End the session")},
    "/api/me": {"get": _operation("Who asks, and what they may", _JSON)},
    "/api/sessions": {
        "get": _operation("Sessions in the order of `sort`, those with a request that `q` means", _JSON, *_SESSIONS)
    },
    "/api/sessions.csv": {"get": _operation("The same as CSV", "text/csv", *_SESSIONS, _COLS)},
    "/api/sessions.jsonl": {"get": _operation("The same as JSON lines", "application/jsonl", *_SESSIONS, _COLS)},
    "/api/sessions/{id}": {
        "get": _operation(
            "A session and some of its turns, in the order of time",
            _JSON,
            _named("id"),
            _asked("from", "turns before the first one of the answer", "integer"),
            _asked("limit", "1 to 200; with `said` 1 to 20", "integer"),
            _asked("said", "1: with what is new in each turn, and the answer"),
        )
    },
    "/api/users": {"get": _operation("Users and what they cost, in the order of `sort`", _JSON, *_USERS)},
    "/api/users.csv": {"get": _operation("The same as CSV", "text/csv", *_USERS, _COLS)},
    "/api/users.jsonl": {"get": _operation("The same as JSON lines", "application/jsonl", *_USERS, _COLS)},
    "/api/users/{id}": {
        "get": _operation("One user: sums by step, models, sessions, and what failed last", _JSON, _named("id"), *_SPAN)
    },
    "/api/settings/users": {
        "get": _operation("Users", _JSON),
        "post": _change("Make a user", "UserRequest", "201", "the user", taken="the name is taken"),
    },
    "/api/settings/users/{name}": {
        "patch": _change("Give a user another role or password", "UserChange", "200", "the user", "name", taken=_LOST),
        "delete": _change("Remove a user", None, "200", "the user", "name", taken=_LOST),
    },
    "/api/tokens": {
        "get": _operation("Tokens, without their secrets", _JSON),
        "post": _change(
            "Create a token; the answer is the only one that holds it",
            "TokenRequest",
            "201",
            "the token",
            taken="the name is taken",
        ),
    },
    "/api/tokens/{name}": {"delete": _change("Revoke a token", None, "200", "the token", "name")},
    "/api/audit": {
        "get": _operation(
            "Who did what, newest first",
            _JSON,
            _asked("limit", "1 to 1000", "integer"),
            _asked("before", "`next_before` of the page before", "integer"),
        )
    },
    "/api/openapi.json": {"get": _operation("This description", _JSON)},
}


def _schemas() -> dict[str, Any]:
    # Imported late: pydantic builds the schema, and only this route needs it.
    from proxy.admin.feedback import FeedbackRequest
    from proxy.admin.key_desk import KeyTest
    from proxy.admin.keys import KeyChange, KeyRequest
    from proxy.admin.playground import RunRequest
    from proxy.admin.settings import Sample
    from proxy.admin.tokens import TokenRequest
    from proxy.admin.users import UserChange, UserRequest
    from proxy.admin.views import ViewChange, ViewRequest

    text = {"type": "string"}
    said = {"code": text, "message": text, "position": {"type": "integer"}}
    error = {"type": "object", "properties": said, "required": ["code", "message"]}
    reason = {"type": "object", "properties": {"level": text, "code": text, "text": text}}
    row = {"type": "object", "properties": {name: {} for name in RequestRow.__struct_fields__}}
    models = (
        *(KeyRequest, KeyChange, KeyTest, RunRequest, Sample, TokenRequest, UserRequest, UserChange),
        *(ViewRequest, ViewChange, FeedbackRequest),
    )
    written = {model.__name__: model.model_json_schema(ref_template="#/components/schemas/{model}") for model in models}
    parts = {name: part for schema in written.values() for name, part in schema.pop("$defs", {}).items()}
    return {
        **parts,
        **written,
        "Error": {"type": "object", "properties": {"error": error}, "required": ["error"]},
        "Status": {
            "type": "object",
            "properties": {
                "verdict": {"enum": ["ok", "degraded", "failing"]},
                "reasons": {"type": "array", "items": reason},
                "headline": {"type": "object", "properties": {"state": text, "text": text, "detail": text}},
                "tiles": {"type": "array", "items": {"type": "object"}},
                "looked_at": {"type": "integer"},
                "every_s": {"type": "number"},
                "processes": {"type": "array", "items": {"type": "object"}},
            },
        },
        "RequestPage": {
            "type": "object",
            "properties": {
                "requests": {"type": "array", "items": row},
                "next_before": {"type": ["string", "null"]},
                "searched_to": {"type": ["number", "null"]},
                "newest": {"type": "integer"},
            },
        },
    }
