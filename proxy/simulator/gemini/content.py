"""The wire of `:generateContent` and `:streamGenerateContent`: as events, or as one array that grows.

Shapes from the types of google-genai 3.4: parts of text, thoughts (`thought: true`) and calls; a running usage with
every object of a stream; no `[DONE]`. Its SDK stumbles over comments, `event:` and `id:` lines, so there are none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import msgspec

from proxy.simulator.answer import Answer, Choice, Piece, ToolCall, Usage, joined
from proxy.simulator.gemini.errors import error_object
from proxy.simulator.reply import JSON, Event, Plain, Reply, Stream

_PIECES_PER_EVENT = 8
"""Gemini sends far fewer and longer pieces than one for each token."""
_REASONS = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP"}
_GOOGLE_SSE = "text/event-stream"
_encode = msgspec.json.encode

Frame = Callable[[int, bytes], bytes]
"""Puts an object into its place in a stream; the number tells how many came before."""


def spell(answer: Answer, *, is_streaming: bool, is_sse: bool, shows_thoughts: bool) -> Reply:
    """Put an answer on the wire."""
    if not is_streaming:
        return Plain(200, _encode(_body(answer, shows_thoughts=shows_thoughts)), answer.usage)
    prompt = replace(answer.usage, output_tokens=0, reasoning_tokens=0)
    frame = _event if is_sse else _element
    end = b"" if is_sse else b"\n]\n"
    failure = _encode({"error": error_object(503, "The model is overloaded. Please try again later.")})
    return Stream(
        _framed(answer, frame, end, shows_thoughts=shows_thoughts),
        prompt,
        lambda written: frame(written, failure) + end,
        _GOOGLE_SSE if is_sse else f"{JSON}; charset=UTF-8",
    )


def usage_object(usage: Usage) -> dict[str, object]:
    """Return the usage as Google reports it; what is zero is left out."""
    answer = usage.output_tokens - usage.reasoning_tokens
    metadata: dict[str, object] = {
        "promptTokenCount": usage.input_tokens,
        "totalTokenCount": usage.input_tokens + usage.output_tokens,
        "promptTokensDetails": _text_only(usage.input_tokens),
    }
    if answer:
        metadata["candidatesTokenCount"] = answer
    if usage.cached_tokens:
        metadata["cachedContentTokenCount"] = usage.cached_tokens
        metadata["cacheTokensDetails"] = _text_only(usage.cached_tokens)
    if usage.reasoning_tokens:
        metadata["thoughtsTokenCount"] = usage.reasoning_tokens
    return metadata


def _text_only(tokens: int) -> list[dict[str, object]]:
    return [{"modality": "TEXT", "tokenCount": tokens}]


def _body(answer: Answer, *, shows_thoughts: bool) -> dict[str, object]:
    candidates = []
    for index, choice in enumerate(answer.choices):
        parts = [_text(joined(choice.reasoning), is_thought=True)] if choice.reasoning and shows_thoughts else []
        parts += [_text(joined(choice.content))] if choice.content else []
        parts += [_call(call) for call in choice.tool_calls]
        candidates.append(_candidate(index, parts, choice.finish_reason))
    return _envelope(answer, candidates, answer.usage)


def _framed(answer: Answer, frame: Frame, end: bytes, *, shows_thoughts: bool) -> Iterator[Event]:
    used = replace(answer.usage, output_tokens=0, reasoning_tokens=0)
    written = 0
    for index, choice in enumerate(answer.choices):
        if choice.hidden_reasoning:
            used = used.plus(choice.hidden_reasoning, choice.hidden_reasoning)
            yield Event(b"", choice.hidden_reasoning, choice.hidden_reasoning)
        for parts, tokens, reasoning, finish in _steps(choice, shows_thoughts=shows_thoughts):
            used = used.plus(tokens, reasoning)
            data = _encode(_envelope(answer, [_candidate(index, parts, finish)], used))
            yield Event(frame(written, data), tokens, reasoning)
            written += 1
    if end:
        yield Event(end)


def _steps(choice: Choice, *, shows_thoughts: bool) -> Iterator[tuple[list[dict[str, object]], int, int, str | None]]:
    """Yield the parts of each event, its tokens, those of them that are reasoning, and a reason to finish."""
    for pieces in _grouped(choice.reasoning):
        tokens = sum(piece.tokens for piece in pieces)
        yield [_text(joined(pieces), is_thought=True)] if shows_thoughts else [], tokens, tokens, None
    for pieces in _grouped(choice.content):
        yield [_text(joined(pieces))], sum(piece.tokens for piece in pieces), 0, None
    for call in choice.tool_calls:
        yield [_call(call)], call.name_tokens + sum(piece.tokens for piece in call.pieces), 0, None
    yield [_text("")], 0, 0, choice.finish_reason


def _grouped(pieces: tuple[Piece, ...]) -> Iterator[tuple[Piece, ...]]:
    return (pieces[start : start + _PIECES_PER_EVENT] for start in range(0, len(pieces), _PIECES_PER_EVENT))


def _event(_written: int, data: bytes) -> bytes:
    return b"data: " + data + b"\r\n\r\n"


def _element(written: int, data: bytes) -> bytes:
    return (b",\r\n" if written else b"[") + data


def _envelope(answer: Answer, candidates: list[dict[str, object]], usage: Usage) -> dict[str, object]:
    metadata = {"usageMetadata": usage_object(usage)} if answer.shows_usage else {}
    return {"candidates": candidates, **metadata, "modelVersion": answer.model, "responseId": answer.identity[:22]}


def _candidate(index: int, parts: list[dict[str, object]], finish: str | None) -> dict[str, object]:
    reason = {"finishReason": _REASONS[finish]} if finish else {}
    return {"content": {"parts": parts, "role": "model"}, **reason, "index": index}


def _text(text: str, *, is_thought: bool = False) -> dict[str, object]:
    return {"text": text, **({"thought": True} if is_thought else {})}


def _call(call: ToolCall) -> dict[str, object]:
    return {"functionCall": {"id": call.id, "name": call.name, "args": _arguments(call)}}


def _arguments(call: ToolCall) -> Mapping[str, object]:
    """Return the arguments as an object; of a call that was cut short nothing can be said."""
    try:
        value = msgspec.json.decode(call.arguments)
    except msgspec.DecodeError:
        return {}
    return value if isinstance(value, dict) else {}
