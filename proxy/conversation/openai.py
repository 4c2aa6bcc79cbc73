"""Chat completions and the older completions of OpenAI and of everybody who speaks like it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from proxy.conversation.blobs import Blobs, Media
from proxy.conversation.document import (
    clean,
    dict_of,
    dicts_of,
    encodable,
    integer_of,
    json_text,
    list_of,
    name_of,
    read_document,
    read_whole,
    text_of,
)
from proxy.conversation.message import Message, Part, Raw, Refusal, Text, Thinking, Tool, ToolResult
from proxy.conversation.parts import answer, call_part, content_parts, message, raw_part
from proxy.conversation.source import Said, Source, turns
from proxy.wire.openai.content import ToolCalls

_TOLD: Final = frozenset({"messages", "tools", "functions"})
_JSON_FORMATS: Final = frozenset({"json_object", "json_schema", "json"})
_REASONING: Final = ("reasoning_content", "reasoning", "thinking")


def read_chat(source: Source) -> Said:
    """Read a chat completion."""
    blobs, asked = source.blobs, source.asked
    said = Said(told=_TOLD)
    said.messages = [chat_message(each, blobs) for each in turns(asked.get("messages"))]
    said.tools = read_tools(asked.get("tools"), asked.get("functions"))
    completion = assembled(source) if source.is_streaming else dict_of(read_document(source.transcript.response))
    is_json = dict_of(asked.get("response_format")).get("type") in _JSON_FORMATS
    for choice in dicts_of(completion.get("choices")):
        told = choice.get("message")
        one = (
            chat_message(told, blobs)
            if told is not None
            else message("assistant", content_parts(choice.get("text"), blobs))
        )
        reason = choice.get("finish_reason") or choice.get("stop_reason")
        said.answers.append(answer(one, reason, is_json=is_json, has_ended=choice.get("has_ended")))
    return said


def read_completion(source: Source) -> Said:
    """Read a plain completion: a prompt and its continuation."""
    said = read_chat(source)
    prompt = source.asked.get("prompt")
    prompts = list_of(prompt) if isinstance(prompt, list) and not _is_tokens(prompt) else [prompt]
    said.messages = [message("user", _prompt_parts(each)) for each in prompts if each is not None]
    said.told = frozenset({"prompt"})
    return said


def read_embeddings(source: Source) -> Said:
    """Read embeddings: texts, and how many numbers came of them."""
    given = source.asked.get("input")
    texts = list_of(given) if isinstance(given, list) and not _is_tokens(given) else [given]
    body = dict_of(read_document(source.transcript.response))
    vectors = [vector_size(each.get("embedding")) for each in dicts_of(body.get("data"))]
    said = Said(told=frozenset({"input"}))
    said.messages = [message("user", _prompt_parts(each)) for each in texts if each is not None]
    said.answers = vector_answers(vectors)
    return said


def chat_message(value: Any, blobs: Blobs) -> Message:
    """Return one message of a chat."""
    if not isinstance(value, dict):
        return message("user", content_parts(value, blobs))
    parts: list[Part] = thoughts(value)
    if value.get("role") in ("tool", "function"):
        parts.append(
            tool_result(value.get("tool_call_id"), value.get("name"), content_parts(value.get("content"), blobs))
        )
    else:
        parts += content_parts(value.get("content"), blobs)
    if value.get("refusal"):
        parts.append(Refusal(text_of(value.get("refusal"))))
    sound = dict_of(value.get("audio"))
    if sound:
        parts.append(blobs.add("audio", sound.get("format"), sound.get("data"), name=sound.get("id")))
        if sound.get("transcript"):
            parts.append(Text(text_of(sound.get("transcript"))))
    for each in dicts_of(value.get("images")):
        parts += content_parts([each], blobs)
    for call in dicts_of(value.get("tool_calls")):
        custom = dict_of(call.get("custom"))
        function = custom or dict_of(call.get("function"))
        arguments = function.get("input") if custom else function.get("arguments")
        parts.append(call_part(call.get("id"), function.get("name"), arguments, is_text=bool(custom)))
    if function := dict_of(value.get("function_call")):
        parts.append(call_part(None, function.get("name"), function.get("arguments")))
    return message(value.get("role") or "assistant", parts, name=value.get("name"))


def thoughts(value: dict[str, Any]) -> list[Part]:
    """Return the reasoning beside a content, once: servers in transition send it under several names."""
    for name in _REASONING:
        if isinstance(value.get(name), str) and value[name]:
            return [Thinking(clean(value[name]))]
    details = dicts_of(value.get("reasoning_details"))
    text = "".join(text_of(each.get("text") or each.get("summary")) for each in details)
    return [Thinking(text)] if details else []


def tool_result(id_: Any, name: Any, parts: list[Part], *, is_error: bool = False) -> ToolResult:
    """Return what came of a call."""
    kept = [part if isinstance(part, Text | Raw | Media) else raw_part(None, part) for part in parts]
    return ToolResult(name_of(id_), name_of(name), tuple(kept), is_error)


def read_tools(*lists: Any) -> list[Tool]:
    """Return the tools of a request, in the spelling of whichever API."""
    found = []
    for each in (each for value in lists for each in dicts_of(value)):
        inner = next(
            (each[name] for name in ("function", "custom", "toolSpec") if isinstance(each.get(name), dict)), each
        )
        schema = next((inner[name] for name in _SCHEMAS if inner.get(name) is not None), None)
        name = name_of(inner.get("name")) or name_of(each.get("type")) or ""
        found.append(Tool(name, text_of(inner.get("description")), encodable(schema)))
    return found


_SCHEMAS: Final = ("parameters", "input_schema", "inputSchema", "parametersJsonSchema", "format")


def vector_size(vector: Any) -> int:
    """Return how many numbers a vector has; in base64 each takes four bytes."""
    return len(vector) * 3 // 16 if isinstance(vector, str) else len(list_of(vector))


def vector_answers(sizes: list[int]) -> list[Any]:
    """Return what is to be said of vectors."""
    if not sizes:
        return []
    many = f"{len(sizes):,} vectors" if len(sizes) > 1 else "1 vector"
    return [answer(message("assistant", [Raw("vectors", f"{many} of {sizes[0]:,} numbers")]), None)]


def _prompt_parts(prompt: Any) -> list[Part]:
    if isinstance(prompt, list):
        return [Raw("tokens", f"{len(prompt):,} tokens by number")]
    return [Text(clean(prompt))] if isinstance(prompt, str) else [raw_part("prompt", prompt)]


def _is_tokens(value: list[Any]) -> bool:
    return bool(value) and isinstance(value[0], int)


# --- streams -------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Voice:
    """One choice being put together."""

    role: str = "assistant"
    parts: list[Any] = field(default_factory=list)
    """Contents, whole texts in one piece."""
    texts: dict[str, list[str]] = field(default_factory=dict)
    details: list[Any] = field(default_factory=list)
    images: list[Any] = field(default_factory=list)
    sound: dict[str, Any] = field(default_factory=dict)
    calls: ToolCalls = field(default_factory=ToolCalls)
    finish_reason: str | None = None

    def take(self, choice: dict[str, Any]) -> None:
        delta = dict_of(choice.get("delta") or choice.get("message"))
        if isinstance(choice.get("text"), str):
            self._add("content", choice["text"])
        self.finish_reason = name_of(choice.get("finish_reason")) or self.finish_reason
        self.role = name_of(delta.get("role")) or self.role
        content = delta.get("content")
        if isinstance(content, list):
            self._flush()
            self.parts += content
        else:
            self._add("content", content)
        for name in ("refusal", *_REASONING):
            self._add(name, delta.get(name))
        self.details += list_of(delta.get("reasoning_details"))
        self.images += list_of(delta.get("images"))
        for name, value in dict_of(delta.get("audio")).items():
            is_piece = name in ("data", "transcript") and isinstance(value, str)
            self.sound[name] = self.sound.get(name, "") + value if is_piece else value
        for call in dicts_of(delta.get("tool_calls")):
            self._take_call(call)
        if function := dict_of(delta.get("function_call")):
            self.calls.take(0, None, None, name_of(function.get("name")), _arguments(function.get("arguments")))

    def message(self) -> dict[str, Any]:
        self._flush()
        calls = [
            {"id": call.id, "function": {"name": call.name, "arguments": call.arguments}} for call in self.calls.whole()
        ]
        texts = {name: "".join(pieces) for name, pieces in self.texts.items() if name != "content"}
        more = {"reasoning_details": self.details, "images": self.images, "audio": self.sound, "tool_calls": calls}
        return {
            "role": self.role,
            "content": self.parts,
            **texts,
            **{name: value for name, value in more.items() if value},
        }

    def _add(self, name: str, text: Any) -> None:
        if isinstance(text, str) and text:
            self.texts.setdefault(name, []).append(text)

    def _flush(self) -> None:
        """Put the text so far among the parts: what comes next stands behind it."""
        if text := "".join(self.texts.pop("content", ())):
            self.parts.append({"type": "text", "text": text})

    def _take_call(self, call: dict[str, Any]) -> None:
        function = dict_of(call.get("function") or call.get("custom"))
        index = call.get("index") if isinstance(call.get("index"), int) else None
        arguments = _arguments(function.get("arguments") or function.get("input"))
        self.calls.take(0, index, name_of(call.get("id")), name_of(function.get("name")), arguments)


def _arguments(value: Any) -> str | None:
    return value if isinstance(value, str) else json_text(value) if value is not None else None


def assembled(source: Source) -> dict[str, Any]:
    """Return the completion that a stream makes up."""
    voices: dict[int, _Voice] = {}
    is_done = False
    for event in source.transcript.events():
        if event.data[:6] == b"[DONE]":
            is_done = True
            continue
        for position, choice in enumerate(dicts_of(dict_of(read_whole(event.data)).get("choices"))):
            voices.setdefault(integer_of(choice.get("index"), position), _Voice()).take(choice)
    return {
        "choices": [
            {
                "message": voice.message(),
                "finish_reason": voice.finish_reason,
                "has_ended": is_done or voice.finish_reason is not None,
            }
            for _, voice in sorted(voices.items())
        ]
    }
