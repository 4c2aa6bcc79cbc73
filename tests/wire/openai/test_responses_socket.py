from __future__ import annotations

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pricing import Usage
from proxy.records import Charge, Reading
from proxy.wire import read
from tests.wire.sessions import GOODBYE, Said, make_session, wire_of

PATH = "/responses"


def usage(n: int) -> dict[str, Any]:
    details = {"input_tokens_details": {"cached_tokens": n}, "output_tokens_details": {"reasoning_tokens": 1}}
    return {"input_tokens": 10 + n, "output_tokens": 5, "total_tokens": 15 + n, **details}


def buckets(n: int) -> Usage:
    return Usage(input_uncached=10, cache_read=n, output_text=4, output_reasoning=1)


def create(n: int, lane: str | None = None, **more: Any) -> dict[str, Any]:
    named = {} if lane is None else {"stream_id": lane}
    return {"type": "response.create", "model": f"gpt-{n}", "input": f"question {n}", **named} | more


def answer(n: int, lane: str | None = None, **more: Any) -> list[Said]:
    """Return the events of one response."""
    named = {} if lane is None else {"stream_id": lane}
    response: dict[str, Any] = {"id": f"resp_{n}", "object": "response", "model": f"gpt-{n}-2026", "store": True} | more
    message = {"type": "message", "id": "m", "content": [{"type": "output_text", "text": f"answer {n}"}]}
    whole = response | {"status": "completed", "output": [message], "usage": usage(n)} | more
    return [
        {"type": "response.created", "response": response | {"status": "in_progress", "usage": None}, **named},
        {"type": "response.output_text.delta", "output_index": 0, "delta": f"answer {n}", **named},
        {"type": "response.completed", "response": whole, **named},
    ]


def read_session(asked: list[Said], said: list[Said], **more: Any) -> Reading:
    return read(make_session(asked, said, path=PATH, **more))


def test_one_response_after_the_other_is_billed_each_under_its_id() -> None:
    reading = read_session([create(1), create(2)], [*answer(1), *answer(2), GOODBYE])
    assert reading.charges == (
        Charge(usage=buckets(1), model="gpt-1-2026", id="resp_1"),
        Charge(usage=buckets(2), model="gpt-2-2026", id="resp_2"),
    )
    assert reading.usage == Usage.total([buckets(1), buckets(2)])
    assert (reading.input_text, reading.output_text) == ("question 1\nquestion 2", "answer 1\nanswer 2")
    assert reading.finish_reasons == ("completed", "completed")
    assert (reading.endpoint, reading.model_requested, reading.problems) == ("responses_socket", "gpt-1", ())


@given(st.integers(0, 2**32), st.integers(2, 6))
def test_however_the_lanes_are_mixed_the_responses_are_the_same(seed: int, lanes: int) -> None:
    chance = random.Random(seed)
    waiting = [answer(n, f"lane-{n}") + answer(n + 10, f"lane-{n}") for n in range(lanes)]
    said: list[Said] = []
    while any(waiting):
        said.append(chance.choice([lane for lane in waiting if lane]).pop(0))
    asked: list[Said] = [create(m, f"lane-{n}") for n in range(lanes) for m in (n, n + 10)]
    reading = read_session(asked, said)
    expected = {f"resp_{m}": (f"gpt-{m}-2026", buckets(m)) for n in range(lanes) for m in (n, n + 10)}
    assert {charge.id: (charge.model, charge.usage) for charge in reading.charges} == expected
    assert sorted((reading.output_text or "").split("\n")) == sorted(f"answer {id_[5:]}" for id_ in expected)


def test_the_first_token_is_the_first_delta_of_any_lane() -> None:
    first, second = answer(1, "a"), answer(2, "b")
    said = [first[0], second[0], second[1], first[1], first[2], second[2]]
    reading = read_session([], said)
    assert reading.first_token_offset == len(wire_of(said[:3]))
    assert reading.last_token_offset == len(wire_of(said[:4]))


