"""Reads what OpenAI's three text endpoints are asked, and refuses what they refuse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from proxy.simulator.ask import Ask, Tool, read_mapping
from proxy.simulator.openai.errors import invalid, missing, unknown_parameter
from proxy.simulator.rejection import RejectionError

Kind = Literal["chat", "completions", "responses"]

_LEGACY_LIMIT = 16
"""OpenAI's documented default of `max_tokens` on /completions; the other endpoints have none."""
_PLAIN_OBJECT = {
    "type": "object",
    "properties": {"answer": {"type": "string"}, "confidence": {"type": "number"}, "sources": {"type": "integer"}},
}
"""What an answer looks like when JSON is asked for, but no schema given."""


def read_ask(kind: Kind, request: Mapping[str, object]) -> Ask:
    """Read a completion request. Raises RejectionError for what OpenAI refuses."""
    is_streaming = request.get("stream") is True
    return Ask(
        kind=kind,
        model=read_model(request),
        is_streaming=is_streaming,
        includes_usage=_read_include_usage(kind, request, is_streaming=is_streaming),
        is_padded=read_mapping(request.get("stream_options")).get("include_obfuscation") is not False,
        choices=_read_choices(kind, request),
        limit=_read_limit(kind, request),
        tools=tuple(_read_tools(request)),
        tool_choice=_read_tool_choice(request),
        follows_tool=_follows_tool(kind, request),
        schema=_read_schema(kind, request),
        effort=_read_effort(request),
        tier=_read_tier(request),
        request=request,
    )


def read_model(request: Mapping[str, object]) -> str:
    """Return the name of the model asked for."""
    model = request.get("model")
    if not isinstance(model, str) or not model:
        raise RejectionError(400, "you must provide a model parameter")
    return model


def read_integer(request: Mapping[str, object], name: str, low: int, high: int) -> int | None:
    """Return an optional integer parameter. Raises RejectionError outside of the bounds."""
    value = request.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise invalid(name, f"an integer between {low} and {high}")
    return value


def _read_include_usage(kind: Kind, request: Mapping[str, object], *, is_streaming: bool) -> bool:
    options = read_mapping(request.get("stream_options"))
    if kind == "responses" and "include_usage" in options:
        raise unknown_parameter("stream_options.include_usage")
    if kind != "responses" and options and not is_streaming:
        raise RejectionError(
            400, "The 'stream_options' parameter is only allowed when 'stream' is enabled.", param="stream_options"
        )
    return options.get("include_usage") is True


def _read_choices(kind: Kind, request: Mapping[str, object]) -> int:
    if kind == "responses":
        return 1
    return (read_integer(request, "n", 1, 128) or 1) * _prompts(kind, request)


def _prompts(kind: Kind, request: Mapping[str, object]) -> int:
    prompt = request.get("prompt")
    is_batch = kind == "completions" and isinstance(prompt, list) and bool(prompt) and not isinstance(prompt[0], int)
    return len(prompt) if is_batch and isinstance(prompt, list) else 1


def _read_limit(kind: Kind, request: Mapping[str, object]) -> int | None:
    names = {"chat": ("max_completion_tokens", "max_tokens"), "completions": ("max_tokens",)}
    for name in names.get(kind, ("max_output_tokens",)):
        limit = read_integer(request, name, 1, 10_000_000)
        if limit is not None:
            return limit
    return _LEGACY_LIMIT if kind == "completions" else None


def _read_tools(request: Mapping[str, object]) -> list[Tool]:
    offered = request.get("tools")
    tools = []
    for entry in offered if isinstance(offered, list) else ():
        # Chat nests the function, Responses does not.
        function = read_mapping(read_mapping(entry).get("function")) or read_mapping(entry)
        if isinstance(name := function.get("name"), str):
            tools.append(Tool(name, read_mapping(function.get("parameters"))))
    return tools


def _read_tool_choice(request: Mapping[str, object]) -> str:
    choice = request.get("tool_choice")
    if isinstance(choice, str):
        return choice
    named = read_mapping(choice)
    name = read_mapping(named.get("function")).get("name") or named.get("name")
    return name if isinstance(name, str) else "auto"


def _follows_tool(kind: Kind, request: Mapping[str, object]) -> bool:
    turns = request.get("messages" if kind == "chat" else "input")
    if kind != "responses" and kind != "completions" and not (isinstance(turns, list) and turns):
        raise missing("messages")
    if kind == "responses" and not turns and "prompt" not in request:
        raise missing("input")
    last = read_mapping(turns[-1]) if isinstance(turns, list) and turns else {}
    return last.get("role") == "tool" or last.get("type") == "function_call_output"


def _read_schema(kind: Kind, request: Mapping[str, object]) -> Mapping[str, object] | None:
    asked = read_mapping(request.get("text")).get("format") if kind == "responses" else request.get("response_format")
    wanted = read_mapping(asked)
    match wanted.get("type"):
        case "json_object":
            return _PLAIN_OBJECT
        case "json_schema":
            # Chat nests the schema under its name once more.
            return read_mapping((read_mapping(wanted.get("json_schema")) or wanted).get("schema"))
        case _:
            return None


def _read_effort(request: Mapping[str, object]) -> str:
    effort = request.get("reasoning_effort") or read_mapping(request.get("reasoning")).get("effort")
    return effort if isinstance(effort, str) else ""


def _read_tier(request: Mapping[str, object]) -> str:
    tier = request.get("service_tier")
    if not isinstance(tier, str) or tier == "auto":
        return "default"
    return "priority" if tier == "fast" else tier
