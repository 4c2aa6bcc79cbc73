"""What had a head and a way to go is recorded when it is refused, whatever for; and no key gets into the record."""

from __future__ import annotations

import json

import pytest

from tests.conftest import StartGlassline
from tests.harness.client import exchange, post
from tests.harness.upstream import ScriptedUpstream

ONE, OTHER = "sk-one-0123456789abcdef", "sk-other-0123456789abcdef"
KEYS = {
    "auth": "virtual",
    "keys": [{"name": "one", "key": ONE}, {"name": "other", "key": OTHER}],
}


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/v1/chat/completions", ("x-glassline-timeout: soon",)),
        ("/v1/chat/completions", ("x-glassline-no-store: perhaps",)),
        ("/v1/chat/completions", (f"x-api-key: {OTHER}", f"x-told: {OTHER}")),
        (f"/v1/files/{ONE}", ()),
        (f"/t/told:{ONE}/v1/files/%73{ONE[1:]}", (f"x-told: {ONE}",)),
    ],
    ids=["a timeout", "what to store", "two keys", "a key in the path", "a key in disguise"],
)
def test_what_a_head_says_wrongly_is_refused_and_recorded_without_a_key(
    start_glassline: StartGlassline, echo: ScriptedUpstream, path: str, headers: tuple[str, ...]
) -> None:
    upstream = {"base_url": echo.url, "wire": "openai", "allow_private": True, "api_key": "sk-provider-0123456789"}
    glassline = start_glassline(None, {**KEYS, "upstreams": {"openai": upstream}})
    answer = exchange(glassline.port, post(path, b"{}", key=ONE, headers=headers))
    assert (answer.status, b"x-glassline-error: bad_request" in answer.head) == (400, True)
    [row] = glassline.wait_for_rows(1)
    assert (row["outcome"], row["status"], row["error_code"], row["cost_usd"]) == ("refused", 400, "bad_request", 0)
    assert f"x-glassline-request-id: {row['id']}".encode() in answer.head
    assert not any(secret[1:] in json.dumps(row, default=str) for secret in (ONE, OTHER))
    files = [path for path in glassline.data_dir.rglob("*") if path.is_file()]
    assert not [file for file in files for secret in (ONE, OTHER) if secret[1:].encode() in file.read_bytes()]
