"""What could grow without bound does not: series of metrics, memory, open files."""

from __future__ import annotations

import os

import pytest
from genai_prices.data import providers

from tests.conftest import StartGlassline
from tests.faults.lifecycle.cardinality import cardinality
from tests.faults.lifecycle.reloads import scrape
from tests.faults.lifecycle.soak import soak
from tests.faults.lifecycle.traffic import answer_any
from tests.harness.upstream import ScriptedUpstream

pytestmark = pytest.mark.cold
IS_LONG = bool(os.environ.get("GLASSLINE_LONG"))


def test_names_from_outside_make_no_series(start_glassline: StartGlassline) -> None:
    with ScriptedUpstream(answer_any) as upstream:
        glassline = start_glassline(upstream.url)
        found = cardinality(glassline, 100_000 if IS_LONG else 3_000)
        print(found)
        assert found["answered"] == found["requests"]
        assert found["series"] <= 2_000
        assert found["bytes"] <= 1_000_000
        assert found["canaries"] == 0
        assert max(found["grown_kb"].values()) < 60_000


def test_hundreds_of_keys_with_budgets_and_every_known_model_stay_below_the_cap(
    start_glassline: StartGlassline,
) -> None:
    budget = {"limit_usd": 100, "window": "day", "unbounded": "allow"}
    keys = [
        {"name": f"team-{n}", "key": f"sk-team-{n:020d}", "budgets": [dict(budget)]}
        for n in range(200 if IS_LONG else 60)
    ]
    models = [model.id for provider in providers if provider.id == "openai" for model in provider.models]
    with ScriptedUpstream(answer_any) as upstream:
        glassline = start_glassline(upstream.url, {"keys": keys})
        secrets = [str(key["key"]) for key in keys]
        found = cardinality(glassline, 1_500 if IS_LONG else 500, models=models, keys=secrets)
        print(found)
        assert (1_000 if IS_LONG else 300) < found["series"] <= 2_000
        assert found["bytes"] <= 1_000_000
        assert found["canaries"] == 0
        assert not any(secret in scrape(glassline) for secret in secrets)


def test_a_soak_leaves_no_file_open_and_no_request_out(start_glassline: StartGlassline) -> None:
    with ScriptedUpstream() as upstream:
        glassline = start_glassline(upstream.url)
        found = soak(glassline, upstream, 300_000 if IS_LONG else 8_000)
        print(found)
        assert found["answered"] == found["recorded"] == found["received_upstream"] == found["requests"]
        assert abs(found["open_files_last"] - found["open_files_first"]) <= 8
        assert found["wal_mb"] <= 64
        glassline.stop()
