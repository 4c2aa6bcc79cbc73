"""The real openai SDK for Node through Glassline."""

from __future__ import annotations

import hashlib
import json
import subprocess
from typing import Any

import httpx

from tests.e2e.prices import nano_usd
from tests.harness import Glassline, Simulator


def test_every_call_of_the_node_sdk_is_recorded_to_the_token_and_the_byte(
    glassline: Glassline, simulator: Simulator, node_sdk: list[str]
) -> None:
    done = subprocess.run([*node_sdk, f"{glassline.url}/v1"], capture_output=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    calls = {line["call"]: line for line in map(json.loads, done.stdout.splitlines())}
    exchanges = [(name, entry) for name, line in calls.items() for entry in line["exchanges"]]
    rows = {row["id"]: row for row in glassline.wait_for_rows(len(exchanges))}
    truths = simulator.wait_for_truth(len(exchanges), "done")
    assert len(rows) == len(exchanges)
    for name, entry in exchanges:
        row = rows[entry["request_id"]]
        assert_bodies_match(glassline, name, entry, row)
        if name not in ("aborted", "models", "upload"):
            assert_matches_truth(row, truths)
    aborted = rows[calls["aborted"]["exchanges"][0]["request_id"]]
    assert (aborted["outcome"], aborted["usage_source"]) == ("client_closed", "estimated")
    assert calls["upload"]["bytes"] > 0


def assert_bodies_match(glassline: Glassline, name: str, entry: dict[str, Any], row: dict[str, Any]) -> None:
    base = f"{glassline.admin_url}/api/requests/{row['id']}"
    if "request_sha256" in entry:
        assert hashlib.sha256(httpx.get(f"{base}/request_body").content).hexdigest() == entry["request_sha256"], name
    if row["outcome"] == "completed" and not row["mutated"]:
        assert hashlib.sha256(httpx.get(f"{base}/response_body").content).hexdigest() == entry["response_sha256"], name


def assert_matches_truth(row: dict[str, Any], truths: list[dict[str, Any]]) -> None:
    matching = [
        truth
        for truth in truths
        if truth["usage"] is not None
        and truth["usage"]["input_tokens"] == row["input_tokens"]
        and (truth["usage"]["output_tokens"] or None) == row["output_tokens"]
    ]
    assert matching, row
    assert round(row["cost_usd"] * 1e9) == nano_usd(row["model"], matching[0]["usage"])
