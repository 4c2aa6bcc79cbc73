"""Servers that speak like OpenAI, each with a habit of its own: what is read of the captures that show it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy import wire
from proxy.records import Exchange, Reading
from proxy.wire.sse import Event, SseParser
from tests.wire.coders import CODINGS, pack
from tests.wire.exchanges import CAPTURES, captured, delta, make_exchange, sse

WIRES = {"gemini": "gemini", "ollama": "ollama"}
PROVIDERS = {"xai": "x-ai", "gemini": "google", "vllm": None, "llamacpp": None, "lmstudio": None, "ollama": None}
SERVERS = (
    *("groq", "deepseek", "mistral", "openrouter", "xai", "together", "fireworks", "perplexity", "cerebras"),
    *("vllm", "llamacpp", "lmstudio", "gemini", "ollama"),
)
NAMES = sorted(
    name
    for path in CAPTURES.glob("*.response.http")
    if (name := path.name.removesuffix(".response.http")).startswith(SERVERS)
    # Not the captures of WebSockets.
    and not path.read_bytes().startswith(b"HTTP/1.1 101")
)
STREAMS = [name for name in NAMES if b"event-stream" in (CAPTURES / f"{name}.response.http").read_bytes()]


def capture(name: str, **changes: Any) -> Exchange:
    server = name.partition("_")[0]
    return captured(name, **{"wire": WIRES.get(server, "openai"), "provider": PROVIDERS.get(server, server)} | changes)


def read(name: str) -> Reading:
    return wire.read(capture(name))


def totals(reading: Reading) -> tuple[int | None, int | None]:
    assert reading.usage is not None
    return reading.usage.input_tokens, reading.usage.output_tokens


@pytest.mark.parametrize("name", NAMES)
def test_nothing_of_a_capture_is_lost(name: str) -> None:
    assert read(name).problems == ()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("coding", CODINGS)
def test_a_compressed_capture_reads_as_the_plain_one(name: str, coding: str) -> None:
    plain = capture(name)
    content_type = dict(plain.end.headers)[b"Content-Type"]
    packed = make_exchange(
        plain.request.head,
        pack(coding, plain.response.head),
        path=plain.begin.path,
        wire=plain.begin.wire,
        provider=plain.begin.provider,
        status=plain.end.status,
        content_type=content_type,
        coding=coding.encode(),
    )
    assert wire.read(packed) == wire.read(plain)


@given(st.data())
def test_a_stream_has_the_same_events_however_it_was_cut(data: st.DataObject) -> None:
    body = capture(data.draw(st.sampled_from(STREAMS))).response.head
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=20)))
    assert events(body, cuts) == events(body, [])


def events(body: bytes, cuts: list[int]) -> list[Event]:
    parser, found = SseParser(), []
    for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True):
        found += parser.feed(body[start:end])
    return found + parser.close()


def test_groqs_usage_of_a_stream_stands_in_its_own_place() -> None:
    assert totals(read("groq_chat_stream")) == (120, 40)


def test_groqs_compound_systems_are_billed_model_by_model() -> None:
    charges = read("groq_compound").charges
    assert [(charge.model, charge.usage.input_tokens, charge.usage.output_tokens) for charge in charges] == [
        ("llama-3.3-70b-versatile", 300, 60),
        ("openai/gpt-oss-120b", 1000, 200),
    ]


def test_the_breakdown_of_a_streamed_compound_system_counts_as_well() -> None:
    part = {"model": "m", "usage": {"prompt_tokens": 3, "completion_tokens": 2}}
    groq = {
        "usage": {"prompt_tokens": 3, "completion_tokens": 2},
        "usage_breakdown": {"models": [part, {"model": "odd"}]},
    }
    reading = wire.read(
        make_exchange({"stream": True}, sse(delta({}, finish_reason="stop", x_groq=groq)), provider="groq")
    )
    assert [(charge.model, charge.usage.output_tokens) for charge in reading.charges] == [("m", 2)]


def test_blank_lines_before_an_answer_are_no_part_of_it() -> None:
    """Case 36, at the reader."""
    exchange = capture("deepseek_chat")
    assert exchange.response.head.startswith(b"\n\n\n{")
    assert totals(wire.read(exchange)) == (100, 20)


@pytest.mark.parametrize(("name", "expected"), [("deepseek_chat_stream", (10, 30)), ("vllm_chat_stream", (31, 3))])
def test_usage_beside_choices_counts_once_and_the_last_time(name: str, expected: tuple[int, int]) -> None:
    """Case 25, at the reader: DeepSeek's on the chunk that finishes, vLLM's on every chunk."""
    assert totals(read(name)) == expected


@pytest.mark.parametrize("name", ["deepseek_chat_stream", "openrouter_chat_stream"])
def test_comments_are_no_token(name: str) -> None:
    exchange = capture(name)
    body = exchange.response.head
    offset = wire.read(exchange).first_token_offset
    assert body.startswith(b": ")
    assert offset is not None
    assert any(text in body[:offset] for text in (b'"Hm."', b'"Hello."'))


def test_mistrals_refusal_is_a_list_of_details() -> None:
    reading = read("mistral_refused")
    assert (reading.error_type, reading.error_message) == ("extra_forbidden", "Extra inputs are not permitted")


def test_mistrals_tier_stands_in_the_usage() -> None:
    assert read("mistral_chat_stream").service_tier == "standard"


def test_openrouter_says_what_it_charges() -> None:
    usage = read("openrouter_chat_stream").usage
    assert usage is not None
    assert (usage.reported_cost_nano_usd, usage.web_searches) == (950_000, 1)


def test_openrouter_fails_in_the_middle_of_a_stream() -> None:
    reading = read("openrouter_error_stream")
    assert (reading.error_type, reading.error_message) == ("502", "Provider disconnected")
    assert (reading.output_text, reading.finish_reasons) == ("Hel", ("error",))


def test_xai_counts_reasoning_apart_and_its_ticks_are_money() -> None:
    assert totals(read("xai_chat")) == (100, 350)
    usage = read("xai_chat_stream").usage
    assert usage is not None
    assert (usage.output_tokens, usage.reported_cost_nano_usd, usage.tool_calls) == (350, 5_460_000, 3)


def test_a_large_sum_of_ticks_is_money_too() -> None:
    usage = wire.read(
        make_exchange(
            {},
            {"usage": {"prompt_tokens": 1, "completion_tokens": 1, "cost_in_usd_ticks": 5 * 10**12}},
            provider="x-ai",
        )
    ).usage
    assert usage is not None
    assert usage.reported_cost_nano_usd == 500 * 10**9


def test_together_says_no_more_than_the_totals() -> None:
    reading = read("together_chat_stream")
    assert totals(reading) == (100, 50)
    assert reading.usage is not None
    assert reading.usage.cached_input_tokens is None


def test_fireworks_headers_stand_in_for_a_usage_that_is_missing() -> None:
    headers = ((b"Fireworks-Prompt-Tokens", b"100"), (b"fireworks-cached-prompt-tokens", b"30"))
    usage = wire.read(with_headers(sse(delta({"content": "Hi"}, finish_reason="stop")), *headers)).usage
    assert usage is not None
    assert (usage.input_uncached, usage.cache_read, usage.output_tokens) == (70, 30, None)
    assert wire.read(with_headers(sse(delta({})), (b"fireworks-prompt-tokens", b"9" * 40))).usage is None


def with_headers(body: bytes, *headers: tuple[bytes, bytes]) -> Exchange:
    made = make_exchange({"stream": True}, body, provider="fireworks")
    lines = b"".join(b"%b: %b\r\n" % header for header in headers)
    fields = {name: getattr(made.end, name) for name in made.end.__struct_fields__}
    end = type(made.end)(**fields | {"head": made.end.head + lines})
    return Exchange(made.begin, end, made.request, made.response, made.timeline)


def test_perplexity_says_what_it_charges() -> None:
    usage = read("perplexity_chat").usage
    assert usage is not None
    assert usage.reported_cost_nano_usd == 5_114_000


def test_cerebras_has_times_beside_its_usage() -> None:
    assert totals(read("cerebras_chat")) == (100, 50)


def test_vllms_old_error_is_not_wrapped() -> None:
    reading = read("vllm_refused")
    assert (reading.error_type, reading.error_message) == ("NotFoundError", "The model `x` does not exist.")


def test_llamacpps_timings_stand_in_for_a_usage_that_is_missing() -> None:
    reading = read("llamacpp_chat_stream")
    assert totals(reading) == (31, 3)
    assert reading.usage is not None
    assert reading.usage.cache_read == 20
    assert b"predicted_n" in (reading.usage_raw or b"")


@pytest.mark.parametrize("timings", [{}, {"prompt_n": -1}, {"prompt_n": "x", "predicted_n": None}, [], 7, "t"])
def test_timings_that_say_nothing_are_no_usage(timings: Any) -> None:
    assert wire.read(make_exchange({}, {"choices": [], "timings": timings}, provider=None)).usage is None


def test_a_usage_counts_before_timings() -> None:
    body = {
        "choices": [],
        "usage": {"prompt_tokens": 5, "completion_tokens": 1},
        "timings": {"prompt_n": 99, "predicted_n": 9},
    }
    assert totals(wire.read(make_exchange({}, body, provider=None))) == (5, 1)


def test_lm_studio_has_stats_beside_its_usage() -> None:
    reading = read("lmstudio_chat")
    assert totals(reading) == (24, 53)
    assert reading.usage is not None
    assert reading.usage.reasoning_tokens == 40


@pytest.mark.parametrize(
    ("usage", "provider", "output", "reasoning"),
    [
        ({"prompt_tokens": 20, "completion_tokens": 10, "total_tokens": 130}, "google", 110, 100),
        ({"prompt_tokens": 20, "completion_tokens": 10, "total_tokens": 30}, "google", 10, None),
        ({"prompt_tokens": 20, "completion_tokens": 10}, "google", 10, None),
        ({"prompt_tokens": 20, "completion_tokens": 10, "total_tokens": 130}, "openai", 10, None),
    ],
)
def test_googles_thoughts_may_stand_in_the_total_alone(
    usage: dict[str, int], provider: str, output: int, reasoning: int | None
) -> None:
    reading = wire.read(make_exchange({}, {"choices": [], "usage": usage}, provider=provider, wire="gemini"))
    assert reading.usage is not None
    assert (reading.usage.output_tokens, reading.usage.reasoning_tokens) == (output, reasoning)


def test_a_breakdown_that_lacks_a_part_is_not_priced_as_the_whole() -> None:
    parts = [{"model": "m", "usage": {"prompt_tokens": 3, "completion_tokens": 2}}, {"model": "odd"}]
    answer = {"usage": {"prompt_tokens": 9, "completion_tokens": 4}, "usage_breakdown": {"models": parts}}
    reading = wire.read(make_exchange({}, answer, provider="groq"))
    assert reading.charges == ()
    assert reading.usage is not None
    assert (reading.usage.input_tokens, reading.usage.output_tokens) == (9, 4)
