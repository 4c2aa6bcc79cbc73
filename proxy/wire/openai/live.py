"""Live: sessions billed by the second, `/live/sessions`, their sidebands and forks.

`session.usage.updated` and `session.closed` give the seconds of the whole session so far, so the last one counts. A
sideband or fork reports the same session, which is billed once, under its id. What is delegated to a Responses model
comes as the events of a response, wrapped, and is billed by itself. Source: types of openai 3.52, 2026-11.
"""

from __future__ import annotations

from typing import Final

import msgspec

from pricing import Usage
from proxy.records import Charge
from proxy.wire.draft import Draft, joined
from proxy.wire.lenient import LenientDecoder
from proxy.wire.openai.error import read_error, read_failure
from proxy.wire.openai.responses_socket import Lanes, finish
from proxy.wire.reader import Reader
from proxy.wire.session import Bills, from_server, is_upgraded
from proxy.wire.transcript import Transcript, note_lost


class _Settings(msgspec.Struct):
    id: str | None = None
    model: str | None = None


class _Seconds(msgspec.Struct):
    seconds: float | None = None


class _Nested(msgspec.Struct):
    type: str | None = None


class _Event(msgspec.Struct):
    type: str | None = None
    session: _Settings | None = None
    usage: msgspec.Raw = msgspec.Raw()
    delta: str | None = None
    delegation_id: str | None = None
    event: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


_EVENT: Final = LenientDecoder(_Event)
_SECONDS: Final = LenientDecoder(_Seconds)
_NESTED: Final = LenientDecoder(_Nested)
_MAX_SECONDS: Final = 10**6


def read(transcript: Transcript, draft: Draft) -> None:
    """Read a session."""
    if not is_upgraded(transcript):
        read_failure(transcript, draft)
        return
    draft.is_streaming = True
    _Session(draft).read(transcript)


class _Session:
    """What was said so far."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._lanes = Lanes()
        self._lost: set[str] = set()
        self._heard: list[str] = []
        self._spoken: list[str] = []
        self._raw = b""
        self._seconds: float | None = None
        self._has_started = False
        self._last = _Event()

    def read(self, transcript: Transcript) -> None:
        """Read what the server said."""
        draft = self._draft
        for note in from_server(transcript, draft):
            if note.text:
                self._last = event = _EVENT.decode(note.text, self._lost)
                self._take(event)
                if event.delta and (event.type or "").startswith("session.output_") and note.end_offset is not None:
                    draft.saw_output(note.end_offset)
        note_lost(draft, "event", self._lost)
        bills, model, session_id = Bills(), draft.model, draft.response_id
        if self._seconds is not None:
            usage = Usage(audio_ms=round(self._seconds * 1000))
            bills.add(Charge(usage=usage, model=model or "live", id=session_id), self._raw)
        elif self._has_started:
            bills.open_responses.add("session")
        finish(self._lanes, transcript, draft, bills)
        # The session's own model, not that of the work it delegated.
        draft.model, draft.response_id = model or draft.model, session_id
        draft.input_text = joined(["".join(self._heard), draft.input_text or ""])
        draft.output_text = joined(["".join(self._spoken), draft.output_text or ""])
        if self._last.type == "error":
            read_error(bytes(self._last.error), draft)

    def _take(self, event: _Event) -> None:
        match event.type:
            case "session.output_transcript.delta":
                self._spoken.append(event.delta or "")
            case "session.input_transcript.delta":
                self._heard.append(event.delta or "")
            case "response.event":
                nested = bytes(event.event)
                self._lanes.take(_NESTED.decode(nested, self._lost).type or "", event.delegation_id or "", nested)
            case _:
                self._take_session(event)

    def _take_session(self, event: _Event) -> None:
        if event.session is not None:
            self._draft.model = event.session.model or self._draft.model
            self._draft.response_id = event.session.id or self._draft.response_id
        self._has_started |= event.type == "session.started"
        raw = bytes(event.usage)
        seconds = _SECONDS.decode(raw, self._lost).seconds if raw[:1] == b"{" else None
        if seconds is not None and 0 <= seconds < _MAX_SECONDS:
            # Totals of the session: never less than the one before.
            self._seconds = max(seconds, self._seconds or 0.0)
            self._raw = raw


READER: Final = Reader("openai_live/1", read)
