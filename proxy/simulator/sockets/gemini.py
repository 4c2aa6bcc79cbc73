"""Gemini's Live sessions: JSON in binary frames; every turn reads all that was said before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from proxy.simulator.ask import read_mapping
from proxy.simulator.desk import text_of
from proxy.simulator.prose import write_prose
from proxy.simulator.sockets.session import Bill, Goodbye, Object, Opened, Spoken, decoded_size, sound, texts_in

_WORDS = 12
_HEARD_BYTES = 1_000
"""Of a token: 32 are a second, at 16 kHz and 16 bits."""
_SPOKEN_BYTES = 1_920
"""25 are a second, at 24 kHz and 16 bits."""


class GeminiSession:
    """One session."""

    is_binary = True

    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        self._model = ""
        self._speaks = False
        self._text = 0
        self._sound = 0
        self._turns = 0

    def greet(self) -> Iterator[Spoken]:
        """Say nothing: the client begins."""
        return iter(())

    def hear(self, message: Mapping[str, object]) -> Iterator[Spoken]:
        """Answer one message of the client."""
        setup = read_mapping(message.get("setup"))
        content = read_mapping(message.get("client_content") or message.get("clientContent"))
        spoken = read_mapping(message.get("realtime_input") or message.get("realtimeInput"))
        if setup:
            yield self._set_up(setup)
        elif not self._model:
            yield Goodbye(1007, "setup must be the first message")
        elif content:
            self._text += self._count(texts_in(content.get("turns")))
            if content.get("turnComplete") or content.get("turn_complete"):
                yield from self._turn()
        elif spoken:
            yield from self._listen(spoken)

    def _set_up(self, setup: Mapping[str, object]) -> Object:
        self._model = text_of(setup.get("model")).rpartition("/")[2]
        config = read_mapping(setup.get("generationConfig") or setup.get("generation_config"))
        self._speaks = "AUDIO" in str(config.get("responseModalities") or config.get("response_modalities"))
        instruction = setup.get("systemInstruction") or setup.get("system_instruction")
        self._text += self._count(texts_in(instruction))
        return {"setupComplete": {}}

    def _listen(self, spoken: Mapping[str, object]) -> Iterator[Spoken]:
        audio = read_mapping(spoken.get("audio"))
        self._sound += decoded_size(audio.get("data")) // _HEARD_BYTES
        text = text_of(spoken.get("text"))
        self._text += self._count(text)
        if text or spoken.get("audioStreamEnd") or spoken.get("audio_stream_end"):
            yield from self._turn()

    def _turn(self) -> Iterator[Spoken]:
        self._turns += 1
        words = self._opened.wishes.tokens or _WORDS
        pieces = list(write_prose(self._opened.dice(str(self._turns)), words))
        for number, piece in enumerate(pieces):
            if self._speaks:
                data = sound(self._opened.dice(f"{self._turns}.{number}"), 2 * _SPOKEN_BYTES)
                part: Object = {"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": data}}
                yield {"serverContent": {"modelTurn": {"role": "model", "parts": [part]}}}
                yield {"serverContent": {"outputTranscription": {"text": piece}}}
            else:
                yield {"serverContent": {"modelTurn": {"role": "model", "parts": [{"text": piece}]}}}
        yield {"serverContent": {"generationComplete": True}}
        made = 2 * words if self._speaks else words
        yield {"serverContent": {"turnComplete": True}, "usageMetadata": self._usage(made)}
        counts = {"input_tokens": self._text + self._sound, "input_audio": self._sound, "output_tokens": made}
        yield Bill(self._model, counts | ({"output_audio": made} if self._speaks else {}))
        self._text += 0 if self._speaks else made
        self._sound += made if self._speaks else 0

    def _usage(self, made: int) -> Object:
        read = self._text + self._sound
        heard = [{"modality": "TEXT", "tokenCount": self._text}]
        if self._sound:
            heard.append({"modality": "AUDIO", "tokenCount": self._sound})
        return {
            "promptTokenCount": read,
            "responseTokenCount": made,
            "totalTokenCount": read + made,
            "promptTokensDetails": heard,
            "responseTokensDetails": [{"modality": "AUDIO" if self._speaks else "TEXT", "tokenCount": made}],
        }

    def _count(self, text: str) -> int:
        return self._opened.counter.text_counter(self._model)(text) if text else 0
