"""Parts of contents as OpenAI's APIs write them: a string, or a list of typed parts; and what all readers make of them."""

from __future__ import annotations

from typing import Any, Final

from proxy.conversation.blobs import Blobs, Media
from proxy.conversation.document import clean, dict_of, is_json, json_text, list_of, name_of, text_of
from proxy.conversation.message import Answer, Flag, Json, Message, Part, Raw, Refusal, Text, Thinking, ToolCall

_TEXTS: Final = frozenset({"text", "input_text", "output_text", "summary_text"})
_LENGTH: Final = frozenset(
    ("length", "max_tokens", "max_output_tokens", "model_length", "model_context_window_exceeded", "token_limit")
)
_FILTERED: Final = frozenset(
    (
        *("content_filter", "content_filtered", "guardrail_intervened", "safety", "recitation", "blocklist", "spii"),
        *("prohibited_content", "image_safety", "language", "other", "image_prohibited_content"),
    )
)
_MOST_PARTS: Final = 20_000


def content_parts(content: Any, blobs: Blobs) -> list[Part]:
    """Return the parts of a content."""
    if isinstance(content, str):
        return [Text(clean(content))] if content else []
    found: list[Part] = []
    for each in list_of(content)[:_MOST_PARTS]:
        if isinstance(each, str):
            found.append(Text(clean(each)))
        elif isinstance(each, dict):
            found += _part(each, blobs)
        elif each is not None:
            found.append(raw_part("", each))
    if isinstance(content, dict):
        found += _part(content, blobs)
    elif isinstance(content, int | float):
        found.append(raw_part("", content))
    return found


def raw_part(label: Any, value: Any) -> Raw:
    """Return what no reader knows."""
    return Raw(name_of(label) or "", clean(json_text(value)))


def call_part(id_: Any, name: Any, arguments: Any, *, is_text: bool = False) -> ToolCall:
    """Return a tool call; `is_text`: its arguments need not be JSON."""
    text = clean(arguments) if isinstance(arguments, str) else "" if arguments is None else clean(json_text(arguments))
    return ToolCall(name_of(id_), name_of(name), text, is_text or not text.strip() or is_json(text))


def message(role: Any, parts: list[Part], *, name: Any = None) -> Message:
    """Return a message."""
    said = name_of(role)
    return Message(_ROLES.get(said, said) if said else "other", tuple(parts), name_of(name))


_ROLES: Final = {"model": "assistant", "function": "tool", "ai": "assistant", "human": "user", "chatbot": "assistant"}


def answer(said: Message, reason: Any, *, is_json: bool = False, has_ended: bool | None = None) -> Answer:
    """Return an answer with what is to be noticed of it; `is_json`: it was asked for as JSON."""
    finish_reason = name_of(reason)
    parts = tuple(as_json(part) if is_json and isinstance(part, Text) else part for part in said.parts)
    flags = _flags(parts, (finish_reason or "").lower(), has_ended=has_ended)
    return Answer(Message(said.role, parts, said.name), finish_reason, flags)


def as_json(part: Text) -> Json | Text:
    """Return an answer that was asked for as JSON."""
    return Json(part.text, is_json(part.text)) if part.text.strip() else part


def _flags(parts: tuple[Part, ...], reason: str, *, has_ended: bool | None) -> tuple[Flag, ...]:
    checks: list[tuple[Flag, bool]] = [
        ("truncated", reason in _LENGTH),
        ("filtered", reason in _FILTERED),
        ("refused", reason == "refusal" or any(isinstance(part, Refusal) for part in parts)),
        ("unfinished", has_ended is False),
        ("invalid_json", any(isinstance(part, Json) and not part.is_valid for part in parts)),
        ("invalid_arguments", any(isinstance(part, ToolCall) and not part.is_valid for part in parts)),
        ("empty", not any(_is_said(part) for part in parts)),
    ]
    return tuple(flag for flag, holds in checks if holds)


def _is_said(part: Part) -> bool:
    if isinstance(part, Text | Json | Raw):
        return bool(part.text.strip())
    return not isinstance(part, Thinking)


def _part(part: dict[str, Any], blobs: Blobs) -> list[Part]:
    kind = part.get("type")
    if kind in _TEXTS or (kind is None and isinstance(part.get("text"), str)):
        return [Text(text_of(part.get("text")))]
    if kind == "refusal":
        return [Refusal(text_of(part.get("refusal")))]
    if kind in ("thinking", "reasoning", "reasoning_text"):
        inner = part.get("thinking") or part.get("text") or part.get("summary")
        return [Thinking("".join(each.text for each in content_parts(inner, blobs) if isinstance(each, Text)))]
    medium = _medium(kind, part, blobs)
    return [medium if medium is not None else raw_part(kind, part)]


def _medium(kind: Any, part: dict[str, Any], blobs: Blobs) -> Media | None:
    if kind in ("image_url", "input_image", "video_url"):
        said = part.get("image_url") or part.get("video_url")
        url = said.get("url") if isinstance(said, dict) else said
        form: Any = "video" if kind == "video_url" else "image"
        return blobs.link(form, url, name=part.get("file_id"))
    if kind in ("input_audio", "audio"):
        sound = dict_of(part.get("input_audio") or part.get("audio"))
        return blobs.add("audio", sound.get("format"), sound.get("data"), name=sound.get("id"))
    if kind in ("file", "input_file", "document_url"):
        file = dict_of(part["file"]) if isinstance(part.get("file"), dict) else part
        name = file.get("filename") or file.get("file_id") or part.get("document_name")
        url = file.get("file_data") or file.get("file_url") or part.get("document_url")
        if isinstance(url, str) and not url.startswith(("data:", "http:", "https:")):
            return blobs.add("file", None, url, name=name)
        return blobs.link("file", url, name=name)
    return None
