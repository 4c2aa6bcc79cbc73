from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from pricing import Usage
from proxy.records import Charge
from tests.wire.anthropic.messages import CASE_5, STOP, events, finish, read_message, start


def whole(usage: Any) -> Any:
    return read_message({"id": "msg_1", "type": "message", "model": "claude-sonnet-4-5", "content": [], "usage": usage})


def counts(input_tokens: int, output_tokens: int, *, read: int = 0, written: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": written,
        **more,
    }


def test_several_deltas_are_running_totals_and_never_summed() -> None:
    said = [
        start({**CASE_5, "output_tokens": 1}),
        finish({"output_tokens": 300}, None),
        finish({"output_tokens": 800}),
        STOP,
    ]
    usage = read_message(events(*said)).usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens) == (25500, 800)


def test_a_delta_replaces_what_it_says_and_keeps_the_rest() -> None:
    # Server tools add input while the answer is made; null stands for what is not said.
    later = {
        "input_tokens": 900,
        "cache_read_input_tokens": None,
        "output_tokens": 800,
        "server_tool_use": {"web_search_requests": 3},
    }
    reading = read_message(events(start({**CASE_5, "speed": "fast", "output_tokens": 1}), finish(later), STOP))
    assert reading.usage == Usage(
        input_uncached=900,
        cache_read=20000,
        cache_write_5m=3000,
        cache_write_1h=2000,
        output_text=800,
        web_searches=3,
    )
    assert (reading.service_tier, reading.speed) == ("standard", "fast")
    assert reading.usage_raw is not None
    assert reading.usage_raw.startswith(b'{"input_tokens":900,"cache_read_input_tokens":20000')


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (
            {"input_tokens": 9, "output_tokens": 7},
            Usage(input_uncached=9, cache_read=None, cache_write=None, output_text=7),
        ),
        (
            {"input_tokens": 9, "cache_creation_input_tokens": 5, "cache_read_input_tokens": 0, "output_tokens": 7},
            Usage(input_uncached=9, cache_read=0, cache_write=5, output_text=7),
        ),
        (
            counts(9, 7, written=5, cache_creation={"ephemeral_5m_input_tokens": 3}),
            Usage(input_uncached=9, cache_read=0, cache_write=2, cache_write_5m=3, cache_write_1h=None, output_text=7),
        ),
        (
            {"input_tokens": 9, "output_tokens": 7, "cache_creation": {"ephemeral_1h_input_tokens": 4}},
            Usage(input_uncached=9, cache_read=None, cache_write_5m=None, cache_write_1h=4, output_text=7),
        ),
    ],
)
def test_what_is_not_told_apart_is_still_counted(usage: dict[str, Any], expected: Usage) -> None:
    assert whole(usage).usage == expected


@pytest.mark.parametrize("odd", [-5, "9", 9.5, [], 10**30])
def test_a_count_that_is_no_number_of_tokens_is_unknown_and_not_zero(odd: Any) -> None:
    reading = whole({"input_tokens": odd, "output_tokens": 7})
    assert reading.usage.input_tokens is None
    assert reading.usage.output_tokens == 7
    assert reading.problems == ("usage.input_tokens",)


@pytest.mark.parametrize("usage", [None, [], "x", 5])
def test_no_usage_is_unknown(usage: Any) -> None:
    assert (whole(usage).usage, whole(usage).usage_raw) == (None, None)


def test_tier_speed_and_region_are_told() -> None:
    reading = whole(
        {"input_tokens": 9, "output_tokens": 7, "service_tier": "priority", "speed": "fast", "inference_geo": "us"}
    )
    assert (reading.service_tier, reading.speed, reading.region) == ("priority", "fast", "us")
    assert whole({"input_tokens": 9, "output_tokens": 7, "service_tier": "batch"}).processing == "batch"


def test_one_sampling_is_no_reason_to_charge_apart() -> None:
    turns = [{"type": "message", **counts(10, 5)}, {"type": "message", **counts(20, 6)}]
    reading = whole({**counts(30, 11), "iterations": turns})
    assert (reading.charges, reading.usage.input_tokens) == ((), 30)


