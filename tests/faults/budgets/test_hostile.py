"""Numbers and names made to look cheap: each is refused or reserved at what it may cost, and the guard never trips."""

from __future__ import annotations

import json
from typing import Any, Final

import httpx
import pytest

from tests.conftest import StartGlassline
from tests.e2e.prices import nano_usd
from tests.harness import Glassline, Simulator
from tests.harness.client import Answer, exchange, post
from tests.harness.process import wait_until

KEY: Final = "sk-hostile-0123456789abc"
OTHER: Final = "sk-other-0123456789abcde"
LIMIT_USD: Final = "0.01"
"""Less than what gpt-4o-mini may put out at most, so that what counts as no limit is refused."""
BODY: Final = '{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}],%s}'
NUMBERS: Final = [
    "-1",
    "0",
    "1e308",
    "1e400",
    "-1e400",
    "9223372036854775808",
    "18446744073709551616",
    "9.99e15",
    "0.5",
    "NaN",
    "Infinity",
    "-Infinity",
    "true",
    "false",
    "null",
    '"10"',
    '"-1"',
    '"1e3"',
    '""',
    "[]",
    "{}",
    "[10]",
    "1e-320",
    "-0",
    "-0.0",
]
DIGITS: Final = "9" * 5000
FIELDS: Final = {
    **{f"max_tokens {number}": f'"max_tokens":{number}' for number in NUMBERS},
    "max_tokens of 5,000 digits": f'"max_tokens":{DIGITS}',
    "max_completion_tokens of 5,000 digits": f'"max_completion_tokens":{DIGITS}',
    "n of a billion": '"max_tokens":1,"n":1000000000',
    "n of 5,000 digits": f'"max_tokens":1,"n":{DIGITS}',
    "n without an end": '"max_tokens":1,"n":1e999',
    "n as text": '"max_tokens":1,"n":"1000000000"',
    "negative n": '"max_tokens":10,"n":-5',
    "best_of": '"max_tokens":1,"best_of":1000000000',
    "fifty thousand stops": '"max_tokens":10,"stop":[' + ",".join(['"x"'] * 50_000) + "]",
    "two limits": '"max_tokens":1,"max_completion_tokens":1000000000',
    "a limit twice": '"max_tokens":1,"max_tokens":1000000000',
    "a limit in another case": '"MAX_TOKENS":1000000000,"max_tokens":1',
    "an escaped limit": '"max_tokens":1,"\\u006dax_tokens":1000000000',
    "a model twice": '"max_tokens":1,"model":"o1-pro"',
    "a model in another case": '"max_tokens":1,"Model":"o1-pro"',
}


@pytest.fixture
def glassline(start_glassline: StartGlassline, simulator: Simulator) -> Glassline:
    budgets = [{"limit_usd": LIMIT_USD, "window": "total"}]
    return start_glassline(simulator.url, {"keys": [{"name": "hostile", "key": KEY, "budgets": budgets}]})


def ask(glassline: Glassline, body: str, *, key: str = KEY, path: str = "/v1/chat/completions") -> Answer:
    return exchange(glassline.port, post(path, body.encode(), key=key, headers=("x-simulate: tokens=10",)))


def account(glassline: Glassline) -> dict[str, Any]:
    """Wait until nothing is reserved; return the one account."""

    def settled() -> dict[str, Any] | None:
        rows = glassline.rows("SELECT * FROM accounts", database="ledger.db")
        return rows[0] if rows and not rows[0]["reserved_nano_usd"] else None

    return wait_until(settled, "settlement")


