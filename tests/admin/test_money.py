"""Cost, budgets and the overview over the port: numbers add up, and what cannot be told is said."""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from proxy.store import SqliteStore
from proxy.store.rollups import DAY_MS, HOUR_MS
from tests.admin.conftest import Admin
from tests.store.rows import Row, write_summed

StartAdmin = Callable[..., Admin]
CONFIG = """
keys: [{name: app, key: gl-key-of-app, budgets: [{limit_usd: 3, window: month}, {limit_usd: 1, window: day, models: ["gpt*"]}]}]
budgets: [{name: all, limit_usd: 50, window: month}, {name: each, limit_usd: 1, window: day, per: user}]
"""
REFUSAL = (
    "Budget app/month (key app) has $2.99 spent and $0.01 reserved of $3.00; this request may need $0.0031, "
    "$0 would still fit; more fits at 2026-12-01T00:00:00Z."
)


def rows(now: int) -> Iterator[Row]:
    """Return a thousand requests of twenty days; those of the last ten days cost twice as much."""
    numbers = random.Random(3)
    for number in range(1000):
        age = numbers.randrange(20 * DAY_MS)
        yield {
            "id": f"id-{number:04}",
            "started_at": now - age,
            "key": numbers.choice(["app", "other", None]),
            "user": numbers.choice(["ann", "bob", None]),
            "upstream": "openai",
            "provider": "openai",
            "model": numbers.choice(["gpt-4o", "o3"]),
            "tags": json.dumps({"team": numbers.choice(["a", "b"]), "version": "1.2.0" if age < DAY_MS else "1.1.0"}),
            "prompt_name": "greet",
            "prompt_version": "2" if age < 5 * DAY_MS else "1",
            "cost_nano_usd": 2_000_000 if age < 10 * DAY_MS else 1_000_000,
            "input_tokens": 1000,
            "cached_input_tokens": 400,
            "output_tokens": 100,
            "finish_reason": numbers.choice(["stop", "stop", "stop", "length", "content_filter"]),
        }
    for number in range(3):
        yield {
            "id": f"refused-{number}",
            "started_at": now - number * HOUR_MS,
            "key": "app",
            "outcome": "refused",
            "status": 429,
            "error_code": "budget_exceeded",
            "error_message": REFUSAL,
            "cost_nano_usd": 0,
        }


@pytest.fixture(scope="module")
def spent(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Row], int]:
    data_dir, now = tmp_path_factory.mktemp("spent") / "data", time.time_ns() // 1_000_000
    data_dir.mkdir()
    made = sorted(rows(now), key=lambda row: int(row["started_at"]))
    with closing(SqliteStore(data_dir / "records.db")) as store:
        write_summed(store, made)
    return data_dir, made, now


@pytest.fixture(scope="module")
def admin(spent: tuple[Path, list[Row], int]) -> Iterator[Admin]:
    with closing(Admin(spent[0], CONFIG)) as started:
        yield started


def total(made: list[Row], now: int, first_age: float, last_age: float = 0) -> int:
    ages = ((now - row["started_at"], row["cost_nano_usd"]) for row in made)
    return sum(cost for age, cost in ages if last_age * DAY_MS < age <= first_age * DAY_MS)


def span(now: int, first_age: float, last_age: float = 0) -> dict[str, str]:
    return {"from": str(now - int(first_age * DAY_MS)), "to": str(now - int(last_age * DAY_MS) + 1)}


def get(admin: Admin, path: str, **asked: str) -> Any:
    return admin.get(path, **asked).raise_for_status().json()


@pytest.mark.parametrize(
    "by", ["model", "key", "user", "key,model", "prompt", "version", "provider", "environment", "model,day", "session"]
)
def test_whatever_it_is_grouped_by_the_groups_make_up_the_whole(
    admin: Admin, spent: tuple[Path, list[Row], int], by: str
) -> None:
    _, made, now = spent
    answer = get(admin, "/api/cost", by=by, compare="prev", **span(now, 7.3))
    assert sum(row["cost_nano_usd"] for row in answer["rows"]) == answer["total"]["cost_nano_usd"]
    assert answer["total"]["cost_nano_usd"] == total(made, now, 7.3)
    before = sum((row["previous"] or {"cost_nano_usd": 0})["cost_nano_usd"] for row in answer["rows"])
    assert before == answer["total"]["previous"]["cost_nano_usd"] > 0
    assert len({tuple(row["group"]) for row in answer["rows"]}) == len(answer["rows"])


def test_a_tag_is_summed_for_whole_days(admin: Admin, spent: tuple[Path, list[Row], int]) -> None:
    _, made, now = spent
    answer = get(admin, "/api/cost", by="meta.team", **span(now, 21))
    assert {row["group"][0]: row["cost_nano_usd"] for row in answer["rows"]} == {
        team: sum(row["cost_nano_usd"] for row in made if json.loads(row.get("tags", "{}")).get("team") == team)
        for team in ("a", "b")
    }
    assert admin.get("/api/cost", by="meta.team,model").status_code == 400
    assert admin.get("/api/cost", by="meta.").status_code == 400


