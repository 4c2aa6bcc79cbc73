"""One conversation, spelled in each dialect: the request that asks, and the answer, whole or as a stream.

What stands here is what the providers' own libraries send and receive; `tests/captures` has the same shapes, and the
recorder reads them in earnest. Token counts are four letters each: nobody is billed for them.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

import msgspec

Dialect = Literal["chat", "responses", "messages", "gemini", "embeddings"]
Finish = Literal["stop", "length", "tools", "refusal"]
_encode: Final = msgspec.json.encode


class ToolUse(NamedTuple):
    """A call of a tool."""

    id: str
    name: str
    arguments: str
    """JSON text, perhaps broken."""


class Message(NamedTuple):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant", "tool"]
    text: str = ""
    calls: tuple[ToolUse, ...] = ()
    answers: str = ""
    """Id of the call whose result this is."""
    thinking: str = ""
    image: bytes = b""
    """A PNG beside the text."""


@dataclass(slots=True, kw_only=True)
class Talk:
    """A request and its answer, in no dialect yet."""

    dialect: Dialect
    model: str
    messages: Sequence[Message]
    answer: Message
    served: str = ""
    """Name of the model in the answer; '' for the same."""
    finish: Finish = "stop"
    is_streamed: bool = False
    letters_per_event: int = 28
    parameters: dict[str, Any] = field(default_factory=dict)
    """Further members of the request."""
    tools: tuple[str, ...] = ()
    """Names of tools that are offered."""
    schema: dict[str, Any] | None = None
    cached: int = 0
    """Of the input tokens, those that came from the provider's cache."""
    written: int = 0
    """Of the input tokens, those that went into it (Anthropic)."""
    reasoning: int = 0
    """Output tokens that nobody saw."""
    id: str = "0"
    """What ids in the answer are made of."""
    created_s: int = 0
    input_tokens: int | None = None
    """None: as many as the letters say."""


class Spoken(NamedTuple):
    """What goes over the wire."""

    path: str
    """Below the upstream's base URL."""
    request: bytes
    pieces: list[bytes]
    """Of the answer, in the order in which they come."""
    output_tokens: int


def spell(talk: Talk) -> Spoken:
    """Return the request and the answer in the dialect of the talk."""
    return _DIALECTS[talk.dialect](talk)


