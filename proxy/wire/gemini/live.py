"""Gemini Live: a session over a WebSocket, JSON in text frames one way and in binary frames the other.

The model is named by the first message, `setup`. Each turn is billed by itself and reads the whole context again. A
turn may show its counts several times while it grows: the largest of each counts; `turnComplete` ends it.
Sources: types of google-genai 3.4; ai.google.dev/api/live, 2026-11; captures of the SDK.
"""

from __future__ import annotations

from typing import Final

import msgspec

from proxy.records import Charge, ToolCall
from proxy.wire.draft import Draft, Output, joined
from proxy.wire.gemini.content import Content
from proxy.wire.gemini.error import read_failure
from proxy.wire.gemini.usage import UsageMaximum
from proxy.wire.lenient import LenientDecoder
from proxy.wire.reader import Reader
from proxy.wire.session import Bills, Note, from_client, from_server, is_upgraded
from proxy.wire.transcript import Transcript, note_lost


class _Setup(msgspec.Struct):
    model: str | None = None
    system_instruction: Content | None = None
    systemInstruction: Content | None = None  # noqa: N815 - the wire takes both spellings


class _Turns(msgspec.Struct):
    turns: list[Content] | None = None


class _RealtimeInput(msgspec.Struct):
    text: str | None = None


class _Asked(msgspec.Struct):
    setup: _Setup | None = None
    client_content: _Turns | None = None
    clientContent: _Turns | None = None  # noqa: N815
    realtime_input: _RealtimeInput | None = None
    realtimeInput: _RealtimeInput | None = None  # noqa: N815


class _Spoken(msgspec.Struct):
    text: str | None = None


class _ServerContent(msgspec.Struct, rename="camel"):
    model_turn: Content | None = None
    turn_complete: bool | None = None
    interrupted: bool | None = None
    turn_complete_reason: str | None = None
    input_transcription: _Spoken | None = None
    output_transcription: _Spoken | None = None


class _Call(msgspec.Struct):
    id: str | None = None
    name: str | None = None
    args: msgspec.Raw = msgspec.Raw()


class _ToolCall(msgspec.Struct, rename="camel"):
    function_calls: list[_Call] | None = None


class _Said(msgspec.Struct, rename="camel"):
    server_content: _ServerContent | None = None
    tool_call: _ToolCall | None = None
    usage_metadata: msgspec.Raw = msgspec.Raw()


_ASKED: Final = LenientDecoder(_Asked)
_SAID: Final = LenientDecoder(_Said)
_LAST: Final = "the last turn"


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
        self._bills = Bills()
        self._lost: set[str] = set()
        self._heard: list[str] = []
        self._written: list[str] = []
        self._spoken: list[str] = []
        self._thoughts: list[str] = []
        self._calls: list[ToolCall] = []
        self._reasons: list[str | None] = []
        self._usage: UsageMaximum | None = None
        self._has_written = False
        self._is_interrupted = False
        self._lacks_usage = False
        """The last turn ended without a count."""

    def read(self, transcript: Transcript) -> None:
        """Read both sides; the order between them does not matter."""
        draft = self._draft
        for note in from_client(transcript, draft):
            if note.text:
                self._take_asked(_ASKED.decode(note.text, self._lost))
        for note in from_server(transcript, draft):
            if note.text:
                self._take(_SAID.decode(note.text, self._lost), note)
        self._end_turn()
        note_lost(draft, "event", self._lost)
        draft.input_text = joined(self._heard)
        # What is spoken is written down beside the sound; of both ways of writing only one is used.
        draft.output_text = "".join(self._written) or "".join(self._spoken) or None
        draft.reasoning_text = "".join(self._thoughts) or None
        draft.tool_calls, draft.finish_reasons = tuple(self._calls), tuple(self._reasons)
        draft.attempt("usage", self._bills.finish, draft)

    def _take_asked(self, asked: _Asked) -> None:
        if (setup := asked.setup) is not None:
            self._draft.model_requested = (setup.model or "").rpartition("/")[2] or self._draft.model_requested
            instruction = setup.systemInstruction or setup.system_instruction
            self._heard.append(instruction.text if instruction else "")
        for turn in (asked.clientContent or asked.client_content or _Turns()).turns or ():
            self._heard.append(turn.text)
        self._heard.append((asked.realtimeInput or asked.realtime_input or _RealtimeInput()).text or "")

    def _take(self, said: _Said, note: Note) -> None:
        output = Output.NONE
        if (raw := bytes(said.usage_metadata))[:1] == b"{":
            self._usage = self._usage or UsageMaximum()
            self._usage.add(raw)
        for call in (said.tool_call and said.tool_call.function_calls) or ():
            arguments = (bytes(call.args) or b"{}").decode("utf-8", "replace")
            self._calls.append(ToolCall(choice=0, name=call.name, arguments=arguments, id=call.id))
            output = Output.VISIBLE
        content = said.server_content or _ServerContent()
        output = max(output, self._take_content(content))
        self._has_written |= output is not Output.NONE
        if note.end_offset is not None:
            self._draft.saw_output(note.end_offset, output)
        self._is_interrupted |= bool(content.interrupted)
        if content.turn_complete:
            self._reasons.append(
                content.turn_complete_reason or ("interrupted" if self._is_interrupted else "complete")
            )
            self._end_turn()
        elif self._usage is not None and self._lacks_usage and not self._has_written:
            self._end_turn()  # The count of a turn that had ended came behind it.

    def _take_content(self, content: _ServerContent) -> Output:
        output = Output.NONE
        for part in (content.model_turn and content.model_turn.parts) or ():
            output = max(output, part.output)
            if part.text:
                (self._thoughts if part.thought else self._written).append(part.text)
        if content.output_transcription is not None:
            self._spoken.append(content.output_transcription.text or "")
        if content.input_transcription is not None:
            self._heard.append(content.input_transcription.text or "")
        return output

    def _end_turn(self) -> None:
        usage, self._usage = self._usage, None
        has_written, self._has_written, self._is_interrupted = self._has_written, False, False
        turn = Draft(model_requested=self._draft.model_requested)
        if usage is not None:
            turn.attempt("usage", usage.finish, turn, has_written=has_written)
            self._draft.problems |= turn.problems
            self._draft.service_tier = turn.service_tier or self._draft.service_tier
        if turn.usage is not None:
            self._lacks_usage = False
            self._bills.open_responses.discard(_LAST)
            charge = Charge(usage=turn.usage, model=turn.model_requested, service_tier=turn.service_tier)
            self._bills.add(charge, turn.usage_raw)
        elif has_written or usage is not None:
            self._lacks_usage = True
            self._bills.open_responses.add(_LAST)


READER: Final = Reader("gemini_live/1", read)
