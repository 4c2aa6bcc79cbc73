"""WebSocket sessions: what both sides said over one connection.

Nobody kept which message came before which of the other side, so the client's stand first and the answers behind them,
each in their order.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from proxy.conversation import gemini
from proxy.conversation.blobs import Blobs, base64_size
from proxy.conversation.document import dict_of, dicts_of, name_of, read_whole, text_of
from proxy.conversation.message import Message, Part, Raw, Text, Thinking
from proxy.conversation.openai import read_tools
from proxy.conversation.parts import answer, content_parts, message, raw_part
from proxy.conversation.responses import gathered, item_message
from proxy.conversation.source import Said, Source, turns
from proxy.wire.draft import Draft
from proxy.wire.session import Note, from_client, from_server

_MOST: Final = 20_000
_DONE: Final = frozenset({"response.done", "response.completed", "response.incomplete", "response.failed"})
_SETTINGS: Final = frozenset({"session.update", "transcription_session.update"})


def read_session(source: Source) -> Said:
    """Read a session of OpenAI's or Gemini's."""
    said, sound = Said(), 0
    for document in _documents(from_client(source.transcript, Draft())):
        heard = _sound(document)
        sound += heard
        if not heard:
            _take_client(document, said, source.blobs)
    if sound:
        said.messages.append(message("user", [Raw("sound", f"{sound:,} bytes of sound, piece by piece")]))
    said.messages = gathered(said.messages)
    _take_server(_documents(from_server(source.transcript, Draft())), said, source.blobs)
    return said


def _documents(notes: Iterable[Note]) -> Iterable[dict[str, Any]]:
    for number, note in enumerate(notes):
        if number == _MOST:
            return
        if note.text:
            yield dict_of(read_whole(note.text))


def _take_client(document: dict[str, Any], said: Said, blobs: Blobs) -> None:
    kind = name_of(document.get("type"))
    settings = dict_of(document.get("session")) if kind in _SETTINGS else dict_of(document.get("setup"))
    if settings:
        _take_settings(settings, said, blobs)
    elif kind == "conversation.item.create":
        said.messages.append(item_message(document.get("item"), blobs))
    elif kind == "response.create":
        asked = dict_of(document.get("response")) or document
        _take_settings(asked, said, blobs)
        said.messages += [item_message(each, blobs) for each in turns(asked.get("input"))]
    elif content := dict_of(document.get("clientContent")):
        said.messages += [gemini.content(each, blobs) for each in turns(content.get("turns"))]
    elif results := dict_of(document.get("toolResponse")):
        parts = [{"functionResponse": each} for each in dicts_of(results.get("functionResponses"))]
        said.messages.append(gemini.content({"role": "user", "parts": parts}, blobs))
    elif document:
        said.messages.append(message("user", [raw_part(kind or next(iter(document)), document)]))


def _take_settings(settings: dict[str, Any], said: Said, blobs: Blobs) -> None:
    instructions = settings.get("instructions") or dict_of(settings.get("systemInstruction")).get("parts")
    if parts := content_parts(instructions, blobs):
        said.messages.append(message("system", parts))
    said.tools += read_tools(settings.get("tools"))


def _sound(document: dict[str, Any]) -> int:
    """Return how many bytes of sound a message carries."""
    if document.get("type") == "input_audio_buffer.append":
        return base64_size(text_of(document.get("audio")))
    live = dict_of(document.get("realtimeInput"))
    pieces = [dict_of(live.get("audio")), *dicts_of(live.get("mediaChunks"))]
    return sum(base64_size(text_of(piece.get("data"))) for piece in pieces)


def _take_server(documents: Iterable[dict[str, Any]], said: Said, blobs: Blobs) -> None:
    live: list[Part] = []
    for document in documents:
        response = dict_of(document.get("response"))
        if document.get("type") in _DONE:
            items = [item_message(each, blobs) for each in dicts_of(response.get("output"))]
            parts = [part for each in items for part in each.parts]
            reason = dict_of(response.get("incomplete_details")).get("reason") or response.get("status")
            said.answers.append(answer(message("assistant", parts), reason))
        elif document.get("type") == "error" or "error" in document:
            said.answers.append(answer(Message("error", (raw_part("error", document.get("error")),)), None))
        content = dict_of(document.get("serverContent"))
        live += gemini.content(content.get("modelTurn"), blobs).parts if content.get("modelTurn") else ()
        live += _transcribed(content)
        for call in dicts_of(dict_of(document.get("toolCall")).get("functionCalls")):
            live += gemini.part_parts({"functionCall": call}, blobs)
        if live and (content.get("turnComplete") is True or "toolCall" in document):
            said.answers.append(answer(message("assistant", _joined(live)), None))
            live = []
    if live:
        said.answers.append(answer(message("assistant", _joined(live)), None, has_ended=False))


def _transcribed(content: dict[str, Any]) -> list[Part]:
    text = text_of(dict_of(content.get("outputTranscription")).get("text"))
    return [Text(text)] if text else []


def _joined(parts: list[Part]) -> list[Part]:
    """Put pieces of text of one kind together; of sound in pieces one line is enough."""
    found: list[Part] = []
    for part in parts:
        last = found[-1] if found else None
        if isinstance(part, Text | Thinking) and type(last) is type(part):
            found[-1] = type(part)(getattr(last, "text", "") + part.text)
        else:
            found.append(part)
    return found
