"""Traffic as applications send it, by seed: the bytes of requests and answers in the shapes that SDKs give them.

Histories grow as those of agents and chats do: every request says again what was said before, and adds a little.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from benchmarks.corpus.text import Library

Headers = tuple[tuple[bytes, bytes], ...]
Message = dict[str, Any]
START_MS: Final = 1_790_000_000_000


class Passed(NamedTuple):
    """One request and its answer."""

    session: str
    path: str
    request_headers: Headers
    request: bytes
    response_headers: Headers
    response: bytes

    @property
    def raw_bytes(self) -> int:
        """Bytes of both bodies."""
        return len(self.request) + len(self.response)


def agents(library: Library, sessions: int, turns: int = 40) -> Iterator[Passed]:
    """Coding agents of three makers: a long system prompt, many tools, a history that grows by two messages a turn."""
    for number in range(sessions):
        yield from (_openai_agent, _anthropic_agent, _responses_agent)[number % 3](library, turns)


def supports(library: Library, sessions: int, turns: int = 6) -> Iterator[Passed]:
    """Support chats: one system prompt for all, a few short turns each, streamed to half of the people."""
    system = {"role": "system", "content": "You are the support assistant of a shop. " + library.prose(1800)}
    for number in range(sessions):
        session, messages = _id(library), [system]
        for _ in range(turns):
            messages.append({"role": "user", "content": library.prose(library.numbers.randint(40, 300))})
            body = {"messages": messages, "model": "gpt-4o-mini", "temperature": 0.3, "max_tokens": 600}
            if number % 2:
                body |= {"stream": True, "stream_options": {"include_usage": True}}
            text = library.prose(library.numbers.randint(200, 700))
            yield _openai(library, session, body, {"role": "assistant", "content": text}, is_stream=bool(number % 2))
            messages.append({"role": "assistant", "content": text})


def chats(library: Library, requests: int) -> Iterator[Passed]:
    """Single questions of about 1 KB to one assistant."""
    system = {"role": "system", "content": "Answer in two or three sentences. " + library.prose(450)}
    for _ in range(requests):
        user = {"role": "user", "content": library.prose(360)}
        body = {"messages": [system, user], "model": "gpt-4o-mini", "max_tokens": 256, "temperature": 0.2}
        text = library.prose(library.numbers.randint(150, 350))
        yield _openai(library, _id(library), body, {"role": "assistant", "content": text})


def searches(library: Library, requests: int, documents: int = 60) -> Iterator[Passed]:
    """Questions about documents that were found: each request quotes five out of one collection (Gemini)."""
    shelf = [library.prose(library.numbers.randint(800, 2500)) for _ in range(documents)]
    system = {"parts": [{"text": "Answer from the context only. " + library.prose(900)}]}
    for _ in range(requests):
        found = library.numbers.sample(shelf, 5)
        context = "\n\n".join(f"[{at}] {text}" for at, text in enumerate(found))
        asked = f"Context:\n\n{context}\n\nQuestion: {library.prose(120)}"
        body = {
            "contents": [{"parts": [{"text": asked}], "role": "user"}],
            "systemInstruction": system,
            "generationConfig": {"temperature": 0.1, "maxOutputTokens": 800},
        }
        yield _gemini(library, _id(library), body, library.prose(library.numbers.randint(200, 900)))


def pictures(library: Library, sessions: int, turns: int = 4) -> Iterator[Passed]:
    """Conversations about a picture and a recording, which every turn sends again as base64."""
    for _ in range(sessions):
        session = _id(library)
        picture = base64.b64encode(_random(library, library.numbers.randint(20_000, 200_000))).decode()
        sound = base64.b64encode(_random(library, 30_000)).decode()
        first = [
            {"type": "text", "text": library.prose(150)},
            {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{picture}", "detail": "auto"}},
            {"type": "input_audio", "input_audio": {"data": sound, "format": "wav"}},
        ]
        messages: list[Message] = [{"role": "user", "content": first}]
        for _ in range(turns):
            body = {"messages": messages, "model": "gpt-4o", "max_tokens": 500}
            text = library.prose(library.numbers.randint(200, 700))
            yield _openai(library, session, body, {"role": "assistant", "content": text})
            messages.append({"role": "assistant", "content": text})
            messages.append({"role": "user", "content": library.prose(120)})


KINDS: Final[dict[str, Callable[[Library, int], Iterator[Passed]]]] = {
    "agent": agents,
    "support": supports,
    "chat": chats,
    "rag": searches,
    "multimodal": pictures,
}


def _openai_agent(library: Library, turns: int) -> Iterator[Passed]:
    session = _id(library)
    tools = [{"type": "function", "function": {**tool, "strict": True}} for tool in _tools(library, "parameters")]
    messages: list[Message] = [{"role": "system", "content": _instructions(library)}, _task(library)]
    for turn in range(turns):
        body = {
            "messages": messages,
            "model": "gpt-4.1",
            "parallel_tool_calls": False,
            "tools": tools,
            "max_completion_tokens": 8192 - turn,
        }
        name, arguments, result = _work(library)
        call = {"id": f"call_{_id(library)[:24]}", "type": "function"}
        answer = {
            "role": "assistant",
            "content": library.prose(120),
            "tool_calls": [{**call, "function": {"name": name, "arguments": json.dumps(arguments)}}],
        }
        yield _openai(library, session, body, answer)
        messages += [answer, {"role": "tool", "tool_call_id": call["id"], "content": result}]


def _anthropic_agent(library: Library, turns: int) -> Iterator[Passed]:
    session, tools = _id(library), _tools(library, "input_schema")
    mark = {"cache_control": {"type": "ephemeral"}}
    system = [{"type": "text", "text": _instructions(library), **mark}]
    messages: list[Message] = [{"role": "user", "content": [{"type": "text", "text": _task(library)["content"]}]}]
    for _ in range(turns):
        # The mark up to which the provider is to cache moves with the end of the conversation.
        last = messages[-1]
        marked = {**last, "content": [*last["content"][:-1], {**last["content"][-1], **mark}]}
        body = {
            "model": "claude-sonnet-4-5",
            "max_tokens": 32000,
            "messages": [*messages[:-1], marked],
            "system": system,
            "tools": tools,
            "metadata": {"user_id": f"user_{session}"},
            "stream": True,
        }
        name, arguments, result = _work(library)
        tool_id = f"toolu_{_id(library)[:22]}"
        text = library.prose(120)
        yield _anthropic(library, session, body, text, {"id": tool_id, "name": name, "input": arguments})
        messages += [
            {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": text},
                    {"type": "tool_use", "id": tool_id, "name": name, "input": arguments},
                ],
            },
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": tool_id, "content": result}]},
        ]


def _responses_agent(library: Library, turns: int) -> Iterator[Passed]:
    session = _id(library)
    tools = [{"type": "function", "strict": False, **tool} for tool in _tools(library, "parameters")]
    items: list[Message] = [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": _task(library)["content"]}]}
    ]
    instructions = _instructions(library)
    for _ in range(turns):
        body = {
            "model": "gpt-5-codex",
            "instructions": instructions,
            "input": items,
            "tools": tools,
            "tool_choice": "auto",
            "reasoning": {"effort": "medium", "summary": "auto"},
            "store": False,
            "stream": False,
            "include": ["reasoning.encrypted_content"],
            "prompt_cache_key": session,
        }
        name, arguments, result = _work(library)
        sealed = base64.b64encode(_random(library, 600)).decode()
        thought = {"type": "reasoning", "id": f"rs_{_id(library)}", "summary": [], "encrypted_content": sealed}
        call_id = f"call_{_id(library)[:24]}"
        call = {"type": "function_call", "name": name, "arguments": json.dumps(arguments), "call_id": call_id}
        yield _response(library, session, body, [thought, {**call, "id": f"fc_{_id(library)}", "status": "completed"}])
        items += [thought, call, {"type": "function_call_output", "call_id": call_id, "output": result}]


def _instructions(library: Library) -> str:
    return "You are a coding agent running in a terminal. " + library.prose(9000)


def _task(library: Library) -> Message:
    return {"role": "user", "content": library.prose(library.numbers.randint(200, 1200))}


def _tools(library: Library, schema: str) -> list[Message]:
    return [
        {
            "name": name,
            "description": library.prose(600),
            schema: {
                "type": "object",
                "properties": {
                    "path": {"type": "string", "description": library.prose(80)},
                    "limit": {"type": "integer", "description": library.prose(60)},
                },
                "required": ["path"],
                "additionalProperties": False,
            },
        }
        for name in ("read_file", "write_file", "edit_file", "shell", "grep", "glob", "web_fetch", "todo", "task")
    ]


def _work(library: Library) -> tuple[str, dict[str, Any], str]:
    """Return a tool, its arguments and what it answers: now and then a whole screen, mostly some lines."""
    name, code = library.code(library.numbers.choice((8, 20, 40, 80, 160)))
    if library.numbers.random() < 0.3:
        arguments = {"path": name, "old": code[:400], "new": code[200:700]}
        return "edit_file", arguments, "The file was updated.\n" + code[:600]
    return "read_file", {"path": name, "limit": code.count("\n") + 1}, code


def _openai(library: Library, session: str, body: Message, answer: Message, *, is_stream: bool = False) -> Passed:
    numbers = library.numbers
    head = {"id": f"chatcmpl-{_token(library, 29)}", "created": START_MS // 1000 + numbers.randrange(10**6)}
    usage = _openai_usage(library)
    fingerprint = f"fp_{_id(library)[:10]}"
    if is_stream:
        events = _openai_events(head, str(body["model"]), fingerprint, str(answer["content"]), usage)
        return Passed(session, "/chat/completions", _sent(body), _compact(body), _answered(library, "s"), events)
    choice = {"index": 0, "message": {**answer, "refusal": None, "annotations": []}, "logprobs": None}
    response = {
        "id": head["id"],
        "object": "chat.completion",
        "created": head["created"],
        "model": f"{body['model']}-2024-07-18",
        "choices": [{**choice, "finish_reason": "tool_calls" if "tool_calls" in answer else "stop"}],
        "usage": usage,
        "service_tier": "default",
        "system_fingerprint": fingerprint,
    }
    packed = json.dumps(response, indent=2, ensure_ascii=False).encode()
    return Passed(session, "/chat/completions", _sent(body), _compact(body), _answered(library, "j"), packed)


def _openai_events(head: Message, model: str, fingerprint: str, text: str, usage: Message) -> bytes:
    frame = {
        "id": head["id"],
        "object": "chat.completion.chunk",
        "created": head["created"],
        "model": f"{model}-2024-07-18",
        "service_tier": "default",
        "system_fingerprint": fingerprint,
    }
    deltas: list[Message] = [{"role": "assistant", "content": "", "refusal": None}]
    deltas += [{"content": word + " "} for word in text.split(" ")]
    chunks = [
        {**frame, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}], "usage": None}
        for delta in deltas
    ]
    chunks.append({**frame, "choices": [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}]})
    chunks.append({**frame, "choices": [], "usage": usage})
    return b"".join(b"data: " + _compact(chunk) + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"


def _openai_usage(library: Library) -> Message:
    given, made = library.numbers.randrange(200, 20000), library.numbers.randrange(20, 600)
    return {
        "prompt_tokens": given,
        "completion_tokens": made,
        "total_tokens": given + made,
        "prompt_tokens_details": {"cached_tokens": given // 128 * 128, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0, "accepted_prediction_tokens": 0},
    }


def _anthropic(library: Library, session: str, body: Message, text: str, tool: Message) -> Passed:
    usage = {"input_tokens": 4, "cache_creation_input_tokens": library.numbers.randrange(3000), "output_tokens": 1}
    message = {"id": f"msg_{_token(library, 24)}", "type": "message", "role": "assistant", "content": []}
    events: list[tuple[str, Message]] = [
        ("message_start", {"message": {**message, "model": body["model"], "stop_reason": None, "usage": usage}}),
        ("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}}),
    ]
    events += [
        ("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": word + " "}})
        for word in text.split(" ")
    ]
    events.append(("content_block_stop", {"index": 0}))
    block = {"type": "tool_use", "id": tool["id"], "name": tool["name"], "input": {}}
    events.append(("content_block_start", {"index": 1, "content_block": block}))
    arguments = json.dumps(tool["input"])
    for at in range(0, len(arguments), 24):
        delta = {"type": "input_json_delta", "partial_json": arguments[at : at + 24]}
        events.append(("content_block_delta", {"index": 1, "delta": delta}))
    events.append(("content_block_stop", {"index": 1}))
    events.append(("message_delta", {"delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 200}}))
    events.append(("message_stop", {}))
    response = b"".join(
        b"event: %b\ndata: %b\n\n" % (name.encode(), _compact({"type": name, **data})) for name, data in events
    )
    return Passed(session, "/messages", _sent(body, "anthropic"), _compact(body), _answered(library, "s"), response)


def _response(library: Library, session: str, body: Message, output: list[Message]) -> Passed:
    response = {
        "id": f"resp_{_id(library)}{_id(library)[:18]}",
        "object": "response",
        "created_at": START_MS // 1000 + library.numbers.randrange(10**6),
        "status": "completed",
        "error": None,
        "instructions": body["instructions"],
        "model": "gpt-5-codex",
        "output": output,
        "tool_choice": "auto",
        "tools": body["tools"],
        "usage": {
            "input_tokens": library.numbers.randrange(20000),
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": library.numbers.randrange(900),
            "output_tokens_details": {"reasoning_tokens": 64},
        },
        "metadata": {},
    }
    packed = json.dumps(response, indent=2, ensure_ascii=False).encode()
    return Passed(session, "/responses", _sent(body), _compact(body), _answered(library, "j"), packed)


def _gemini(library: Library, session: str, body: Message, text: str) -> Passed:
    response = {
        "candidates": [{"content": {"parts": [{"text": text}], "role": "model"}, "finishReason": "STOP", "index": 0}],
        "usageMetadata": {
            "promptTokenCount": library.numbers.randrange(4000),
            "candidatesTokenCount": library.numbers.randrange(400),
            "totalTokenCount": library.numbers.randrange(4400),
        },
        "modelVersion": "gemini-2.5-flash",
        "responseId": _token(library, 22),
    }
    path = "/v1beta/models/gemini-2.5-flash:generateContent"
    packed = json.dumps(response, indent=2, ensure_ascii=False).encode()
    return Passed(session, path, _sent(body, "gemini"), json.dumps(body).encode(), _answered(library, "j"), packed)


def _sent(body: Message, maker: str = "openai") -> Headers:
    size = len(_compact(body))
    return tuple(
        (name.encode(), value.encode())
        for name, value in (
            ("host", f"api.{maker}.com"),
            ("accept-encoding", "gzip, deflate, br, zstd"),
            ("connection", "keep-alive"),
            ("accept", "application/json"),
            ("content-type", "application/json"),
            ("user-agent", f"{maker}/Python 2.7.1"),
            ("x-stainless-lang", "python"),
            ("x-stainless-package-version", "2.7.1"),
            ("x-stainless-os", "Linux"),
            ("x-stainless-arch", "x64"),
            ("x-stainless-runtime", "CPython"),
            ("x-stainless-runtime-version", "3.12.4"),
            ("x-stainless-async", "false"),
            ("x-stainless-retry-count", "0"),
            ("x-stainless-read-timeout", "600"),
            ("content-length", str(size)),
        )
    )


def _answered(library: Library, kind: str) -> Headers:
    numbers = library.numbers
    second = numbers.randrange(60)
    content_type = "text/event-stream; charset=utf-8" if kind == "s" else "application/json"
    return tuple(
        (name.encode(), value.encode())
        for name, value in (
            ("date", f"Sat, 21 Nov 2026 16:{numbers.randrange(60):02d}:{second:02d} GMT"),
            ("content-type", content_type),
            ("transfer-encoding", "chunked"),
            ("connection", "keep-alive"),
            ("access-control-expose-headers", "X-Request-ID"),
            ("openai-organization", "example-org"),
            ("openai-processing-ms", str(numbers.randrange(300, 4000))),
            ("openai-version", "2020-10-01"),
            ("x-ratelimit-limit-requests", "30000"),
            ("x-ratelimit-limit-tokens", "150000000"),
            ("x-ratelimit-remaining-requests", str(29999 - numbers.randrange(9))),
            ("x-ratelimit-remaining-tokens", str(149_999_000 - numbers.randrange(90000))),
            ("x-request-id", f"req_{_id(library)}"),
            ("strict-transport-security", "max-age=31536000; includeSubDomains; preload"),
            ("cf-cache-status", "DYNAMIC"),
            ("x-content-type-options", "nosniff"),
            ("server", "cloudflare"),
            ("cf-ray", f"{_id(library)[:16]}-FRA"),
            ("alt-svc", 'h3=":443"; ma=86400'),
        )
    )


def _compact(body: Message) -> bytes:
    """Return JSON as httpx writes it."""
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


def _id(library: Library) -> str:
    return f"{library.numbers.getrandbits(128):032x}"


_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def _token(library: Library, length: int) -> str:
    return "".join(library.numbers.choices(_LETTERS, k=length))


def _random(library: Library, size: int) -> bytes:
    return library.numbers.randbytes(size)