def test_a_compaction_comes_on_top_of_the_totals() -> None:
    parts = [{"type": "compaction", **counts(180000, 3500)}, {"type": "message", **counts(23000, 1000)}]
    reading = whole({**counts(23000, 1000), "iterations": parts})
    assert [(each.usage.input_tokens, each.usage.output_tokens) for each in reading.charges] == [
        (23000, 1000),
        (180000, 3500),
    ]
    assert (reading.usage.input_tokens, reading.usage.output_tokens) == (203000, 4500)


@pytest.mark.parametrize("is_inside", [False, True])
def test_an_advisor_is_charged_at_its_own_model_and_once(is_inside: bool) -> None:
    own, advisor = counts(412, 89), counts(823, 612)
    parts = [{"type": "message", **own}, {"type": "advisor_message", "model": "claude-opus-4-6", **advisor}]
    totals = counts(412 + 823, 89 + 612) if is_inside else own
    reading = whole({**totals, "iterations": parts})
    assert [(each.model, each.usage.input_tokens, each.usage.output_tokens) for each in reading.charges] == [
        (None, 412, 89),
        ("claude-opus-4-6", 823, 612),
    ]
    assert (reading.usage.input_tokens, reading.usage.output_tokens) == (1235, 701)


@pytest.mark.parametrize("is_inside", [False, True])
def test_a_model_that_declined_is_charged_beside_the_one_that_answered(is_inside: bool) -> None:
    declined = {"type": "message", "model": "claude-fable-5-2", **counts(1000, 10)}
    answered = {"type": "fallback_message", "model": "claude-opus-5-5", **counts(1200, 300, read=50)}
    totals = counts(2200, 310, read=50) if is_inside else counts(1200, 300, read=50)
    details = {"output_tokens_details": {"thinking_tokens": 40}, "server_tool_use": {"web_search_requests": 1}}
    reading = whole({**totals, **details, "iterations": [declined, answered]})
    assert sorted((each.model, each.usage.input_tokens, each.usage.output_tokens) for each in reading.charges) == [
        ("claude-fable-5-2", 1000, 10),
        ("claude-opus-5-5", 1250, 300),
    ]
    [answering] = [each for each in reading.charges if each.model == "claude-opus-5-5"]
    assert (answering.usage.web_searches, answering.usage.output_reasoning) == (1, 40)
    assert (reading.usage.input_tokens, reading.usage.output_tokens, reading.usage.web_searches) == (2250, 310, 1)


def test_iterations_that_do_not_add_up_leave_the_totals_alone() -> None:
    parts = [{"type": "message", "model": "a", **counts(1, 1)}, {"type": "message", "model": "b", **counts(2, 2)}]
    reading = whole({**counts(100, 50), "iterations": [*parts, {"type": "compaction", **counts(7, 3)}]})
    assert [(each.model, each.usage.input_tokens) for each in reading.charges] == [("b", 100), (None, 7)]


COUNT = st.integers(0, 10**6)
TYPES = ["message", "fallback_message", "compaction", "advisor_message"]
ITERATION = st.fixed_dictionaries(
    {"type": st.sampled_from(TYPES), **dict.fromkeys(counts(0, 0), COUNT)},
    optional={"model": st.sampled_from(["a", "b"])},
)


@given(st.lists(ITERATION, max_size=6))
def test_however_a_request_was_sampled_every_token_is_charged_exactly_once(parts: list[dict[str, Any]]) -> None:
    inside = [part for part in parts if part["type"] in ("message", "fallback_message")]
    totals = {name: sum(part[name] for part in inside) for name in counts(0, 0)}
    reading = whole({**totals, "iterations": parts})
    charges = reading.charges or (Charge(usage=reading.usage),)
    output = sum(part["output_tokens"] for part in parts)
    everything = sum(part[name] for part in parts for name in totals)
    charged = [(each.usage.input_tokens or 0, each.usage.output_tokens or 0) for each in charges]
    assert reading.usage.output_tokens == sum(made for _, made in charged) == output
    assert reading.usage.input_tokens == sum(given for given, _ in charged) == everything - output


def test_a_fallbacks_credit_stays_in_the_raw_usage() -> None:
    reading = whole({**counts(9, 7), "fallback_credit": {"status": {"type": "redeemed"}}})
    assert reading.usage_raw is not None
    assert b"redeemed" in reading.usage_raw
    assert reading.usage.cache_write is not UNSET
