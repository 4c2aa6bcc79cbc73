"""Usage as Gemini reports it.

`promptTokenCount` holds what came from the cache, `candidatesTokenCount` leaves the thoughts out, and what tools read
for the prompt (`toolUsePromptTokenCount`) is in neither. The details split a count by modality; documents are billed
as text. In a stream every answer repeats running totals, some of which may be missing from the last: the largest of
each counts. Searches are billed by the query since Gemini 3 and by the grounded prompt before; both are reported as
the queries that were made. Sources: types of google-genai 3.4; ai.google.dev/gemini-api/docs/pricing, 2026-11.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from pricing import Usage
from pricing.usage import Count
from proxy.wire.draft import Draft
from proxy.wire.lenient import LenientDecoder


class _Detail(msgspec.Struct):
    modality: str | None = None
    tokenCount: int | None = None  # noqa: N815 - the wire's name


class _Metadata(msgspec.Struct, rename="camel"):
    prompt_token_count: int | None = None
    cached_content_token_count: int | None = None
    candidates_token_count: int | None = None
    response_token_count: int | None = None
    """What Live calls its candidates."""
    thoughts_token_count: int | None = None
    tool_use_prompt_token_count: int | None = None
    total_token_count: int | None = None
    prompt_tokens_details: list[_Detail] | None = None
    cache_tokens_details: list[_Detail] | None = None
    candidates_tokens_details: list[_Detail] | None = None
    response_tokens_details: list[_Detail] | None = None
    tool_use_prompt_tokens_details: list[_Detail] | None = None
    service_tier: str | None = None
    traffic_type: str | None = None


_METADATA: Final = LenientDecoder(_Metadata)
_BY_QUERY: Final = re.compile(r"gemini-(?:[3-9]|\d\d)")
"""Models whose searches are billed one by one."""
_MODALITIES: Final = {"AUDIO": "audio", "IMAGE": "image", "VIDEO": "video"}
_TIERS: Final = {"PROVISIONED_THROUGHPUT": "provisioned", "ON_DEMAND": None, "TRAFFIC_TYPE_UNSPECIFIED": None}


class UsageMaximum:
    """The usage of one answer, growing."""

    def __init__(self) -> None:
        self._seen: _Metadata | None = None
        self._raw = b""
        self._lost: set[str] = set()

    def add(self, raw: bytes) -> None:
        """Take the next usage object."""
        if raw[:1] != b"{":
            return
        said = _METADATA.decode(raw, self._lost)
        self._raw = raw
        self._seen = said if self._seen is None else _larger(self._seen, said)

    def finish(self, draft: Draft, searches: int) -> None:
        """Fill in what was consumed; `searches`: queries made for the answer."""
        draft.problems.update(f"usage.{name}" for name in self._lost)
        said = self._seen
        if said is None:
            return
        draft.usage_raw = self._raw
        draft.service_tier = _tier(said) or draft.service_tier
        draft.usage = _buckets(said, _billed_searches(draft.model or draft.model_requested, searches))


def _larger(before: _Metadata, now: _Metadata) -> _Metadata:
    merged = {}
    for name in _Metadata.__struct_fields__:
        old, new = getattr(before, name), getattr(now, name)
        both = isinstance(old, int) and isinstance(new, int)
        merged[name] = max(old, new) if both else old if new is None else new
    return _Metadata(**merged)


def _tier(said: _Metadata) -> str | None:
    if said.service_tier:
        return said.service_tier.lower().removeprefix("service_tier_")
    traffic = said.traffic_type
    return _TIERS.get(traffic, traffic.lower()) if traffic else None


def _billed_searches(model: str | None, searches: int) -> int:
    return searches if model and _BY_QUERY.search(model) else min(searches, 1)


def _buckets(said: _Metadata, searches: int) -> Usage:
    prompt = said.prompt_token_count
    # An answer that was all thoughts, or none at all, names no candidates.
    answer = said.candidates_token_count if said.response_token_count is None else said.response_token_count
    thoughts = said.thoughts_token_count
    has_output = answer is not None or thoughts is not None
    total_in = None if prompt is None else prompt + (said.tool_use_prompt_token_count or 0)
    total_out = (answer or 0) + (thoughts or 0) if has_output else _implied_output(said)
    cached = _by_modality(said.cache_tokens_details)
    read = _by_modality(said.prompt_tokens_details, said.tool_use_prompt_tokens_details)
    written = _by_modality(said.candidates_tokens_details or said.response_tokens_details)
    parts: dict[str, Count] = {"output_reasoning": thoughts, "web_searches": searches}
    for name in _MODALITIES.values():
        if read.get(name):
            parts[f"input_{name}"] = max(read[name] - cached.get(name, 0), 0)
        if cached.get(name):
            parts[f"cache_read_{name}"] = cached[name]
        if written.get(name):
            parts[f"output_{name}"] = written[name]
    from_cache = said.cached_content_token_count
    parts["cache_read"] = None if from_cache is None else max(from_cache - sum(cached.values()), 0)
    return Usage.from_totals(input_tokens=total_in, output_tokens=total_out, **parts)


def _implied_output(said: _Metadata) -> int | None:
    """Return 0 when the totals say that there was no output; a zero is left out on this wire."""
    if said.prompt_token_count is None:
        return None
    known = said.prompt_token_count + (said.tool_use_prompt_token_count or 0)
    return 0 if said.total_token_count in (None, known) else max((said.total_token_count or 0) - known, 0)


def _by_modality(*lists: list[_Detail] | None) -> dict[str, int]:
    """Return the tokens that are no text, by modality."""
    counts: dict[str, int] = {}
    for details in lists:
        for detail in details or ():
            name = _MODALITIES.get(detail.modality or "")
            if name and detail.tokenCount:
                counts[name] = counts.get(name, 0) + detail.tokenCount
    return counts
