"""Bodies of Anthropic's API, as Anthropic, Vertex, Bedrock and some OpenAI-compatible servers take them."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from proxy.gates.admission.marks import Marks
from proxy.gates.admission.members import Decisive
from proxy.gates.admission.peek import TOOL_CALLS, WHOLE_CONTEXT, Peek, Unseen
from proxy.gates.admission.values import (
    ABSENT,
    MAX_COUNT,
    MOST_TOOLS,
    UNREADABLE,
    elements,
    fields_of,
    is_given,
    is_true,
    name,
    whole,
)
from proxy.operations import Operation

FIELDS: Final = frozenset(
    {"model", "stream", "max_tokens", "service_tier", "speed", "container", "mcp_servers", "tools", "fallbacks"}
)
DECISIVE: Final = Decisive(FIELDS)
_PICTURE_TOKENS: Final = 6_000
"""A picture is scaled down to 1,600 tokens, to 4,784 on the models with the finest sight (Anthropic's vision guide,
from general knowledge, 2026-11)."""
_TOOL_PROMPT: Final = 2_000
"""Input that Anthropic adds to a request with tools: up to 735 tokens for their use, more for a computer's (tool use
guide, from general knowledge, 2026-11)."""
_MARKS: Final = Marks(
    (re.compile(rb'"type"\s*:\s*"image"'),),
    re.compile(rb'"type"\s*:\s*"(?:file|document|container_upload|search_result)"|"application/pdf"'),
    _PICTURE_TOKENS,
    sign=re.compile(rb'"(?:image|file|document|container_upload|search_result|application/pdf)"'),
)
_RUN_BY_CLIENT: Final = ("custom", "bash_", "text_editor_", "computer_", "memory_")


class _Fields(msgspec.Struct):
    model: Any = None
    stream: Any = None
    max_tokens: msgspec.Raw = ABSENT
    service_tier: Any = None
    speed: Any = None
    container: msgspec.Raw = ABSENT
    mcp_servers: msgspec.Raw = ABSENT
    tools: msgspec.Raw = ABSENT


class _Tool(msgspec.Struct):
    type: Any = None
    max_uses: msgspec.Raw = ABSENT


_FIELDS: Final = msgspec.json.Decoder(_Fields)
_TOOL: Final = msgspec.json.Decoder(_Tool)


def peek(body: bytes, operation: Operation) -> Peek | None:
    """Read what admission needs of `body`; None: it is no JSON object that we can read."""
    fields = fields_of(body, _FIELDS)
    if fields is None:
        return None
    return Peek(
        model=operation.model or name(fields.model),
        is_streaming=operation.is_streaming or is_true(fields.stream),
        stream_options=None,
        max_output_tokens=whole(fields.max_tokens),
        choices=1,
        service_tier=name(fields.service_tier),
        user=None,
        refers_to_stored=is_given(fields.container),
        speed=name(fields.speed),
    )


def unseen(body: bytes, seen: Peek) -> Unseen:
    """Return what the request can consume beyond its bytes."""
    fields = fields_of(body, _FIELDS)
    if fields is None:
        return Unseen(WHOLE_CONTEXT.tokens, TOOL_CALLS)
    tool_calls = TOOL_CALLS if is_given(fields.mcp_servers) else _hosted_calls(fields.tools)
    if tool_calls:
        return Unseen(WHOLE_CONTEXT.tokens, tool_calls)
    if seen.refers_to_stored:
        return WHOLE_CONTEXT
    return Unseen(_MARKS.tokens(body) + (_TOOL_PROMPT if is_given(fields.tools) else 0))


def _hosted_calls(tools: msgspec.Raw) -> int:
    """Return how often Anthropic may run tools of its own."""
    if not is_given(tools):
        return 0
    found = elements(tools)
    if found is not None and len(found) > MOST_TOOLS:
        return MAX_COUNT  # too many to look at each, and each may say its own number
    return TOOL_CALLS if found is None else sum(map(_calls_of, found))


def _calls_of(raw: msgspec.Raw) -> int:
    try:
        tool = _TOOL.decode(raw)
    except UNREADABLE:
        return TOOL_CALLS
    if tool.type is None or (isinstance(tool.type, str) and tool.type.startswith(_RUN_BY_CLIENT)):
        return 0
    return whole(tool.max_uses) or TOOL_CALLS