def test_cached_input_saves_the_difference_of_the_prices(admin: Admin, spent: tuple[Path, list[Row], int]) -> None:
    answer = get(admin, "/api/cost", by="model", q="model:gpt-4o", **span(spent[2], 21))
    (row,) = answer["rows"]
    assert row["saving_nano_usd"] == round(row["cached_input_tokens"] * 1250), "$2.50 and $1.25 for a million tokens"
    assert get(admin, "/api/cost", by="user")["rows"][0]["saving_nano_usd"] is None, "users are not summed by model"


@pytest.mark.parametrize("step", ["hour", "day"])
@pytest.mark.parametrize("q", ["", "model:o3 OR model:gpt-4o OR status:429"])
def test_steps_make_up_the_whole(admin: Admin, spent: tuple[Path, list[Row], int], step: str, q: str) -> None:
    _, made, now = spent
    answer = get(admin, "/api/cost/series", by="model", step=step, q=q, **span(now, 15))
    assert sum(sum(line["cost_nano_usd"]) for line in answer["series"]) == total(made, now, 15)
    assert all(len(line["requests"]) == len(answer["starts"]) for line in answer["series"])
    hours = {at: sum(line["requests"][place] for line in answer["series"]) for place, at in enumerate(answer["starts"])}
    length = {"hour": HOUR_MS, "day": DAY_MS}[step]
    for at, requests in hours.items():
        ages = [row["started_at"] for row in made if now - row["started_at"] <= 15 * DAY_MS]
        assert requests == sum(at <= started < at + length for started in ages)


def test_what_is_not_among_the_largest_is_one_line(admin: Admin, spent: tuple[Path, list[Row], int]) -> None:
    answer = get(admin, "/api/cost/series", by="version", top="1", **span(spent[2], 21))
    assert [(line["is_others"], line["values"]) for line in answer["series"]] == [(False, 1), (True, 2)]


def test_a_rise_is_explained_to_the_last_nano_usd(admin: Admin, spent: tuple[Path, list[Row], int]) -> None:
    _, made, now = spent
    change = get(admin, "/api/cost/change", by="model", **span(now, 10))["change"]
    assert change["after_nano_usd"] - change["before_nano_usd"] == sum(change["effects"].values())
    assert change["after_nano_usd"] == total(made, now, 10)
    assert {each["effect"] for each in change["contributors"]} <= {"price", "mix", "volume"}
    assert change["contributors"][0]["effect"] == "price"
    assert admin.get("/api/cost/change", by="session").status_code == 400
    assert admin.get("/api/cost/change", q="key:app").status_code == 400


def test_the_month_ends_where_the_last_week_leads(admin: Admin, spent: tuple[Path, list[Row], int]) -> None:
    _, made, now = spent
    forecast = get(admin, "/api/cost/forecast")
    assert forecast["lately_nano_usd"] == pytest.approx(total(made, now, 7), rel=0.02)
    left = forecast["to"] - now
    expected = forecast["spent_nano_usd"] + forecast["lately_nano_usd"] * left / (7 * DAY_MS)
    assert forecast["projected_nano_usd"] == pytest.approx(expected, rel=0.001)


def test_budgets_have_a_pace_before_anybody_used_them(admin: Admin) -> None:
    budgets = {budget["budget"]: budget for budget in get(admin, "/api/budgets")["budgets"]}
    assert set(budgets) == {"all", "app/month", "app/day:gpt*"}
    assert budgets["app/month"]["key"] == "app"
    assert budgets["all"]["pace"]["lately_nano_usd"] > budgets["app/month"]["pace"]["lately_nano_usd"] > 0
    assert 0 <= budgets["all"]["pace"]["elapsed"] <= 1


def test_a_budget_tells_who_spends_and_what_it_refused(admin: Admin, spent: tuple[Path, list[Row], int]) -> None:
    _, made, _ = spent
    found = get(admin, "/api/budgets/app~2Fmonth")
    start = found["budget"]["window_start"]
    mine = sum(row["cost_nano_usd"] for row in made if row["key"] == "app" and row["started_at"] >= start)
    assert found["spent"]["nano_usd"][-1] == mine
    assert sum(each["cost_nano_usd"] for each in found["spenders"]["model"]) == mine
    assert found["spent"]["nano_usd"] == sorted(found["spent"]["nano_usd"])
    assert (found["refused"], found["refusals"][0]["needed_nano_usd"]) == (3, 3_100_000)
    assert admin.get("/api/budgets/nobody~2Fmonth").status_code == 404