def test_no_number_makes_a_request_cheaper_than_it_may_be(glassline: Glassline, simulator: Simulator) -> None:
    statuses: dict[str, int] = {}
    for name, fields in FIELDS.items():
        for stream in ("", ',"stream":true'):
            answer = ask(glassline, BODY % fields + "" if not stream else (BODY % fields)[:-1] + stream + "}")
            statuses[name + stream] = answer.status
            assert answer.status in (200, 400, 429), (name, answer.raw[:300])
    found = account(glassline)
    bills = [nano_usd(line["model"], line["usage"]) for line in simulator.done() if line["usage"]]
    assert found["spent_nano_usd"] == sum(bills) <= found["limit_nano_usd"]
    assert found["overrun_nano_usd"] == 0
    for name in ("n of a billion", "n as text", "best_of", "two limits", "n without an end", "max_tokens 1e308"):
        assert statuses[name] == 429, name
    for name in ("a limit twice", "a limit in another case", "an escaped limit", "a model twice"):
        assert statuses[name] == 400, name
    assert statuses['max_tokens "10"'] in (200, 400), "it is a limit to some"
    assert "could not be carried out" not in glassline.stderr
    rows = glassline.wait_for_rows(2 * len(FIELDS))
    assert len(rows) == 2 * len(FIELDS), "the refused stand there as well"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", '{"model":"gpt-4o-mini","prompt":"hi","max_tokens":16,"best_of":1000000000}'),
        ("/v1/responses", '{"model":"gpt-4o-mini","input":"hi","max_output_tokens":1e300}'),
        ("/v1/embeddings", '{"model":"text-embedding-3-small","input":"hi","n":1e300,"max_tokens":-1}'),
        ("/v1/images/generations", '{"model":"gpt-image-1","prompt":"hi","n":1000000000}'),
    ],
)
def test_the_same_holds_for_what_is_no_chat(glassline: Glassline, path: str, body: str) -> None:
    assert ask(glassline, body, path=path).status in (200, 400, 403, 404, 429)
    ask(glassline, BODY % '"max_tokens":10')
    assert account(glassline)["overrun_nano_usd"] == 0
    assert account(glassline)["spent_nano_usd"] <= account(glassline)["limit_nano_usd"]