def tokens(text: str) -> int:
    """Return about how many tokens a text has."""
    return -(-len(text) // 4)


def input_tokens(talk: Talk) -> int:
    """Return how many tokens the request has."""
    if talk.input_tokens is not None:
        return talk.input_tokens
    images = sum(765 for message in talk.messages if message.image)
    letters = sum(len(m.text) + sum(len(call.arguments) for call in m.calls) for m in talk.messages)
    return letters // 4 + 4 * len(talk.messages) + 45 * len(talk.tools) + images + 3


def output_tokens(talk: Talk) -> int:
    """Return how many tokens the answer has, reasoning included."""
    shown = tokens(talk.answer.text) + sum(tokens(call.arguments) + 9 for call in talk.answer.calls)
    return shown + tokens(talk.answer.thinking) + talk.reasoning


def error_body(dialect: Dialect, status: int, code: str, message: str) -> bytes:
    """Return how a provider says no."""
    if dialect == "messages":
        kind = {429: "rate_limit_error", 529: "overloaded_error", 400: "invalid_request_error"}.get(status, "api_error")
        return _encode({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_011C"})
    if dialect == "gemini":
        return _encode({"error": {"code": status, "message": message, "status": code.upper()}})
    kind = "invalid_request_error" if status == 400 else "requests" if status == 429 else "server_error"
    return _encode({"error": {"message": message, "type": kind, "param": None, "code": code}})


def _parts(text: str, size: int) -> Iterator[str]:
    """Cut a text between words."""
    while len(text) > size:
        cut = text.find(" ", size)
        if cut < 0:
            break
        yield text[:cut]
        text = text[cut:]
    if text:
        yield text


def _data_url(image: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(image).decode()


# --- OpenAI, chat ------------------------------------------------------------------------------------------------------


def _chat(talk: Talk) -> Spoken:
    request: dict[str, Any] = {"model": talk.model, "messages": [_chat_message(m) for m in talk.messages]}
    if talk.tools:
        request["tools"] = [{"type": "function", "function": _function(name)} for name in talk.tools]
    if talk.schema is not None:
        request["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": talk.schema}}
    if talk.is_streamed:
        request |= {"stream": True, "stream_options": {"include_usage": True}}
    output = output_tokens(talk)
    pieces = list(_chat_events(talk, output)) if talk.is_streamed else [_chat_body(talk, output)]
    return Spoken("/chat/completions", _encode(request | talk.parameters), pieces, output)


def _chat_message(message: Message) -> dict[str, Any]:
    if message.role == "tool":
        return {"role": "tool", "tool_call_id": message.answers, "content": message.text}
    spelled: dict[str, Any] = {"role": message.role, "content": message.text}
    if message.image:
        picture = {"type": "image_url", "image_url": {"url": _data_url(message.image), "detail": "low"}}
        spelled["content"] = [{"type": "text", "text": message.text}, picture]
    if message.calls:
        spelled |= {"content": message.text or None, "tool_calls": _chat_calls(message)}
    return spelled


def _chat_calls(message: Message) -> list[dict[str, Any]]:
    return [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in message.calls
    ]


def _chat_usage(talk: Talk, output: int) -> dict[str, Any]:
    given = input_tokens(talk)
    return {
        "prompt_tokens": given,
        "completion_tokens": output,
        "total_tokens": given + output,
        "prompt_tokens_details": {"cached_tokens": talk.cached, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": talk.reasoning, "audio_tokens": 0},
    }


_CHAT_FINISH: Final = {"stop": "stop", "length": "length", "tools": "tool_calls", "refusal": "content_filter"}


def _chat_body(talk: Talk, output: int) -> bytes:
    answer = talk.answer
    message: dict[str, Any] = {"role": "assistant", "content": answer.text or None, "refusal": None}
    if talk.finish == "refusal":
        message |= {"content": None, "refusal": answer.text}
    if answer.calls:
        message["tool_calls"] = _chat_calls(answer)
    body = {
        "id": f"chatcmpl-{talk.id}",
        "object": "chat.completion",
        "created": talk.created_s,
        "model": talk.served or talk.model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": _CHAT_FINISH[talk.finish]}],
        "usage": _chat_usage(talk, output),
        "service_tier": "default",
        "system_fingerprint": "fp_44709d6fcb",
    }
    return _encode(body)


def _chat_events(talk: Talk, output: int) -> Iterator[bytes]:
    head = (
        f'data: {{"id":"chatcmpl-{talk.id}","object":"chat.completion.chunk","created":{talk.created_s},'
        f'"model":"{talk.served or talk.model}","service_tier":"default","system_fingerprint":"fp_44709d6fcb","choices":'
    ).encode()

    def event(delta: Any, finish: str | None = None) -> bytes:
        return b'%b[{"index":0,"delta":%b,"finish_reason":%b}],"usage":null}\n\n' % (
            head,
            _encode(delta),
            _encode(finish),
        )

    yield event({"role": "assistant", "content": ""})
    member = "refusal" if talk.finish == "refusal" else "content"
    for part in _parts(talk.answer.text, talk.letters_per_event):
        yield event({member: part})
    for index, call in enumerate(talk.answer.calls):
        named = {"index": index, "id": call.id, "type": "function", "function": {"name": call.name, "arguments": ""}}
        yield event({"tool_calls": [named]})
        for part in _parts(call.arguments, talk.letters_per_event):
            yield event({"tool_calls": [{"index": index, "function": {"arguments": part}}]})
    yield event({}, _CHAT_FINISH[talk.finish])
    yield b'%b[],"usage":%b}\n\n' % (head, _encode(_chat_usage(talk, output)))
    yield b"data: [DONE]\n\n"


def _function(name: str) -> dict[str, Any]:
    properties = {"query": {"type": "string", "description": "What to look for."}, "limit": {"type": "integer"}}
    described = name.replace("_", " ").capitalize() + "."
    return {
        "name": name,
        "description": described,
        "parameters": {"type": "object", "properties": properties, "required": ["query"]},
    }


# --- OpenAI, Responses -------------------------------------------------------------------------------------------------


def _responses(talk: Talk) -> Spoken:
    system = "\n".join(message.text for message in talk.messages if message.role == "system")
    turns = [item for message in talk.messages if message.role != "system" for item in _response_items(message)]
    request: dict[str, Any] = {"model": talk.model, "input": turns}
    if system:
        request["instructions"] = system
    if talk.tools:
        request["tools"] = [{"type": "function", "strict": True, **_function(name)} for name in talk.tools]
    if talk.is_streamed:
        request["stream"] = True
    output = output_tokens(talk)
    pieces = list(_response_events(talk, output)) if talk.is_streamed else [_encode(_response(talk, output))]
    return Spoken("/responses", _encode(request | talk.parameters), pieces, output)


def _response_items(message: Message) -> list[dict[str, Any]]:
    if message.role == "tool":
        return [{"type": "function_call_output", "call_id": message.answers, "output": message.text}]
    kind = "output_text" if message.role == "assistant" else "input_text"
    content: list[dict[str, Any]] = [{"type": kind, "text": message.text}] if message.text else []
    if message.image:
        content.append({"type": "input_image", "image_url": _data_url(message.image), "detail": "auto"})
    items: list[dict[str, Any]] = [{"type": "message", "role": message.role, "content": content}] if content else []
    return items + [
        {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": call.arguments}
        for call in message.calls
    ]


def _response_output(talk: Talk) -> list[dict[str, Any]]:
    answer = talk.answer
    items: list[dict[str, Any]] = []
    if answer.thinking:
        summary = [{"type": "summary_text", "text": answer.thinking}]
        items.append({"id": f"rs_{talk.id}", "type": "reasoning", "summary": summary})
    if answer.text:
        part = (
            {"type": "refusal", "refusal": answer.text}
            if talk.finish == "refusal"
            else {"type": "output_text", "annotations": [], "logprobs": [], "text": answer.text}
        )
        items.append(
            {
                "id": f"msg_{talk.id}",
                "type": "message",
                "status": "incomplete" if talk.finish == "length" else "completed",
                "role": "assistant",
                "content": [part],
            }
        )
    items += [
        {
            "id": f"fc_{call.id}",
            "type": "function_call",
            "status": "completed",
            "call_id": call.id,
            "name": call.name,
            "arguments": call.arguments,
        }
        for call in answer.calls
    ]
    return items


def _response(talk: Talk, output: int, status: str = "completed") -> dict[str, Any]:
    given = input_tokens(talk)
    is_over = status == "completed"
    return {
        "id": f"resp_{talk.id}",
        "object": "response",
        "created_at": talk.created_s,
        "status": "incomplete" if is_over and talk.finish == "length" else status,
        "background": False,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if is_over and talk.finish == "length" else None,
        "instructions": None,
        "model": talk.served or talk.model,
        "output": _response_output(talk) if is_over else [],
        "service_tier": "default",
        "usage": {
            "input_tokens": given,
            "input_tokens_details": {"cached_tokens": talk.cached},
            "output_tokens": output,
            "output_tokens_details": {"reasoning_tokens": talk.reasoning + tokens(talk.answer.thinking)},
            "total_tokens": given + output,
        }
        if is_over
        else None,
        "user": None,
        "metadata": {},
    }


def _response_events(talk: Talk, output: int) -> Iterator[bytes]:
    number = 0

    def event(kind: str, **members: Any) -> bytes:
        nonlocal number
        number += 1
        data = _encode({"type": kind, "sequence_number": number - 1, **members})
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)

    yield event("response.created", response=_response(talk, 0, "in_progress"))
    for index, item in enumerate(_response_output(talk)):
        place = {"item_id": item["id"], "output_index": index}
        bare = {name: value for name, value in item.items() if name not in ("content", "summary", "arguments")}
        yield event("response.output_item.added", output_index=index, item=bare)
        if item["type"] == "reasoning":
            for part in _parts(talk.answer.thinking, talk.letters_per_event):
                yield event("response.reasoning_summary_text.delta", **place, summary_index=0, delta=part)
        elif item["type"] == "message":
            kind = "refusal" if talk.finish == "refusal" else "output_text"
            for part in _parts(talk.answer.text, talk.letters_per_event):
                yield event(f"response.{kind}.delta", **place, content_index=0, delta=part)
        else:
            for part in _parts(item["arguments"], talk.letters_per_event):
                yield event("response.function_call_arguments.delta", **place, delta=part)
        yield event("response.output_item.done", output_index=index, item=item)
    kind = "response.incomplete" if talk.finish == "length" else "response.completed"
    yield event(kind, response=_response(talk, output))


# --- Anthropic, messages -----------------------------------------------------------------------------------------------


def _messages(talk: Talk) -> Spoken:
    system = "\n".join(message.text for message in talk.messages if message.role == "system")
    turns = [_anthropic_turn(message) for message in talk.messages if message.role != "system"]
    request: dict[str, Any] = {"model": talk.model, "max_tokens": 4096, "messages": turns}
    if system:
        request["system"] = [{"type": "text", "text": system, "cache_control": {"type": "ephemeral"}}]
    if talk.tools:
        request["tools"] = [
            {
                "name": (made := _function(name))["name"],
                "description": made["description"],
                "input_schema": made["parameters"],
            }
            for name in talk.tools
        ]
    if talk.is_streamed:
        request["stream"] = True
    output = output_tokens(talk)
    pieces = list(_anthropic_events(talk, output)) if talk.is_streamed else [_encode(_anthropic(talk, output))]
    return Spoken("/v1/messages", _encode(request | talk.parameters), pieces, output)


def _anthropic_turn(message: Message) -> dict[str, Any]:
    if message.role == "tool":
        result = {"type": "tool_result", "tool_use_id": message.answers, "content": message.text}
        return {"role": "user", "content": [result]}
    blocks = _blocks(message)
    if message.image:
        source = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(message.image).decode()}
        blocks.append({"type": "image", "source": source})
    only_text = len(blocks) == 1 and blocks[0]["type"] == "text"
    return {"role": message.role, "content": message.text if only_text else blocks}


def _blocks(message: Message) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if message.thinking:
        blocks.append({"type": "thinking", "thinking": message.thinking, "signature": "EqQBCkYIAxgCIkDq"})
    if message.text:
        blocks.append({"type": "text", "text": message.text})
    blocks += [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": _parsed(call.arguments)}
        for call in message.calls
    ]
    return blocks


def _parsed(arguments: str) -> Any:
    try:
        return msgspec.json.decode(arguments)
    except msgspec.DecodeError:
        return {"raw": arguments}


def _anthropic_usage(talk: Talk, output: int) -> dict[str, Any]:
    return {
        "input_tokens": max(0, input_tokens(talk) - talk.cached - talk.written),
        "cache_creation_input_tokens": talk.written,
        "cache_read_input_tokens": talk.cached,
        "output_tokens": output,
        "service_tier": "standard",
    }


_ANTHROPIC_FINISH: Final = {"stop": "end_turn", "length": "max_tokens", "tools": "tool_use", "refusal": "refusal"}


def _anthropic(talk: Talk, output: int) -> dict[str, Any]:
    return {
        "id": f"msg_{talk.id}",
        "type": "message",
        "role": "assistant",
        "model": talk.served or talk.model,
        "content": _blocks(talk.answer),
        "stop_reason": _ANTHROPIC_FINISH[talk.finish],
        "stop_sequence": None,
        "usage": _anthropic_usage(talk, output),
    }


_EMPTY: Final[dict[str, dict[str, Any]]] = {
    "text": {"text": ""},
    "thinking": {"thinking": "", "signature": ""},
    "tool_use": {"input": {}},
}
"""What a block begins with."""


def _anthropic_events(talk: Talk, output: int) -> Iterator[bytes]:
    def event(kind: str, **members: Any) -> bytes:
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), _encode({"type": kind, **members}))

    begun = _anthropic(talk, 1) | {"content": [], "stop_reason": None}
    yield event("message_start", message=begun)
    for index, block in enumerate(_blocks(talk.answer)):
        kind = block["type"]
        empty: dict[str, Any] = _EMPTY[kind]
        yield event("content_block_start", index=index, content_block=block | empty)
        if kind == "tool_use":
            call = next(each for each in talk.answer.calls if each.id == block["id"])
            for part in _parts(call.arguments, talk.letters_per_event):
                delta = {"type": "input_json_delta", "partial_json": part}
                yield event("content_block_delta", index=index, delta=delta)
        else:
            for part in _parts(block[kind], talk.letters_per_event):
                delta = {"type": f"{kind}_delta", kind: part}
                yield event("content_block_delta", index=index, delta=delta)
        yield event("content_block_stop", index=index)
    stop = {"stop_reason": _ANTHROPIC_FINISH[talk.finish], "stop_sequence": None}
    yield event("message_delta", delta=stop, usage=_anthropic_usage(talk, output))
    yield event("message_stop")


# --- Gemini ------------------------------------------------------------------------------------------------------------


def _gemini(talk: Talk) -> Spoken:
    system = "\n".join(message.text for message in talk.messages if message.role == "system")
    turns = [_gemini_turn(message) for message in talk.messages if message.role != "system"]
    request: dict[str, Any] = {"contents": turns}
    if system:
        request["systemInstruction"] = {"parts": [{"text": system}]}
    if talk.tools:
        request["tools"] = [{"functionDeclarations": [_function(name) for name in talk.tools]}]
    output = output_tokens(talk)
    action = "streamGenerateContent?alt=sse" if talk.is_streamed else "generateContent"
    path = f"/v1beta/models/{talk.model}:{action}"
    pieces = list(_gemini_events(talk, output)) if talk.is_streamed else [_encode(_gemini_body(talk, output))]
    return Spoken(path, _encode(request | talk.parameters), pieces, output)


def _gemini_turn(message: Message) -> dict[str, Any]:
    if message.role == "tool":
        name, _, _ = message.answers.partition("#")
        return {"role": "user", "parts": [{"functionResponse": {"name": name, "response": {"result": message.text}}}]}
    return {"role": "model" if message.role == "assistant" else "user", "parts": _gemini_parts(message)}


def _gemini_parts(message: Message) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    if message.thinking:
        parts.append({"text": message.thinking, "thought": True})
    if message.text:
        parts.append({"text": message.text})
    if message.image:
        parts.append({"inlineData": {"mimeType": "image/png", "data": base64.b64encode(message.image).decode()}})
    parts += [{"functionCall": {"name": call.name, "args": _parsed(call.arguments)}} for call in message.calls]
    return parts


def _gemini_body(talk: Talk, output: int) -> dict[str, Any]:
    finish = {"stop": "STOP", "length": "MAX_TOKENS", "tools": "STOP", "refusal": "SAFETY"}[talk.finish]
    return _gemini_chunk(talk, _gemini_parts(talk.answer), output, finish)


def _gemini_chunk(talk: Talk, parts: list[dict[str, Any]], output: int, finish: str | None) -> dict[str, Any]:
    given, thought = input_tokens(talk), talk.reasoning + tokens(talk.answer.thinking)
    candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    return {
        "candidates": [candidate],
        "usageMetadata": {
            "promptTokenCount": given,
            "cachedContentTokenCount": talk.cached,
            "candidatesTokenCount": max(0, output - thought),
            "thoughtsTokenCount": thought,
            "totalTokenCount": given + output,
        },
        "modelVersion": talk.served or talk.model,
        "responseId": talk.id,
    }


def _gemini_events(talk: Talk, output: int) -> Iterator[bytes]:
    finish = {"stop": "STOP", "length": "MAX_TOKENS", "tools": "STOP", "refusal": "SAFETY"}[talk.finish]
    steps: list[list[dict[str, Any]]] = []
    for part in _gemini_parts(talk.answer):
        if "text" in part:
            steps += [[part | {"text": piece}] for piece in _parts(part["text"], talk.letters_per_event * 3)]
        else:
            steps.append([part])
    for number, step in enumerate(steps, 1):
        is_last = number == len(steps)
        spoken = output if is_last else output * number // len(steps)
        yield b"data: %b\r\n\r\n" % _encode(_gemini_chunk(talk, step, spoken, finish if is_last else None))


# --- Embeddings --------------------------------------------------------------------------------------------------------


def _embeddings(talk: Talk) -> Spoken:
    texts = [message.text for message in talk.messages]
    request = {"model": talk.model, "input": texts, "encoding_format": "base64"}
    given = input_tokens(talk)
    vector = base64.b64encode(bytes(range(64))).decode()
    body = {
        "object": "list",
        "data": [{"object": "embedding", "index": index, "embedding": vector} for index in range(len(texts))],
        "model": talk.served or talk.model,
        "usage": {"prompt_tokens": given, "total_tokens": given},
    }
    return Spoken("/embeddings", _encode(request | talk.parameters), [_encode(body)], 0)


_DIALECTS: Final[dict[Dialect, Callable[[Talk], Spoken]]] = {
    "chat": _chat,
    "responses": _responses,
    "messages": _messages,
    "gemini": _gemini,
    "embeddings": _embeddings,
}
