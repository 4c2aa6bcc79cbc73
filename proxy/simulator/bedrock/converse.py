"""The wire of Converse and ConverseStream, which Amazon's own models also speak by themselves.

Shapes from the service model of botocore 1.44, 2026-11.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from proxy.simulator.answer import Answer, Choice, Piece, ToolCall, Usage, joined

Fields = dict[str, object]

_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
_SIGNATURE = "c2lnbmVkIGJ5IHRoZSBzaW11bGF0b3I="
_METRICS: Mapping[str, object] = {"latencyMs": 1}


def converse_body(answer: Answer) -> Fields:
    """Return a whole answer."""
    [choice] = answer.choices
    said: Fields = {
        "metrics": _METRICS,
        "output": {"message": {"role": "assistant", "content": [*_blocks(choice)]}},
        "stopReason": stop_reason(choice),
        "serviceTier": {"type": answer.tier},
    }
    return said | ({"usage": usage_object(answer.usage)} if answer.shows_usage else {})


def converse_payloads(answer: Answer) -> Iterator[tuple[str, Fields, int, int]]:
    """Yield name and payload of each event, the tokens generated for it, and those of them that are reasoning."""
    [choice] = answer.choices
    yield "messageStart", {"role": "assistant"}, choice.hidden_reasoning, choice.hidden_reasoning
    for index, (opening, tokens, deltas) in enumerate(_growing_blocks(choice)):
        if opening is not None:
            yield "contentBlockStart", {"contentBlockIndex": index, "start": opening}, tokens, 0
        for delta, made in deltas:
            reasoning = made if "reasoningContent" in delta else 0
            yield "contentBlockDelta", {"contentBlockIndex": index, "delta": delta}, made, reasoning
        yield "contentBlockStop", {"contentBlockIndex": index}, 0, 0
    yield "messageStop", {"stopReason": stop_reason(choice)}, 0, 0
    usage: Fields = {"usage": usage_object(answer.usage)} if answer.shows_usage else {}
    yield "metadata", {**usage, "metrics": _METRICS, "serviceTier": {"type": answer.tier}}, 0, 0


def usage_object(usage: Usage) -> Fields:
    """Return the usage: the input without what the cache took."""
    extra = dict(usage.extra)
    written = {life: int(extra.get(f"cache_write_{life}_tokens", 0)) for life in ("1h", "5m")}
    said: Fields = {
        "inputTokens": usage.input_tokens - usage.cached_tokens - sum(written.values()),
        "outputTokens": usage.output_tokens,
        "totalTokens": usage.input_tokens + usage.output_tokens,
        "cacheReadInputTokens": usage.cached_tokens,
        "cacheWriteInputTokens": sum(written.values()),
    }
    if any(written.values()):
        said["cacheDetails"] = [{"ttl": life, "inputTokens": count} for life, count in written.items() if count]
    return said


def stop_reason(choice: Choice) -> str:
    """Return why the answer ended. A call ends it in one way, forced or not."""
    return "tool_use" if choice.tool_calls and choice.finish_reason != "length" else _REASONS[choice.finish_reason]


def arguments(call: ToolCall) -> object:
    """Return the arguments as an object; cut short by the limit they are none."""
    try:
        return msgspec.json.decode(call.arguments)
    except msgspec.DecodeError:
        return {}


def _blocks(choice: Choice) -> Iterator[Fields]:
    if choice.reasoning:
        thought = {"text": joined(choice.reasoning), "signature": _SIGNATURE}
        yield {"reasoningContent": {"reasoningText": thought}}
    if choice.content:
        yield {"text": joined(choice.content)}
    for call in choice.tool_calls:
        yield {"toolUse": {"toolUseId": _tool_id(call), "name": call.name, "input": arguments(call)}}


def _growing_blocks(choice: Choice) -> Iterator[tuple[Fields | None, int, Iterator[tuple[Fields, int]]]]:
    """Yield how a block begins, the tokens of that, and its deltas with theirs; only tools announce themselves."""
    if choice.reasoning:
        yield None, 0, _thoughts(choice.reasoning)
    if choice.content:
        yield None, 0, (({"text": piece.text}, piece.tokens) for piece in choice.content)
    for call in choice.tool_calls:
        opening: Fields = {"toolUse": {"toolUseId": _tool_id(call), "name": call.name}}
        yield opening, call.name_tokens, (({"toolUse": {"input": text}}, tokens) for text, tokens in call.pieces)


def _thoughts(pieces: tuple[Piece, ...]) -> Iterator[tuple[Fields, int]]:
    for text, tokens in pieces:
        yield {"reasoningContent": {"text": text}}, tokens
    yield {"reasoningContent": {"signature": _SIGNATURE}}, 0


def _tool_id(call: ToolCall) -> str:
    return f"tooluse_{call.id.removeprefix('call_')}"