def test_a_refusal_is_explained(admin: Admin) -> None:
    found = get(admin, "/api/budgets/app~2Fmonth/explain", request="refused-1")
    assert found["refusal"]["fits_at"] == "2026-12-01T00:00:00Z"
    assert found["key"] == "app"
    assert {each["budget"] for each in found["budgets"]} >= {"app/month", "all", "each"}
    assert admin.get("/api/budgets/all/explain").status_code == 400
    assert admin.get("/api/budgets/all/explain", request="id-0001").status_code == 400
    assert admin.get("/api/budgets/all/explain", key="nobody").status_code == 400


def test_another_limit_is_simulated(admin: Admin, spent: tuple[Path, list[Row], int]) -> None:
    _, made, _ = spent
    none = get(admin, "/api/budgets/app~2Fmonth/simulate", limit_usd="0")
    assert none["requests"] == sum(row["key"] == "app" for row in made)
    assert none["requests"] - 3 <= none["blocked"] <= none["requests"], "three cost nothing"
    enough = get(admin, "/api/budgets/app~2Fmonth/simulate", limit_usd="1000")
    assert (enough["blocked"], enough["windows_hit"]) == (0, 0)
    half = get(admin, "/api/budgets/all/simulate", limit_usd="0.5")
    assert 0 < half["blocked"] < half["requests"]
    assert get(admin, "/api/budgets/each/simulate", limit_usd="0.005")["windows_hit"] > 0
    for wrong in ("", "nan", "-1", "inf", "ten"):
        assert admin.get("/api/budgets/all/simulate", limit_usd=wrong).status_code == 400


def test_quality_counts_how_answers_ended(admin: Admin, spent: tuple[Path, list[Row], int]) -> None:
    _, made, _ = spent
    found = get(admin, "/api/quality")
    measured = {each["name"]: each for each in found["measures"]}
    since = [row for row in made if row["started_at"] >= found["from"] and "finish_reason" in row]
    assert measured["cut"]["counted"] == sum(row["finish_reason"] == "length" for row in since)
    assert measured["refusals"]["parts"][0] == [
        "refused",
        sum(row["finish_reason"] == "content_filter" for row in since),
    ]
    for each in measured.values():
        assert admin.get("/api/requests", q=each["q"]).status_code == 200


def test_deployments_tell_since_when(admin: Admin, spent: tuple[Path, list[Row], int]) -> None:
    found = get(admin, "/api/deployments")
    apps = {each["version"]: each for each in found["apps"]}
    assert not apps["1.2.0"]["is_from_the_start"]
    prompts = {each["version"]: each for each in found["prompts"]}
    assert set(prompts) == {"2"}
    first = min(row["started_at"] for row in spent[1] if row.get("prompt_version") == "2")
    assert prompts["2"]["first_seen"] == first - first % HOUR_MS
    days = {
        model: min(row["started_at"] // DAY_MS for row in spent[1] if row.get("model") == model)
        for model in ("gpt-4o", "o3")
    }
    told = {each["name"]: each["is_from_the_start"] for each in found["models"] if each["name"] in days}
    assert told == {model: day == min(days.values()) for model, day in days.items()}


def test_the_system_is_told_in_short(admin: Admin, spent: tuple[Path, list[Row], int]) -> None:
    found = get(admin, "/api/system")
    assert found["requests"] == len(spent[1])
    assert found["lost"] == 0
    file = spent[0].parent / "config.yaml"
    assert found["config"] == hashlib.sha256(file.read_bytes()).hexdigest()[:12]


def test_the_status_has_three_tiles_and_a_sentence(admin: Admin) -> None:
    found = get(admin, "/api/status")
    assert [tile["name"] for tile in found["tiles"]] == ["error_rate", "latency", "cost"]
    assert found["headline"]["text"]
    for tile in found["tiles"]:
        assert admin.get("/api/requests", q=tile["link"]["q"]).status_code == 200


def test_twins_hold_what_the_lists_show(admin: Admin, spent: tuple[Path, list[Row], int]) -> None:
    asked = {"by": "key,model", "compare": "prev", **span(spent[2], 7)}
    rows = get(admin, "/api/cost", **asked)["rows"]
    lines = [json.loads(line) for line in admin.get("/api/cost.jsonl", **asked).text.splitlines()]
    assert [(line["key"], line["model"], line["requests"]) for line in lines] == [
        (*row["group"], row["requests"]) for row in rows
    ]
    assert lines[0]["cost_usd"] == rows[0]["cost_nano_usd"] / 1e9
    title, *table = admin.get("/api/cost.csv", **asked).text.splitlines()
    assert title.startswith("key,model,cost_usd,requests")
    assert len(table) == len(rows)
    budgets = admin.get("/api/budgets.csv").text.splitlines()
    assert len(budgets) == 1 + len(get(admin, "/api/budgets")["budgets"])
    assert admin.get("/api/cost.csv", by="colour").status_code == 400


def test_a_test_request_needs_somebody_who_takes_it(admin: Admin) -> None:
    answer = admin.client.post("/api/test_request", json={})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
