"""Interactions: `POST /interactions`, plain and streamed, and the stored ones that are looked at again.

An interaction is a list of steps: thoughts, calls, what the model says. Its usage counts thoughts and tools' results
apart from input and output, as generated content does; the total decides where a server has it otherwise. It is
billed once under its id, however often it is shown. Source: types of google-genai 3.4.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from proxy.wire.draft import Draft, Output, joined
from proxy.wire.gemini.error import read_failure
from proxy.wire.gemini.usage import Tokens, billed_searches, by_modality
from proxy.wire.lenient import LenientDecoder
from proxy.wire.openai.content import ToolCalls
from proxy.wire.openai.usage import Count
from proxy.wire.reader import Reader
from proxy.wire.transcript import Transcript, note_lost


class _Request(msgspec.Struct):
    model: str | None = None
    stream: bool | None = None
    background: bool | None = None
    input: Any = None
    system_instruction: str | None = None


class _Content(msgspec.Struct):
    type: str | None = None
    text: str | None = None
    mime_type: str | None = None


class _Step(msgspec.Struct):
    """A step, or the delta of one."""

    type: str | None = None
    id: str | None = None
    name: str | None = None
    arguments: msgspec.Raw = msgspec.Raw()
    text: str | None = None
    content: list[_Content] | _Content | None = None
    summary: list[_Content] | None = None
    data: msgspec.Raw = msgspec.Raw()


class _Modality(msgspec.Struct):
    modality: str | None = None
    tokens: Count = None


class _Grounding(msgspec.Struct):
    type: str | None = None
    count: Count = None


class _Usage(msgspec.Struct):
    total_input_tokens: Count = None
    total_cached_tokens: Count = None
    total_output_tokens: Count = None
    total_thought_tokens: Count = None
    total_tool_use_tokens: Count = None
    total_tokens: Count = None
    input_tokens_by_modality: list[_Modality] | None = None
    cached_tokens_by_modality: list[_Modality] | None = None
    output_tokens_by_modality: list[_Modality] | None = None
    tool_use_tokens_by_modality: list[_Modality] | None = None
    grounding_tool_count: list[_Grounding] | None = None


class _Problem(msgspec.Struct):
    code: str | int | None = None
    message: str | None = None


class _Interaction(msgspec.Struct):
    id: str | None = None
    model: str | None = None
    status: str | None = None
    service_tier: str | None = None
    steps: list[_Step] | None = None
    usage: msgspec.Raw = msgspec.Raw()
    errors: list[_Problem] | None = None


class _Metadata(msgspec.Struct):
    total_usage: msgspec.Raw = msgspec.Raw()


class _Event(msgspec.Struct):
    event_type: str | None = None
    interaction: _Interaction | None = None
    status: str | None = None
    index: int | None = None
    step: _Step | None = None
    delta: _Step | None = None
    metadata: _Metadata | None = None
    error: _Problem | None = None


_REQUEST: Final = LenientDecoder(_Request)
_INTERACTION: Final = LenientDecoder(_Interaction)
_EVENT: Final = LenientDecoder(_Event)
_USAGE: Final = LenientDecoder(_Usage)
_UNDER_WAY: Final = frozenset({"in_progress", "queued"})
_INPUTS: Final = frozenset({"user_input"})
_SEARCHES: Final = {"google_search": "web_searches", "retrieval": "file_searches", "google_maps": "tool_calls"}
"""Grounding tools by bucket; nobody has a price for maps."""


def read(transcript: Transcript, draft: Draft) -> None:
    """Read an interaction."""
    request = transcript.read_request(_REQUEST, draft)
    draft.model_requested = request.model
    draft.input_text = joined([request.system_instruction or "", *_texts(request.input)])
    if not transcript.is_success:
        read_failure(transcript, draft)
        return
    draft.is_streaming = transcript.is_event_stream(
        asked=request.stream is True or b"stream=true" in _query(transcript)
    )
    answer = _Answer(draft)
    if draft.is_streaming:
        _read_stream(transcript, answer, draft)
    elif transcript.response:
        answer.take(transcript.read_response(_INTERACTION, draft))
    draft.is_pending = (
        answer.status in _UNDER_WAY and transcript.operation.billing == "tokens" and not draft.is_streaming
    )
    answer.finish(is_pending=draft.is_pending)


def _read_stream(transcript: Transcript, answer: _Answer, draft: Draft) -> None:
    lost: set[str] = set()
    for event in transcript.events():
        if event.data and event.data[:6] != b"[DONE]":
            draft.saw_output(event.end_offset, answer.take_event(_EVENT.decode(event.data, lost)))
    note_lost(draft, "event", lost)
    draft.has_ended = answer.has_ended or draft.error_type is not None


class _Answer:
    """An interaction, growing."""

    def __init__(self, draft: Draft) -> None:
        self.status: str | None = None
        self.has_ended = False
        self._draft = draft
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self._calls = ToolCalls()
        self._usage = b""

    def take_event(self, event: _Event) -> Output:
        """Add an event of a stream; return what it held."""
        self.status = event.status or self.status
        if event.interaction is not None:
            # Its steps have been streamed already.
            self._take_head(event.interaction)
            self.has_ended |= event.event_type == "interaction.completed"
        if event.metadata is not None:
            self._take_usage(bytes(event.metadata.total_usage))
        if event.error is not None:
            self._take_problem(event.error)
        step = event.step or event.delta
        return Output.NONE if step is None else self._take_step(step, event.index)

    def take(self, interaction: _Interaction) -> None:
        """Add a whole interaction."""
        self._take_head(interaction)
        for index, step in enumerate(interaction.steps or ()):
            self._take_step(step, index)

    def finish(self, *, is_pending: bool) -> None:
        """Fill in what it says."""
        draft = self._draft
        draft.output_text = "".join(self._texts) or None
        draft.reasoning_text = "".join(self._thoughts) or None
        draft.tool_calls = self._calls.whole()
        draft.finish_reasons = (self.status,) if self.status else ()
        if self._usage and not is_pending:
            draft.billing_id = draft.response_id
            draft.attempt("usage", _take_usage, self._usage, draft)

    def _take_head(self, said: _Interaction) -> None:
        draft = self._draft
        draft.response_id = said.id or draft.response_id
        draft.model = said.model or draft.model
        draft.service_tier = said.service_tier or draft.service_tier
        self.status = said.status or self.status
        self._take_usage(bytes(said.usage))
        for problem in said.errors or ():
            if self.status == "failed":
                self._take_problem(problem)

    def _take_usage(self, raw: bytes) -> None:
        if raw[:1] == b"{":
            self._usage = raw

    def _take_problem(self, problem: _Problem) -> None:
        self._draft.error_type = str(problem.code or "error")
        self._draft.error_message = problem.message

    def _take_step(self, step: _Step, index: int | None) -> Output:
        if step.type in _INPUTS or (step.type or "").endswith("_result"):
            return Output.NONE
        if step.type in ("function_call", "arguments_delta"):
            self._calls.take(0, index, step.id, step.name, _arguments(step.arguments))
            return Output.VISIBLE
        content = step.content if isinstance(step.content, list) else [step.content] if step.content else []
        if step.type in ("thought", "thought_summary"):
            thoughts = [each.text or "" for each in (*content, *(step.summary or ()))]
            self._thoughts += thoughts
            return Output.REASONING if any(thoughts) else Output.NONE
        texts = [step.text or "", *(each.text or "" for each in content)]
        self._texts += texts
        has_data = bytes(step.data) not in (b"", b"null", b'""') or any(each.mime_type for each in content)
        return Output.VISIBLE if any(texts) or has_data else Output.NONE


def _arguments(raw: msgspec.Raw) -> Any:
    """Return the pieces of a stream, which are strings; of a whole call the object as it was written."""
    text = bytes(raw)
    return msgspec.json.decode(text) if text[:1] == b'"' else "" if text == b"{}" else text.decode("utf-8", "replace")


def _take_usage(raw: bytes, draft: Draft) -> None:
    draft.usage_raw = raw
    lost: set[str] = set()
    said = _USAGE.decode(raw, lost)
    draft.problems.update(f"usage.{name}" for name in lost)
    usage = _tokens(said).usage(searches=0, has_written=draft.output_text is not None)
    counts = {_SEARCHES.get(each.type or ""): each.count for each in said.grounding_tool_count or () if each.count}
    if searches := counts.get("web_searches"):
        counts["web_searches"] = billed_searches(draft.model or draft.model_requested, searches)
    draft.usage = msgspec.structs.replace(usage, **{name: count for name, count in counts.items() if name})


def _tokens(said: _Usage) -> Tokens:
    thoughts = said.total_thought_tokens
    cached = said.cached_tokens_by_modality
    answer = said.total_output_tokens
    if _holds_thoughts(said):
        answer = (answer or 0) - (thoughts or 0)
    return Tokens(
        prompt=said.total_input_tokens,
        cached=said.total_cached_tokens,
        answer=answer,
        thoughts=thoughts,
        tool_use=said.total_tool_use_tokens,
        total=said.total_tokens,
        prompt_parts=_parts(said.input_tokens_by_modality, said.tool_use_tokens_by_modality),
        cached_parts=None if cached is None else _parts(cached),
        answer_parts=_parts(said.output_tokens_by_modality),
    )


def _holds_thoughts(said: _Usage) -> bool:
    """Say whether the total shows that the output counts the thoughts too."""
    answer, thoughts = said.total_output_tokens, said.total_thought_tokens
    if not thoughts or answer is None or answer < thoughts or said.total_input_tokens is None:
        return False
    return said.total_tokens == said.total_input_tokens + (said.total_tool_use_tokens or 0) + answer


def _parts(*lists: list[_Modality] | None) -> dict[str, int]:
    return by_modality(*[(each.modality, each.tokens) for details in lists for each in details or ()])


def _texts(value: Any, levels: int = 5) -> Iterable[str]:
    """Yield the texts of an input: a string, contents, or steps that have contents."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list) and levels:
        for each in value:
            yield from _texts(each, levels - 1)
    elif isinstance(value, dict) and levels:
        text = value.get("text")
        yield from _texts(text if isinstance(text, str) else value.get("content"), levels - 1)


def _query(transcript: Transcript) -> bytes:
    return transcript.path.partition("?")[2].encode()


READER: Final = Reader("gemini_interactions/1", read)
