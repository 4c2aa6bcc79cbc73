"""Budgets and prices as a configuration sets them, through the whole system."""

from __future__ import annotations

import json
from typing import Any

import httpx

from tests.conftest import StartGlassline
from tests.harness import Glassline, Simulator
from tests.harness.client import Answer, exchange, post
from tests.harness.process import wait_until

APP, OTHER = "sk-app-0123456789abcdef", "sk-other-0123456789abc"


def ask(glassline: Glassline, *headers: str, key: str = APP, model: str = "gpt-4o-mini", path: str = "/v1") -> Answer:
    body = {"model": model, "max_tokens": 20, "messages": [{"role": "user", "content": "hi"}]}
    request = post(f"{path}/chat/completions", json.dumps(body).encode(), key=key, headers=headers)
    return exchange(glassline.port, request)


def reserved(glassline: Glassline) -> int:
    [row] = glassline.rows("SELECT coalesce(sum(reserved_nano_usd), 0) AS nano FROM accounts", database="ledger.db")
    return int(row["nano"])


def use_up(glassline: Glassline, *headers: str, key: str = APP) -> int:
    """Ask, one request after the other, until a budget refuses although nothing is reserved; return the answers."""
    for count in range(40):
        answer = ask(glassline, *headers, key=key)
        if answer.status == 429:
            assert b"x-glassline-error: budget_exceeded" in answer.head
            return count
        wait_until(lambda: reserved(glassline) == 0, "settlement")
    raise AssertionError("the budget never refused")


def test_a_budget_per_user_counts_each_trusted_user_alone(
    start_glassline: StartGlassline, simulator: Simulator
) -> None:
    config = {
        "keys": [{"name": "app", "key": APP, "trust_identity": True}, {"name": "other", "key": OTHER}],
        "budgets": [{"name": "per-user", "limit_usd": "0.0001", "window": "day", "per": "user"}],
    }
    glassline = start_glassline(simulator.url, config)
    assert use_up(glassline, "x-glassline-user: ann") > 0
    assert ask(glassline, "x-glassline-user: bob").status == 200
    assert ask(glassline, "x-glassline-user: ann").status == 429
    # Who may not vouch for users shares one budget, whatever it claims.
    assert use_up(glassline, "x-glassline-user: carl", key=OTHER) > 0
    assert ask(glassline, "x-glassline-user: dora", key=OTHER).status == 429


def test_a_budget_across_keys_is_shared_and_names_itself(start_glassline: StartGlassline, simulator: Simulator) -> None:
    config = {
        "keys": [{"name": "app", "key": APP}, {"name": "other", "key": OTHER}],
        "budgets": [{"name": "everything", "limit_usd": "0.0001", "rolling": "24h"}],
    }
    glassline = start_glassline(simulator.url, config)
    assert use_up(glassline) > 0
    refused = ask(glassline, key=OTHER)
    assert refused.status == 429
    assert "everything" in json.loads(refused.body)["error"]["message"]
    assert ask(glassline, key="sk-nobody-configured").status == 429


def test_a_soft_budget_only_counts_and_one_for_models_spares_the_others(
    start_glassline: StartGlassline, simulator: Simulator
) -> None:
    budgets = [
        {"name": "soft", "limit_usd": 0, "window": "month", "timezone": "Australia/Lord_Howe", "hard": False},
        {"name": "large", "limit_usd": 0, "window": "total", "models": ["gpt-5*"]},
    ]
    glassline = start_glassline(simulator.url, {"keys": [{"name": "app", "key": APP, "budgets": budgets}]})
    assert ask(glassline).status == 200
    assert ask(glassline, model="GPT-5-mini").status == 429
    glassline.wait_for_rows(2)

    def spent() -> dict[str, Any] | None:
        me = httpx.get(f"{glassline.url}/-/me", headers={"authorization": f"Bearer {APP}"}).json()
        accounts = {budget["budget"]: budget for budget in me["budgets"]}
        return accounts if accounts["app/soft"]["spent_usd"] > 0 else None

    accounts = wait_until(spent, "settlement")
    assert accounts["app/soft"]["resets_at"] is not None
    assert accounts["app/large"]["spent_usd"] == 0


