"""The wire of /v1/audio/*: speech in bytes or events, and transcriptions in every format."""

from __future__ import annotations

import base64
import hashlib
import random
import struct
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from proxy.simulator.answer import Usage
from proxy.simulator.counting import TokenCounter
from proxy.simulator.desk import Asked, text_of
from proxy.simulator.openai.ask import read_model
from proxy.simulator.openai.errors import missing, stream_error
from proxy.simulator.openai.forms import FormFile, files_of
from proxy.simulator.openai.switchboard import Row
from proxy.simulator.prose import write_prose
from proxy.simulator.reply import Event, Plain, Reply, Stream

_TYPES = {
    "mp3": "audio/mpeg",
    "opus": "audio/opus",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
_CHUNK_BYTES = 2048
_TOKENS_PER_CHUNK = 5
"""Audio tokens of a chunk: ours; real ones are some twenty a second."""
_CHARACTERS_PER_CHUNK = 8
_TOKENS_PER_SECOND = 10
"""Of sound that is listened to (speech-to-text guide, seen 2026-11)."""
_BYTES_PER_SECOND = 16_000
"""For sound whose length its head does not tell: a common bit rate of 128 kbit/s."""
_WORDS_PER_SECOND = 2


class SoundStudio:
    """Speaks and listens."""

    def __init__(self, counter: TokenCounter) -> None:
        self._counter = counter

    def rows(self) -> Iterable[Row]:
        """Return what is answered here."""
        return (
            ("POST", "audio/speech", self._speak),
            ("POST", "audio/transcriptions", self._transcribe),
            ("POST", "audio/translations", self._transcribe),
        )

    def _speak(self, asked: Asked) -> Reply:
        read_model(asked.content)
        text = text_of(asked.content.get("input"))
        if not text:
            raise missing("input")
        chunks = -(-len(text) // _CHARACTERS_PER_CHUNK)
        if asked.content.get("stream_format") == "sse":
            prompt = Usage(self._counter.text_counter(asked.model)(text))
            return Stream(_speech_events(asked, prompt, chunks), prompt, _failure)
        kind = _TYPES.get(text_of(asked.content.get("response_format")), _TYPES["mp3"])
        # A model billed by the character has no tokens; the others bill tokens that they do not report here.
        bill = Usage(0, extra=(("characters", len(text)),))
        events = (Event(_sound(asked.identity, index)) for index in range(chunks))
        return Stream(events, bill, lambda _written: b"", kind)

    def _transcribe(self, asked: Asked) -> Reply:
        model = read_model(asked.content)
        files = files_of(asked.content, "file")
        if not files:
            raise missing("file")
        seconds = _length_s(files[0])
        words = write_prose(random.Random(asked.identity), max(2, int(seconds * _WORDS_PER_SECOND)))
        prompt, by_length = self._bill(model, text_of(asked.content.get("prompt")), seconds)
        if asked.content.get("stream") == "true" and not by_length:
            return Stream(_transcript_events(asked, list(words), prompt), prompt, _failure)
        text = "".join(words).strip()
        billed = prompt if by_length else prompt.plus(self._counter.text_counter(model)(text), 0)
        usage = {"type": "duration", "seconds": round(seconds)} if by_length else _token_usage(billed)
        return _transcript(asked, text, seconds, usage, billed)

    def _bill(self, model: str, prompt: str, seconds: float) -> tuple[Usage, bool]:
        """Return what listening costs, and whether it is billed by the length of the sound."""
        if model.startswith("whisper"):
            return Usage(0, extra=(("seconds", round(seconds)),)), True
        heard = max(1, round(seconds * _TOKENS_PER_SECOND))
        text = self._counter.text_counter(model)(prompt) if prompt else 0
        return Usage(heard + text, extra=(("input_audio_tokens", heard),)), False


def _speech_events(asked: Asked, prompt: Usage, chunks: int) -> Iterator[Event]:
    for index in range(chunks):
        sound = base64.b64encode(_sound(asked.identity, index)).decode()
        event = {"type": "speech.audio.delta", "audio": sound}
        yield Event(_data(event), _TOKENS_PER_CHUNK, 0, (("output_audio_tokens", _TOKENS_PER_CHUNK),))
    made = chunks * _TOKENS_PER_CHUNK
    usage = {
        "input_tokens": prompt.input_tokens,
        "output_tokens": made,
        "total_tokens": prompt.input_tokens + made,
    }
    yield Event(_data({"type": "speech.audio.done", **({} if asked.wishes.no_usage else {"usage": usage})}))


def _transcript_events(asked: Asked, words: list[str], prompt: Usage) -> Iterator[Event]:
    for word in words:
        yield Event(_data({"type": "transcript.text.delta", "delta": word}), 1)
    done: dict[str, object] = {"type": "transcript.text.done", "text": "".join(words)}
    if not asked.wishes.no_usage:
        done["usage"] = _token_usage(prompt.plus(len(words), 0))
    yield Event(_data(done))


def _transcript(asked: Asked, text: str, seconds: float, usage: Mapping[str, object], billed: Usage) -> Plain:
    kind = text_of(asked.content.get("response_format"))
    if kind == "text":
        return Plain(200, f"{text}\n".encode(), billed, "text/plain; charset=utf-8")
    if kind in ("srt", "vtt"):
        return Plain(200, _subtitles(kind, text, seconds), billed, "text/plain; charset=utf-8")
    body: dict[str, object] = {"text": text} if asked.wishes.no_usage else {"text": text, "usage": usage}
    if kind == "verbose_json":
        segment = {"id": 0, "seek": 0, "start": 0.0, "end": seconds, "text": text, "tokens": [], "temperature": 0.0}
        body = {"task": "transcribe", "language": "english", "duration": seconds, "segments": [segment], **body}
    return Plain(200, msgspec.json.encode(body), billed)


def _subtitles(kind: str, text: str, seconds: float) -> bytes:
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    mark = "," if kind == "srt" else "."
    end = f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}{mark}{milliseconds:03}"
    head = "1\n" if kind == "srt" else "WEBVTT\n\n"
    return f"{head}00:00:00{mark}000 --> {end}\n{text}\n\n".encode()


def _token_usage(usage: Usage) -> dict[str, object]:
    audio = int(dict(usage.extra)["input_audio_tokens"])
    return {
        "type": "tokens",
        "input_tokens": usage.input_tokens,
        "input_token_details": {"text_tokens": usage.input_tokens - audio, "audio_tokens": audio},
        "output_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }


def _length_s(file: FormFile) -> float:
    """Return the length that the head of a WAV file tells, or else one that its size suggests."""
    head = file.content[:44]
    if len(head) == 44 and head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        (bytes_per_second,) = struct.unpack_from("<I", head, 28)
        if bytes_per_second:
            return round((len(file.content) - 44) / int(bytes_per_second), 2)
    return round(max(0.1, len(file.content) / _BYTES_PER_SECOND), 2)


def _sound(identity: str, index: int) -> bytes:
    return hashlib.shake_128(f"{identity}{index}".encode()).digest(_CHUNK_BYTES)


def _data(event: Mapping[str, object]) -> bytes:
    return b"data: " + msgspec.json.encode(event) + b"\n\n"


def _failure(_written: int) -> bytes:
    return _data({"type": "error", "error": stream_error()})
