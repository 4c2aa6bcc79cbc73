"""Bodies of the Gemini API. Its decoder takes every name in two spellings: maxOutputTokens and max_output_tokens."""

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
    UNREADABLE,
    fields_of,
    has_hosted,
    is_given,
    is_true,
    largest,
    name,
    whole,
)
from proxy.operations import Operation

_CONFIG: Final = frozenset(
    {
        "maxOutputTokens",
        "max_output_tokens",
        "candidateCount",
        "candidate_count",
        "thinkingConfig",
        "thinking_config",
        "responseModalities",
        "response_modalities",
    }
)
_NAMES: Final = frozenset(
    {
        "generationConfig",
        "generation_config",
        "cachedContent",
        "cached_content",
        "tools",
        "contents",
        "model",
        "agent",
        "stream",
        "previousInteractionId",
        "previous_interaction_id",
    }
)
DECISIVE: Final = Decisive(
    _NAMES,
    {"generationConfig": _CONFIG, "generation_config": _CONFIG},
    lambda text: text.lower().replace("_", ""),
)
_MARKS: Final = Marks(
    (re.compile(rb'"(?:inlineData|inline_data)"\s*:'),),
    # A video or a document in a few bytes can be an hour or a thousand pages.
    re.compile(
        rb'"(?:fileData|file_data|fileUri|file_uri|cachedContent|cached_content)"\s*:'
        rb'|"(?:mimeType|mime_type)"\s*:\s*"(?:video/|application/|audio/)',
        re.IGNORECASE,
    ),
)
_TOOL_PROMPT: Final = 1_000
"""For what Gemini may add to a request with tools. Ours: a cautious guess."""
_RUN_BY_CLIENT: Final = frozenset({"functiondeclarations", "computeruse"})


class _Fields(msgspec.Struct):
    model: Any = None
    """As `interactions` names it; elsewhere the path does."""
    agent: Any = None
    stream: Any = None
    previous_camel: Any = msgspec.field(default=None, name="previousInteractionId")
    previous_snake: Any = msgspec.field(default=None, name="previous_interaction_id")
    camel: msgspec.Raw = msgspec.field(default=ABSENT, name="generationConfig")
    snake: msgspec.Raw = msgspec.field(default=ABSENT, name="generation_config")
    tools: msgspec.Raw = ABSENT


class _Config(msgspec.Struct):
    max_camel: msgspec.Raw = msgspec.field(default=ABSENT, name="maxOutputTokens")
    max_snake: msgspec.Raw = msgspec.field(default=ABSENT, name="max_output_tokens")
    count_camel: msgspec.Raw = msgspec.field(default=ABSENT, name="candidateCount")
    count_snake: msgspec.Raw = msgspec.field(default=ABSENT, name="candidate_count")
    thinking_camel: msgspec.Raw = msgspec.field(default=ABSENT, name="thinkingConfig")
    thinking_snake: msgspec.Raw = msgspec.field(default=ABSENT, name="thinking_config")


class _Thinking(msgspec.Struct):
    camel: msgspec.Raw = msgspec.field(default=ABSENT, name="thinkingBudget")
    snake: msgspec.Raw = msgspec.field(default=ABSENT, name="thinking_budget")


_FIELDS: Final = msgspec.json.Decoder(_Fields)
_CONFIG_FIELDS: Final = msgspec.json.Decoder(_Config)
_THINKING: Final = msgspec.json.Decoder(_Thinking)
_TOOL: Final = msgspec.json.Decoder(dict[str, Any])


def peek(body: bytes, operation: Operation) -> Peek | None:
    """Read what admission needs of `body`; None: it is no JSON object that we can read."""
    fields = fields_of(body, _FIELDS)
    if fields is None:
        return None
    configs = [config for raw in (fields.camel, fields.snake) if (config := _config(raw)) is not None]
    counts = [whole(raw) for config in configs for raw in (config.count_camel, config.count_snake)]
    return Peek(
        model=operation.model or _body_model(fields),
        is_streaming=operation.is_streaming or is_true(fields.stream),
        stream_options=None,
        max_output_tokens=_limit(configs),
        choices=largest(counts) or 1,
        service_tier=None,
        user=None,
        refers_to_stored=fields.previous_camel is not None or fields.previous_snake is not None,
        # An agent works for as long as it likes.
        is_bounded=operation.billing == "tokens" and fields.agent is None,
    )


def _body_model(fields: _Fields) -> str | None:
    model = name(fields.model) or name(fields.agent)
    return model.removeprefix("models/") if model is not None else None


def _config(raw: msgspec.Raw) -> _Config | None:
    try:
        return _CONFIG_FIELDS.decode(raw) if is_given(raw) else None
    except UNREADABLE:
        return None


def _limit(configs: list[_Config]) -> int | None:
    """Return the tokens allowed for each candidate, thoughts included; None: no limit.

    Google's documentation does not say plainly whether thoughts count within `maxOutputTokens`, so a budget for them
    is added (from general knowledge, 2026-11).
    """
    limit = largest(whole(raw) for config in configs for raw in (config.max_camel, config.max_snake))
    if limit is None:
        return None
    budgets = [_thinking(raw) for config in configs for raw in (config.thinking_camel, config.thinking_snake)]
    return min(limit + (largest(budgets) or 0), MAX_COUNT)


def _thinking(raw: msgspec.Raw) -> int | None:
    try:
        thinking = _THINKING.decode(raw) if is_given(raw) else None
    except UNREADABLE:
        return None
    return largest((whole(thinking.camel), whole(thinking.snake))) if thinking is not None else None


def unseen(body: bytes, seen: Peek) -> Unseen:
    """Return what the request can consume beyond its bytes."""
    fields = fields_of(body, _FIELDS)
    if fields is None or has_hosted(fields.tools, _is_run_by_client):
        return Unseen(WHOLE_CONTEXT.tokens, TOOL_CALLS)
    if seen.refers_to_stored:
        return WHOLE_CONTEXT
    return Unseen(_MARKS.tokens(body) + (_TOOL_PROMPT if is_given(fields.tools) else 0))


def _is_run_by_client(raw: msgspec.Raw) -> bool:
    try:
        return all(kind.lower().replace("_", "") in _RUN_BY_CLIENT for kind in _TOOL.decode(raw))
    except UNREADABLE:
        return False
