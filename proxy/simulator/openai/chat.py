"""The wire of POST /v1/chat/completions.

Shapes from OpenAI's streams: a role-only first delta, one delta per token, a delta with the finish reason,
with `include_usage` a chunk without choices that carries the usage (and `usage: null` on all others), then `[DONE]`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from zlib import crc32

import msgspec

from proxy.simulator.answer import CREATED, Answer, Choice, ToolCall, Usage, joined
from proxy.simulator.openai.errors import stream_error
from proxy.simulator.reply import Event

DONE = Event(b"data: [DONE]\n\n")
_PADDING = b"mU3xQ9bTzK5wYc1N"
"""OpenAI pads deltas to a near-constant size against traffic analysis, in a field named `obfuscation`."""
_encode = msgspec.json.encode


def chat_body(answer: Answer) -> bytes:
    """Return the body of a response that is not streamed."""
    body = _envelope(answer, "chat.completion")
    body["choices"] = [
        {
            "index": index,
            "message": _message(choice),
            "logprobs": None,
            "finish_reason": choice.finish_reason,
        }
        for index, choice in enumerate(answer.choices)
    ]
    if answer.shows_usage:
        body["usage"] = usage_object(answer.usage)
    return _encode(body)


def chat_events(answer: Answer, *, includes_usage: bool, is_padded: bool = True) -> Iterator[Event]:
    """Yield the events of a streamed response; alternatives take turns, delta by delta."""
    deltas = _Deltas(answer, includes_usage=includes_usage, is_padded=is_padded)
    alternatives = [deltas.of_choice(index, choice) for index, choice in enumerate(answer.choices)]
    for turn in zip_longest(*alternatives):
        yield from (event for event in turn if event is not None)
    if includes_usage and answer.shows_usage:
        yield _usage_event(answer)
    yield DONE


def chat_failure(_written: int) -> bytes:
    """Return the event that reports a failure in the middle of a stream."""
    return b"data: " + _encode({"error": stream_error()}) + b"\n\n"


def usage_object(usage: Usage) -> dict[str, object]:
    """Return the usage as chat and completions report it."""
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def fingerprint(answer: Answer) -> str:
    """Return the system fingerprint: the same for every answer of a model."""
    return f"fp_{crc32(answer.model.encode()):010x}"


class _Deltas:
    """Spells the deltas of one answer; what all chunks share is encoded once."""

    def __init__(self, answer: Answer, *, includes_usage: bool, is_padded: bool) -> None:
        shared = _encode(_envelope(answer, "chat.completion.chunk"))
        self._head = b"data: " + shared[:-1] + b',"choices":[{"index":'
        self._is_padded = is_padded
        self._tail = b',"usage":null' if includes_usage and answer.shows_usage else b""

    def of_choice(self, index: int, choice: Choice) -> Iterator[Event]:
        """Yield the events of one alternative."""
        opening: dict[str, object] = {
            "role": "assistant",
            "content": None if choice.tool_calls else "",
            "refusal": None,
        }
        yield self._event(index, _encode(opening))
        if choice.hidden_reasoning:
            yield Event(b"", choice.hidden_reasoning, choice.hidden_reasoning)
        for text, tokens in choice.reasoning:
            yield self._event(index, b'{"reasoning_content":' + _encode(text) + b"}", tokens, tokens, len(text))
        for text, tokens in choice.content:
            yield self._event(index, b'{"content":' + _encode(text) + b"}", tokens, shown=len(text))
        for position, call in enumerate(choice.tool_calls):
            yield from self._of_call(index, position, call)
        yield self._event(index, b"{}", finish=choice.finish_reason)

    def _of_call(self, index: int, position: int, call: ToolCall) -> Iterator[Event]:
        opening = {**_call_object(call, ""), "index": position}
        yield self._event(index, _encode({"tool_calls": [opening]}), call.name_tokens)
        for text, tokens in call.pieces:
            delta = {"tool_calls": [{"index": position, "function": {"arguments": text}}]}
            yield self._event(index, _encode(delta), tokens, shown=len(text))

    def _event(
        self, index: int, delta: bytes, tokens: int = 0, reasoning: int = 0, shown: int = 0, finish: str | None = None
    ) -> Event:
        data = b'%b%d,"delta":%b,"logprobs":null,"finish_reason":%b}]%b%b}\n\n' % (
            self._head,
            index,
            delta,
            _encode(finish),
            self._tail,
            b',"obfuscation":"%b"' % _PADDING[shown % 16 :] if self._is_padded else b"",
        )
        return Event(data, tokens, reasoning)


def _envelope(answer: Answer, kind: str) -> dict[str, object]:
    return {
        "id": f"chatcmpl-{answer.identity[:29]}",
        "object": kind,
        "created": CREATED,
        "model": answer.model,
        "service_tier": answer.tier,
        "system_fingerprint": fingerprint(answer),
    }


def _message(choice: Choice) -> dict[str, object]:
    message: dict[str, object] = {
        "role": "assistant",
        "content": None if choice.tool_calls else joined(choice.content),
        "refusal": None,
        "annotations": [],
    }
    if choice.reasoning:
        message["reasoning_content"] = joined(choice.reasoning)
    if choice.tool_calls:
        message["tool_calls"] = [_call_object(call, call.arguments) for call in choice.tool_calls]
    return message


def _call_object(call: ToolCall, arguments: str) -> dict[str, object]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _usage_event(answer: Answer) -> Event:
    chunk = _envelope(answer, "chat.completion.chunk") | {"choices": [], "usage": usage_object(answer.usage)}
    return Event(b"data: " + _encode(chunk) + b"\n\n")
