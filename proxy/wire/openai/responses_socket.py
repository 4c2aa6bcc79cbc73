"""Responses over a WebSocket: one connection, many responses, some of them at the same time.

A `stream_id` names the lane in which a response runs; in a lane, and where no lane is named, one follows the other.
The events are those of a stream of server-sent events, so each response is read as if it had been one.
Sources: types of openai 3.52 (`responses_client_event`, `responses_server_event`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import msgspec

from proxy.records import Charge
from proxy.wire.draft import Draft, Output, joined
from proxy.wire.lenient import LenientDecoder
from proxy.wire.openai import responses
from proxy.wire.openai.error import read_error, read_failure
from proxy.wire.reader import Reader
from proxy.wire.session import Bills, Note, from_client, from_server, is_upgraded, mended
from proxy.wire.transcript import Transcript, note_lost


class _Said(msgspec.Struct):
    """What decides where a message belongs."""

    type: str | None = None
    stream_id: str | None = None
    delta: str | None = None
    event: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


_SAID: Final = LenientDecoder(_Said)
_ENDS: Final = frozenset(
    {"response.completed", "response.incomplete", "response.failed", "response.cancelled", "error"}
)
_BEGINS: Final = frozenset({"response.created", "response.queued"})


@dataclass(slots=True)
class _Response:
    """The messages of one response."""

    asked: bytes = b"{}"
    events: list[bytes] = field(default_factory=list)
    has_begun: bool = False
    has_ended: bool = False


class Lanes:
    """Sorts the events of many responses into those of each."""

    def __init__(self) -> None:
        self.responses: list[_Response] = []
        self._asked: dict[str, list[bytes]] = {}
        self._open: dict[str, _Response] = {}

    def ask(self, lane: str, text: bytes) -> None:
        """Take what the client asked for."""
        self._asked.setdefault(lane, []).append(text)

    def take(self, kind: str, lane: str, text: bytes) -> None:
        """Take an event of the server."""
        response = self._open.get(lane)
        if response is None or (kind == "response.created" and response.has_begun):
            if kind not in _BEGINS and kind not in _ENDS:
                return  # of a response whose beginning was not kept
            response = self._open[lane] = _Response(asked=self._next_asked(lane))
            self.responses.append(response)
        response.has_begun = True
        response.events.append(text)
        if kind in _ENDS:
            response.has_ended = True
            del self._open[lane]

    def _next_asked(self, lane: str) -> bytes:
        waiting = self._asked.get(lane)
        return waiting.pop(0) if waiting else b"{}"


def read(transcript: Transcript, draft: Draft) -> None:
    """Read a session."""
    if not is_upgraded(transcript):
        read_failure(transcript, draft)
        return
    draft.is_streaming = True
    lanes, lost, last = Lanes(), set[str](), _Said()
    for note in from_client(transcript, draft):
        if note.text and (asked := _SAID.decode(note.text, lost)).type == "response.create":
            lanes.ask(asked.stream_id or "", note.text)
    for note in from_server(transcript, draft):
        if note.text:
            last = _take(note, lanes, draft, lost)
    note_lost(draft, "event", lost)
    finish(lanes, transcript, draft)
    if last.type == "error":
        read_error(bytes(last.error), draft)


def _take(note: Note, lanes: Lanes, draft: Draft, lost: set[str]) -> _Said:
    text, missing = note.text, set[str]()
    said = _SAID.decode(text, missing)
    if missing and note.end_offset is None:
        text = mended(text)
        said = _SAID.decode(text, lost)
    else:
        lost |= missing
    kind = said.type or ""
    if said.delta and kind.endswith(".delta") and note.end_offset is not None:
        draft.saw_output(note.end_offset, Output.REASONING if ".reasoning_" in kind else Output.VISIBLE)
    lanes.take(kind, said.stream_id or "", text)
    return said


def finish(lanes: Lanes, transcript: Transcript, draft: Draft, bills: Bills | None = None) -> None:
    """Fill in what the responses say together."""
    bills = bills or Bills()
    readings = [_read_one(response, transcript) for response in lanes.responses]
    for index, (response, reading) in enumerate(zip(lanes.responses, readings, strict=True)):
        if reading.is_pending:
            continue  # billed when it is read later
        if reading.usage is not None:
            _bill(reading, bills)
        elif not (response.has_ended and reading.error_type is not None):
            bills.open_responses.add(reading.response_id or f"#{index}")
    for reading in readings:
        draft.model = reading.model or draft.model
        draft.model_requested = draft.model_requested or reading.model_requested
        draft.service_tier = reading.service_tier or draft.service_tier
        draft.user = draft.user or reading.user
        draft.problems |= reading.problems
    draft.response_id = readings[0].response_id if len(readings) == 1 else draft.response_id
    draft.is_pending = bool(readings) and all(reading.is_pending for reading in readings)
    draft.input_text = joined([reading.input_text or "" for reading in readings])
    draft.output_text = joined([reading.output_text or "" for reading in readings])
    draft.reasoning_text = joined([reading.reasoning_text or "" for reading in readings])
    draft.tool_calls = tuple(call for reading in readings for call in reading.tool_calls)
    draft.finish_reasons = tuple(reason for reading in readings for reason in reading.finish_reasons)
    draft.attempt("usage", bills.finish, draft)


def _read_one(response: _Response, transcript: Transcript) -> Draft:
    """Read one response as if it had been asked for by itself."""
    alone = msgspec.structs.replace(
        transcript,
        request=response.asked,
        request_tail=b"",
        response=b"".join(b"data: %b\n\n" % text.replace(b"\n", b" ").replace(b"\r", b" ") for text in response.events),
        response_tail=b"",
        status=200,
        headers=((b"content-type", b"text/event-stream"), *transcript.headers),
    )
    reading = Draft()
    reading.attempt("response", responses.read, alone, reading)
    return reading


def _bill(reading: Draft, bills: Bills) -> None:
    raw, usage = reading.usage_raw, reading.usage
    if usage is None:
        return
    whole = Charge(usage=usage)
    for charge in reading.charges or (whole,):
        if charge.id is not None:
            if charge.id in bills.own_ids:
                continue
            bills.own_ids.add(charge.id)
        bills.add(
            msgspec.structs.replace(
                charge,
                model=charge.model or reading.model or reading.model_requested,
                id=charge.id or reading.billing_id,
                service_tier=charge.service_tier or reading.service_tier,
            ),
            raw,
        )
        raw = None


READER: Final = Reader("openai_responses_socket/1", read)
