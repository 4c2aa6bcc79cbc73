"""Converse and ConverseStream: one shape for all models of Bedrock.

`inputTokens` leaves the cache out, as in Anthropic's API. Source: service model of botocore, bedrock-runtime, 2026-11.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from pricing import Usage
from pricing.usage import Count
from proxy.records import ToolCall
from proxy.wire.bedrock.error import read_failure, take_exception
from proxy.wire.bedrock.event_stream import CONTENT_TYPE, Message, messages
from proxy.wire.draft import Draft, Output, joined
from proxy.wire.lenient import LenientDecoder
from proxy.wire.reader import Reader
from proxy.wire.transcript import Transcript, note_lost


class _CacheDetail(msgspec.Struct, rename="camel"):
    ttl: str | None = None
    input_tokens: int | None = None


class _Usage(msgspec.Struct, rename="camel"):
    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_write_input_tokens: int | None = None
    cache_details: list[_CacheDetail] | None = None


class _ReasoningText(msgspec.Struct):
    text: str | None = None


class _Reasoning(msgspec.Struct, rename="camel"):
    text: str | None = None
    """In a stream."""
    reasoning_text: _ReasoningText | None = None
    """In a whole answer."""


class _ToolUse(msgspec.Struct, rename="camel"):
    tool_use_id: str | None = None
    name: str | None = None
    input: Any = None


class _Block(msgspec.Struct, rename="camel"):
    """A block of content, or a delta to one."""

    text: str | None = None
    tool_use: _ToolUse | None = None
    reasoning_content: _Reasoning | None = None


class _Message(msgspec.Struct):
    content: list[_Block] | None = None


class _Output(msgspec.Struct):
    message: _Message | None = None


class _Tier(msgspec.Struct):
    type: str | None = None


class _Request(msgspec.Struct):
    system: list[_Block] | None = None
    messages: list[_Message] | None = None


class _Answer(msgspec.Struct, rename="camel"):
    """A whole answer, or the payload of an event."""

    output: _Output | None = None
    stop_reason: str | None = None
    usage: msgspec.Raw = msgspec.Raw()
    service_tier: _Tier | None = None
    content_block_index: int | None = None
    start: _Block | None = None
    delta: _Block | None = None


_REQUEST: Final = LenientDecoder(_Request)
_ANSWER: Final = LenientDecoder(_Answer)
_USAGE: Final = LenientDecoder(_Usage)
_TTLS: Final = {"5m": "cache_write_5m", "1h": "cache_write_1h"}


@dataclass(slots=True)
class _Growing:
    texts: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    tool: _ToolUse | None = None
    arguments: list[str] = field(default_factory=list)

    def take(self, block: _Block) -> Output:
        """Add a block or a delta; return what it held."""
        if block.text:
            self.texts.append(block.text)
        if block.tool_use is not None:
            self.tool = self.tool or block.tool_use
            given = block.tool_use.input
            if given is not None:
                self.arguments.append(given if isinstance(given, str) else msgspec.json.encode(given).decode())
        if block.text or block.tool_use is not None:
            return Output.VISIBLE
        thought = block.reasoning_content and _thought(block.reasoning_content)
        if thought:
            self.thoughts.append(thought)
            return Output.REASONING
        return Output.NONE


def read(transcript: Transcript, draft: Draft) -> None:
    """Read a conversation's turn."""
    request = transcript.read_request(_REQUEST, draft)
    said = [*(request.system or ()), *(block for turn in request.messages or () for block in turn.content or ())]
    draft.input_text = joined([block.text for block in said if block.text])
    draft.is_streaming = transcript.is_success and transcript.content_type == CONTENT_TYPE
    if not transcript.is_success:
        read_failure(transcript, draft)
    elif draft.is_streaming:
        _read_stream(transcript, draft)
    elif transcript.response:
        answer = transcript.read_response(_ANSWER, draft)
        message = (answer.output and answer.output.message) or _Message()
        blocks = [_Growing() for _ in message.content or ()]
        for growing, block in zip(blocks, message.content or (), strict=True):
            growing.take(block)
        _take_blocks(blocks, draft)
        _take_rest(answer, draft)


def _read_stream(transcript: Transcript, draft: Draft) -> None:
    blocks: dict[int, _Growing] = {}
    lost: set[str] = set()
    draft.has_ended = False
    for message in messages(transcript.response):
        if not message.is_intact:
            draft.problems.add("event_checksum")
        if message.is_exception:
            take_exception(message, draft)
            draft.has_ended = True
            continue
        _take_event(message, blocks, draft, lost)
    note_lost(draft, "event", lost)
    _take_blocks([growing for _, growing in sorted(blocks.items())], draft)


def _take_event(message: Message, blocks: dict[int, _Growing], draft: Draft, lost: set[str]) -> None:
    said = _ANSWER.decode(message.payload, lost)
    growing = blocks.setdefault(said.content_block_index or 0, _Growing())
    for block in (said.start, said.delta):
        if block is not None:
            draft.saw_output(message.end_offset, growing.take(block))
    # The usage comes last, in `metadata`, after `messageStop`.
    if message.kind in ("metadata", "messageStop"):
        draft.has_ended = True
    _take_rest(said, draft)


def _take_blocks(blocks: list[_Growing], draft: Draft) -> None:
    draft.output_text = joined(["".join(growing.texts) for growing in blocks])
    draft.reasoning_text = joined(["".join(growing.thoughts) for growing in blocks])
    draft.tool_calls = tuple(
        ToolCall(choice=0, name=growing.tool.name, arguments="".join(growing.arguments), id=growing.tool.tool_use_id)
        for growing in blocks
        if growing.tool is not None
    )


def _take_rest(answer: _Answer, draft: Draft) -> None:
    if answer.stop_reason is not None:
        draft.finish_reasons = (answer.stop_reason,)
    if answer.service_tier is not None:
        draft.service_tier = answer.service_tier.type
    raw = bytes(answer.usage)
    if raw[:1] == b"{":
        draft.attempt("usage", _take_usage, raw, draft)


def _take_usage(raw: bytes, draft: Draft) -> None:
    lost: set[str] = set()
    said = _USAGE.decode(raw, lost)
    draft.problems.update(f"usage.{name}" for name in lost)
    draft.usage_raw = raw
    written = said.cache_write_input_tokens
    parts: dict[str, Count] = {"cache_read": said.cache_read_input_tokens, "cache_write": written}
    by_life = {
        _TTLS[detail.ttl or ""]: detail.input_tokens or 0 for detail in said.cache_details or () if detail.ttl in _TTLS
    }
    if by_life and written is not None and sum(by_life.values()) <= written:
        parts |= by_life | {"cache_write": written - sum(by_life.values())}
    total = None
    if said.input_tokens is not None:
        total = said.input_tokens + (written or 0) + (said.cache_read_input_tokens or 0)
    draft.usage = Usage.from_totals(input_tokens=total, output_tokens=said.output_tokens, **parts)


def _thought(reasoning: _Reasoning) -> str | None:
    whole = reasoning.reasoning_text or _ReasoningText()
    return reasoning.text or whole.text


READER: Final = Reader("bedrock_converse/1", read)
