"""What a session of OpenAI's Realtime API may cost. The server may answer at any time: it hears when the user has spoken."""

from __future__ import annotations

from typing import Any, Final

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

PICTURE_TOKENS: Final = 6_000
"""For one picture: ten times what OpenAI's list has for gpt-realtime. Ours."""
_HEARD_G711: Final = 800
"""Bytes of a token of sound in: 100 ms (OpenAI's guide to realtime costs, 2026-11) of G.711 at 8 kHz."""
_HEARD_PCM: Final = 4_800
"""The same of PCM with 16 bits at 24 kHz."""
_SPOKEN_SHARE: Final = 2
"""A token of sound out is 50 ms."""


class _Format(msgspec.Struct):
    type: str | None = None


class _Heard(msgspec.Struct):
    format: _Format | None = None
    transcription: Any = None


class _Spoken(msgspec.Struct):
    format: _Format | None = None


class _Audio(msgspec.Struct):
    input: _Heard | None = None
    output: _Spoken | None = None


class _Settings(msgspec.Struct):
    model: str | None = None
    audio: _Audio | None = None
    input_audio_format: str | None = None
    output_audio_format: str | None = None
    input_audio_transcription: Any = None


class _Cached(msgspec.Struct):
    audio_tokens: int = 0
    image_tokens: int = 0


class _Details(msgspec.Struct):
    audio_tokens: int = 0
    image_tokens: int = 0
    cached_tokens: int = 0
    cached_tokens_details: _Cached = msgspec.field(default_factory=_Cached)


class _Counts(msgspec.Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_token_details: _Details = msgspec.field(default_factory=_Details)
    output_token_details: _Details = msgspec.field(default_factory=_Details)


class _Response(msgspec.Struct):
    id: str | None = None
    usage: _Counts | None = None
    max_output_tokens: int | str | None = None


class _Event(msgspec.Struct):
    type: str | None = None
    audio: str | None = None
    session: _Settings | None = None
    response: _Response | None = None
    response_id: str | None = None
    delta: str | None = None


_EVENT: Final = msgspec.json.Decoder(_Event)


class RealtimeMeter:
    """A session of OpenAI's Realtime API. The server may answer at any time, since it hears when the user has spoken."""

    def __init__(self, model: str | None) -> None:
        self._counter = Counter()
        self._model = model
        if model is not None:
            self._counter.use(model)
        self._context = OVERHEAD_TOKENS
        self._added = 0
        self._mark = 0
        """`_added` when the response before the last began: what came after it may be missing in what it read."""
        self._last_mark = 0
        self._heard_bytes = _HEARD_G711
        self._spoken_bytes = _HEARD_G711 // _SPOKEN_SHARE
        self._is_transcribed = True
        self._by_id: dict[str, Open] = {}
        self._waiting = 0
        """Responses asked for that did not begin yet."""

    def asked(self, text: bytes, size: int) -> None:
        """Take a message of the client."""
        event = _decoded(text, size)
        if event is not None and event.audio is not None:
            tokens = sound_tokens(event.audio, self._heard_bytes)
            if self._is_transcribed:
                self._counter.past_input += tokens  # read once more, by another model
        else:
            tokens = size + OVERHEAD_TOKENS + PICTURE_TOKENS * text.count(b"input_image")
        self._context += tokens
        self._added += tokens
        if event is not None and event.type == "response.create":
            self._waiting += 1
            self._counter.turn += 1

    def said(self, text: bytes, size: int) -> None:
        """Take a message of the server."""
        event = _decoded(text, size)
        if event is None:
            self._output(None, size)
        elif event.session is not None:
            self._take_settings(event.session)
        elif event.type == "response.created" and event.response is not None:
            self._begin(event.response)
        elif event.type == "response.done" and event.response is not None:
            self._end(event.response)
        elif event.delta and (event.type or "").startswith(("response.", "session.output_")):
            is_sound = "audio.delta" in (event.type or "")
            size = (
                sound_tokens(event.delta, self._spoken_bytes)
                if is_sound
                else len(event.delta.encode("utf-8", "replace"))
            )
            self._output(event.response_id, size)

    def needed(self) -> Needed:
        """Return what must be covered now."""
        next_ones = max(self._waiting, int(not self._by_id))
        return self._counter.needed(next_ones * self._context, may_begin=next_ones)

    def _take_settings(self, settings: _Settings) -> None:
        if settings.model is not None and self._model is None:
            self._model = settings.model
            self._counter.use(settings.model)
        heard = settings.audio.input if settings.audio is not None else None
        spoken = settings.audio.output if settings.audio is not None else None
        if _is_pcm(heard.format if heard else None, settings.input_audio_format):
            self._heard_bytes = _HEARD_PCM
        if _is_pcm(spoken.format if spoken else None, settings.output_audio_format):
            self._spoken_bytes = _HEARD_PCM // _SPOKEN_SHARE
        self._is_transcribed = bool((heard and heard.transcription) or settings.input_audio_transcription)

    def _begin(self, response: _Response) -> None:
        self._waiting = max(self._waiting - 1, 0)
        limit = response.max_output_tokens
        limit = limit if isinstance(limit, int) and limit > 0 else None
        begun = Open(self._context, limit, has_begun=True, model=self._model)
        self._by_id[response.id or ""] = begun
        self._counter.begin(begun)
        self._last_mark, self._mark = self._mark, self._added

    def _output(self, response_id: str | None, tokens: int) -> None:
        begun = self._by_id.get(response_id or "") or next(iter(self._by_id.values()), None)
        if begun is not None:
            begun.output_tokens += tokens
        else:
            self._counter.past_output += tokens

    def _end(self, response: _Response) -> None:
        begun = self._by_id.pop(response.id or "", None) or Open(self._context, None, model=self._model)
        counts = response.usage or _Counts()
        self._counter.settle(begun, _buckets(counts))
        before = self._context + begun.output_tokens + OVERHEAD_TOKENS
        if counts.input_tokens is not None and counts.output_tokens is not None:
            now = counts.input_tokens + counts.output_tokens + self._added - self._last_mark
            self._context = min(before, max(now, 0))
        else:
            self._context = before


def _is_pcm(current: _Format | None, first_version: str | None) -> bool:
    return (current is not None and current.type == "audio/pcm") or first_version == "pcm16"


def _decoded(text: bytes, size: int) -> _Event | None:
    if size > len(text):
        return None
    try:
        return _EVENT.decode(text)
    except UNREADABLE:
        return None


def _buckets(counts: _Counts) -> dict[str, int] | None:
    read, made = counts.input_token_details, counts.output_token_details
    cached = read.cached_tokens_details
    parts = {
        "cache_read": read.cached_tokens - cached.audio_tokens - cached.image_tokens,
        "cache_read_audio": cached.audio_tokens,
        "cache_read_image": cached.image_tokens,
        "input_audio": read.audio_tokens - cached.audio_tokens,
        "input_image": read.image_tokens - cached.image_tokens,
    }
    spoken = {"output_audio": made.audio_tokens, "output_image": made.image_tokens}
    return joined(
        split(counts.input_tokens, parts, "input_uncached"), split(counts.output_tokens, spoken, "output_text")
    )
