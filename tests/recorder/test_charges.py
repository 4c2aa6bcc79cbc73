from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pricing import Usage
from proxy.config import Config
from proxy.recorder.bills import Bills
from proxy.recorder.interpret import Interpreter
from proxy.recorder.jobs import run_slice
from proxy.recorder.revise import Reviser
from proxy.recorder.verdict import billing_ids, judge
from proxy.records import Charge, Reading
from proxy.store import Record, SqliteStore
from proxy.store.jobs import Kind, Task
from tests.recorder.builders import interpreter, make_begin, make_end, make_exchange

NOVEMBER_MS = 1_795_000_000_000
BOOK = interpreter()._book


def message(usage: dict[str, Any], model: str = "claude-opus-4-6") -> Record:
    request = json.dumps({"model": model, "max_tokens": 100, "messages": []}).encode()
    answer = json.dumps(
        {"id": "msg_1", "type": "message", "model": model, "content": [], "stop_reason": "end_turn", "usage": usage}
    ).encode()
    begin = make_begin(
        path="/v1/messages", wire="anthropic", upstream="anthropic", provider="anthropic", started_at_ms=NOVEMBER_MS
    )
    return interpreter().record(make_exchange(begin, make_end(answer, request), request=request, response=answer))


ITERATIONS = {
    "input_tokens": 3000,
    "output_tokens": 300,
    "iterations": [
        {"type": "message", "model": "claude-opus-4-6", "input_tokens": 1000, "output_tokens": 100},
        {"type": "fallback_message", "model": "claude-haiku-4-5", "input_tokens": 2000, "output_tokens": 200},
        {"type": "compaction", "model": "claude-haiku-4-5", "input_tokens": 500, "output_tokens": 50},
    ],
}
ITERATIONS_NANO_USD = (1000 * 5000 + 100 * 25000) + (2000 * 1000 + 200 * 5000) + (500 * 1000 + 50 * 5000)
"""Opus 4.6: 5 and 25, Haiku 4.5: 1 and 5 USD per million tokens. The compaction comes on top of the totals."""


def test_each_part_is_priced_at_its_own_model() -> None:
    made = message(ITERATIONS)
    assert made.cost.nano_usd == ITERATIONS_NANO_USD
    assert [charge.model for charge in made.charges] == ["claude-opus-4-6", "claude-haiku-4-5", "claude-haiku-4-5"]
    assert (made.totals.input, made.totals.output) == (3500, 350)


def test_a_part_without_a_price_makes_the_whole_unknown_and_leaves_a_lower_bound() -> None:
    usage = json.loads(json.dumps(ITERATIONS).replace("claude-haiku-4-5", "claude-of-tomorrow"))
    made = message(usage)
    assert (made.cost.nano_usd, made.is_unpriced) == (None, True)
    assert made.cost.components["input_uncached"] == 1000 * 5000


@pytest.mark.parametrize(
    ("terms", "nano_usd"),
    [
        ({}, 7_500_000),
        ({"inference_geo": "global"}, 7_500_000),
        ({"inference_geo": "us"}, 8_250_000),
        ({"inference_geo": "moon"}, None),
        ({"service_tier": "batch"}, 3_750_000),
        ({"service_tier": "priority"}, 7_500_000),
        ({"speed": "standard"}, 7_500_000),
    ],
)
def test_region_speed_and_tier_of_the_answer_decide_about_the_price(
    terms: dict[str, str], nano_usd: int | None
) -> None:
    made = message({"input_tokens": 1000, "output_tokens": 100} | terms)
    assert made.cost.nano_usd == nano_usd
    assert made.is_unpriced is (nano_usd is None)


def test_only_what_nobody_paid_yet_is_due() -> None:
    parts = (Charge(usage=tokens(10), id="a"), Charge(usage=tokens(20), id="b"), Charge(usage=tokens(40)))
    reading = Reading(reader="x", endpoint="chat", usage=tokens(70), charges=parts, model="gpt-4o-mini")
    assert billing_ids(reading) == ("a", "b")
    verdict = judge(make_exchange(), reading, BOOK, {"a": "an-earlier-exchange"})
    assert verdict.totals.input == 60
    assert verdict.cost.nano_usd == 60 * 150
    assert verdict.bills == ("b",)


def test_the_id_of_the_whole_is_that_of_its_parts() -> None:
    parts = (Charge(usage=tokens(10)), Charge(usage=tokens(20), model="gpt-5"))
    reading = Reading(reader="x", endpoint="chat", usage=tokens(30), charges=parts, billing_id="resp_1")
    assert billing_ids(reading) == ("resp_1",)
    verdict = judge(make_exchange(), reading, BOOK, {"resp_1": "an-earlier-exchange"})
    assert (verdict.cost.nano_usd, verdict.cost.reason) == (0, "billed with an-earlier-exchange")


def test_a_cost_that_the_provider_reports_goes_before_all_parts() -> None:
    usage = msgspec.structs.replace(tokens(30), reported_cost_nano_usd=5)
    reading = Reading(reader="x", endpoint="chat", usage=usage, charges=(Charge(usage=tokens(30), model="gpt-5"),))
    verdict = judge(make_exchange(), reading, BOOK)
    assert (verdict.cost.nano_usd, verdict.cost.source) == (5, "provider")


@pytest.mark.parametrize("kind", ["reprice", "reread"])
def test_parts_survive_being_stored_and_are_priced_again_to_the_same(tmp_path: Path, kind: Kind) -> None:
    store = SqliteStore(tmp_path / "records.db")
    try:
        store.write([message(ITERATIONS)], {})
        before = whole_row(store)
        reviser = Reviser(BOOK, Config(), Interpreter(BOOK, Config(), Bills(store.bills)))
        job = store.jobs.start(Task(kind=kind), "job")
        store.jobs.add(job, 0)
        while not job.is_over:
            job, _ = run_slice(job, store.jobs, reviser, 1)
        assert whole_row(store) == before
        (difference,) = store.jobs.differences("job")
        assert (difference.requests, difference.changed) == (1, 0)
        assert difference.before_nano_usd == difference.after_nano_usd == ITERATIONS_NANO_USD
    finally:
        store.close()


def whole_row(store: SqliteStore) -> tuple[Any, ...]:
    return tuple(next(iter(store._connection.execute("SELECT * FROM exchanges"))))


def tokens(count: int) -> Usage:
    return Usage.from_totals(input_tokens=count, output_tokens=0)