def test_an_unknown_price_is_null_and_counted_or_refused(start_glassline: StartGlassline, simulator: Simulator) -> None:
    keys = [{"name": "app", "key": APP, "budgets": [{"limit_usd": 1, "window": "day"}]}]
    glassline = start_glassline(simulator.url, {"keys": keys})
    assert ask(glassline, model="nobodys-model").status == 200
    [row] = glassline.wait_for_rows(1)
    assert (row["cost_usd"], row["cost_source"]) == (None, "unknown")
    assert "glassline_unpriced_requests_total 1.0" in httpx.get(f"{glassline.admin_url}/metrics").text

    strict = start_glassline(simulator.url, {"keys": keys, "pricing": {"unknown_model": "deny"}})
    refused = ask(strict, model="nobodys-model")
    assert refused.status == 403
    assert ask(strict).status == 200
    assert (
        exchange(strict.port, b"GET /v1/models HTTP/1.0\r\nAuthorization: Bearer " + APP.encode() + b"\r\n\r\n").status
        == 200
    )


def test_what_has_no_bound_never_reaches_the_provider_under_a_hard_budget(
    start_glassline: StartGlassline, simulator: Simulator
) -> None:
    budget = {"limit_usd": 5, "window": "day"}
    keys = [
        {"name": "strict", "key": APP, "budgets": [budget]},
        {"name": "open", "key": OTHER, "budgets": [{**budget, "unbounded": "allow"}]},
    ]
    glassline = start_glassline(simulator.url, {"keys": keys})
    for path in ("/v1/batches", "/v1/fine_tuning/jobs", "/v1/realtime/client_secrets", "/v1/of/tomorrow"):
        refused = exchange(glassline.port, post(path, b'{"model":"gpt-4o-mini"}', key=APP))
        assert (refused.status, json.loads(refused.body)["error"]["code"]) == (403, "model_not_allowed"), path
        assert b"x-should-retry: false" in refused.head
    assert not simulator.truth("received")
    rows = glassline.wait_for_rows(4)
    assert {(row["outcome"], row["cost_usd"]) for row in rows} == {("refused", 0)}
    exchange(glassline.port, post("/v1/of/tomorrow", b'{"model":"gpt-4o-mini"}', key=OTHER))
    simulator.wait_for_truth(1, "received")


def test_an_allow_list_holds_for_more_than_text(start_glassline: StartGlassline, simulator: Simulator) -> None:
    keys = [{"name": "app", "key": APP, "models": ["gpt-4o-mini", "tts-1"]}]
    glassline = start_glassline(simulator.url, {"keys": keys})
    large = b'{"model":"o1-pro","input":"' + b"x" * 2_000_000 + b'"}'
    twice = b'{"model":"tts-1","model":"tts-1-hd","input":"x"}'
    for path in ("/v1/images/generations", "/v1/audio/speech", "/v1/videos", "/v1/of/tomorrow"):
        assert exchange(glassline.port, post(path, large, key=APP)).status == 403, path
        assert exchange(glassline.port, post(path, twice, key=APP)).status == 400, path
    assert not simulator.truth("received")


def test_prices_of_ones_own_go_first_and_a_free_upstream_costs_nothing(
    start_glassline: StartGlassline, simulator: Simulator
) -> None:
    config = {
        "upstreams": {"house": {"base_url": simulator.url, "allow_private": True, "free": True}},
        "pricing": {
            "overrides": [
                {"model": "my-*", "input": 1, "output": 2},
                {"model": "twin", "alias_of": "gpt-4o-mini", "multiplier": 2},
            ]
        },
    }
    glassline = start_glassline(simulator.url, config)
    ask(glassline, "x-glassline-session: own", model="my-finetune")
    ask(glassline, "x-glassline-session: twin", model="twin")
    ask(glassline, "x-glassline-session: plain")
    ask(glassline, "x-glassline-session: free", path="/house")
    rows = {row["session"]: row for row in glassline.wait_for_rows(4)}
    own = rows["own"]
    assert (own["cost_source"], own["price_version"]) == ("override", "config")
    assert round(own["cost_usd"] * 1e9) == 1000 * own["input_tokens"] + 2000 * own["output_tokens"]
    assert rows["twin"]["input_tokens"] == rows["plain"]["input_tokens"]
    assert round(rows["twin"]["cost_usd"] * 1e9) == 2 * round(rows["plain"]["cost_usd"] * 1e9)
    assert rows["free"]["cost_usd"] == 0
