"""Prompts: the parts of a request that a model reads, whatever API it was written for, in one shape.

The shape is that of a chat request: messages with parts, and function definitions. It serves counting alone; nothing
that is sent is ever made of it. What cannot be counted (recordings, documents, references) becomes a part that says so.
Shapes: Anthropic Messages, Gemini generateContent, Bedrock Converse, Ollama; SDK types as of 2026-11-20.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

Json: TypeAlias = object
"""Anything decoded from a client's JSON; nothing about its shape is trusted."""
Chat: TypeAlias = tuple[list[Json], list[Json]]
"""Messages and function definitions."""
_Fields: TypeAlias = Mapping[object, Json]

UNSEEN: Mapping[str, str] = {"type": "file"}
"""Stands for a part whose tokens cannot be told from the request."""


def chat_of(request: Mapping[str, object], kind: str) -> Chat | None:
    """Return the prompt of a request as a chat. None: `kind` is of no API that is translated here."""
    translate = _TRANSLATIONS.get(kind)
    return None if translate is None else translate(request)


def texts_to_embed(request: Mapping[str, object]) -> Json:
    """Return what is to be embedded: OpenAI's and Ollama's `input`, Ollama's older `prompt`, Gemini's contents."""
    for key in ("input", "prompt"):
        if key in request:
            return request[key]
    requests = [request, *(each for each in _items(request.get("requests")) if isinstance(each, Mapping))]
    return [
        text
        for each in requests
        for part in _items(_fields(each.get("content")).get("parts"))
        if isinstance(text := _fields(part).get("text"), str)
    ]


def _messages(request: Mapping[str, object]) -> Chat:
    """Translate Anthropic's Messages."""
    said: list[Json] = [{"role": "system", "content": _anthropic_parts(request.get("system"))}] * ("system" in request)
    said += [
        {"role": message.get("role"), "content": _anthropic_parts(message.get("content"))}
        for message in map(_fields, _items(request.get("messages")))
    ]
    return said, [_function(tool, "input_schema") for tool in _items(request.get("tools"))]


def _anthropic_parts(content: Json) -> Json:
    if isinstance(content, str):
        return content
    return [_anthropic_part(_fields(part)) for part in _items(content)]


def _anthropic_part(part: _Fields) -> Json:
    kind = part.get("type")
    if kind == "image":
        source = _fields(part.get("source"))
        return _picture(source.get("url") or _data_url(source.get("media_type"), source.get("data")))
    if kind == "tool_result":
        return {"type": "tool_result", "content": _anthropic_parts(part.get("content"))}
    if kind == "tool_use":
        return {"name": part.get("name"), "input": part.get("input")}
    if kind == "text":
        return {"type": "text", "text": part.get("text")}
    # Thinking of earlier turns is not read again; what is not known here cannot be counted.
    return {} if kind in ("thinking", "redacted_thinking") else UNSEEN


def _generate_content(request: Mapping[str, object]) -> Chat:
    """Translate Gemini's generateContent."""
    system = request.get("systemInstruction", request.get("system_instruction"))
    contents = request.get("contents")
    turns = [system] * bool(system) + (list(contents) if isinstance(contents, list) else [contents] * bool(contents))
    said: list[Json] = [
        {"content": [_gemini_part(_fields(part)) for part in _items(_fields(turn).get("parts"))]} for turn in turns
    ]
    if request.get("cachedContent") or request.get("cached_content"):
        said.append({"content": [UNSEEN]})
    tools = [
        _function(function, "parameters")
        for tool in map(_fields, _items(request.get("tools")))
        for function in _items(tool.get("functionDeclarations", tool.get("function_declarations")))
    ]
    return said, tools


def _gemini_part(part: _Fields) -> Json:
    blob = _fields(part.get("inlineData", part.get("inline_data")))
    if blob:
        media = blob.get("mimeType", blob.get("mime_type"))
        is_picture = isinstance(media, str) and media.startswith("image/")
        return _picture(_data_url(media, blob.get("data"))) if is_picture else UNSEEN
    for key in ("functionCall", "functionResponse", "function_call", "function_response"):
        if key in part:
            call = _fields(part[key])
            return {"name": call.get("name"), "input": call.get("args", call.get("response"))}
    return {"type": "text", "text": part["text"]} if "text" in part else UNSEEN


def _converse(request: Mapping[str, object]) -> Chat:
    """Translate Bedrock's Converse."""
    said: list[Json] = [{"content": [_converse_part(_fields(part)) for part in _items(request.get("system"))]}]
    said += [
        {"content": [_converse_part(_fields(part)) for part in _items(_fields(message).get("content"))]}
        for message in _items(request.get("messages"))
    ]
    config = _fields(request.get("toolConfig"))
    specs = [_fields(_fields(tool).get("toolSpec")) for tool in _items(config.get("tools"))]
    return said, [
        _function(dict(spec) | {"schema": _fields(spec.get("inputSchema")).get("json")}, "schema") for spec in specs
    ]


def _converse_part(part: _Fields) -> Json:
    if "text" in part:
        return {"type": "text", "text": part["text"]}
    if "cachePoint" in part or "reasoningContent" in part:
        return {}
    if "image" in part:
        picture = _fields(part["image"])
        encoded = _fields(picture.get("source")).get("bytes")
        return _picture(_data_url(f"image/{picture.get('format')}", encoded))
    if "toolUse" in part:
        call = _fields(part["toolUse"])
        return {"name": call.get("name"), "input": call.get("input")}
    if "toolResult" in part:
        results = map(_fields, _items(_fields(part["toolResult"]).get("content")))
        return {"content": [each["json"] if "json" in each else _converse_part(each) for each in results]}
    return UNSEEN


def _invoke(request: Mapping[str, object]) -> Chat:
    """Translate what Bedrock hands to a model as it is: Anthropic's messages, or a prompt under one of several names."""
    if "messages" in request:
        return _messages(request)
    names = ("prompt", "inputText", "message")
    return [{"content": request[name]} for name in names if name in request], []


_TRANSLATIONS: Mapping[str, Callable[[Mapping[str, object]], Chat]] = {
    "messages": _messages,
    "generate_content": _generate_content,
    "converse": _converse,
    "invoke": _invoke,
}


def _function(tool: Json, schema: str) -> Json:
    definition = _fields(tool)
    if schema not in definition and definition.get("type") not in (None, "custom", "function"):
        return tool  # a tool of the provider's own, which puts text of its own before the prompt
    return {
        "name": definition.get("name"),
        "description": definition.get("description"),
        "parameters": definition.get(schema),
    }


def _picture(url: Json) -> Json:
    return {"type": "image_url", "image_url": {"url": url}}


def _data_url(media: Json, data: Json) -> Json:
    return f"data:{media};base64,{data}" if isinstance(data, str) else None


def _fields(value: Json) -> _Fields:
    return value if isinstance(value, Mapping) else {}


def _items(value: Json) -> list[Json]:
    return list(_members(value))


def _members(value: Json) -> Iterator[Json]:
    if isinstance(value, (list, tuple)):
        yield from value
    elif isinstance(value, str):
        yield {"type": "text", "text": value}
