"""Realtime: sessions of speech over a WebSocket, `/realtime` and `/realtime/translations`.

Each `response.done` says what that response consumed, and not by which model: that stands in the URL and in the session
events. The transcription of what the user said is billed apart, at the price of its own model, by the token or by the
second. The names of the first version (`response.audio.delta`) and of the current one (`response.output_audio.delta`)
are both understood. Sources: types of openai 3.52.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl

import msgspec

from pricing import Usage
from proxy.records import Charge, ToolCall
from proxy.wire.draft import Draft, joined
from proxy.wire.lenient import LenientDecoder
from proxy.wire.openai.error import read_error, read_failure
from proxy.wire.openai.usage import Count
from proxy.wire.reader import Reader
from proxy.wire.session import Bills, Note, from_client, from_server, is_upgraded, mended
from proxy.wire.transcript import Transcript, note_lost


class _Transcription(msgspec.Struct):
    model: str | None = None


class _Input(msgspec.Struct):
    transcription: _Transcription | None = None


class _Audio(msgspec.Struct):
    input: _Input | None = None


class _Settings(msgspec.Struct):
    id: str | None = None
    model: str | None = None
    instructions: str | None = None
    audio: _Audio | None = None
    input_audio_transcription: _Transcription | None = None

    @property
    def transcription_model(self) -> str | None:
        """The model that writes down what the user said."""
        found = self.audio and self.audio.input and self.audio.input.transcription
        found = found or self.input_audio_transcription
        return found.model if found else None


class _Content(msgspec.Struct):
    text: str | None = None
    transcript: str | None = None


class _Item(msgspec.Struct):
    type: str | None = None
    role: str | None = None
    name: str | None = None
    call_id: str | None = None
    arguments: str | None = None
    output: str | None = None
    content: list[_Content] | None = None

    @property
    def text(self) -> str:
        """What was said or written."""
        return "\n".join(part.text or part.transcript or "" for part in self.content or ())


class _StatusDetails(msgspec.Struct):
    reason: str | None = None
    error: msgspec.Raw = msgspec.Raw()


class _Response(msgspec.Struct):
    id: str | None = None
    status: str | None = None
    status_details: _StatusDetails | None = None
    output: list[_Item] | None = None
    usage: msgspec.Raw = msgspec.Raw()


class _Event(msgspec.Struct):
    type: str | None = None
    session: _Settings | None = None
    response: _Response | None = None
    item: _Item | None = None
    item_id: str | None = None
    delta: str | None = None
    transcript: str | None = None
    usage: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


class _Cached(msgspec.Struct):
    text_tokens: Count = None
    audio_tokens: Count = None
    image_tokens: Count = None


class _Details(msgspec.Struct):
    cached_tokens: Count = None
    cached_tokens_details: _Cached | None = None
    audio_tokens: Count = None
    image_tokens: Count = None
    reasoning_tokens: Count = None


class _Usage(msgspec.Struct):
    type: str | None = None
    seconds: float | None = None
    input_tokens: Count = None
    output_tokens: Count = None
    input_token_details: _Details | None = None
    output_token_details: _Details | None = None


_EVENT: Final = LenientDecoder(_Event)
_USAGE: Final = LenientDecoder(_Usage)
_TRANSCRIBED: Final = "conversation.item.input_audio_transcription.completed"
_DELTAS: Final = ("response.", "session.output_")
"""Beginnings of the events that carry model output; the transcript of what the user said is none."""
_MAX_SECONDS: Final = 10**6


def read(transcript: Transcript, draft: Draft) -> None:
    """Read a session."""
    if not is_upgraded(transcript):
        read_failure(transcript, draft)
        return
    draft.is_streaming = True
    query = dict(parse_qsl(transcript.path.partition("?")[2]))
    draft.model_requested = query.get("model") or query.get("deployment") or draft.model_requested
    _Session(draft).read(transcript)


class _Session:
    """What was said so far."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._bills = Bills()
        self._lost: set[str] = set()
        self._heard: list[str] = []
        self._written: list[str] = []
        self._calls: list[ToolCall] = []
        self._reasons: list[str | None] = []
        self._transcription_model: str | None = None
        self._last: _Event | None = None

    def read(self, transcript: Transcript) -> None:
        """Read both sides; the order between them does not matter."""
        draft = self._draft
        for note in from_client(transcript, draft):
            if note.text:
                self._take_asked(_EVENT.decode(note.text, self._lost))
        for note in from_server(transcript, draft):
            if note.text:
                self._take(note)
        note_lost(draft, "event", self._lost)
        if self._last is not None and self._last.type == "error":
            # A session goes on after an error; only the one that ended it counts.
            read_error(bytes(self._last.error), draft)
        draft.input_text, draft.output_text = joined(self._heard), joined(self._written)
        draft.tool_calls, draft.finish_reasons = tuple(self._calls), tuple(self._reasons)
        draft.attempt("usage", self._bills.finish, draft)

    def _take_asked(self, event: _Event) -> None:
        if event.session is not None and event.session.instructions:
            self._heard.append(event.session.instructions)
        if event.item is not None:
            self._heard.append(event.item.text or event.item.output or "")

    def _take(self, note: Note) -> None:
        lost: set[str] = set()
        event = _EVENT.decode(note.text, lost)
        if lost and note.end_offset is None:
            event = _EVENT.decode(mended(note.text), self._lost)
        else:
            self._lost |= lost
        self._last = event
        kind = event.type or ""
        if event.session is not None:
            self._take_session(event.session)
        if event.delta and kind.startswith(_DELTAS) and note.end_offset is not None:
            self._draft.saw_output(note.end_offset)
        elif event.response is not None:
            self._take_response(kind, event.response)
        elif kind == _TRANSCRIBED:
            self._take_transcription(event)

    def _take_session(self, session: _Settings) -> None:
        self._draft.model = session.model or self._draft.model
        self._draft.response_id = session.id or self._draft.response_id
        self._transcription_model = session.transcription_model or self._transcription_model

    def _take_response(self, kind: str, response: _Response) -> None:
        name = response.id or ""
        if kind == "response.created":
            self._bills.open_responses.add(name)
        elif kind == "response.done":
            details = response.status_details or _StatusDetails()
            self._reasons.append(details.reason or response.status)
            for item in response.output or ():
                self._take_item(item)
            self._bill(bytes(response.usage), self._draft.model, response.id)
            # What failed is not billed; what was cancelled may be, and says so when it was counted.
            if bytes(response.usage)[:1] == b"{" or response.status == "failed":
                self._bills.open_responses.discard(name)
            else:
                self._bills.open_responses.add(name)

    def _take_item(self, item: _Item) -> None:
        self._written.append(item.text)
        if item.type == "function_call":
            self._calls.append(ToolCall(choice=0, name=item.name, arguments=item.arguments or "", id=item.call_id))

    def _take_transcription(self, event: _Event) -> None:
        self._heard.append(event.transcript or "")
        model = self._transcription_model
        name = event.item_id and f"{event.item_id}/transcription"
        self._bill(bytes(event.usage), model or "unknown", name)
        if bytes(event.usage)[:1] != b"{":
            self._bills.open_responses.add(name or "transcription")

    def _bill(self, raw: bytes, model: str | None, id_: str | None) -> None:
        if id_ is not None and id_ in self._bills.own_ids:
            return  # said twice
        if raw[:1] != b"{":
            return
        lost: set[str] = set()
        usage = _usage(_USAGE.decode(raw, lost))
        if lost:
            self._draft.problems.add("usage")
        self._bills.add(Charge(usage=usage, model=model or self._draft.model_requested, id=id_), raw)
        if id_ is not None:
            self._bills.own_ids.add(id_)


