"""Invoke: bodies in the shape of the model's own API, and counts of Bedrock's own beside them.

Which API it is shows in the bodies, because the path need not: a profile or an import has any name. Anthropic's and
OpenAI's are read by their own readers, Amazon's like Converse, the rest by `families`. Where the body says nothing of
usage, the headers do (`x-amzn-bedrock-input-token-count`, …), in a stream the last chunk.
Source: service model of botocore 1.44 and AWS's documentation of the models, 2026-11.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from proxy.wire.anthropic import messages as anthropic
from proxy.wire.bedrock import converse, families
from proxy.wire.bedrock.error import read_failure
from proxy.wire.bedrock.frames import Unpacked, is_stream
from proxy.wire.bedrock.model import sold_name
from proxy.wire.bedrock.usage import read_headers, read_metrics
from proxy.wire.draft import Draft
from proxy.wire.lenient import LenientDecoder, members
from proxy.wire.openai import chat
from proxy.wire.reader import Reader
from proxy.wire.transcript import Transcript, note_lost


class _Choice(msgspec.Struct):
    message: Any = None
    delta: Any = None
    stop_reason: str | None = None


class _Shape(msgspec.Struct):
    """What tells the APIs apart, and what is beside their own fields."""

    type: str | None = None
    output: Any = None
    choices: list[_Choice] | None = None
    metrics: msgspec.Raw = msgspec.field(name="amazon-bedrock-invocationMetrics", default=msgspec.Raw())
    message_start: Any = msgspec.field(name="messageStart", default=None)

    @property
    def is_amazon(self) -> bool:
        return isinstance(self.output, dict) or self.message_start is not None

    @property
    def is_chat(self) -> bool:
        return any(choice.message is not None or choice.delta is not None for choice in self.choices or ())


_SHAPE: Final = LenientDecoder(_Shape)
_CONVERSE_REQUEST: Final = LenientDecoder(converse.Request)
_CONVERSE_ANSWER: Final = LenientDecoder(converse.Answer)
_FEW: Final = 5
"""Chunks that are looked at to tell the API of a stream."""


def read(transcript: Transcript, draft: Draft) -> None:
    """Read an invocation."""
    draft.is_streaming = is_stream(transcript)
    if not transcript.is_success:
        _read_prompt(transcript, draft)
        read_failure(transcript, draft)
        return
    if draft.is_streaming:
        _read_stream(transcript, draft)
    else:
        _read_body(transcript, draft)
    model = transcript.operation.model
    # The path's name has a price of its own (`us.`, `global.`), the one in an answer is the maker's.
    draft.model_requested, draft.model = model, sold_name(model) or draft.model
    draft.service_tier = _header(transcript, b"x-amzn-bedrock-service-tier") or draft.service_tier
    draft.speed = _header(transcript, b"x-amzn-bedrock-performanceconfig-latency") or draft.speed


def _read_body(transcript: Transcript, draft: Draft) -> None:
    shape = _SHAPE.decode(transcript.response, set())
    if shape.type == "message":
        anthropic.READER.read(transcript, draft)
    elif shape.is_amazon:
        _read_amazon(transcript, draft)
    elif shape.is_chat:
        chat.READER.read(transcript, draft)
        _take_stop_reasons(shape, draft)
    else:
        _read_family(transcript, draft)
    draft.is_streaming = False
    if draft.usage is None:
        read_headers(transcript, draft)


def _read_stream(transcript: Transcript, draft: Draft) -> None:
    unpacked = Unpacked.of_stream(transcript, draft)
    failure = draft.error_type, draft.error_message
    shapes = [_SHAPE.decode(event.data, set()) for event in unpacked.own_events[:_FEW]]
    if any(shape.type == "message_start" for shape in shapes):
        anthropic.READER.read(unpacked, draft)
    elif any(shape.is_amazon for shape in shapes):
        _read_amazon(unpacked, draft)
    elif any(shape.is_chat for shape in shapes):
        chat.READER.read(unpacked, draft)
    else:
        _read_family_stream(unpacked, draft)
    if draft.usage is None:
        read_metrics(_metrics(unpacked), draft)
    if failure[0] is not None:
        draft.error_type, draft.error_message = failure
    draft.is_streaming = True
    draft.has_ended = bool(_metrics(unpacked) or failure[0] or draft.has_ended)


def _read_amazon(transcript: Transcript, draft: Draft) -> None:
    draft.input_text = transcript.read_request(_CONVERSE_REQUEST, draft).text()
    conversation, lost = converse.Conversation(draft), set[str]()
    if isinstance(transcript, Unpacked):
        for event in transcript.own_events:
            for member in members(event.data)[0]:
                conversation.take_event(member.key, member.text, event.end_offset, lost)
    else:
        conversation.take_answer(transcript.read_response(_CONVERSE_ANSWER, draft))
    note_lost(draft, "event", lost)
    conversation.finish()


def _read_family(transcript: Transcript, draft: Draft) -> None:
    _read_prompt(transcript, draft)
    collector = families.Collector(draft)
    if transcript.response:
        collector.take(transcript.read_response(families.ANSWER, draft))
    # Bedrock's own counts before those of the body, which not every model gives.
    read_headers(transcript, draft, has_output=not collector.is_embedding)
    collector.finish()


def _read_family_stream(transcript: Unpacked, draft: Draft) -> None:
    _read_prompt(transcript, draft)
    collector, lost = families.Collector(draft), set[str]()
    for event in transcript.own_events:
        draft.saw_output(event.end_offset, collector.take(families.ANSWER.decode(event.data, lost)))
    note_lost(draft, "event", lost)
    read_metrics(_metrics(transcript), draft)
    collector.finish()


def _read_prompt(transcript: Transcript, draft: Draft) -> None:
    draft.input_text = transcript.read_request(families.REQUEST, draft).text()


def _take_stop_reasons(shape: _Shape, draft: Draft) -> None:
    """Fill in the reasons under the name that Mistral has for them."""
    reasons = [choice.stop_reason for choice in shape.choices or ()]
    if any(reasons) and not any(draft.finish_reasons):
        draft.finish_reasons = tuple(reasons)


def _metrics(transcript: Unpacked) -> bytes:
    """Return the metrics in the last chunk; empty: it has none."""
    last = transcript.own_events[-1:]
    return bytes(_SHAPE.decode(last[0].data, set()).metrics) if last else b""


def _header(transcript: Transcript, name: bytes) -> str | None:
    return transcript.header(name).decode("latin-1") or None


READER: Final = Reader("bedrock_invoke/1", read)
