"""What a session of Gemini Live may cost: every turn reads the whole context again."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from proxy.gateway.socket.meter.counter import (
    OVERHEAD_TOKENS,
    UNREADABLE,
    Counter,
    Needed,
    Open,
    joined,
    sound_tokens,
    split,
)

_HEARD: Final = 500
"""Bytes of a token of sound in: 32 tokens are a second (ai.google.dev, 2026-11), at 8 kHz and 16 bits, the least."""
_SPOKEN: Final = 1_900
"""The same of sound out: 25 tokens are a second, at 24 kHz and 16 bits."""
_FRAME_TOKENS: Final = 1_200
"""For one frame of video: 258 at the usual resolution, 1,120 at the highest (ai.google.dev, 2026-11)."""
_SOUND: Final = re.compile(rb'"mime_?[tT]ype"\s*:\s*"audio/')
_MEDIA: Final = re.compile(rb'"data"\s*:\s*"([^"]*)"')


class _Setup(msgspec.Struct):
    model: str | None = None


class _Asked(msgspec.Struct):
    setup: _Setup | None = None


class _Blob(msgspec.Struct, rename="camel"):
    mime_type: str | None = None
    data: str | None = None


class _Part(msgspec.Struct, rename="camel"):
    text: str | None = None
    inline_data: _Blob | None = None


class _Content(msgspec.Struct):
    parts: list[_Part] | None = None


class _ServerContent(msgspec.Struct, rename="camel"):
    model_turn: _Content | None = None
    turn_complete: bool | None = None


class _Detail(msgspec.Struct, rename="camel"):
    modality: str = ""
    token_count: int = 0


class _Counts(msgspec.Struct, rename="camel"):
    prompt_token_count: int | None = None
    tool_use_prompt_token_count: int | None = None
    response_token_count: int | None = None
    thoughts_token_count: int | None = None
    prompt_tokens_details: list[_Detail] = msgspec.field(default_factory=list)
    response_tokens_details: list[_Detail] = msgspec.field(default_factory=list)


class _Said(msgspec.Struct, rename="camel"):
    server_content: _ServerContent | None = None
    tool_call: msgspec.Raw = msgspec.Raw()
    usage_metadata: _Counts | None = None


_ASKED: Final = msgspec.json.Decoder(_Asked)
_SAID: Final = msgspec.json.Decoder(_Said)


class GeminiMeter:
    """A session of Gemini Live. The server may answer at any time: it hears when the user has spoken."""

    def __init__(self) -> None:
        self._counter = Counter()
        self._context = OVERHEAD_TOKENS
        self._model: str | None = None
        self._counted: dict[str, int] | None = None
        """What the turn under way says that it consumed so far."""
        self._written: int | None = None
        self._seen = 0
        """Upper bound of the output of this turn."""

    def asked(self, text: bytes, size: int) -> None:
        """Take a message of the client."""
        try:
            asked = _ASKED.decode(text)
        except UNREADABLE:
            asked = _Asked()
        if asked.setup is not None:
            self._model = (asked.setup.model or "").rpartition("/")[2] or None
            self._counter.use(self._model)
        media = [match.end() - match.start() for match in _MEDIA.finditer(text)]
        tokens = size - sum(media) + OVERHEAD_TOKENS
        if _SOUND.search(text) and b'"video/' not in text and b'"image/' not in text:
            tokens += sum(length * 3 // 4 // _HEARD + 1 for length in media)
        else:
            tokens += sum(max(_FRAME_TOKENS, length // 100) for length in media)
        self._context += tokens

    def said(self, text: bytes, size: int) -> None:
        """Take a message of the server."""
        try:
            said = _SAID.decode(text)
        except UNREADABLE:
            self._seen += size
            return
        content = said.server_content or _ServerContent()
        for part in (content.model_turn and content.model_turn.parts) or ():
            self._seen += len((part.text or "").encode("utf-8", "replace"))
            if part.inline_data is not None and part.inline_data.data:
                self._seen += sound_tokens(part.inline_data.data, _SPOKEN)
        self._seen += len(bytes(said.tool_call))
        if said.usage_metadata is not None:
            self._take_counts(said.usage_metadata)
        if content.turn_complete:
            self._end_turn()

    def _take_counts(self, counts: _Counts) -> None:
        made = (counts.response_token_count or 0) + (counts.thoughts_token_count or 0)
        self._written = max(made, self._written or 0)
        read = (counts.prompt_token_count or 0) + (counts.tool_use_prompt_token_count or 0)
        buckets = joined(
            split(read, {"input_audio": _sound(counts.prompt_tokens_details)}, "input_uncached"),
            split(made, {"output_audio": _sound(counts.response_tokens_details)}, "output_text"),
        )
        # Counts grow within a turn: those of the largest are all of it.
        if buckets is not None and sum(buckets.values()) >= sum((self._counted or {}).values()):
            self._counted = buckets

    def _end_turn(self) -> None:
        turn = Open(self._context, None, self._seen, model=self._model)
        self._counter.settle(turn, self._counted)
        # What was counted is what was read; the client may have said more since, so the bound stays.
        self._context += self._seen if self._written is None else self._written
        self._counted = self._written = None
        self._seen = 0

    def needed(self) -> Needed:
        """Return what must be covered now."""
        needed = self._counter.needed(self._context, may_begin=1)
        return msgspec.structs.replace(needed, output_tokens=needed.output_tokens + max(self._seen, self._written or 0))


def _sound(details: list[_Detail]) -> int:
    return sum(each.token_count for each in details if each.modality == "AUDIO")