def test_a_model_s_other_names_fall_under_the_same_budget(
    start_glassline: StartGlassline, simulator: Simulator
) -> None:
    budgets = [{"name": "mini", "limit_usd": 0, "window": "total", "models": ["gpt-4o-mini"]}]
    glassline = start_glassline(simulator.url, {"keys": [{"name": "hostile", "key": KEY, "budgets": budgets}]})
    for model in ("gpt-4o-mini", "GPT-4o-Mini", " gpt-4o-mini", "openai/gpt-4o-mini"):
        asked = {"model": model, "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}
        status = ask(glassline, json.dumps(asked)).status
        print(model, status)
        assert status == 429 or not _is_priced_alike(glassline, model), model


def _is_priced_alike(glassline: Glassline, model: str) -> bool:
    """Say whether a request for `model` was billed as one for gpt-4o-mini."""
    rows = glassline.wait_for_rows(1, f"model_requested = '{model}' AND outcome = 'completed'")
    return bool(rows[-1]["cost_usd"])


def test_nested_budgets_hold_all_or_none_and_the_error_names_the_one_that_refuses_and_no_others_figures(
    start_glassline: StartGlassline, simulator: Simulator
) -> None:
    config = {
        "keys": [
            {"name": "ann", "key": KEY, "budgets": [{"name": "own", "limit_usd": 1, "window": "total"}]},
            {"name": "bob", "key": OTHER, "budgets": [{"name": "own", "limit_usd": "0.77", "window": "total"}]},
        ],
        "budgets": [{"name": "team", "limit_usd": "0.0001", "window": "total"}],
    }
    glassline = start_glassline(simulator.url, config)
    refused = ask(glassline, BODY % '"max_tokens":1000')
    message = json.loads(refused.body)["error"]["message"]
    assert refused.status == 429
    assert "Budget team" in message
    assert "own" not in message
    assert "bob" not in message
    assert "0.77" not in refused.raw.decode()
    rows = glassline.rows("SELECT budget, reserved_nano_usd, spent_nano_usd FROM accounts", database="ledger.db")
    assert {(row["reserved_nano_usd"], row["spent_nano_usd"]) for row in rows} == {(0, 0)}, "none holds a part"
    assert ask(glassline, BODY % '"max_tokens":20').status == 200
    glassline.wait_for_rows(2)

    def spent() -> set[int] | None:
        sql = "SELECT spent_nano_usd FROM accounts WHERE budget IN ('ann/own', 'team') AND reserved_nano_usd = 0"
        found = {row["spent_nano_usd"] for row in glassline.rows(sql, database="ledger.db")}
        return found if len(found) == 1 and found != {0} else None

    wait_until(spent, "the same amount in both budgets")


REFUSALS: Final = {
    "invalid_key": ("sk-nobody-0123456789abc", BODY % '"max_tokens":5'),
    "model_not_allowed": (OTHER, '{"model":"o1-pro","max_tokens":5,"messages":[]}'),
    "budget_exceeded": (KEY, BODY % '"max_tokens":5'),
    "rate_limited": (OTHER, BODY % '"max_tokens":5'),
    "bad_request": (KEY, BODY % '"max_tokens":1,"max_tokens":2'),
    "too_large": (OTHER, '{"model":"gpt-4o-mini","messages":[],"x":"' + "x" * 1_200_000 + '"}'),
}


def test_whatever_is_refused_is_on_record_like_what_is_served(
    start_glassline: StartGlassline, simulator: Simulator
) -> None:
    config = {
        "auth": "virtual",
        "limits": {"body_mb": 1},
        "keys": [
            {"name": "poor", "key": KEY, "budgets": [{"limit_usd": 0, "window": "total"}]},
            {"name": "slow", "key": OTHER, "models": ["gpt-4o-mini"], "rate_limits": {"requests_per_minute": 1}},
        ],
    }
    glassline = start_glassline(simulator.url, config)
    assert ask(glassline, BODY % '"max_tokens":5', key=OTHER).status in (200, 401)
    for code, (key, body) in REFUSALS.items():
        answer = ask(glassline, body, key=key)
        assert b"x-glassline-error: " + code.encode() in answer.head, (code, answer.raw[:300])
    rows = glassline.wait_for_rows(1 + len(REFUSALS))
    assert len(rows) == 1 + len(REFUSALS)
    refused = {row["error_code"]: row for row in rows if row["outcome"] == "refused"}
    assert set(refused) == set(REFUSALS)
    for code, row in refused.items():
        assert (row["cost_usd"], row["input_tokens"], row["output_tokens"]) == (0, None, None), code
        assert row["key"] == {"invalid_key": None, "budget_exceeded": "poor", "bad_request": "poor"}.get(code, "slow")
    found = httpx.get(f"{glassline.admin_url}/metrics").text
    assert found.count("glassline_") > 10


def test_what_has_no_price_is_refused_where_that_is_denied_and_reserves_nothing_where_it_is_not(
    start_glassline: StartGlassline, simulator: Simulator
) -> None:
    budgets = [{"limit_usd": LIMIT_USD, "window": "total"}]
    keys = [{"name": "hostile", "key": KEY, "budgets": budgets}]
    unknown = '{"model":"nobodys-model","max_tokens":5,"messages":[{"role":"user","content":"hi"}]}'
    strict = start_glassline(simulator.url, {"keys": keys, "pricing": {"unknown_model": "deny"}})
    assert ask(strict, unknown).status == 403
    [row] = strict.wait_for_rows(1)
    assert (row["error_code"], row["outcome"]) == ("model_not_allowed", "refused")
    lenient = start_glassline(simulator.url, {"keys": keys})
    assert ask(lenient, unknown).status == 200
    [row] = lenient.wait_for_rows(1)
    assert (row["cost_usd"], row["outcome"]) == (None, "completed")
    assert account(lenient)["spent_nano_usd"] == 0