def test_a_response_that_the_provider_does_not_keep_has_no_id_to_be_billed_under() -> None:
    reading = read_session([create(1, store=False)], answer(1, store=False))
    assert [(charge.id, charge.model) for charge in reading.charges] == [(None, "gpt-1-2026")]
    assert reading.response_id == "resp_1"


def test_background_work_is_billed_when_it_is_read_later() -> None:
    queued: list[Said] = [
        {
            "type": "response.created",
            "response": {"id": "resp_1", "status": "queued", "background": True, "usage": None},
        },
    ]
    reading = read_session([create(1, background=True)], queued)
    assert (reading.is_pending, reading.charges, reading.usage is None) == (True, (), False)


def test_a_request_refused_with_an_error_event_costs_nothing() -> None:
    error = {
        "type": "error",
        "status": 404,
        "error": {"type": "invalid_request_error", "code": "model_not_found", "message": "No"},
    }
    reading = read_session([create(1)], [error])
    assert (reading.error_type, reading.error_message, reading.problems) == ("model_not_found", "No", ())
    assert reading.usage is not None
    assert reading.usage.input_tokens == 0


def test_a_response_that_was_cut_off_leaves_the_session_unaccounted() -> None:
    reading = read_session([create(1), create(2)], [*answer(1), *answer(2)[:2]])
    assert [charge.id for charge in reading.charges] == ["resp_1"]
    assert reading.problems == ("response_unfinished",)
    assert reading.output_text == "answer 1\nanswer 2"


LONG: list[Said] = [event for n in range(9) for event in answer(n, metadata={"padding": "x" * 2000})]


@given(st.integers(0, len(wire_of(LONG))))
def test_wherever_the_capture_ends_every_response_is_billed_once(limit: int) -> None:
    reading = read_session([], LONG, limit=limit)
    assert [charge.id for charge in reading.charges] == [f"resp_{n}" for n in range(9)]
    assert [charge.usage for charge in reading.charges] == [buckets(n) for n in range(9)]


def test_a_long_answer_beyond_the_limit_is_billed_from_both_its_ends() -> None:
    text = [{"type": "message", "id": "m", "content": [{"type": "output_text", "text": "long " * 50_000}]}]
    said = answer(1, "lane", output=text, tool_usage={"image_gen": {"input_tokens": 7, "output_tokens": 9}})
    reading = read_session([], [*answer(2), *said], limit=len(wire_of(answer(2))))
    assert [(charge.id, charge.model) for charge in reading.charges] == [
        ("resp_2", "gpt-2-2026"), ("resp_1", "gpt-1-2026"), ("resp_1", "image_generation"),
    ]  # fmt: skip
    assert reading.charges[1].usage == buckets(1)


def test_a_session_without_a_response_consumed_nothing() -> None:
    reading = read_session([], [GOODBYE])
    assert reading.usage is not None
    assert (reading.usage.input_tokens, reading.charges) == (0, ())


@given(st.binary(max_size=200), st.integers(0, len(wire_of(LONG))))
def test_bytes_in_the_middle_of_a_session_never_raise(data: bytes, at: int) -> None:
    wire = wire_of(LONG)
    assert "reader" not in read_session([data], [wire[:at] + data + wire[at:]]).problems


def test_a_sandbox_that_several_responses_run_code_in_is_billed_once() -> None:
    ran = [{"type": "code_interpreter_call", "container_id": "cntr_1"}]
    finished: list[Said] = [
        {
            "type": "response.completed",
            "response": {"id": f"resp_{n}", "status": "completed", "output": ran, "usage": usage(n), "store": True},
        }
        for n in (1, 2)
    ]
    reading = read_session([], [*finished, GOODBYE])
    assert [charge.id for charge in reading.charges] == ["resp_1", "cntr_1", "resp_2"]
    assert reading.usage is not None
    assert reading.usage.containers == 1
