"""The wire of POST /v1/responses.

A stream is a numbered sequence of typed events from `response.created` to `response.completed` (or `.incomplete`),
each with an `event:` line; there is no `[DONE]`. Output items are, in order: reasoning, then a message or function calls.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from proxy.simulator.answer import CREATED, Answer, Choice, Piece, ToolCall, Usage, joined
from proxy.simulator.ask import Ask
from proxy.simulator.openai.errors import stream_error
from proxy.simulator.reply import Event

Object = dict[str, object]


def responses_body(ask: Ask, answer: Answer) -> bytes:
    """Return the body of a response that is not streamed."""
    return msgspec.json.encode(_finished(ask, answer))


def responses_events(ask: Ask, answer: Answer) -> Iterator[Event]:
    """Yield the events of a streamed response."""
    number = 0
    for kind, fields, tokens, reasoning in _steps(ask, answer):
        if kind:
            yield Event(_spell(kind, fields | {"sequence_number": number}), tokens, reasoning)
            number += 1
        else:
            yield Event(b"", tokens, reasoning)


def responses_failure(written: int) -> bytes:
    """Return the event that reports a failure in the middle of a stream: flat, unlike chat's."""
    error = stream_error()
    fields: Object = {"code": error["type"], "message": error["message"], "param": None, "sequence_number": written}
    return _spell("error", fields)


_Step = tuple[str, Object, int, int]
"""Event type ('' for tokens nobody sees), fields, output tokens, reasoning tokens."""


def _steps(ask: Ask, answer: Answer) -> Iterator[_Step]:
    choice = answer.choices[0]
    yield "response.created", {"response": _response(ask, answer)}, 0, 0
    yield "response.in_progress", {"response": _response(ask, answer)}, 0, 0
    index = 0
    if choice.reasoning_tokens:
        yield from _reasoning_steps(answer, choice, index)
        index += 1
    if choice.content or not choice.tool_calls:
        yield from _message_steps(answer, choice, index)
    for call in choice.tool_calls:
        yield from _call_steps(choice, call, index)
        index += 1
    ending = "response.incomplete" if choice.finish_reason == "length" else "response.completed"
    yield ending, {"response": _finished(ask, answer)}, 0, 0


def _reasoning_steps(answer: Answer, choice: Choice, index: int) -> Iterator[_Step]:
    item = _reasoning_item(answer, choice)
    at: Object = {"item_id": item["id"], "output_index": index, "summary_index": 0}
    yield "response.output_item.added", {"output_index": index, "item": item | {"summary": []}}, 0, 0
    if choice.hidden_reasoning:
        yield "", {}, choice.hidden_reasoning, choice.hidden_reasoning
    if choice.reasoning:
        text = joined(choice.reasoning)
        yield "response.reasoning_summary_part.added", at | {"part": _summary("")}, 0, 0
        for piece in choice.reasoning:
            delta = at | {"delta": piece.text}
            yield "response.reasoning_summary_text.delta", delta, piece.tokens, piece.tokens
        yield "response.reasoning_summary_text.done", at | {"text": text}, 0, 0
        yield "response.reasoning_summary_part.done", at | {"part": _summary(text)}, 0, 0
    yield "response.output_item.done", {"output_index": index, "item": item}, 0, 0


def _message_steps(answer: Answer, choice: Choice, index: int) -> Iterator[_Step]:
    item = _message_item(answer, choice)
    at: Object = {"item_id": item["id"], "output_index": index, "content_index": 0}
    opened = item | {"status": "in_progress", "content": []}
    yield "response.output_item.added", {"output_index": index, "item": opened}, 0, 0
    yield "response.content_part.added", at | {"part": _text_part("")}, 0, 0
    yield from _delta_steps("response.output_text.delta", at | {"logprobs": []}, choice.content)
    text = joined(choice.content)
    yield "response.output_text.done", at | {"text": text, "logprobs": []}, 0, 0
    yield "response.content_part.done", at | {"part": _text_part(text)}, 0, 0
    yield "response.output_item.done", {"output_index": index, "item": item}, 0, 0


