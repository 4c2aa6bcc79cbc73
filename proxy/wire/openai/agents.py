"""Agent sessions: turns that a session's events tell of, each with what its root agent consumed.

Subagents and tools are billed besides and are not in that count, so what is read is a lower bound. A turn may be shown
in several streams; it is billed once. Types: openai-python 3.52 (`beta.agents`), seen 2026-11-21.
"""

from __future__ import annotations

from typing import Final

import msgspec

from pricing import Usage
from proxy.records import Charge
from proxy.wire.draft import Draft, Output
from proxy.wire.lenient import LenientDecoder
from proxy.wire.openai.error import read_error, read_failure
from proxy.wire.openai.usage import read_usage
from proxy.wire.reader import Reader
from proxy.wire.sse import Event
from proxy.wire.transcript import Transcript, note_lost


class _Agent(msgspec.Struct):
    model: str | None = None


class _Session(msgspec.Struct):
    id: str | None = None
    object: str | None = None
    agent: _Agent | None = None
    status: str | None = None


class _Chunk(msgspec.Struct):
    """The data of an event."""

    type: str | None = None
    session_id: str | None = None
    turn_id: str | None = None
    delta: str | None = None
    session: _Session | None = None
    usage: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


_SESSION: Final = LenientDecoder(_Session)
_CHUNK: Final = LenientDecoder(_Chunk)
_TURN: Final = "agent.session.turn."
_TURN_ENDS: Final = tuple(_TURN + ending for ending in ("completed", "failed", "cancelled"))
_SESSION_ENDS: Final = ("agent.session.idle", "agent.session.failed", "agent.session.requires_action")


def read(transcript: Transcript, draft: Draft) -> None:
    """Read a session, or the events of one."""
    draft.is_streaming = transcript.is_event_stream(asked=transcript.operation.is_streaming)
    if not transcript.is_success:
        read_failure(transcript, draft)
    elif draft.is_streaming:
        _read_stream(transcript, draft)
    elif transcript.response:
        session = transcript.read_response(_SESSION, draft)
        if session.object == "agent.session":
            _take_session(session, draft)
            draft.is_pending = transcript.operation.billing == "later"


def _read_stream(transcript: Transcript, draft: Draft) -> None:
    lost: set[str] = set()
    texts: list[str] = []
    draft.has_ended = False
    for event in transcript.events():
        if event.data and event.data[:6] != b"[DONE]":
            _take(event, _CHUNK.decode(event.data, lost), draft, texts, transcript.provider)
    note_lost(draft, "event", lost)
    draft.output_text = "".join(texts) or None
    if draft.charges:
        draft.usage = Usage.total(charge.usage for charge in draft.charges)


def _take(event: Event, said: _Chunk, draft: Draft, texts: list[str], provider: str | None) -> None:
    kind = said.type or event.name.decode("utf-8", "replace")
    draft.response_id = draft.response_id or said.session_id
    if said.session is not None:
        _take_session(said.session, draft)
    if kind.endswith("output_text.delta") and said.delta:
        draft.saw_output(event.end_offset)
        texts.append(said.delta)
    elif kind.endswith(".delta") and said.delta:
        draft.saw_output(event.end_offset, Output.REASONING if "reasoning" in kind else Output.VISIBLE)
    elif kind in _TURN_ENDS:
        _take_turn(said, kind.rpartition(".")[2], draft, provider)
    draft.has_ended = draft.has_ended or kind in (*_TURN_ENDS, *_SESSION_ENDS)
    if kind == "error" or (kind.endswith(".error") and bytes(said.error)):
        read_error(bytes(said.error) or event.data, draft)


def _take_session(session: _Session, draft: Draft) -> None:
    draft.response_id = session.id or draft.response_id
    draft.model = (session.agent and session.agent.model) or draft.model


def _take_turn(said: _Chunk, ending: str, draft: Draft, provider: str | None) -> None:
    draft.finish_reasons = (*draft.finish_reasons, ending)
    draft.attempt("usage", read_usage, bytes(said.usage), draft, provider)
    if draft.usage is not None:
        draft.charges = (*draft.charges, Charge(usage=draft.usage, id=said.turn_id))
        draft.usage = None


READER: Final = Reader("openai_agents/1", read)
