"""Gemini: contents made of parts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from proxy.conversation.blobs import Blobs
from proxy.conversation.document import (
    clean,
    dict_of,
    dicts_of,
    integer_of,
    json_text,
    list_of,
    read_document,
    read_whole,
    text_of,
)
from proxy.conversation.message import Message, Part, Text, Thinking, ToolResult
from proxy.conversation.openai import read_tools, tool_result, vector_answers
from proxy.conversation.parts import answer, call_part, content_parts, message, raw_part
from proxy.conversation.source import Said, Source, turns
from proxy.wire.json_stream import objects
from proxy.wire.sse import Event
from proxy.wire.transcript import Transcript

_TOLD: Final = frozenset({"contents", "systemInstruction", "system_instruction", "tools", "content", "requests"})
_HINTS: Final = frozenset({"thought", "thoughtSignature", "thought_signature", "videoMetadata", "mediaResolution"})


def read_generated(source: Source) -> Said:
    """Read generated content."""
    blobs, asked = source.blobs, source.asked
    said = Said(told=_TOLD)
    declared = [tool for each in dicts_of(asked.get("tools")) for tool in _declared(each)]
    said.tools = read_tools(declared)
    instructions = content(asked.get("systemInstruction") or asked.get("system_instruction"), blobs)
    if instructions.parts:
        said.messages.append(Message("system", instructions.parts))
    said.messages += [content(each, blobs) for each in turns(asked.get("contents"))]
    is_json = "json" in str(dict_of(asked.get("generationConfig")).get("responseMimeType", ""))
    whole = (
        _assembled(events(source.transcript))
        if source.is_streaming
        else dict_of(read_document(source.transcript.response))
    )
    for candidate in dicts_of(whole.get("candidates")):
        one = Message("assistant", content(candidate.get("content"), blobs).parts)
        said.answers.append(
            answer(one, candidate.get("finishReason"), is_json=is_json, has_ended=candidate.get("has_ended"))
        )
    blocked = dict_of(whole.get("promptFeedback")).get("blockReason")
    if blocked and not said.answers:
        said.answers.append(answer(message("assistant", []), blocked))
    return said


def read_embeddings(source: Source) -> Said:
    """Read embeddings: texts, and how many numbers came of them."""
    asked = source.asked
    given = [each.get("content") for each in dicts_of(asked.get("requests"))] or [asked.get("content")]
    body = dict_of(read_document(source.transcript.response))
    vectors = dicts_of(body.get("embeddings")) or [dict_of(body.get("embedding"))] * ("embedding" in body)
    said = Said(told=_TOLD)
    said.messages = [content(each, source.blobs) for each in given if each is not None]
    said.answers = vector_answers([len(list_of(each.get("values"))) for each in vectors])
    return said


def events(transcript: Transcript) -> Iterator[Event]:
    """Yield the answers of a stream: events, or the elements of one growing array."""
    is_sse = transcript.content_type == b"text/event-stream" or transcript.response.lstrip()[:5] == b"data:"
    return transcript.events() if is_sse else objects(transcript)


def content(value: Any, blobs: Blobs) -> Message:
    """Return one content as a message; what functions gave back is the tool's."""
    if not isinstance(value, dict):
        return message("user", content_parts(value, blobs))
    parts = [part for each in turns(value.get("parts")) for part in part_parts(each, blobs)]
    is_result = bool(parts) and all(isinstance(part, ToolResult) for part in parts)
    return message("tool" if is_result else value.get("role") or "user", parts)


def part_parts(part: Any, blobs: Blobs) -> list[Part]:
    """Return what a part holds."""
    if not isinstance(part, dict):
        return content_parts(part, blobs)
    found: list[Part] = []
    if isinstance(part.get("text"), str):
        found.append((Thinking if part.get("thought") is True else Text)(clean(part["text"])))
    if call := dict_of(part.get("functionCall") or part.get("function_call")):
        arguments = call.get("args") if "args" in call else call.get("partialArgs")
        found.append(call_part(call.get("id"), call.get("name"), arguments if arguments is not None else {}))
    if result := dict_of(part.get("functionResponse") or part.get("function_response")):
        told = result.get("response")
        text = Text(clean(told if isinstance(told, str) else json_text(told)))
        found.append(tool_result(result.get("id"), result.get("name"), [text]))
    if data := dict_of(part.get("inlineData") or part.get("inline_data")):
        found.append(blobs.add("file", data.get("mimeType") or data.get("mime_type"), data.get("data")))
    if file := dict_of(part.get("fileData") or part.get("file_data")):
        url, kind = file.get("fileUri") or file.get("file_uri"), file.get("mimeType") or file.get("mime_type")
        found.append(blobs.link("file", url, media_type=kind))
    if code := dict_of(part.get("executableCode")):
        found.append(call_part(None, "code_execution", text_of(code.get("code")), is_text=True))
    if outcome := dict_of(part.get("codeExecutionResult")):
        result_text: list[Part] = [Text(text_of(outcome.get("output")))]
        is_error = outcome.get("outcome") not in (None, "OUTCOME_OK")
        found.append(tool_result(None, "code_execution", result_text, is_error=is_error))
    return found if found or part.keys() <= _HINTS else [raw_part(next(iter(part)), part)]


def _declared(tool: dict[str, Any]) -> list[dict[str, Any]]:
    functions = dicts_of(tool.get("functionDeclarations") or tool.get("function_declarations"))
    return functions or [{"name": name, "parameters": value or None} for name, value in tool.items()]


def _assembled(found: Iterator[Event]) -> dict[str, Any]:
    """Return the answer that a stream makes up."""
    candidates: dict[int, dict[str, Any]] = {}
    rest: dict[str, Any] = {}
    for event in found:
        said = dict_of(read_whole(event.data))
        rest |= {name: value for name, value in said.items() if name != "candidates"}
        for position, piece in enumerate(dicts_of(said.get("candidates"))):
            grown = candidates.setdefault(integer_of(piece.get("index"), position), {"parts": [], "finishReason": None})
            grown["finishReason"] = piece.get("finishReason") or grown["finishReason"]
            for part in turns(dict_of(piece.get("content")).get("parts")):
                _grow(grown["parts"], part)
    return rest | {
        "candidates": [
            {
                "content": {"role": "model", "parts": [_whole(part) for part in each["parts"]]},
                "finishReason": each["finishReason"],
                "has_ended": each["finishReason"] is not None,
            }
            for _, each in sorted(candidates.items())
        ]
    }


def _grow(parts: list[Any], part: Any) -> None:
    """Add a part; text goes on in text of its kind."""
    if isinstance(part, dict) and isinstance(part.get("text"), str) and part.keys() <= {"text", *_HINTS}:
        last = parts[-1] if parts else None
        if isinstance(last, dict) and "pieces" in last and last["thought"] == (part.get("thought") is True):
            last["pieces"].append(part["text"])
        else:
            parts.append({"pieces": [part["text"]], "thought": part.get("thought") is True})
    else:
        parts.append(part)


def _whole(part: Any) -> Any:
    if isinstance(part, dict) and "pieces" in part:
        return {"text": "".join(part["pieces"]), "thought": part["thought"]}
    return part
