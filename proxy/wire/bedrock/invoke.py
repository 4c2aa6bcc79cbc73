"""Invoke: bodies in the model's own shape, and the counts in headers that are the same for all models.

`InvokeModel` answers with `x-amzn-bedrock-*-token-count` headers; a stream packs each of the model's own events into a
message, base64 in JSON, the last of them with `amazon-bedrock-invocationMetrics`. Anthropic's bodies are read as such.
Source: service model of botocore, bedrock-runtime; AWS documentation on inference parameters; 2026-11.
"""

from __future__ import annotations

import binascii
from typing import Any, Final

import msgspec

from pricing import Usage
from pricing.usage import Count
from proxy.wire.anthropic import messages as anthropic
from proxy.wire.anthropic.content import Content, text_of
from proxy.wire.bedrock.error import read_failure, take_exception
from proxy.wire.bedrock.event_stream import CONTENT_TYPE, messages
from proxy.wire.draft import Draft, Output, joined
from proxy.wire.lenient import LenientDecoder
from proxy.wire.reader import Reader
from proxy.wire.sse import Event
from proxy.wire.transcript import Transcript, note_lost


class _Turn(msgspec.Struct):
    content: Content = None


class _Request(msgspec.Struct):
    anthropic_version: str | None = None
    system: Content = None
    messages: list[_Turn] | None = None
    prompt: str | None = None
    inputText: str | None = None  # noqa: N815 - Titan's name


class _Result(msgspec.Struct, rename="camel"):
    output_text: str | None = None
    completion_reason: str | None = None
    token_count: int | None = None


class _Choice(msgspec.Struct):
    text: str | None = None
    stop_reason: str | None = None


class _Answer(msgspec.Struct):
    """What the families other than Anthropic answer: Titan, Llama, Mistral, Cohere, AI21 and those like OpenAI."""

    generation: str | None = None
    stop_reason: str | None = None
    prompt_token_count: int | None = None
    generation_token_count: int | None = None
    outputs: list[_Choice] | None = None
    text: str | None = None
    results: list[_Result] | None = None
    outputText: str | None = None  # noqa: N815 - Titan's name
    inputTextTokenCount: int | None = None  # noqa: N815 - Titan's name
    completionReason: str | None = None  # noqa: N815 - Titan's name
    metrics: msgspec.Raw = msgspec.field(name="amazon-bedrock-invocationMetrics", default=msgspec.Raw())


class _Chunk(msgspec.Struct):
    bytes: str | None = None


class _Metrics(msgspec.Struct, rename="camel"):
    input_token_count: int | None = None
    output_token_count: int | None = None
    cache_read_input_token_count: int | None = None
    cache_write_input_token_count: int | None = None


_REQUEST: Final = LenientDecoder(_Request)
_ANSWER: Final = LenientDecoder(_Answer)
_CHUNK: Final = LenientDecoder(_Chunk)
_METRICS: Final = LenientDecoder(_Metrics)
_MESSAGE: Final = LenientDecoder(anthropic.Message)


def read(transcript: Transcript, draft: Draft) -> None:
    """Read an invocation."""
    request = transcript.read_request(_REQUEST, draft)
    texts = [text_of(request.system), *(text_of(turn.content) for turn in request.messages or ())]
    draft.input_text = joined([*texts, request.prompt or "", request.inputText or ""])
    is_anthropic = request.anthropic_version is not None or "anthropic." in (draft.model_requested or "")
    draft.is_streaming = transcript.is_success and transcript.content_type == CONTENT_TYPE
    if not transcript.is_success:
        read_failure(transcript, draft)
    elif draft.is_streaming:
        _read_stream(transcript, draft, is_anthropic=is_anthropic)
    elif is_anthropic:
        anthropic.take_message(transcript.read_response(_MESSAGE, draft), draft)
    elif transcript.response:
        answer = transcript.read_response(_ANSWER, draft)
        draft.output_text = _text(answer) or None
        _take_reasons(answer, draft)
        draft.attempt("usage", _take_counts, _from_headers(transcript) or _from_body(answer), draft)
    if draft.usage is None and not draft.is_streaming:
        draft.attempt("usage", _take_counts, _from_headers(transcript), draft)


def _read_stream(transcript: Transcript, draft: Draft, *, is_anthropic: bool) -> None:
    stream = anthropic.MessageStream(draft)
    metrics: _Metrics | None = None
    texts: list[str] = []
    lost: set[str] = set()
    failed = ended = False
    for message in messages(transcript.response):
        if not message.is_intact:
            draft.problems.add("event_checksum")
        if message.is_exception:
            take_exception(message, draft)
            failed = True
            continue
        data = _unpacked(_CHUNK.decode(message.payload, lost))
        answer = _ANSWER.decode(data, lost) if data else _Answer()
        if raw := bytes(answer.metrics):
            metrics, ended = _METRICS.decode(raw, lost), True
            draft.usage_raw = raw
        if is_anthropic:
            stream.take(Event(b"", data, message.end_offset), lost)
        else:
            text = _text(answer)
            texts.append(text)
            draft.saw_output(message.end_offset, Output.VISIBLE if text else Output.NONE)
            _take_reasons(answer, draft)
    note_lost(draft, "event", lost)
    if is_anthropic:
        stream.finish()
    else:
        draft.output_text = "".join(texts) or None
    if draft.usage is None:
        draft.attempt("usage", _take_counts, metrics, draft)
    draft.has_ended = bool(failed or ended or draft.has_ended)


def _unpacked(chunk: _Chunk) -> bytes:
    try:
        return binascii.a2b_base64(chunk.bytes or "")
    except ValueError:
        return b""


def _text(answer: _Answer) -> str:
    outputs: list[Any] = [*(answer.outputs or ()), *(answer.results or ())]
    several = [each.text if isinstance(each, _Choice) else each.output_text for each in outputs]
    return "".join(text for text in (answer.generation, answer.text, answer.outputText, *several) if text)


def _take_reasons(answer: _Answer, draft: Draft) -> None:
    reasons = [each.stop_reason for each in answer.outputs or ()]
    reasons += [each.completion_reason for each in answer.results or ()]
    found = tuple(reason for reason in (answer.stop_reason, answer.completionReason, *reasons) if reason)
    draft.finish_reasons = found or draft.finish_reasons


def _from_headers(transcript: Transcript) -> _Metrics | None:
    def number(name: str) -> int | None:
        value = transcript.header(b"x-amzn-bedrock-" + name.encode())
        return int(value) if value.isdigit() and len(value) < 13 else None

    found = _Metrics(
        number("input-token-count"),
        number("output-token-count"),
        number("cache-read-input-token-count"),
        number("cache-write-input-token-count"),
    )
    return found if found.input_token_count is not None else None


def _from_body(answer: _Answer) -> _Metrics | None:
    results = answer.results or ()
    output = answer.generation_token_count
    if output is None and results:
        output = sum(each.token_count or 0 for each in results)
    given = answer.prompt_token_count if answer.prompt_token_count is not None else answer.inputTextTokenCount
    return None if given is None else _Metrics(given, output)


def _take_counts(metrics: _Metrics | None, draft: Draft) -> None:
    if metrics is None or metrics.input_token_count is None:
        return
    read, written = metrics.cache_read_input_token_count, metrics.cache_write_input_token_count
    parts: dict[str, Count] = {"cache_read": read, "cache_write": written}
    total = metrics.input_token_count + (read or 0) + (written or 0)
    draft.usage = Usage.from_totals(input_tokens=total, output_tokens=metrics.output_token_count, **parts)


READER: Final = Reader("bedrock_invoke/1", read)
