"""Requests and answers of the Gemini API: contents made of parts."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from proxy.records import ToolCall
from proxy.wire.draft import Draft, Output, joined


class _FunctionCall(msgspec.Struct, rename="camel"):
    id: str | None = None
    name: str | None = None
    """None: a piece of the call before it, which Vertex streams by the path of each argument."""
    args: msgspec.Raw = msgspec.Raw()
    partial_args: msgspec.Raw = msgspec.Raw()


class _Blob(msgspec.Struct, rename="camel"):
    mime_type: str | None = None


class Part(msgspec.Struct, rename="camel"):
    """A part of a content: text, a call, data or code."""

    text: str | None = None
    thought: bool | None = None
    function_call: _FunctionCall | None = None
    inline_data: _Blob | None = None
    executable_code: _Blob | None = None

    @property
    def output(self) -> Output:
        """What a model wrote of it."""
        others = (self.function_call, self.inline_data, self.executable_code)
        if not self.text and all(each is None for each in others):
            return Output.NONE
        return Output.REASONING if self.thought else Output.VISIBLE


class Content(msgspec.Struct):
    """What one side said at a time."""

    parts: list[Part] | None = None

    @property
    def text(self) -> str:
        """Text of all parts, thoughts left out."""
        return "\n".join(part.text for part in self.parts or () if part.text and not part.thought)


class _Grounding(msgspec.Struct, rename="camel"):
    web_search_queries: list[str] | None = None
    image_search_queries: list[str] | None = None

    @property
    def queries(self) -> set[str]:
        """What was searched for; an empty query is none."""
        return {query for query in (*(self.web_search_queries or ()), *(self.image_search_queries or ())) if query}


class Candidate(msgspec.Struct, rename="camel"):
    """One of the answers, or a piece of it."""

    content: Content | None = None
    finish_reason: str | None = None
    index: int | None = None
    grounding_metadata: _Grounding | None = None


class _Feedback(msgspec.Struct, rename="camel"):
    block_reason: str | None = None


class Answer(msgspec.Struct, rename="camel"):
    """A whole answer, or one object of a stream."""

    candidates: list[Candidate] | None = None
    prompt_feedback: _Feedback | None = None
    usage_metadata: msgspec.Raw = msgspec.Raw()
    model_version: str | None = None
    response_id: str | None = None
    error: msgspec.Raw = msgspec.Raw()


@dataclass(slots=True)
class _Choice:
    texts: list[str] = field(default_factory=list)
    reason: str | None = None


class Choices:
    """The candidates of an answer, put together."""

    def __init__(self) -> None:
        self._choices: dict[int, _Choice] = {}
        self._thoughts: list[str] = []
        self._calls: list[ToolCall] = []
        self._block_reason: str | None = None
        self.queries: set[str] = set()
        """Searches that were made for the answer."""
        self.has_written = False
        """A model wrote something."""

    def take(self, answer: Answer) -> Output:
        """Add an answer or a piece of one; return what it held."""
        output = Output.NONE
        if answer.prompt_feedback is not None and answer.prompt_feedback.block_reason:
            self._block_reason = answer.prompt_feedback.block_reason
        for position, candidate in enumerate(answer.candidates or ()):
            index = position if candidate.index is None else candidate.index
            choice = self._choices.setdefault(index, _Choice())
            choice.reason = candidate.finish_reason or choice.reason
            if (grounding := candidate.grounding_metadata) is not None:
                self.queries |= grounding.queries
            for part in (candidate.content and candidate.content.parts) or ():
                self._take_part(part, index, choice)
                output = max(output, part.output)
        self.has_written |= output is not Output.NONE
        return output

    def finish(self, draft: Draft) -> None:
        """Fill in what they say together."""
        ordered = [choice for _, choice in sorted(self._choices.items())]
        draft.output_text = joined(["".join(choice.texts) for choice in ordered])
        draft.reasoning_text = "".join(self._thoughts) or None
        draft.tool_calls = tuple(self._calls)
        draft.finish_reasons = tuple(choice.reason for choice in ordered)
        if self._block_reason and not any(draft.finish_reasons):
            draft.finish_reasons = (self._block_reason,)

    @property
    def has_ended(self) -> bool:
        """Say whether every candidate has its reason, or the prompt was blocked."""
        reasons = [choice.reason for choice in self._choices.values()]
        return self._block_reason is not None or (bool(reasons) and None not in reasons)

    def _take_part(self, part: Part, index: int, choice: _Choice) -> None:
        if part.text:
            (self._thoughts if part.thought else choice.texts).append(part.text)
        if (call := part.function_call) is not None:
            self._take_call(call, index)

    def _take_call(self, call: _FunctionCall, index: int) -> None:
        if call.name is None and self._calls:
            pieces = bytes(call.partial_args).decode("utf-8", "replace")
            self._calls[-1] = msgspec.structs.replace(self._calls[-1], arguments=self._calls[-1].arguments + pieces)
            return
        arguments = (bytes(call.partial_args) or bytes(call.args) or b"{}").decode("utf-8", "replace")
        self._calls.append(ToolCall(choice=index, name=call.name, arguments=arguments, id=call.id))
