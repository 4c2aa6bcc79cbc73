"""Every path that the official SDK can call is an operation we know, and those that cost money are known to."""

from __future__ import annotations

import re
from pathlib import Path

import openai

from proxy.operations import Operation, find_operation

_CALL = re.compile(r'self\._(get|post|delete|get_api_list)\(\s*(?:path_template\(\s*)?f?"(/[^"?]*)')
BILLED = {
    "/agents/automations/{}/invocations": "later",
    "/agents/sessions": "later",
    "/agents/sessions/{}/events": "later",
    "/audio/speech": "units",
    "/audio/transcriptions": "units",
    "/audio/translations": "units",
    "/batches": "later",
    "/chat/completions": "tokens",
    "/completions": "tokens",
    "/containers": "units",
    "/decisions": "tokens",
    "/embeddings": "tokens",
    "/evals/{}/runs": "later",
    "/fine_tuning/alpha/graders/run": "units",
    "/fine_tuning/jobs": "later",
    "/images/edits": "units",
    "/images/generations": "units",
    "/images/variations": "units",
    "/live/sessions": "units",
    "/realtime/calls": "units",
    "/responses": "tokens",
    "/responses/compact": "tokens",
    "/threads/runs": "later",
    "/threads/{}/runs": "later",
    "/threads/{}/runs/{}/submit_tool_outputs": "later",
    "/videos": "units",
    "/videos/edits": "units",
    "/videos/extensions": "units",
    "/videos/{}/remix": "units",
}
"""What the SDK can POST that the provider bills. A new one shows up here as a failure, to be thought about."""


def sdk_calls() -> dict[tuple[str, str], Operation | None]:
    """Return what we make of every method and path in the sources of the installed SDK; ids stand as `{}`."""
    calls = {}
    for source in (Path(openai.__file__).parent / "resources").rglob("*.py"):
        for call in _CALL.finditer(source.read_text()):
            # A list is fetched by GET, except where the call itself says otherwise, which makes it no other operation.
            method = "GET" if call[1] == "get_api_list" else call[1].upper()
            path = re.sub(r"\{[^}]*\}", "{}", call[2])
            calls[method, path] = find_operation("openai", method, path.replace("{}", "id-1"))
    return calls


def test_every_path_of_the_sdk_is_known() -> None:
    calls = sdk_calls()
    assert len(calls) > 350, "the sources of the SDK look different now"
    assert [call for call, operation in calls.items() if operation is None] == []


def test_what_is_billed_is_known_to_be_and_nothing_else() -> None:
    billed = {
        (method, path): operation.billing
        for (method, path), operation in sdk_calls().items()
        if operation is not None and operation.billing != "nothing"
    }
    assert billed == {("POST", path): billing for path, billing in BILLED.items()}


def test_azure_names_the_same_operations_by_other_paths() -> None:
    for endpoint in ("chat/completions", "embeddings", "images/generations", "audio/speech", "audio/transcriptions"):
        ours = find_operation(
            "azure", "POST", f"/openai/deployments/our-model/{endpoint}?api-version=2025-04-01-preview"
        )
        theirs = find_operation("openai", "POST", f"/{endpoint}")
        assert ours is not None
        assert theirs is not None
        assert (ours.endpoint, ours.billing, ours.model) == (theirs.endpoint, theirs.billing, "our-model")
    for path in ("/openai/responses?api-version=1", "/openai/v1/responses"):
        operation = find_operation("azure", "POST", path)
        assert operation is not None
        assert (operation.endpoint, operation.model) == ("responses", None)