def _call_steps(choice: Choice, call: ToolCall, index: int) -> Iterator[_Step]:
    item = _call_item(call, choice)
    at: Object = {"item_id": item["id"], "output_index": index}
    opened = item | {"status": "in_progress", "arguments": ""}
    yield "response.output_item.added", {"output_index": index, "item": opened}, call.name_tokens, 0
    yield from _delta_steps("response.function_call_arguments.delta", at, call.pieces)
    yield "response.function_call_arguments.done", at | {"arguments": call.arguments}, 0, 0
    yield "response.output_item.done", {"output_index": index, "item": item}, 0, 0


def _delta_steps(kind: str, at: Object, pieces: tuple[Piece, ...]) -> Iterator[_Step]:
    for piece in pieces:
        yield kind, at | {"delta": piece.text}, piece.tokens, 0


def _finished(ask: Ask, answer: Answer) -> Object:
    choice = answer.choices[0]
    is_incomplete = choice.finish_reason == "length"
    return _response(ask, answer) | {
        "status": "incomplete" if is_incomplete else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if is_incomplete else None,
        "output": _output(answer, choice),
        "usage": usage_object(answer.usage) if answer.shows_usage else None,
    }


def _response(ask: Ask, answer: Answer) -> Object:
    """Return the response as it stands at its start; parameters are echoed as OpenAI does."""
    request = ask.request
    return {
        "id": f"resp_{answer.identity[:40]}",
        "object": "response",
        "created_at": CREATED,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": request.get("instructions"),
        "max_output_tokens": ask.limit,
        "model": answer.model,
        "output": [],
        "parallel_tool_calls": request.get("parallel_tool_calls", True),
        "previous_response_id": request.get("previous_response_id"),
        "reasoning": {"effort": ask.effort or None, "summary": None},
        "service_tier": answer.tier,
        "store": request.get("store", True),
        "temperature": request.get("temperature", 1.0),
        "text": request.get("text") or {"format": {"type": "text"}},
        "tool_choice": request.get("tool_choice", "auto"),
        "tools": request.get("tools") or [],
        "top_p": request.get("top_p", 1.0),
        "truncation": "disabled",
        "usage": None,
        "user": request.get("user"),
        "metadata": request.get("metadata") or {},
    }


def _output(answer: Answer, choice: Choice) -> list[Object]:
    items = [_reasoning_item(answer, choice)] if choice.reasoning_tokens else []
    if choice.content or not choice.tool_calls:
        items.append(_message_item(answer, choice))
    return items + [_call_item(call, choice) for call in choice.tool_calls]


def _reasoning_item(answer: Answer, choice: Choice) -> Object:
    summary = [_summary(joined(choice.reasoning))] if choice.reasoning else []
    return {"id": f"rs_{answer.identity[:40]}", "type": "reasoning", "summary": summary}


def _message_item(answer: Answer, choice: Choice) -> Object:
    return {
        "id": f"msg_{answer.identity[:40]}",
        "type": "message",
        "status": _item_status(choice),
        "role": "assistant",
        "content": [_text_part(joined(choice.content))],
    }


def _call_item(call: ToolCall, choice: Choice) -> Object:
    return {
        "id": f"fc_{call.id.removeprefix('call_')}",
        "type": "function_call",
        "status": _item_status(choice),
        "call_id": call.id,
        "name": call.name,
        "arguments": call.arguments,
    }


def _item_status(choice: Choice) -> str:
    return "incomplete" if choice.finish_reason == "length" else "completed"


def _text_part(text: str) -> Object:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _summary(text: str) -> Object:
    return {"type": "summary_text", "text": text}


def usage_object(usage: Usage) -> Object:
    """Return the usage as responses report it."""
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }


def _spell(kind: str, fields: Mapping[str, object]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), msgspec.json.encode({"type": kind, **fields}))
