"""OpenAI's Responses: items in, items out."""

from __future__ import annotations

from typing import Any, Final

from proxy.conversation.blobs import Blobs
from proxy.conversation.document import dict_of, dicts_of, integer_of, name_of, read_document, read_whole
from proxy.conversation.message import Message, Part, Text, Thinking
from proxy.conversation.openai import read_tools, tool_result
from proxy.conversation.parts import answer, call_part, content_parts, message, raw_part
from proxy.conversation.source import Said, Source, turns

_TOLD: Final = frozenset({"instructions", "input", "tools"})
_CALLS: Final = {"function_call": "arguments", "custom_tool_call": "input", "mcp_call": "arguments"}
_RESULTS: Final = frozenset({"function_call_output", "custom_tool_call_output", "local_shell_call_output"})
_TERMINAL: Final = frozenset({"response.completed", "response.incomplete", "response.failed"})


def read_responses(source: Source) -> Said:
    """Read a response."""
    blobs, asked = source.blobs, source.asked
    said = Said(told=_TOLD, tools=read_tools(asked.get("tools")))
    if instructions := content_parts(asked.get("instructions"), blobs):
        said.messages.append(message("system", instructions))
    said.messages += gathered([item_message(each, blobs) for each in turns(asked.get("input"))])
    response, has_ended = _assembled(source) if source.is_streaming else (_body(source), None)
    output = gathered([item_message(each, blobs) for each in dicts_of(response.get("output"))])
    if output:
        together = message("assistant", [part for each in output for part in each.parts])
        kind = dict_of(dict_of(asked.get("text")).get("format")).get("type")
        reason = dict_of(response.get("incomplete_details")).get("reason") or response.get("status")
        is_json = kind in ("json_object", "json_schema")
        said.answers.append(answer(together, reason, is_json=is_json, has_ended=has_ended))
    return said


def item_message(item: Any, blobs: Blobs) -> Message:
    """Return one item as a message."""
    if not isinstance(item, dict):
        return message("user", content_parts(item, blobs))
    kind = item.get("type")
    if kind in _CALLS:
        call_id = item.get("call_id") or item.get("id")
        is_text = kind == "custom_tool_call"
        parts: list[Part] = [call_part(call_id, item.get("name"), item.get(_CALLS[kind]), is_text=is_text)]
        if kind == "mcp_call" and item.get("output"):
            parts.append(tool_result(call_id, item.get("name"), content_parts(item.get("output"), blobs)))
        return message("assistant", parts)
    if kind in _RESULTS:
        return message("tool", [tool_result(item.get("call_id"), None, content_parts(item.get("output"), blobs))])
    if kind == "reasoning":
        shown = content_parts(item.get("content"), blobs) or content_parts(item.get("summary"), blobs)
        text = "\n".join(part.text for part in shown if isinstance(part, Text | Thinking))
        return message("assistant", [Thinking(text)])
    if kind == "image_generation_call":
        picture = blobs.add("image", item.get("output_format") or "image/png", item.get("result"), name=item.get("id"))
        return message("assistant", [picture])
    if kind in ("message", None) and ("content" in item or "role" in item):
        return message(item.get("role") or "assistant", content_parts(item.get("content"), blobs))
    return message("assistant" if str(kind).endswith("_call") else "user", [raw_part(kind, item)])


def gathered(messages: list[Message]) -> list[Message]:
    """Return messages with what the model said in one go (thoughts, words, calls) in one."""
    found: list[Message] = []
    for each in messages:
        if found and each.role == "assistant" == found[-1].role:
            found[-1] = Message("assistant", found[-1].parts + each.parts, each.name)
        else:
            found.append(each)
    return found


def _body(source: Source) -> dict[str, Any]:
    return dict_of(read_document(source.transcript.response))


def _assembled(source: Source) -> tuple[dict[str, Any], bool]:
    """Return the response that a stream makes up, and whether it has ended."""
    whole: dict[str, Any] = {}
    items: dict[int, dict[str, Any]] = {}
    texts: dict[tuple[int, int, str], list[str]] = {}
    has_ended = False
    for event in source.transcript.events():
        said = dict_of(read_whole(event.data))
        kind = name_of(said.get("type")) or event.name.decode("utf-8", "replace")
        index = integer_of(said.get("output_index"))
        if isinstance(said.get("response"), dict):
            whole = said["response"]
        if kind in ("response.output_item.added", "response.output_item.done"):
            items[index] = dict_of(said.get("item"))
        elif kind.endswith(".delta") and isinstance(said.get("delta"), str):
            part = integer_of(said.get("content_index", said.get("summary_index")))
            texts.setdefault((index, part, kind.removeprefix("response.").removesuffix(".delta")), []).append(
                said["delta"]
            )
        has_ended |= kind in _TERMINAL or kind == "error"
    if not dicts_of(whole.get("output")):
        whole = whole | {
            "output": [_grown(index, items, texts) for index in sorted({*items, *(key[0] for key in texts)})]
        }
    return whole, has_ended


def _grown(
    index: int, items: dict[int, dict[str, Any]], texts: dict[tuple[int, int, str], list[str]]
) -> dict[str, Any]:
    """Return an item as far as it came."""
    item = dict(items.get(index) or {"type": "message", "role": "assistant"})
    for (at, _, name), pieces in sorted(texts.items()):
        text = "".join(pieces)
        if at != index:
            continue
        if name in ("output_text", "refusal") and not item.get("content"):
            item["content"] = [{"type": name, "text" if name == "output_text" else "refusal": text}]
        elif name == "reasoning_summary_text" and not item.get("summary"):
            item["summary"] = [{"type": "summary_text", "text": text}]
        elif name == "reasoning_text" and not item.get("content"):
            item["content"] = [{"type": "reasoning_text", "text": text}]
        elif name.endswith("arguments") and not item.get("arguments"):
            item["arguments"] = text
        elif name.endswith("input") and not item.get("input"):
            item["input"] = text
    return item
