"""Exchanges to put into a journal or a store."""

from __future__ import annotations

import json
import struct
import uuid
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from typing import Any

from pricing import PriceBook
from proxy.config import Config
from proxy.journal import CHUNK_RESPONSE, JournalWriter
from proxy.recorder.bills import Bills
from proxy.recorder.interpret import Interpreter
from proxy.records import Begin, Body, End, Exchange, Timeline, join_headers
from proxy.store import Record

JSON_HEADERS = ((b"content-type", b"application/json"),)
SSE_HEADERS = ((b"content-type", b"text/event-stream"),)
START_MS = 1_790_000_000_000
PROMPT = json.dumps(
    {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Say hello in one word, please."}]}
).encode()
STREAM_PROMPT = json.dumps(json.loads(PROMPT) | {"stream": True}).encode()
ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello!"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100},
    }
).encode()
ANSWER_NANO_USD = 1000 * 150 + 100 * 600
"""gpt-4o-mini: 0.15 and 0.60 USD per million tokens."""
EVENTS = (
    b'data: {"id":"1","model":"gpt-4o-mini","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n',
    b'data: {"id":"1","model":"gpt-4o-mini","choices":[{"index":0,"delta":{"content":"Hel"}}]}\n\n',
    b'data: {"id":"1","model":"gpt-4o-mini","choices":[{"index":0,"delta":{"content":"lo!"}}]}\n\n',
    b'data: {"id":"1","model":"gpt-4o-mini","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n',
)
USAGE_EVENT = (
    b'data: {"id":"1","model":"gpt-4o-mini","choices":[],'
    b'"usage":{"prompt_tokens":12,"completion_tokens":2,"total_tokens":14}}\n\n'
)
DONE_EVENT = b"data: [DONE]\n\n"


def make_begin(**fields: Any) -> Begin:
    defaults: dict[str, Any] = {
        "id": str(uuid.uuid4()),
        "started_at_ms": START_MS,
        "upstream": "openai",
        "wire": "openai",
        "provider": "openai",
        "is_free": False,
        "method": "POST",
        "path": "/chat/completions",
        "headers": JSON_HEADERS,
        "key": "search-team",
    }
    return Begin(**(defaults | fields))


def make_end(response: bytes = ANSWER, request: bytes = PROMPT, **fields: Any) -> End:
    defaults: dict[str, Any] = {
        "outcome": "completed",
        "status": 200,
        "headers": JSON_HEADERS,
        "request_size": len(request),
        "response_size": len(response),
        "request_complete_us": 90,
        "dispatched_us": 150,
        "response_head_us": 400_000,
        "ended_us": 500_000,
        "overhead_us": 250,
    }
    given = defaults | fields
    return End(head=join_headers(given.pop("headers")), **given)


def make_exchange(
    begin: Begin | None = None, end: End | None = None, request: bytes = PROMPT, response: bytes = ANSWER
) -> Exchange:
    end = end or make_end(response, request)
    return Exchange(
        begin=begin or make_begin(),
        end=end,
        request=Body(request, max(end.request_size, len(request)), sha256(request).digest(), end.request_tail),
        response=Body(response, max(end.response_size, len(response)), sha256(response).digest(), end.response_tail),
        timeline=Timeline(tuple(struct.iter_unpack("<QQ", end.times))),
    )


def times_of(pieces: Sequence[bytes], *, first_us: int = 400_000, step_us: int = 10_000) -> bytes:
    """Say that the pieces arrived one after the other."""
    packed, end = b"", 0
    for number, piece in enumerate(pieces):
        end += len(piece)
        packed += struct.pack("<QQ", end, first_us + number * step_us)
    return packed


def write_chat(writer: JournalWriter, begin: Begin | None = None, **end_fields: Any) -> str:
    """Append a whole chat exchange; return its id."""
    begin = begin or make_begin()
    number = writer.begin(begin, PROMPT)
    writer.end(number, make_end(**end_fields), ANSWER)
    return begin.id


def write_stream(writer: JournalWriter, events: Sequence[bytes], begin: Begin | None = None, **end_fields: Any) -> str:
    """Append a whole streamed exchange, one chunk for each event; return its id."""
    begin = begin or make_begin()
    number = writer.begin(begin, STREAM_PROMPT)
    for event in events[:-1]:
        writer.chunk(CHUNK_RESPONSE, number, event)
    fields = {"headers": SSE_HEADERS, "times": times_of(events)} | end_fields
    writer.end(number, make_end(b"".join(events), STREAM_PROMPT, **fields), events[-1])
    return begin.id


@cache
def interpreter(policy: str = "{}") -> Interpreter:
    """Return an interpreter; `policy` is its configuration as JSON."""
    return Interpreter(_book(), Config.model_validate_json(policy), Bills())


@cache
def _book() -> PriceBook:
    return PriceBook()


def make_record(begin: Begin | None = None, end: End | None = None, **bodies: bytes) -> Record:
    return interpreter().record(make_exchange(begin, end, **bodies))
