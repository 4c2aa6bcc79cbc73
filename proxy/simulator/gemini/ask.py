"""Reads what `:generateContent` is asked, and puts a prompt of contents and parts into the words of a chat."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from proxy.simulator.ask import Ask, Tool, read_mapping
from proxy.simulator.desk import text_of
from proxy.simulator.rejection import RejectionError

_PLAIN_OBJECT = {"type": "object", "properties": {"answer": {"type": "string"}, "confidence": {"type": "number"}}}
"""What an answer looks like when JSON is asked for, but no schema given."""
_BUDGET_OF_NOBODY = -1
"""A thinking budget that leaves the length of thoughts to the model."""


def read_ask(model: str, request: Mapping[str, object], *, is_streaming: bool) -> Ask:
    """Read a request for content. Raises RejectionError for what Google refuses."""
    contents = read_list(request.get("contents"))
    if not contents:
        raise RejectionError(400, "* GenerateContentRequest.contents: contents is not specified")
    config = read_mapping(_either(request, "generationConfig"))
    return Ask(
        kind="chat",
        model=model,
        is_streaming=is_streaming,
        includes_usage=True,
        is_padded=False,
        choices=_read_count(config, "candidateCount") or 1,
        limit=_read_count(config, "maxOutputTokens"),
        tools=tuple(_read_tools(request)),
        tool_choice=_read_tool_choice(request),
        follows_tool=any("functionResponse" in part for part in _parts(contents[-1])),
        schema=_read_schema(config),
        effort=str(read_mapping(config.get("thinkingConfig")).get("thinkingBudget", _BUDGET_OF_NOBODY)),
        tier="",
        request=request,
    )


def as_chat(model: str, request: Mapping[str, object]) -> dict[str, object]:
    """Return the prompt as a chat of the same words, for whoever counts or remembers prompts."""
    messages = [
        {"role": "user" if content.get("role") != "model" else "assistant", "content": _text(content)}
        for content in read_list(request.get("contents"))
    ]
    if instruction := read_mapping(_either(request, "systemInstruction")):
        messages.insert(0, {"role": "system", "content": _text(instruction)})
    tools = [{"type": "function", "function": each} for each in _declarations(request)]
    return {"model": model, "messages": messages, **({"tools": tools} if tools else {})}


def read_list(value: object) -> Sequence[Mapping[str, object]]:
    """Return the objects of a list; a single object counts as one."""
    items = value if isinstance(value, list) else [value]
    return [item for item in items if isinstance(item, Mapping)]


def _either(request: Mapping[str, object], name: str) -> object:
    """Return a field under its name in camel case or in snake case: the API takes both."""
    snake = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
    return request.get(name, request.get(snake))


def _read_count(config: Mapping[str, object], name: str) -> int | None:
    value = config.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise RejectionError(400, f"* GenerateContentRequest.generation_config.{name}: must be a positive integer")
    return value


def _declarations(request: Mapping[str, object]) -> Iterator[Mapping[str, object]]:
    for tool in read_list(request.get("tools")):
        yield from read_list(_either(tool, "functionDeclarations"))


def _read_tools(request: Mapping[str, object]) -> Iterator[Tool]:
    for declared in _declarations(request):
        schema = declared.get("parametersJsonSchema") or declared.get("parameters")
        yield Tool(text_of(declared.get("name")), read_mapping(_lowered(schema)))


def _read_tool_choice(request: Mapping[str, object]) -> str:
    config = read_mapping(read_mapping(_either(request, "toolConfig")).get("functionCallingConfig"))
    allowed = config.get("allowedFunctionNames")
    if isinstance(allowed, list) and len(allowed) == 1:
        return str(allowed[0])
    return {"ANY": "required", "NONE": "none"}.get(text_of(config.get("mode")), "auto")


def _read_schema(config: Mapping[str, object]) -> Mapping[str, object] | None:
    for name in ("responseJsonSchema", "responseSchema"):
        if schema := read_mapping(config.get(name)):
            return read_mapping(_lowered(schema))
    return _PLAIN_OBJECT if config.get("responseMimeType") == "application/json" else None


def _lowered(schema: object) -> object:
    """Return a schema as JSON Schema spells it: Google writes its types in capitals."""
    if isinstance(schema, Mapping):
        return {
            name: value.lower() if name == "type" and isinstance(value, str) else _lowered(value)
            for name, value in schema.items()
        }
    return [_lowered(each) for each in schema] if isinstance(schema, list) else schema


def _parts(content: Mapping[str, object]) -> Sequence[Mapping[str, object]]:
    return read_list(content.get("parts"))


def _text(content: Mapping[str, object]) -> str:
    return "\n".join(text_of(part.get("text")) or str({**part}) for part in _parts(content))
