"""An upper bound of the output tokens in a running stream, so that a hard cap can end it in time.

Byte-level tokenizers spend at least one byte of text on a token, so the UTF-8 length of all text seen bounds the
tokens from above. The bound is about four times the truth for English; settlement corrects it. Only streams of keys
with a hard budget are metered; what cannot be read counts with its whole length.
"""

from __future__ import annotations

from typing import Final

import msgspec

from proxy.gateway.refusal import Refusal

_OVERHEAD_TOKENS: Final = 64
"""For what a provider counts beside text: end markers, the frame of a tool call."""

EXTEND_AHEAD: Final = 512
"""Tokens left in the reservation of a stream when more are asked for: some 100 ms of a fast model, many round trips."""


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(msgspec.Struct):
    function: _Function | None = None


class _Delta(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_ToolCall] | None = None
    function_call: _Function | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    text: str | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None
    delta: str | None = None


_DECODER: Final = msgspec.json.Decoder(_Chunk)


class Meter:
    """Counts a stream as it passes."""

    __slots__ = ("_bytes", "_choices", "_line")

    def __init__(self, choices: int) -> None:
        self._bytes = 0
        self._line = b""
        self._choices = choices

    @property
    def output_tokens(self) -> int:
        """Upper bound of the tokens that passed so far."""
        return self._bytes + _OVERHEAD_TOKENS * self._choices

    def feed(self, data: bytes) -> None:
        """Count the complete lines of `data`."""
        lines = (self._line + data).splitlines(keepends=True) if self._line else data.splitlines(keepends=True)
        self._line = b""
        if lines and not lines[-1].endswith((b"\n", b"\r")):
            self._line = lines.pop()
        for line in lines:
            if line.startswith(b"data:"):
                self._bytes += _text_bytes(line[5:].strip())


def _text_bytes(data: bytes) -> int:
    if data == b"[DONE]":
        return 0
    try:
        chunk = _DECODER.decode(data)
    except (ValueError, RecursionError):
        return len(data)
    size = len(chunk.delta.encode("utf-8", "replace")) if chunk.delta else 0
    for choice in chunk.choices or ():
        size += _length(choice.text)
        if choice.delta is not None:
            size += _delta_bytes(choice.delta)
    return size


def _delta_bytes(delta: _Delta) -> int:
    size = _length(delta.content) + _length(delta.refusal)
    size += max(_length(delta.reasoning_content), _length(delta.reasoning))
    if delta.function_call is not None:
        size += _length(delta.function_call.name) + _length(delta.function_call.arguments)
    for call in delta.tool_calls or ():
        if call.function is not None:
            size += _length(call.function.name) + _length(call.function.arguments)
    return size


def _length(text: str | None) -> int:
    return len(text.encode("utf-8", "replace")) if text else 0


class Allowance:
    """What a stream may still produce before more must be reserved."""

    __slots__ = ("_asked_tokens", "_meter", "granted_tokens", "refusal")

    def __init__(self, granted_tokens: int, choices: int) -> None:
        self.granted_tokens = granted_tokens
        """Output tokens that the reservation covers."""
        self.refusal: Refusal | None = None
        """Why no more will be covered; the stream may use up what it has."""
        self._meter = Meter(choices)
        self._asked_tokens = 0

    @property
    def is_used_up(self) -> bool:
        """Say whether more may have been produced than is covered."""
        return self._meter.output_tokens > self.granted_tokens

    def spend(self, pieces: list[bytes]) -> int | None:
        """Count what passed; return the tokens to ask the ledger to cover in all, None: nothing to ask now."""
        for piece in pieces:
            self._meter.feed(piece)
        needed = self._meter.output_tokens + EXTEND_AHEAD
        if needed <= self.granted_tokens or needed <= self._asked_tokens or self.refusal is not None:
            return None
        self._asked_tokens = needed
        return needed
