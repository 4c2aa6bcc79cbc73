"""How much output an event of a stream carries at most, in bytes of text.

Byte-level tokenizers spend at least one byte of text on a token, so the UTF-8 length of all text bounds the tokens.
Every dialect wraps its text in the same few names; what stands under another name counts with its name and all, so
that a field nobody here has heard of cannot carry output past a cap.
"""

from __future__ import annotations

import binascii
from typing import Final

import msgspec

_BESIDE: Final = """
id object created created_at model system_fingerprint service_tier usage obfuscation index finish_reason
native_finish_reason stop_reason stop_sequence role logprobs type provider status matched_stop
prompt_filter_results content_filter_results content_filter_offsets x_groq timings kv_transfer_params
prompt_token_ids token_ids prompt_logprobs citations search_results p
item_id output_index content_index summary_index sequence_number call_id response_id
usageMetadata modelVersion responseId safetyRatings avgLogprobs logprobsResult citationMetadata promptFeedback
finishReason createTime groundingMetadata
done done_reason context total_duration load_duration prompt_eval_count prompt_eval_duration eval_count
eval_duration
contentBlockIndex stopReason metrics trace additionalModelResponseFields amazon-bedrock-invocationMetrics
"""
"""What stands beside the output and is none of it, by dialect."""
_AROUND: Final = """
choices delta message content text refusal tool_calls function function_call name arguments annotations audio data
transcript code reasoning reasoning_content reasoning_details thinking signature summary
content_block partial_json message_delta input
item part output response
candidates parts functionCall args thought thoughtSignature inlineData
start toolUse toolUseId reasoningContent
"""
"""What output is wrapped in."""
_SKIPPED: Final = frozenset(_BESIDE.split())
_WRAPPERS: Final = frozenset(_AROUND.split())
_FREE_FORM: Final = frozenset({"arguments", "args", "input"})
"""Where the model chooses the names: nothing below is a wrapper."""
_SAID_TWICE: Final = frozenset({"reasoning", "reasoning_content", "reasoning_details", "thinking"})
"""Servers send the same thoughts under several of these names: the longest counts."""


class _Delta(msgspec.Struct, forbid_unknown_fields=True):
    role: str | None = None
    content: str | None = None
    refusal: None = None


class _Choice(msgspec.Struct, forbid_unknown_fields=True):
    delta: _Delta
    index: int = 0
    finish_reason: str | None = None
    logprobs: msgspec.Raw = msgspec.Raw()


class _Chat(msgspec.Struct, forbid_unknown_fields=True):
    """The commonest event by far, in which nothing can stand but text: read in a fifth of the time."""

    choices: list[_Choice]
    id: str | None = None
    object: str | None = None
    created: int | None = None
    model: str | None = None
    system_fingerprint: str | None = None
    service_tier: str | None = None
    obfuscation: str | None = None
    usage: msgspec.Raw = msgspec.Raw()


_CHAT: Final = msgspec.json.Decoder(_Chat)


class Output:
    """The bytes of output in a stream so far."""

    __slots__ = ("_deltas", "_items", "_parts", "size")

    def __init__(self) -> None:
        self.size = 0
        """Bytes that all output so far has at most.

        The Responses API tells everything four times: as deltas, as parts, as items and as the whole response. Each
        telling bounds the output if it is complete, so the longest counts.
        """
        self._deltas = 0
        self._parts = 0
        self._items = 0

    def add_bytes(self, count: int) -> None:
        """Count output that nothing said so far has told."""
        self._deltas += count
        if self._deltas > self.size:
            self.size = self._deltas

    def add_json(self, data: bytes) -> None:
        """Count one event."""
        try:
            self.add_bytes(_text_of(_CHAT.decode(data)))
        except (ValueError, RecursionError):
            self._add_unusual(data)

    def _add_unusual(self, data: bytes) -> None:
        try:
            event = msgspec.json.decode(data)
        except (ValueError, RecursionError):
            self.add_bytes(len(data))
            return
        kind = event.get("type") if isinstance(event, dict) else None
        if not isinstance(event, dict):
            self.add_bytes(len(data))
        elif isinstance(kind, str) and kind.startswith("response."):
            self._add_response_event(kind, event)
        else:
            self.add_bytes(_size(event))

    def add_invocation(self, data: bytes) -> None:
        """Count the payload of one frame of Bedrock; a model's own event is in it as base64."""
        try:
            inner = msgspec.json.decode(data, type=_Invocation)
            data = binascii.a2b_base64(inner.event) if inner.event else data
        except (ValueError, RecursionError):
            pass
        self.add_json(data)

    def _add_response_event(self, kind: str, event: dict[str, object]) -> None:
        response = event.get("response")
        if isinstance(response, dict):
            self.size = max(self.size, _size(response.get("output")))
        elif kind == "response.output_item.done":
            self._items += _size(event)
            self.size = max(self.size, self._items)
        elif kind.endswith(".done"):
            self._parts += _size(event)
            self.size = max(self.size, self._parts)
        else:
            self.add_bytes(_size(event))


class _Invocation(msgspec.Struct):
    event: str = msgspec.field(default="", name="bytes")


def _text_of(chat: _Chat) -> int:
    return sum(_length(choice.delta.content) for choice in chat.choices if choice.delta.content)


def _size(value: object) -> int:
    """Return the bytes of text in what wraps output."""
    if isinstance(value, str):
        return _length(value)
    if isinstance(value, list):
        return sum(map(_size, value))
    if not isinstance(value, dict):
        return 0 if value is None or isinstance(value, bool) else len(str(value))
    size = twice = 0
    for key, inner in value.items():
        if key in _SKIPPED:
            continue
        if key not in _WRAPPERS or (key in _FREE_FORM and not isinstance(inner, str)):
            size += len(key) + _whole_size(inner)
        elif key in _SAID_TWICE:
            twice = max(twice, _size(inner))
        else:
            size += _size(inner)
    return size + twice


def _whole_size(value: object) -> int:
    """Return the bytes of a value with all names and signs."""
    if isinstance(value, str):
        return _length(value) + 2
    if isinstance(value, list):
        return 2 + sum(_whole_size(inner) + 1 for inner in value)
    if isinstance(value, dict):
        return 2 + sum(_length(str(key)) + 4 + _whole_size(inner) for key, inner in value.items())
    return len(str(value))


def _length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
