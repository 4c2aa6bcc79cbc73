"""Converse and ConverseStream: one shape for all models of Bedrock, which Amazon's own models also speak by themselves.

Source: service model of botocore 1.44, bedrock-runtime, 2026-11.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from proxy.records import ToolCall
from proxy.wire.bedrock.error import read_failure
from proxy.wire.bedrock.frames import frames, is_stream
from proxy.wire.bedrock.model import sold_name
from proxy.wire.bedrock.usage import read_usage
from proxy.wire.draft import Draft, Output, joined
from proxy.wire.lenient import LenientDecoder
from proxy.wire.reader import Reader
from proxy.wire.transcript import Transcript, note_lost


class _Text(msgspec.Struct):
    text: str | None = None


class _Reasoning(msgspec.Struct, rename="camel"):
    text: str | None = None
    """In a stream."""
    reasoning_text: _Text | None = None
    """In a whole answer."""


class _ToolUse(msgspec.Struct, rename="camel"):
    tool_use_id: str | None = None
    name: str | None = None
    input: Any = None


class _Texts(msgspec.Struct):
    """What holds texts: a tool's result, a text with citations."""

    content: list[_Text] | None = None


class Block(msgspec.Struct, rename="camel"):
    """A block of content, or a delta to one. Images and documents have no text and are skipped."""

    text: str | None = None
    tool_use: _ToolUse | None = None
    tool_result: _Texts | list[_Text] | None = None
    reasoning_content: _Reasoning | None = None
    citations_content: _Texts | None = None
    citation: msgspec.Raw = msgspec.Raw()
    image: msgspec.Raw = msgspec.Raw()


class Turn(msgspec.Struct):
    """A message."""

    content: list[Block] | None = None


class _Output(msgspec.Struct):
    message: Turn | None = None


class _Named(msgspec.Struct):
    type: str | None = None
    latency: str | None = None


class _Router(msgspec.Struct, rename="camel"):
    invoked_model_id: str | None = None


class _Trace(msgspec.Struct, rename="camel"):
    prompt_router: _Router | None = None


class Request(msgspec.Struct):
    """The body of a request."""

    system: list[Block] | None = None
    messages: list[Turn] | None = None

    def text(self) -> str | None:
        """Return all its text; None: there is none."""
        turns = [self.system or (), *(turn.content or () for turn in self.messages or ())]
        return joined([text for turn in turns for block in turn for text in _texts(block)])


class Answer(msgspec.Struct, rename="camel"):
    """A whole answer, or the payload of an event."""

    output: _Output | None = None
    stop_reason: str | None = None
    usage: msgspec.Raw = msgspec.Raw()
    service_tier: _Named | None = None
    performance_config: _Named | None = None
    trace: _Trace | None = None
    content_block_index: int | None = None
    start: Block | None = None
    delta: Block | None = None


_REQUEST: Final = LenientDecoder(Request)
_ANSWER: Final = LenientDecoder(Answer)


@dataclass(slots=True)
class _Growing:
    """A block whose deltas are still coming."""

    texts: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    tool: _ToolUse | None = None
    arguments: list[str] = field(default_factory=list)

    def take(self, block: Block) -> Output:
        """Add a block or a delta; return what it held."""
        texts = [text for text in _texts(block) if text]
        self.texts += texts
        has_call = block.tool_use is not None and self._take_call(block.tool_use)
        if texts or has_call or any(bytes(raw) not in (b"", b"null") for raw in (block.citation, block.image)):
            return Output.VISIBLE
        thought = _thought(block.reasoning_content)
        if not thought:
            return Output.NONE
        self.thoughts.append(thought)
        return Output.REASONING

    def call(self) -> ToolCall | None:
        """Return the tool call so far; None: the block is none."""
        if self.tool is None:
            return None
        return ToolCall(choice=0, name=self.tool.name, arguments="".join(self.arguments), id=self.tool.tool_use_id)

    def _take_call(self, tool: _ToolUse) -> bool:
        self.tool = self.tool or tool
        given = tool.input
        if given is not None:
            self.arguments.append(given if isinstance(given, str) else msgspec.json.encode(given).decode())
        return bool(tool.name or given)


class Conversation:
    """The answer of one turn, put together from one piece or from many."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._blocks: dict[int, _Growing] = {}

    def take_answer(self, answer: Answer) -> None:
        """Add a whole answer."""
        turn = (answer.output and answer.output.message) or Turn()
        for index, block in enumerate(turn.content or ()):
            self._growing(index).take(block)
        self._take_rest(answer)

    def take_event(self, kind: str, payload: bytes, end_offset: int, lost: set[str]) -> None:
        """Add an event of a stream."""
        said = _ANSWER.decode(payload, lost)
        for block in (said.start, said.delta):
            if block is not None:
                output = self._growing(said.content_block_index or 0).take(block)
                self._draft.saw_output(end_offset, output)
        # The usage comes in `metadata`, behind `messageStop`.
        if kind == "metadata":
            self._draft.has_ended = True
        self._take_rest(said)

    def finish(self) -> None:
        """Fill in what the pieces say together."""
        blocks = [growing for _, growing in sorted(self._blocks.items())]
        self._draft.output_text = joined(["".join(growing.texts) for growing in blocks])
        self._draft.reasoning_text = joined(["".join(growing.thoughts) for growing in blocks])
        self._draft.tool_calls = tuple(call for growing in blocks if (call := growing.call()) is not None)

    def _growing(self, index: int) -> _Growing:
        return self._blocks.setdefault(index, _Growing())

    def _take_rest(self, answer: Answer) -> None:
        draft = self._draft
        if answer.stop_reason is not None:
            draft.finish_reasons = (answer.stop_reason,)
        if answer.service_tier is not None:
            draft.service_tier = answer.service_tier.type
        if answer.performance_config is not None:
            draft.speed = answer.performance_config.latency
        if answer.trace is not None and answer.trace.prompt_router is not None:
            draft.model = sold_name(answer.trace.prompt_router.invoked_model_id) or draft.model
        draft.attempt("usage", read_usage, bytes(answer.usage), draft)


def read(transcript: Transcript, draft: Draft) -> None:
    """Read a conversation's turn."""
    draft.input_text = transcript.read_request(_REQUEST, draft).text()
    draft.model = sold_name(transcript.operation.model)
    draft.is_streaming = is_stream(transcript)
    conversation = Conversation(draft)
    if not transcript.is_success:
        draft.model = None
        read_failure(transcript, draft)
    elif draft.is_streaming:
        _read_stream(transcript, conversation, draft)
    elif transcript.response:
        conversation.take_answer(transcript.read_response(_ANSWER, draft))
    conversation.finish()


def _read_stream(transcript: Transcript, conversation: Conversation, draft: Draft) -> None:
    lost: set[str] = set()
    for frame in frames(transcript, draft):
        conversation.take_event(frame.kind, frame.payload, frame.end_offset, lost)
    note_lost(draft, "event", lost)
    draft.has_ended = draft.has_ended is True or draft.error_type is not None


def _texts(block: Block) -> list[str]:
    result, cited = block.tool_result, block.citations_content
    parts = result if isinstance(result, list) else [*((result and result.content) or ())]
    return [block.text or "", *(part.text or "" for part in (*parts, *((cited and cited.content) or ())))]


def _thought(reasoning: _Reasoning | None) -> str:
    if reasoning is None:
        return ""
    whole = reasoning.reasoning_text or _Text()
    return reasoning.text or whole.text or ""


READER: Final = Reader("bedrock_converse/1", read)
