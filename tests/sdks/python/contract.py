"""What every program here does: take one call a line from stdin, make it with its SDK, answer with one line of JSON.

Runs in the environment of an SDK, not in the project's, so it imports nothing but the standard library. The first line
says which SDK this is. What the SDK prints itself goes to stderr.
"""

import base64
import json
import os
import sys
from contextlib import contextmanager
from importlib.metadata import version

QUESTION = "Name three rivers. Schöne Grüße 👋"
TOOL = "get_weather"
TOOL_DESCRIPTION = "Weather at a place"
TOOL_SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
ABORT_AFTER = 5
"""Pieces of a stream after which the application leaves."""


class Call:
    """One call: which scenario, where, as whom, with which model."""

    def __init__(self, scenario, base_url, api_key, model, **more):
        self.scenario = scenario
        self.base_url = base_url
        self.api_key = api_key
        self.model = model
        self.more = more


def serve(package, scenarios, installed=None):
    """Answer calls until stdin ends. `installed`: the version, for what is no Python package."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    say(out, {"package": package, "version": installed or version(package), "scenarios": sorted(scenarios)})
    for line in sys.stdin:
        call = Call(**json.loads(line))
        try:
            answer = {"result": scenarios[call.scenario](call)}
        except Exception as error:  # noqa: BLE001 - an SDK may raise anything, and that is the answer
            answer = {"error": describe(error)}
        say(out, answer)


def say(out, answer):
    """Write one line."""
    print(json.dumps(plain(answer), sort_keys=True), file=out, flush=True)


def plain(value):
    """Return `value` as JSON can hold it: what SDKs return are mostly pydantic models."""
    if hasattr(value, "model_dump"):
        return plain(value.model_dump(mode="json"))
    if isinstance(value, dict):
        return {str(name): plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def describe(error):
    """Return what an application sees of an exception: its class, status, code and words."""
    status = next((found for name in STATUS_NAMES if isinstance(found := getattr(error, name, None), int)), None)
    code = getattr(error, "code", None)
    return {
        "type": type(error).__name__,
        "bases": [base.__name__ for base in type(error).__mro__[1:-3]],
        "status": status,
        "code": code if isinstance(code, str) else None,
        "message": str(error),
    }


STATUS_NAMES = ("status_code", "http_status", "code")


@contextmanager
def variables(**values):
    """Set environment variables for a while."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def take(pieces, count=ABORT_AFTER):
    """Return the first pieces of a stream."""
    taken = []
    for piece in pieces:
        taken.append(piece)
        if len(taken) == count:
            break
    return taken
