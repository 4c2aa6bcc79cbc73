"""OpenAI's Live sessions: billed by the second of sound, both ways together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from proxy.simulator.ask import read_mapping
from proxy.simulator.desk import text_of
from proxy.simulator.prose import write_prose
from proxy.simulator.sockets.session import Bill, Goodbye, Object, Opened, Spoken, decoded_size, sound

_BYTES_PER_SECOND = 48_000
_ANSWER_BYTES = 12_000


class LiveSession:
    """One session."""

    is_binary = False

    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        self._model = "gpt-live"
        self._bytes = 0
        self._numbers = 0

    def greet(self) -> Iterator[Spoken]:
        """Say nothing: the client begins."""
        return iter(())

    def hear(self, message: Mapping[str, object]) -> Iterator[Spoken]:
        """Answer one event of the client."""
        match message.get("type"):
            case "session.start":
                self._model = text_of(read_mapping(message.get("session")).get("model")) or self._model
                yield self._event("session.started", session=self._session())
            case "session.input_audio.append":
                yield from self._answer(decoded_size(message.get("audio")))
            case "session.close":
                yield self._event(
                    "session.closed", reason="close_requested", session=self._session(), usage=self._usage()
                )
                yield Bill(self._model, {"audio_ms": self._bytes * 1000 // _BYTES_PER_SECOND}, self._id)
                yield Goodbye(1000)
            case _:
                yield self._event("error", error={"type": "invalid_request_error", "code": None, "message": "Unknown."})

    def _answer(self, heard_bytes: int) -> Iterator[Spoken]:
        dice = self._opened.dice(str(self._numbers))
        self._bytes += heard_bytes + _ANSWER_BYTES
        text = "".join(write_prose(dice, 4))
        yield self._event("session.output_transcript.delta", delta=text, start_ms=0, end_ms=250)
        yield {"type": "session.output_audio.delta", "delta": sound(dice, _ANSWER_BYTES)}
        yield self._event("session.usage.updated", usage=self._usage())

    @property
    def _id(self) -> str:
        return f"live_{self._opened.identity[:24]}"

    def _session(self) -> Object:
        return {"id": self._id, "object": "live.session", "model": self._model}

    def _usage(self) -> Object:
        return {"seconds": self._bytes * 1000 // _BYTES_PER_SECOND / 1000}

    def _event(self, kind: str, /, **fields: object) -> Object:
        self._numbers += 1
        return {"type": kind, "event_id": f"event_{self._opened.identity[:12]}{self._numbers:06d}", **fields}
