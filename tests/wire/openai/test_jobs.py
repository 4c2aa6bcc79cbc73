"""What goes on after the answer is pending; whoever sees its end reads what it consumed, under the id of the job."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pricing import Usage
from proxy.records import Reading, ToolCall
from proxy.wire import read
from tests.wire.exchanges import make_exchange
from tests.wire.openai.forms import form, form_exchange

USAGE = {
    "input_tokens": 1000,
    "input_tokens_details": {"cached_tokens": 200},
    "output_tokens": 500,
    "output_tokens_details": {"reasoning_tokens": 100},
    "total_tokens": 1500,
}
RUN = {"id": "run_1", "object": "thread.run", "model": "gpt-4o", "usage": None}


def get(path: str, response: dict[str, Any] | bytes, **more: Any) -> Reading:
    return read(make_exchange(b"", response, path=path, method="GET", **more))


def test_a_batch_is_pending_until_its_object_says_what_all_its_lines_consumed() -> None:
    batch = {"id": "batch_1", "object": "batch", "endpoint": "/v1/chat/completions", "status": "validating"}
    begun = read(make_exchange({"input_file_id": "f"}, batch, path="/batches"))
    assert (begun.is_pending, begun.response_id, begun.usage) == (True, "batch_1", None)
    ended = batch | {"status": "completed", "usage": USAGE, "model": "gpt-5-2025-08-07"}
    done = get("/v1/batches/batch_1", ended)
    assert (done.billing_id, done.processing, done.model) == ("batch_1", "batch", "gpt-5-2025-08-07")
    assert done.usage is not None
    assert (done.usage.input_tokens, done.usage.cached_input_tokens, done.usage.reasoning_tokens) == (1000, 200, 100)
    assert get("/v1/batches", {"object": "list", "data": [ended]}).usage is None


@pytest.mark.parametrize("status", ["cancelled", "expired", "failed"])
def test_a_batch_that_ended_badly_is_billed_for_the_lines_it_did(status: str) -> None:
    reading = get("/v1/batches/b", {"id": "b", "object": "batch", "status": status, "usage": USAGE})
    assert (reading.billing_id, reading.usage is not None) == ("b", True)


def test_a_batch_without_usage_is_unknown() -> None:
    reading = get("/v1/batches/b", {"id": "b", "object": "batch", "status": "completed"})
    assert (reading.usage, reading.billing_id) == (None, "b")


def test_the_lines_of_a_batch_are_never_priced_again() -> None:
    line = {"custom_id": "1", "response": {"status_code": 200, "body": {"model": "gpt-5-mini", "usage": USAGE}}}
    failed = {"custom_id": "0", "response": {"status_code": 400, "body": {"error": {}}}}
    body = b"\n".join(json.dumps(each).encode() for each in (failed, line, line))
    reading = get("/v1/files/file-1/content", body, content_type=b"application/octet-stream")
    assert (reading.usage, reading.charges, reading.billing_id) == (None, (), None)
    assert (reading.model, reading.processing) == ("gpt-5-mini", "batch")


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n{", b'{"a":1}\n{"b":2}', b"{" * 5000, b'{"custom_id"'])
def test_any_other_file_is_left_alone(content: bytes) -> None:
    reading = get("/v1/files/file-1/content", content, content_type=b"application/octet-stream")
    assert (reading.model, reading.usage, reading.problems) == (None, None, ())


def test_a_video_is_billed_by_its_seconds_when_somebody_sees_it_completed() -> None:
    video = {"id": "video_1", "object": "video", "model": "sora-2", "seconds": "8", "size": "1280x720", "progress": 0}
    request = form(("prompt", "a cat"), ("model", "sora-2"), ("seconds", "8"))
    begun = read(form_exchange("/v1/videos", request, video | {"status": "queued"}))
    assert (begun.is_pending, begun.usage, begun.input_text) == (True, None, "a cat")
    done = get("/v1/videos/video_1", video | {"status": "completed"})
    (charge,) = done.charges
    assert (charge.usage.video_ms, charge.variant, charge.id) == (8000, "1280x720", "video_1")
    failed = get("/v1/videos/video_1", video | {"status": "failed", "error": {"code": "moderation", "message": "no"}})
    assert (failed.is_pending, failed.usage, failed.error_type) == (False, Usage(video_ms=0), "moderation")


def test_a_run_is_billed_once_under_its_id() -> None:
    begun = read(make_exchange({"assistant_id": "a"}, RUN | {"status": "queued"}, path="/threads/t/runs"))
    assert (begun.endpoint, begun.is_pending, begun.usage) == ("runs", True, None)
    usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
    done = get("/v1/threads/t/runs/run_1", RUN | {"status": "completed", "usage": usage})
    assert (done.billing_id, done.is_pending, done.model) == ("run_1", False, "gpt-4o")
    assert done.usage is not None
    assert done.usage.input_tokens == 100


def test_a_run_that_waits_for_tools_is_pending_and_shows_its_calls() -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    action = {"type": "submit_tool_outputs", "submit_tool_outputs": {"tool_calls": [call]}}
    reading = get("/v1/threads/t/runs/r", RUN | {"status": "requires_action", "required_action": action})
    assert reading.is_pending is True
    assert reading.tool_calls == (ToolCall(0, "f", "{}", "call_1"),)


def event(name: str, data: dict[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


def test_a_run_streams_its_message_and_ends_with_its_usage() -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
    begun = event("thread.run.created", RUN | {"status": "queued"})
    said = event("thread.message.delta", {"delta": {"content": [{"index": 0, "text": {"value": "Hi"}}]}})
    step = event("thread.run.step.completed", {"id": "step_1", "status": "completed", "usage": {"prompt_tokens": 1}})
    ended = event("thread.run.completed", RUN | {"status": "completed", "usage": usage})
    body = begun + said + said + step + ended + b"event: done\ndata: [DONE]\n\n"
    reading = read(make_exchange({"assistant_id": "a", "stream": True}, body, path="/threads/runs"))
    assert (reading.output_text, reading.has_ended, reading.billing_id) == ("HiHi", True, "run_1")
    assert (reading.first_token_offset, reading.last_token_offset) == (len(begun + said), len(begun + said + said))
    assert reading.usage is not None
    assert reading.usage.output_tokens == 20


def test_an_evaluation_says_what_each_model_consumed() -> None:
    run = {"id": "evalrun_1", "object": "eval.run", "eval_id": "e", "model": "gpt-5"}
    begun = read(make_exchange({"name": "n"}, run | {"status": "queued"}, path="/evals/e/runs"))
    assert (begun.is_pending, begun.usage) == (True, None)
    used = [
        {"model_name": name, "prompt_tokens": 10, "completion_tokens": 5, "cached_tokens": 4} for name in ("a", "b")
    ]
    done = get("/v1/evals/e/runs/evalrun_1", run | {"status": "completed", "per_model_usage": used})
    assert ([charge.model for charge in done.charges], done.billing_id) == (["a", "b"], "evalrun_1")
    assert done.usage is not None
    assert (done.usage.input_tokens, done.usage.cache_read) == (20, 8)


def test_a_fine_tuning_job_says_how_it_stands() -> None:
    job = {"id": "ftjob-1", "object": "fine_tuning.job", "model": "gpt-4o-mini-2024-07-18", "trained_tokens": None}
    begun = read(make_exchange({"model": "gpt-4o-mini"}, job | {"status": "queued"}, path="/fine_tuning/jobs"))
    assert (begun.is_pending, begun.model_requested, begun.finish_reasons) == (True, "gpt-4o-mini", ("queued",))
    error = {"code": "exceeded_quota", "message": "no", "param": None}
    failed = get("/v1/fine_tuning/jobs/ftjob-1", job | {"status": "failed", "error": error})
    assert (failed.is_pending, failed.error_type, failed.usage) == (False, "exceeded_quota", None)


def test_a_container_is_billed_once_whoever_makes_it() -> None:
    made = read(
        make_exchange({"name": "c"}, {"id": "cntr_1", "object": "container", "memory_limit": "4g"}, path="/containers")
    )
    call = {"type": "code_interpreter_call", "container_id": "cntr_1"}
    tools = [{"type": "code_interpreter", "container": {"type": "auto", "memory_limit": "4g"}}]
    answer = {"id": "resp_1", "output": [call, call], "tools": tools, "usage": USAGE, "status": "completed"}
    used = read(make_exchange({"model": "gpt-5"}, answer, path="/responses"))
    for charge in (made.charges[0], used.charges[1]):
        assert (charge.id, charge.variant, charge.usage.containers) == ("cntr_1", "4g", 1)
    assert len(used.charges) == 2


def test_an_agents_turns_are_billed_once_each() -> None:
    session = {"id": "sess_1", "object": "agent.session", "agent": {"model": "gpt-5.6"}, "status": "idle"}
    delta = {"type": "agent.session.turn.output_text.delta", "delta": "Hi", "turn_id": "turn_1"}
    ended = {"type": "agent.session.turn.completed", "turn_id": "turn_1", "session_id": "sess_1", "usage": USAGE}
    created: dict[str, Any] = {"type": "agent.session.created", "session": session}
    events: list[dict[str, Any]] = [created, delta, ended, ended | {"turn_id": "turn_2"}]
    body = b"".join(event(str(each["type"]), each) for each in events)
    reading = get("/v1/agents/sessions/sess_1/events", body)
    assert [charge.id for charge in reading.charges] == ["turn_1", "turn_2"]
    assert (reading.model, reading.output_text, reading.has_ended) == ("gpt-5.6", "Hi", True)
    assert reading.usage is not None
    assert reading.usage.input_tokens == 2000
    begun = read(make_exchange({}, session, path="/agents/sessions"))
    assert (begun.is_pending, begun.usage, begun.response_id) == (True, None, "sess_1")


def test_a_moderation_is_free_and_says_what_it_judged() -> None:
    answer = {"id": "modr-1", "model": "omni-moderation-latest", "results": [{"flagged": True}, {"flagged": False}]}
    reading = read(make_exchange({"input": ["bad", "good"]}, answer, path="/moderations"))
    assert (reading.finish_reasons, reading.input_text) == (("flagged", "passed"), "bad\ngood")
    assert reading.usage is None


def test_a_stored_chat_completion_shows_an_earlier_usage_that_is_not_read() -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    reading = get("/v1/chat/completions/chatcmpl-1", {"id": "chatcmpl-1", "choices": [], "usage": usage})
    assert (reading.endpoint, reading.usage) == ("chat_stored", None)


def test_a_background_response_is_billed_by_who_first_sees_its_end() -> None:
    response = {"id": "resp_1", "object": "response", "model": "gpt-5", "background": True, "usage": None}
    begun = read(make_exchange({"background": True}, response | {"status": "queued"}, path="/responses"))
    assert (begun.is_pending, begun.usage, begun.billing_id) == (True, None, "resp_1")
    polled = get("/v1/responses/resp_1", response | {"status": "in_progress"})
    assert (polled.usage, polled.charges, polled.is_pending) == (None, (), False)
    tools = {"image_gen": {"input_tokens": 10, "output_tokens": 900}}
    done = get("/v1/responses/resp_1", response | {"status": "completed", "usage": USAGE, "tool_usage": tools})
    assert (done.billing_id, len(done.charges)) == ("resp_1", 2)


def test_the_stream_of_a_background_response_may_be_resumed_and_then_has_the_usage() -> None:
    response = {"id": "resp_1", "model": "gpt-5", "background": True, "status": "completed", "usage": USAGE}
    body = event("response.output_text.delta", {"type": "response.output_text.delta", "delta": "b"})
    body += event("response.completed", {"type": "response.completed", "response": response})
    resumed = get("/v1/responses/resp_1?stream=true&starting_after=7", body)
    assert (resumed.is_streaming, resumed.has_ended, resumed.billing_id) == (True, True, "resp_1")
    assert resumed.usage is not None
    begun = event(
        "response.queued", {"type": "response.queued", "response": response | {"status": "queued", "usage": None}}
    )
    left = read(make_exchange({"background": True, "stream": True}, begun, path="/responses"))
    assert (left.is_pending, left.usage) == (True, None)
    nothing = read(make_exchange({"background": True, "stream": True}, b": keep-alive\n\n", path="/responses"))
    assert nothing.is_pending is True


@pytest.mark.parametrize(
    ("provider", "request_store", "response_store", "is_kept"),
    [
        ("openai", None, None, True),
        ("openai", None, True, True),
        ("openai", False, False, False),
        ("openai", False, None, False),
        ("vllm", None, None, False),
        (None, None, None, False),
        (None, True, True, True),
    ],
)
def test_only_a_response_that_is_kept_is_billed_under_its_id(
    provider: str | None, request_store: bool | None, response_store: bool | None, is_kept: bool
) -> None:
    response = {"id": "resp_1", "status": "completed", "store": response_store, "usage": USAGE}
    reading = read(make_exchange({"store": request_store}, response, path="/responses", provider=provider))
    assert reading.billing_id == ("resp_1" if is_kept else None)
    assert reading.usage is not None
