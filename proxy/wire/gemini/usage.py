"""Usage as Gemini reports it.

`promptTokenCount` holds what came from the cache, `candidatesTokenCount` leaves the thoughts out, and what tools read
for the prompt (`toolUsePromptTokenCount`) is in neither. The details split a count by modality; a document counts as
an image. In a stream every answer repeats running totals, some of which may be missing from the last: the largest of
each counts. Searches are billed by the query since Gemini 3 and by the grounded prompt before; the storage of cached
contents is billed by the hour, stands in no answer and is not priced. Sources: types of google-genai 3.4;
genai-prices 0.2.3 for the modalities; ai.google.dev/gemini-api/docs/pricing, 2026-11.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

import msgspec

from pricing import Usage
from pricing.usage import Count as Bucket
from proxy.wire.draft import Draft
from proxy.wire.lenient import LenientDecoder
from proxy.wire.openai.usage import Count


class _Detail(msgspec.Struct, rename="camel"):
    modality: str | None = None
    token_count: Count = None


class _Metadata(msgspec.Struct, rename="camel"):
    prompt_token_count: Count = None
    cached_content_token_count: Count = None
    candidates_token_count: Count = None
    response_token_count: Count = None
    """What Live calls its candidates."""
    thoughts_token_count: Count = None
    tool_use_prompt_token_count: Count = None
    total_token_count: Count = None
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
_MODALITIES: Final = {"AUDIO": "audio", "IMAGE": "image", "VIDEO": "video", "DOCUMENT": "image"}
_TIERS: Final = {
    "PROVISIONED_THROUGHPUT": "provisioned",
    "ON_DEMAND": None,
    "ON_DEMAND_PRIORITY": "priority",
    "ON_DEMAND_FLEX": "flex",
    "TRAFFIC_TYPE_UNSPECIFIED": None,
}


@dataclass(slots=True)
class Tokens:
    """What the two shapes of Google's usage have in common. None: not said; of every split text is the rest."""

    prompt: int | None
    """What came from the cache included."""
    cached: int | None
    answer: int | None
    """Thoughts left out."""
    thoughts: int | None
    tool_use: int | None
    """Read from tools' results, apart from the prompt."""
    total: int | None
    prompt_parts: dict[str, int] = field(default_factory=dict)
    """By bucket suffix (audio, image, video), tools' results included."""
    cached_parts: dict[str, int] | None = None
    """None: nobody said what was cached; empty: text only."""
    answer_parts: dict[str, int] = field(default_factory=dict)

    def usage(self, *, searches: int, has_written: bool) -> Usage:
        """Return the buckets; `has_written`: there is output, so an answer that is not counted is unknown, not 0."""
        total_in = None if self.prompt is None else self.prompt + (self.tool_use or 0)
        cached = self._cached_parts(total_in)
        parts: dict[str, Bucket] = {"output_reasoning": self.thoughts}
        for name, read in self.prompt_parts.items():
            parts[f"input_{name}"] = max(read - cached.get(name, 0), 0)
        parts |= {f"cache_read_{name}": count for name, count in cached.items()}
        parts |= {f"output_{name}": count for name, count in self.answer_parts.items()}
        parts["cache_read"] = None if self.cached is None else max(self.cached - sum(cached.values()), 0)
        if searches:
            parts["web_searches"] = searches
        return Usage.from_totals(input_tokens=total_in, output_tokens=self._output(has_written=has_written), **parts)

    def _cached_parts(self, total_in: int | None) -> dict[str, int]:
        """Return what was cached and is no text. Unless it is said, text is taken to have been cached first."""
        if self.cached_parts is not None or total_in is None:
            return self.cached_parts or {}
        text = max(total_in - sum(self.prompt_parts.values()), 0)
        left, parts = max((self.cached or 0) - text, 0), {}
        for name, count in self.prompt_parts.items():
            if taken := min(left, count):
                parts[name] = taken
                left -= taken
        return parts

    def _output(self, *, has_written: bool) -> int | None:
        if self.answer is not None or self.thoughts is not None:
            # An answer that was all thoughts names no candidates: zeros are left out on this wire.
            return (self.answer or 0) + (self.thoughts or 0)
        if self.prompt is None:
            return None
        known = self.prompt + (self.tool_use or 0)
        if self.total is not None and self.total > known:
            return self.total - known
        return None if has_written else 0


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

    def finish(self, draft: Draft, queries: int = 0, *, has_written: bool = False) -> None:
        """Fill in what was consumed; `queries`: searches made for the answer."""
        draft.problems.update(f"usage.{name}" for name in self._lost)
        said = self._seen
        if said is None:
            return
        draft.usage_raw = self._raw
        draft.service_tier = _tier(said) or draft.service_tier
        searches = billed_searches(draft.model or draft.model_requested, queries)
        draft.usage = _tokens(said).usage(searches=searches, has_written=has_written)


def billed_searches(model: str | None, queries: int) -> int:
    """Return how many searches a model's price counts."""
    return queries if model and _BY_QUERY.search(model) else min(queries, 1)


def by_modality(*counts: tuple[str | None, int | None]) -> dict[str, int]:
    """Add up the tokens that are no text, by bucket suffix."""
    found: dict[str, int] = {}
    for modality, count in counts:
        name = _MODALITIES.get((modality or "").upper())
        if name and count:
            found[name] = found.get(name, 0) + count
    return found


def _larger(before: _Metadata, now: _Metadata) -> _Metadata:
    merged = {}
    for name in _Metadata.__struct_fields__:
        old, new = getattr(before, name), getattr(now, name)
        both = isinstance(old, int) and isinstance(new, int)
        merged[name] = max(old, new) if both else old if new is None else new
    return _Metadata(**merged)


def _tier(said: _Metadata) -> str | None:
    if said.service_tier:
        tier = said.service_tier.lower().removeprefix("service_tier_")
        return None if tier == "unspecified" else tier
    traffic = said.traffic_type
    return _TIERS.get(traffic, traffic.lower()) if traffic else None


def _tokens(said: _Metadata) -> Tokens:
    cached = said.cache_tokens_details
    written = said.candidates_tokens_details or said.response_tokens_details
    return Tokens(
        prompt=said.prompt_token_count,
        cached=said.cached_content_token_count,
        answer=said.candidates_token_count if said.response_token_count is None else said.response_token_count,
        thoughts=said.thoughts_token_count,
        tool_use=said.tool_use_prompt_token_count,
        total=said.total_token_count,
        prompt_parts=_parts(said.prompt_tokens_details, said.tool_use_prompt_tokens_details),
        cached_parts=None if cached is None else _parts(cached),
        answer_parts=_parts(written),
    )


def _parts(*lists: list[_Detail] | None) -> dict[str, int]:
    return by_modality(*[(each.modality, each.token_count) for details in lists for each in details or ()])
