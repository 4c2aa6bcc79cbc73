"""The wire of `/interactions`: an answer as a list of steps, plain or as named events; shapes from google-genai 3.4."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import msgspec

from proxy.simulator.answer import Answer, Choice, Piece, Usage, joined
from proxy.simulator.ask import Ask, read_mapping
from proxy.simulator.desk import text_of
from proxy.simulator.gemini.ask import read_list
from proxy.simulator.rejection import RejectionError
from proxy.simulator.reply import Event, Plain, Reply, Stream

_CREATED = "2026-01-01T00:00:00Z"
_encode = msgspec.json.encode
Fields = dict[str, object]


def read_interaction(request: Mapping[str, object]) -> tuple[Ask, dict[str, object]]:
    """Read a request; return with it the prompt as a chat. Raises RejectionError for what Google refuses."""
    model = text_of(request.get("model"))
    if not model:
        raise RejectionError(400, "Either model or agent must be specified.")
    words = "\n".join(_words(request.get("input")))
    if not words:
        raise RejectionError(400, "input is required.")
    limit = read_mapping(request.get("generation_config")).get("max_output_tokens")
    ask = Ask(
        kind="chat",
        model=model,
        is_streaming=request.get("stream") is True,
        includes_usage=True,
        is_padded=False,
        choices=1,
        limit=limit if isinstance(limit, int) and limit > 0 else None,
        tools=(),
        tool_choice="none",
        follows_tool=False,
        schema=None,
        effort="",
        tier="",
        request=request,
    )
    return ask, {"model": model, "messages": [{"role": "user", "content": words}]}


def interaction(answer: Answer) -> Fields:
    """Return the resource of an interaction that is over."""
    [choice] = answer.choices
    steps: list[Fields] = []
    if choice.reasoning:
        steps.append({"type": "thought", "summary": [_text(choice.reasoning)]})
    steps.append({"type": "model_output", "content": [_text(choice.content)]})
    return _head(answer, _status(choice)) | {"steps": steps} | _usage(answer)


def spell(answer: Answer, *, is_streaming: bool) -> Reply:
    """Put an interaction on the wire."""
    if not is_streaming:
        return Plain(200, _encode(interaction(answer)), answer.usage)
    prompt = replace(answer.usage, output_tokens=0, reasoning_tokens=0)
    return Stream(_events(answer), prompt, lambda _written: _failure())


def _events(answer: Answer) -> Iterator[Event]:
    [choice] = answer.choices
    if choice.hidden_reasoning:
        yield Event(b"", choice.hidden_reasoning, choice.hidden_reasoning)
    yield _event("interaction.created", interaction=_head(answer, "in_progress"))
    index = 0
    if choice.reasoning:
        yield from _step(index, "thought", "thought_summary", choice.reasoning, is_reasoning=True)
        index += 1
    yield from _step(index, "model_output", "text", choice.content, is_reasoning=False)
    yield _event("interaction.completed", interaction=_head(answer, _status(choice)) | _usage(answer))
    yield Event(b"event: done\ndata: [DONE]\n\n")


def _step(index: int, step: str, delta: str, pieces: tuple[Piece, ...], *, is_reasoning: bool) -> Iterator[Event]:
    yield _event("step.start", index=index, step={"type": step})
    for text, tokens in pieces:
        content = {"content": {"type": "text", "text": text}} if is_reasoning else {"text": text}
        event = _event("step.delta", index=index, delta={"type": delta, **content})
        yield event._replace(output_tokens=tokens, reasoning_tokens=tokens if is_reasoning else 0)
    yield _event("step.stop", index=index)


def _event(name: str, **fields: object) -> Event:
    return Event(b"event: %b\ndata: %b\n\n" % (name.encode(), _encode({"event_type": name, **fields})))


def _failure() -> bytes:
    return _event("error", error={"code": "internal", "message": "An internal error has occurred."}).data


def _head(answer: Answer, status: str) -> Fields:
    head = {"id": answer.identity[:32], "object": "interaction", "model": answer.model, "status": status}
    return {**head, "created": _CREATED, "updated": _CREATED}


def _status(choice: Choice) -> str:
    return "incomplete" if choice.finish_reason == "length" else "completed"


def _usage(answer: Answer) -> Fields:
    return {"usage": _usage_object(answer.usage)} if answer.shows_usage else {}


def _usage_object(usage: Usage) -> Fields:
    return {
        "total_input_tokens": usage.input_tokens,
        "total_cached_tokens": usage.cached_tokens,
        "total_output_tokens": usage.output_tokens - usage.reasoning_tokens,
        "total_thought_tokens": usage.reasoning_tokens,
        "total_tool_use_tokens": 0,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "input_tokens_by_modality": [{"modality": "text", "tokens": usage.input_tokens}],
    }


def _text(pieces: tuple[Piece, ...]) -> Fields:
    return {"type": "text", "text": joined(pieces)}


def _words(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for part in read_list(value):
        yield from _words(part.get("text") or part.get("content"))
