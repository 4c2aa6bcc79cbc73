"""What has no conversation of its own: pictures, speech, transcriptions, moderations, errors, anything at all."""

from __future__ import annotations

from typing import Any, Final

from proxy.conversation.blobs import Form
from proxy.conversation.document import clean, dict_of, dicts_of, read_document, text_of
from proxy.conversation.message import Part, Raw, Text
from proxy.conversation.openai import read_tools
from proxy.conversation.parts import answer, content_parts, message, raw_part
from proxy.conversation.source import Said, Source
from proxy.wire import multipart

_PROMPTS: Final = ("instructions", "prompt", "input", "query", "text")
_MEDIA: Final[dict[bytes, Form]] = {b"image": "image", b"audio": "audio", b"video": "video"}
_FILES: Final[dict[str, Form]] = {"image": "image", "mask": "image", "file": "file"}
_SHOWN: Final = 200_000
"""Characters of a body of unknown shape that are shown here; all of it is on its own page."""


def read_anything(source: Source) -> Said:
    """Read a request and an answer of which nothing is known but what everybody calls a prompt."""
    if multipart.is_form(source.transcript.request_type):
        return _read_form(source)
    asked = source.asked
    said = Said(told=frozenset(_PROMPTS), tools=read_tools(asked.get("tools")))
    for name in _PROMPTS:
        if parts := content_parts(asked.get(name), source.blobs):
            said.messages.append(message("system" if name == "instructions" else "user", parts))
    if not said.messages and source.transcript.request and not isinstance(source.request, dict):
        said.messages.append(message("user", [_body(source.transcript.request, source.request)]))
    _take_answer(source, said)
    return said


def _read_form(source: Source) -> Said:
    """Read a form: its fields are parameters, its files what was sent."""
    body, kind = source.transcript.request, source.transcript.request_type
    source.request = multipart.fields(body, kind)
    parts: list[Part] = [Text(clean(source.asked[name])) for name in _PROMPTS if source.asked.get(name)]
    for field in multipart.parts(body, kind):
        if field.is_file:
            data = body[field.start : field.end]
            parts.append(source.blobs.add(_FILES.get(field.name.rstrip("[]"), "file"), None, data, name=field.name))
    said = Said(told=frozenset(_PROMPTS), messages=[message("user", parts)] if parts else [])
    _take_answer(source, said)
    return said


def _take_answer(source: Source, said: Said) -> None:
    if parts := _answer(source):
        said.answers.append(answer(message("assistant", parts), None))


def read_failure(source: Source) -> list[Part]:
    """Return what an answer that is no success says."""
    return _answer(source)


def _answer(source: Source) -> list[Part]:
    response = source.transcript.response
    if not response:
        return []
    form = _MEDIA.get(source.transcript.content_type.partition(b"/")[0])
    if form is not None:
        kind = source.transcript.content_type.decode("latin-1")
        return [source.blobs.add(form, kind, response)]
    value = read_document(response)
    told = dict_of(value)
    pictures: list[Part] = []
    for each in dicts_of(told.get("data")):
        if isinstance(each.get("b64_json"), str):
            pictures.append(source.blobs.add("image", "image/png", each["b64_json"]))
        elif isinstance(each.get("url"), str):
            pictures.append(source.blobs.link("image", each["url"]))
    if pictures:
        return pictures
    if isinstance(told.get("text"), str) and told["text"]:
        return [Text(text_of(told["text"]))]
    return [_body(response, value)]


def _body(data: bytes, value: Any) -> Part:
    if value is not None and len(data) <= _SHOWN:
        return raw_part("JSON", value)
    if b"\0" in data[:1024]:
        return Raw("bytes", f"{len(data):,} bytes that are no text")
    text = clean(data[:_SHOWN].decode("utf-8", "replace"))
    return Raw("text", text if len(data) <= _SHOWN else f"{text}…")
