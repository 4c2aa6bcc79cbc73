"""Reads what `/api/chat` and `/api/generate` are asked; both are put into the words of a chat."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from proxy.simulator.ask import Ask, Tool, read_mapping
from proxy.simulator.desk import text_of
from proxy.simulator.rejection import RejectionError

_PLAIN_OBJECT = {"type": "object", "properties": {"answer": {"type": "string"}, "confidence": {"type": "number"}}}
"""What an answer looks like when JSON is asked for, but no schema given."""


def read_ask(request: Mapping[str, object]) -> Ask:
    """Read a request for text. Raises RejectionError for what Ollama refuses."""
    model = text_of(request.get("model"))
    if not model:
        raise RejectionError(400, "model is required")
    chat = as_chat(request)
    turns = chat["messages"]
    last = read_mapping(turns[-1]) if isinstance(turns, list) and turns else {}
    return Ask(
        kind="chat",
        model=model,
        is_streaming=request.get("stream") is not False,
        includes_usage=True,
        is_padded=False,
        choices=1,
        limit=_read_limit(request),
        tools=tuple(_read_tools(request)),
        tool_choice="auto",
        follows_tool=last.get("role") == "tool",
        schema=_read_schema(request),
        effort="",
        tier="",
        request=request,
    )


def as_chat(request: Mapping[str, object]) -> dict[str, object]:
    """Return the prompt as a chat, for whoever counts or remembers prompts."""
    messages = request.get("messages")
    if not isinstance(messages, list):
        said = [("system", text_of(request.get("system"))), ("user", text_of(request.get("prompt")))]
        messages = [{"role": role, "content": text} for role, text in said if text]
    tools = {"tools": request["tools"]} if request.get("tools") else {}
    return {"model": request.get("model"), "messages": messages, **tools}


def _read_limit(request: Mapping[str, object]) -> int | None:
    limit = read_mapping(request.get("options")).get("num_predict")
    # -1 and -2 stand for as long as it takes.
    return limit if isinstance(limit, int) and not isinstance(limit, bool) and limit > 0 else None


def _read_tools(request: Mapping[str, object]) -> Iterator[Tool]:
    offered = request.get("tools")
    for entry in offered if isinstance(offered, list) else ():
        function = read_mapping(read_mapping(entry).get("function"))
        yield Tool(text_of(function.get("name")), read_mapping(function.get("parameters")))


def _read_schema(request: Mapping[str, object]) -> Mapping[str, object] | None:
    wanted = request.get("format")
    return _PLAIN_OBJECT if wanted == "json" else read_mapping(wanted) or None
