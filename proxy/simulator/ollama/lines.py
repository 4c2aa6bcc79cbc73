"""The wire of `/api/chat` and `/api/generate`: a JSON object a line, the last with `done` and the counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import msgspec

from proxy.simulator.answer import Answer, Choice, ToolCall, joined
from proxy.simulator.reply import Event, Plain, Reply, Stream

NDJSON = "application/x-ndjson"
_CREATED = "2026-01-01T00:00:00.000000000Z"
_NANOSECONDS_PER_TOKEN = 10_000_000
"""So that durations follow from the answer and not from a clock."""
_REASONS = {"stop": "stop", "length": "length", "tool_calls": "stop"}
_encode = msgspec.json.encode


@dataclass(frozen=True, slots=True)
class Lines:
    """An answer, as one of the two endpoints spells it."""

    answer: Answer
    is_chat: bool
    """`/api/chat` speaks in messages; `/api/generate` does not."""

    def spell(self, *, is_streaming: bool) -> Reply:
        """Put it on the wire."""
        answer = self.answer
        if not is_streaming:
            return Plain(200, _encode(self._whole()), answer.usage)
        prompt = replace(answer.usage, output_tokens=0, reasoning_tokens=0)
        return Stream(
            self._lines(), prompt, lambda _written: failure("an error was encountered while running the model"), NDJSON
        )

    def _lines(self) -> Iterator[Event]:
        [choice] = self.answer.choices
        if choice.hidden_reasoning:
            yield Event(b"", choice.hidden_reasoning, choice.hidden_reasoning)
        for text, tokens in choice.reasoning:
            yield self._line(self._said(thinking=text), tokens, tokens)
        for text, tokens in choice.content:
            yield self._line(self._said(text), tokens)
        for call in choice.tool_calls:
            yield self._line(self._said(calls=[call]), call.name_tokens + sum(piece.tokens for piece in call.pieces))
        yield self._line(self._said() | self._end(choice))

    def _line(self, fields: Mapping[str, object], tokens: int = 0, reasoning: int = 0) -> Event:
        line = {"model": self.answer.model, "created_at": _CREATED, "done": False, **fields}
        return Event(_encode(line) + b"\n", tokens, reasoning)

    def _whole(self) -> dict[str, object]:
        [choice] = self.answer.choices
        said = self._said(joined(choice.content), joined(choice.reasoning), list(choice.tool_calls))
        return {"model": self.answer.model, "created_at": _CREATED, **said, **self._end(choice)}

    def _said(self, text: str = "", thinking: str = "", calls: list[ToolCall] | None = None) -> dict[str, object]:
        thought = {"thinking": thinking} if thinking else {}
        if not self.is_chat:
            return {"response": text, **thought}
        made = {"tool_calls": [_call(index, call) for index, call in enumerate(calls)]} if calls else {}
        return {"message": {"role": "assistant", "content": text, **thought, **made}}

    def _end(self, choice: Choice) -> dict[str, object]:
        usage = self.answer.usage
        fresh = usage.input_tokens - usage.cached_tokens
        durations = (1, fresh * _NANOSECONDS_PER_TOKEN, usage.output_tokens * _NANOSECONDS_PER_TOKEN)
        end: dict[str, object] = {
            "done": True,
            "done_reason": _REASONS[choice.finish_reason],
            "total_duration": sum(durations),
            "load_duration": durations[0],
            "prompt_eval_duration": durations[1],
            "eval_duration": durations[2],
        }
        if self.answer.shows_usage:
            end |= {"prompt_eval_count": usage.input_tokens, "eval_count": usage.output_tokens}
        return end


def failure(message: str) -> bytes:
    """Return the line by which a stream fails."""
    return _encode({"error": message}) + b"\n"


def _call(index: int, call: ToolCall) -> dict[str, object]:
    try:
        arguments = msgspec.json.decode(call.arguments)
    except msgspec.DecodeError:
        arguments = {}
    return {"id": call.id, "function": {"index": index, "name": call.name, "arguments": arguments}}
