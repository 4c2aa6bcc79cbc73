"""Runs of assistants: made, polled, streamed. Usage stands on a run that is over, and is billed once for each run.

A stream names its events (`thread.run.completed`) and its data is the object itself, without a type.
Types: openai-python 3.52 (`beta.threads`), seen 2026-11-21.
"""

from __future__ import annotations

from typing import Final

import msgspec

from proxy.records import ToolCall
from proxy.wire.draft import Draft, joined
from proxy.wire.lenient import LenientDecoder
from proxy.wire.openai.content import ToolCalls
from proxy.wire.openai.error import read_error, read_failure
from proxy.wire.openai.request import OpenAIRequest, read_request
from proxy.wire.openai.usage import read_usage
from proxy.wire.reader import Reader
from proxy.wire.sse import Event
from proxy.wire.transcript import Transcript, note_lost


class _Request(OpenAIRequest):
    instructions: str | None = None
    additional_instructions: str | None = None


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _Call(msgspec.Struct):
    id: str | None = None
    function: _Function | None = None


class _SubmitToolOutputs(msgspec.Struct):
    tool_calls: list[_Call] | None = None


class _RequiredAction(msgspec.Struct):
    submit_tool_outputs: _SubmitToolOutputs | None = None


class _Incomplete(msgspec.Struct):
    reason: str | None = None


class _Run(msgspec.Struct):
    id: str | None = None
    object: str | None = None
    model: str | None = None
    status: str | None = None
    usage: msgspec.Raw = msgspec.Raw()
    last_error: msgspec.Raw = msgspec.Raw()
    incomplete_details: _Incomplete | None = None
    required_action: _RequiredAction | None = None


class _Value(msgspec.Struct):
    value: str | None = None


class _Part(msgspec.Struct):
    text: _Value | None = None
    refusal: str | None = None


class _StepDetails(msgspec.Struct):
    tool_calls: list[msgspec.Raw] | None = None


class _Delta(msgspec.Struct):
    content: list[_Part] | None = None
    step_details: _StepDetails | None = None


class _Chunk(msgspec.Struct):
    delta: _Delta | None = None


_REQUEST: Final = LenientDecoder(_Request)
_RUN: Final = LenientDecoder(_Run)
_CHUNK: Final = LenientDecoder(_Chunk)
_OVER: Final = frozenset({"completed", "failed", "cancelled", "incomplete", "expired"})


def read(transcript: Transcript, draft: Draft) -> None:
    """Read a run."""
    if transcript.operation.billing == "nothing":
        draft.is_streaming = transcript.is_event_stream(asked=False)
    else:
        request = read_request(transcript, draft, _REQUEST)
        draft.input_text = joined([request.instructions or "", request.additional_instructions or ""])
    if not transcript.is_success:
        read_failure(transcript, draft)
    elif draft.is_streaming:
        _read_stream(transcript, draft)
    elif transcript.response:
        run = transcript.read_response(_RUN, draft)
        if run.object == "thread.run":
            _take_run(run, draft, transcript.provider)


def _read_stream(transcript: Transcript, draft: Draft) -> None:
    lost: set[str] = set()
    texts: list[str] = []
    last_run = b""
    draft.has_ended = False
    for event in transcript.events():
        if event.name == b"done" or event.data[:6] == b"[DONE]":
            draft.has_ended = True
        elif event.name == b"error":
            draft.has_ended = True
            read_error(event.data, draft)
        elif event.name.endswith(b".delta"):
            _take_delta(event, _CHUNK.decode(event.data, lost).delta or _Delta(), draft, texts)
        elif event.name.startswith(b"thread.run.") and not event.name.startswith(b"thread.run.step."):
            last_run = event.data
    run = _RUN.decode(last_run, lost) if last_run else _Run()
    note_lost(draft, "event", lost)
    draft.output_text = "".join(texts) or None
    _take_run(run, draft, transcript.provider)


def _take_delta(event: Event, delta: _Delta, draft: Draft, texts: list[str]) -> None:
    said = [(part.text.value if part.text else part.refusal) or "" for part in delta.content or ()]
    texts.extend(said)
    if any(said) or (delta.step_details is not None and delta.step_details.tool_calls):
        draft.saw_output(event.end_offset)


def _take_run(run: _Run, draft: Draft, provider: str | None) -> None:
    draft.response_id = run.id
    draft.model = run.model
    read_error(bytes(run.last_error), draft)
    reason = run.incomplete_details and run.incomplete_details.reason
    draft.finish_reasons = (reason or run.status,) if run.status else ()
    draft.tool_calls = _calls(run)
    if run.status not in _OVER:
        # It goes on, or waits for the results of tools: either way the run itself will say what it consumed.
        draft.is_pending = run.status is not None
        return
    draft.billing_id = run.id
    draft.attempt("usage", read_usage, bytes(run.usage), draft, provider)


def _calls(run: _Run) -> tuple[ToolCall, ...]:
    wanted = run.required_action and run.required_action.submit_tool_outputs
    calls = ToolCalls()
    for position, call in enumerate((wanted and wanted.tool_calls) or ()):
        function = call.function or _Function()
        calls.take(0, position, call.id, function.name, function.arguments)
    return calls.whole()


READER: Final = Reader("openai_runs/1", read)