def _usage(said: _Usage) -> Usage:
    """Return the buckets of a usage; what is by the second is in none of the tokens'."""
    if said.seconds is not None and 0 <= said.seconds < _MAX_SECONDS:
        return Usage(input_audio_ms=round(said.seconds * 1000))
    read, made = said.input_token_details or _Details(), said.output_token_details or _Details()
    cached = read.cached_tokens_details or _Cached()
    parts: dict[str, int | None] = {"cache_read": _rest(read.cached_tokens, cached.audio_tokens, cached.image_tokens)}
    optional = {
        "cache_read_audio": cached.audio_tokens,
        "cache_read_image": cached.image_tokens,
        "input_audio": _rest(read.audio_tokens, cached.audio_tokens),
        "input_image": _rest(read.image_tokens, cached.image_tokens),
        "output_audio": made.audio_tokens,
        "output_image": made.image_tokens,
        "output_reasoning": made.reasoning_tokens,
    }
    parts |= {name: count for name, count in optional.items() if count}
    return Usage.from_totals(input_tokens=said.input_tokens, output_tokens=said.output_tokens, **parts)


def _rest(total: int | None, *parts: int | None) -> int | None:
    return None if total is None else max(total - sum(part or 0 for part in parts), 0)


READER: Final = Reader("openai_realtime/1", read)
