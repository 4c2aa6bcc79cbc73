"""Training examples: a conversation as one line of the file from which OpenAI's chat models are fine-tuned.

Only what such a file can say: texts, calls of functions and what came of them. What is more than that, such as a picture,
and an answer that should not be learnt, because it was cut, refused or empty, make no example.

The format is that of platform.openai.com/docs/guides/supervised-fine-tuning, seen 2026-11-21.
"""

from __future__ import annotations

from typing import Any, Final

from proxy.conversation.message import Conversation, Json, Message, Text, Thinking, Tool, ToolCall, ToolResult

_ROLES: Final = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool"}


class _Unsayable(Exception):
    """Something stands in a conversation that an example cannot hold."""


def training_example(conversation: Conversation) -> dict[str, Any] | None:
    """Return the example that a conversation makes with its first answer; None: it makes none."""
    if conversation.endpoint == "embeddings" or not conversation.messages or not conversation.answers:
        return None
    if conversation.problems:
        return None  # not all of it can be read
    answer = conversation.answers[0]
    if answer.flags:
        return None
    try:
        messages = [line for message in (*conversation.messages, answer.message) for line in _lines(message)]
    except _Unsayable:
        return None
    if messages[-1]["role"] != "assistant" or not (messages[-1].get("content") or messages[-1].get("tool_calls")):
        return None
    tools = {"tools": [_tool(tool) for tool in conversation.tools]} if conversation.tools else {}
    return {"messages": messages, **tools}


def _lines(message: Message) -> list[dict[str, Any]]:
    """Return a message as the file writes it; the results of several calls are a message each."""
    if message.role not in _ROLES:
        raise _Unsayable
    results = [part for part in message.parts if isinstance(part, ToolResult)]
    lines: list[dict[str, Any]] = [
        {"role": "tool", "tool_call_id": part.id or "", "content": _joined(part.parts)} for part in results
    ]
    calls = [_call(part) for part in message.parts if isinstance(part, ToolCall)]
    said = [part for part in message.parts if not isinstance(part, ToolResult | ToolCall | Thinking)]
    if said or calls or not lines:
        text = _joined(said)
        line: dict[str, Any] = {"role": _ROLES[message.role]}
        if text or not calls:
            line["content"] = text
        if calls:
            line["tool_calls"] = calls
        lines.append(line)
    return lines


def _joined(parts: Any) -> str:
    if not all(isinstance(part, Text | Json) for part in parts):
        raise _Unsayable
    return "\n".join(part.text for part in parts)


def _call(part: ToolCall) -> dict[str, Any]:
    if not part.is_valid or not part.name:
        raise _Unsayable
    return {"id": part.id or "", "type": "function", "function": {"name": part.name, "arguments": part.arguments}}


def _tool(tool: Tool) -> dict[str, Any]:
    about = {"description": tool.description} if tool.description else {}
    parameters = {} if tool.schema is None else {"parameters": tool.schema}
    return {"type": "function", "function": {"name": tool.name, **about, **parameters}}
