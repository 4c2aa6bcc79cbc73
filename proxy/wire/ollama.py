"""Ollama's own API: `/api/chat`, `/api/generate`, `/api/embed`.

A stream unless the request says otherwise: one JSON object a line, the last one with `done` and the counts. A count is
missing when the server did no work for it, as with a prompt that was still in memory: it is unknown, not zero.
Source: github.com/ollama/ollama, docs/api.md, 2026-11.
"""

from __future__ import annotations

from typing import Final

import msgspec

from pricing import Usage
from proxy.records import ToolCall
from proxy.wire.draft import Draft, Output, joined
from proxy.wire.json_stream import objects
from proxy.wire.lenient import LenientDecoder
from proxy.wire.openai.error import read_failure
from proxy.wire.openai.usage import Count
from proxy.wire.reader import Reader
from proxy.wire.transcript import Transcript, note_lost


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: msgspec.Raw = msgspec.Raw()


class _Call(msgspec.Struct):
    id: str | None = None
    function: _Function | None = None


class _Message(msgspec.Struct):
    content: str | None = None
    thinking: str | None = None
    tool_calls: list[_Call] | None = None


class _Request(msgspec.Struct):
    model: str | None = None
    stream: bool | None = None
    messages: list[_Message] | None = None
    system: str | None = None
    prompt: str | None = None
    input: str | list[str] | None = None


class _Line(msgspec.Struct):
    """A line of a stream, or a whole answer."""

    model: str | None = None
    message: _Message | None = None
    response: str | None = None
    thinking: str | None = None
    done: bool | None = None
    done_reason: str | None = None
    prompt_eval_count: Count = None
    eval_count: Count = None
    error: str | None = None


_REQUEST: Final = LenientDecoder(_Request)
_LINE: Final = LenientDecoder(_Line)
_COUNTS: Final = ("prompt_eval_count", "eval_count")


class _Answer:
    """An answer, growing."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self._calls: list[ToolCall] = []
        self._last = _Line()
        self.has_ended = False

    def take(self, line: _Line) -> Output:
        """Add a line; return what it held."""
        message = line.message or _Message(content=line.response, thinking=line.thinking)
        self._draft.model = line.model or self._draft.model
        self._texts.append(message.content or "")
        self._thoughts.append(message.thinking or "")
        for call in message.tool_calls or ():
            function = call.function or _Function()
            arguments = (bytes(function.arguments) or b"{}").decode("utf-8", "replace")
            self._calls.append(ToolCall(choice=0, name=function.name, arguments=arguments, id=call.id))
        if line.error is not None:
            self._draft.error_type, self._draft.error_message = "error", line.error
        if line.done or line.error is not None:
            self.has_ended = True
        if line.done:
            self._last = line
        if message.content or message.tool_calls:
            return Output.VISIBLE
        return Output.REASONING if message.thinking else Output.NONE

    def finish(self) -> None:
        """Fill in what the lines say together."""
        draft, last = self._draft, self._last
        draft.output_text = "".join(self._texts) or None
        draft.reasoning_text = "".join(self._thoughts) or None
        draft.tool_calls = tuple(self._calls)
        draft.finish_reasons = (last.done_reason,) if last.done_reason else ()
        if last.prompt_eval_count is not None or last.eval_count is not None:
            draft.usage = Usage.from_totals(input_tokens=last.prompt_eval_count, output_tokens=last.eval_count)
            counts = {name: getattr(last, name) for name in _COUNTS if getattr(last, name) is not None}
            draft.usage_raw = msgspec.json.encode(counts)


def read(transcript: Transcript, draft: Draft) -> None:
    """Read a chat or a completion."""
    _read_request(transcript, draft)
    if not transcript.is_success:
        read_failure(transcript, draft)
        return
    answer, lost = _Answer(draft), set[str]()
    for event in objects(transcript):
        output = answer.take(_LINE.decode(event.data, lost))
        if draft.is_streaming:
            draft.saw_output(event.end_offset, output)
    note_lost(draft, "event" if draft.is_streaming else "response", lost)
    answer.finish()
    if draft.is_streaming:
        draft.has_ended = answer.has_ended


def read_embeddings(transcript: Transcript, draft: Draft) -> None:
    """Read embeddings: of the answer only its counts."""
    _read_request(transcript, draft)
    draft.is_streaming = False
    if not transcript.is_success:
        read_failure(transcript, draft)
        return
    line = transcript.read_response(_LINE, draft)
    draft.model = line.model
    if line.prompt_eval_count is not None:
        draft.usage = Usage.from_totals(input_tokens=line.prompt_eval_count)
        draft.usage_raw = msgspec.json.encode({"prompt_eval_count": line.prompt_eval_count})


def _read_request(transcript: Transcript, draft: Draft) -> None:
    request = transcript.read_request(_REQUEST, draft)
    draft.model_requested = request.model
    inputs = request.input if isinstance(request.input, list) else [request.input]
    said = [message.content for message in request.messages or ()]
    draft.input_text = joined([text for text in (request.system, request.prompt, *inputs, *said) if text])
    draft.is_streaming = transcript.is_success and request.stream is not False


CHAT: Final = Reader("ollama_chat/1", read)
EMBEDDINGS: Final = Reader("ollama_embeddings/1", read_embeddings)
