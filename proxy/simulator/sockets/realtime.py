"""OpenAI's Realtime sessions, `/v1/realtime` and Azure's `/openai/realtime`.

Text is counted by the tokenizer, sound by its length: 100 ms a token in, 50 ms a token out, PCM16 at 24 kHz. What the
last response read is cached for the next, in steps of 64. A response speaks and transcribes, unless it is asked for text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from proxy.simulator.ask import read_mapping
from proxy.simulator.desk import text_of
from proxy.simulator.prose import write_prose
from proxy.simulator.sockets.session import Bill, Object, Opened, Spoken, decoded_size, sound, texts_in

_HEARD_BYTES = 4_800
_SPOKEN_BYTES = 2_400
_CACHE_STEP = 64
_WORDS = 12
"""Length of an answer when nothing asks for another."""
_SPEECH_PER_WORD = 2
"""Tokens of sound for a token of text."""
_TRANSCRIBERS_BY_SECOND = ("whisper-1",)


@dataclass(slots=True)
class _Context:
    """What the next response reads."""

    text: int = 0
    sound: int = 0
    cached_text: int = 0
    cached_sound: int = 0


class RealtimeSession:
    """One session."""

    is_binary = False

    def __init__(self, opened: Opened) -> None:
        query = opened.request.query
        self._opened = opened
        self._model = query.get("model") or query.get("deployment") or "gpt-realtime"
        self._count = opened.counter.text_counter(self._model)
        self._context = _Context()
        self._buffered = 0
        self._numbers = 0
        self._modalities: list[object] = ["audio"]
        self._transcriber: str | None = None
        self._limit: int | None = None

    def greet(self) -> Iterator[Spoken]:
        """Say which session it is."""
        yield self._event("session.created", session=self._settings())

    def hear(self, message: Mapping[str, object]) -> Iterator[Spoken]:
        """Answer one event of the client."""
        match message.get("type"):
            case "session.update":
                yield from self._update(read_mapping(message.get("session")))
            case "input_audio_buffer.append":
                self._buffered += decoded_size(message.get("audio"))
            case "input_audio_buffer.commit":
                yield from self._commit()
            case "conversation.item.create":
                yield from self._add(read_mapping(message.get("item")))
            case "response.create":
                yield from self._respond(read_mapping(message.get("response")))
            case kind:
                yield self._event("error", error=_unknown(text_of(kind)))

    def _update(self, settings: Mapping[str, object]) -> Iterator[Spoken]:
        heard = read_mapping(read_mapping(settings.get("audio")).get("input"))
        if "transcription" in heard:
            self._transcriber = text_of(read_mapping(heard["transcription"]).get("model")) or None
        modalities = settings.get("output_modalities")
        self._modalities = modalities if isinstance(modalities, list) else self._modalities
        limit = settings.get("max_output_tokens")
        self._limit = limit if isinstance(limit, int) else None
        self._context.text += self._count(text_of(settings.get("instructions")))
        yield self._event("session.updated", session=self._settings())

    def _commit(self) -> Iterator[Spoken]:
        item_id = self._id("item")
        tokens = -(-self._buffered // _HEARD_BYTES)
        seconds = self._buffered / (10 * _HEARD_BYTES)
        self._buffered = 0
        self._context.sound += tokens
        yield self._event("input_audio_buffer.committed", item_id=item_id, previous_item_id=None)
        yield self._event(
            "conversation.item.added",
            item={"id": item_id, "type": "message", "role": "user", "content": [{"type": "input_audio"}]},
        )
        if self._transcriber is not None:
            yield from self._transcribe(item_id, self._transcriber, tokens, seconds)

    def _transcribe(self, item_id: str, model: str, tokens: int, seconds: float) -> Iterator[Spoken]:
        written = "".join(write_prose(self._opened.dice(item_id), 5))
        if model in _TRANSCRIBERS_BY_SECOND:
            usage: Object = {"type": "duration", "seconds": seconds}
            bill = Bill(model, {"input_audio_ms": round(seconds * 1000)}, item_id)
        else:
            details = {"text_tokens": 0, "audio_tokens": tokens}
            usage = {
                "type": "tokens",
                "input_tokens": tokens,
                "output_tokens": 5,
                "total_tokens": tokens + 5,
                "input_token_details": details,
            }
            bill = Bill(model, {"input_tokens": tokens, "input_audio": tokens, "output_tokens": 5}, item_id)
        kind = "conversation.item.input_audio_transcription"
        yield self._event(f"{kind}.delta", item_id=item_id, content_index=0, delta=written)
        yield self._event(f"{kind}.completed", item_id=item_id, content_index=0, transcript=written, usage=usage)
        yield bill

    def _add(self, item: Mapping[str, object]) -> Iterator[Spoken]:
        self._context.text += self._count(texts_in(item) + text_of(item.get("output"))) + 3
        yield self._event("conversation.item.added", item={"id": self._id("item"), "status": "completed", **item})

    def _respond(self, asked: Mapping[str, object]) -> Iterator[Spoken]:
        id_ = self._id("resp")
        modalities = asked.get("output_modalities") or self._modalities
        speaks = isinstance(modalities, list) and "audio" in modalities
        wanted = self._opened.wishes.tokens or _WORDS
        limit = asked.get("max_output_tokens", self._limit)
        room = limit if isinstance(limit, int) else wanted * (1 + _SPEECH_PER_WORD)
        words = min(wanted, max(room // (1 + _SPEECH_PER_WORD if speaks else 1), 1))
        pieces = list(write_prose(self._opened.dice(id_), words))
        response: Object = {
            "object": "realtime.response",
            "id": id_,
            "output_modalities": modalities,
            "max_output_tokens": limit or "inf",
        }
        yield self._event(
            "response.created", response=response | {"status": "in_progress", "output": [], "usage": None}
        )
        yield from self._pieces(id_, pieces, speaks=speaks)
        usage, bill = self._usage(id_, words, words * _SPEECH_PER_WORD if speaks else 0)
        text = "".join(pieces)
        content = {"type": "output_audio", "transcript": text} if speaks else {"type": "output_text", "text": text}
        item = {
            "id": f"item_{id_}",
            "type": "message",
            "status": "completed",
            "role": "assistant",
            "content": [content],
        }
        shown = None if self._opened.wishes.no_usage else usage
        yield self._event(
            "response.done", response=response | {"status": "completed", "output": [item], "usage": shown}
        )
        yield bill

    def _pieces(self, id_: str, pieces: list[str], *, speaks: bool) -> Iterator[Spoken]:
        at: Object = {"response_id": id_, "item_id": f"item_{id_}", "output_index": 0, "content_index": 0}
        for piece in pieces:
            if not speaks:
                yield self._event("response.output_text.delta", **at, delta=piece)
                continue
            yield self._event("response.output_audio_transcript.delta", **at, delta=piece)
            made_up = sound(self._opened.dice(f"{id_}{self._numbers}"), _SPEECH_PER_WORD * _SPOKEN_BYTES)
            yield self._event("response.output_audio.delta", **at, delta=made_up)

    def _usage(self, id_: str, text: int, spoken: int) -> tuple[Object, Bill]:
        context = self._context
        cached_text, cached_sound = context.cached_text, context.cached_sound
        read = {"input_tokens": context.text + context.sound, "cached_tokens": cached_text + cached_sound}
        usage: Object = {
            "total_tokens": context.text + context.sound + text + spoken,
            "input_tokens": context.text + context.sound,
            "output_tokens": text + spoken,
            "input_token_details": {
                "text_tokens": context.text,
                "audio_tokens": context.sound,
                "image_tokens": 0,
                "cached_tokens": cached_text + cached_sound,
                "cached_tokens_details": {"text_tokens": cached_text, "audio_tokens": cached_sound, "image_tokens": 0},
            },
            "output_token_details": {"text_tokens": text, "audio_tokens": spoken},
        }
        parts = {"input_audio": context.sound, "cached_audio": cached_sound, "output_audio": spoken}
        bill = Bill(self._model, {**read, "output_tokens": text + spoken, **parts}, id_)
        context.cached_text = context.text // _CACHE_STEP * _CACHE_STEP
        context.cached_sound = context.sound // _CACHE_STEP * _CACHE_STEP
        context.text += text
        context.sound += spoken
        return usage, bill

    def _settings(self) -> Object:
        format_: Object = {"type": "audio/pcm", "rate": 24000}
        transcription = None if self._transcriber is None else {"model": self._transcriber}
        heard: Object = {"format": format_, "transcription": transcription, "turn_detection": None}
        return {
            "object": "realtime.session",
            "type": "realtime",
            "id": f"sess_{self._opened.identity[:24]}",
            "model": self._model,
            "output_modalities": self._modalities,
            "audio": {"input": heard, "output": {"format": format_, "voice": "marin"}},
            "max_output_tokens": self._limit or "inf",
        }

    def _id(self, kind: str) -> str:
        self._numbers += 1
        return f"{kind}_{self._opened.identity[:20]}{self._numbers:04d}"

    def _event(self, kind: str, /, **fields: object) -> Object:
        self._numbers += 1
        return {"type": kind, "event_id": f"event_{self._opened.identity[:12]}{self._numbers:06d}", **fields}


def _unknown(kind: str) -> Object:
    return {
        "type": "invalid_request_error",
        "code": "invalid_value",
        "message": f"Invalid value: '{kind}'.",
        "param": "type",
        "event_id": None,
    }
