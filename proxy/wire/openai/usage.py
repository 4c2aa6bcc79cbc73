"""The usage object of the OpenAI API and of those who imitate it, as disjoint buckets.

Input counts include what was cached; output counts include reasoning, except at xAI. A count that is not a plausible
number is unknown, never zero. Sources: SDK types of openai 3.52, groq 1.7, mistralai 3.7 and openrouter 1.3, the
documentation of DeepSeek, Perplexity and xAI; all seen 2026-11-20.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET

from pricing import Usage
from proxy.wire.draft import Draft
from proxy.wire.lenient import LenientDecoder

Count = Annotated[int, msgspec.Meta(ge=0, le=10**12)] | None
"""A number of tokens. More than a million million is a mistake of the sender."""
MAX_COUNT: Final = 10**12
Ticks = Annotated[int, msgspec.Meta(ge=0, le=10**17)] | None
"""The same for money in units of 10⁻¹⁰ US dollars."""

REASONING_APART: Final = frozenset({"x-ai"})
"""Providers whose `completion_tokens` leave out the reasoning tokens, by price table id."""
_REASONING_IN_TOTAL: Final = frozenset({"google"})
"""Providers whose compatible endpoint may count reasoning in the total and nowhere else: Google's thoughts."""
_REPORTS_COST: Final = frozenset({"openrouter", "perplexity", "x-ai", None})
"""Whose `cost` is believed to be US dollars: these, and upstreams that nobody else could price."""
_MAX_USD: Final = Decimal(9_000_000)
"""So that nano-dollars fit into 64 bits."""


class _InputDetails(msgspec.Struct):
    cached_tokens: Count = None
    cache_write_tokens: Count = None
    cache_write_tokens_details: _CacheWrites | None = None
    audio_tokens: Count = None
    image_tokens: Count = None
    video_tokens: Count = None


class _CacheWrites(msgspec.Struct):
    ttl_30m_tokens: Count = None
    ttl_12h_tokens: Count = None


class _OutputDetails(msgspec.Struct):
    reasoning_tokens: Count = None
    audio_tokens: Count = None
    image_tokens: Count = None
    accepted_prediction_tokens: Count = None
    rejected_prediction_tokens: Count = None


class _CostDetails(msgspec.Struct):
    upstream_inference_cost: Decimal | None = None


class _CostTotal(msgspec.Struct):
    total_cost: Decimal | None = None


class _ServerTools(msgspec.Struct):
    web_search_requests: Count = None


class _Usage(msgspec.Struct):
    prompt_tokens: Count = None
    input_tokens: Count = None
    completion_tokens: Count = None
    output_tokens: Count = None
    total_tokens: Count = None
    prompt_tokens_details: _InputDetails | None = None
    input_tokens_details: _InputDetails | None = None
    completion_tokens_details: _OutputDetails | None = None
    output_tokens_details: _OutputDetails | None = None
    prompt_cache_hit_tokens: Count = None
    """DeepSeek: with the misses it makes up the prompt."""
    prompt_cache_miss_tokens: Count = None
    prompt_audio_seconds: Count = None
    """Mistral, like the next."""
    service_tier: str | None = None
    citation_tokens: Count = None
    """Perplexity: counted apart from the completion, like the next."""
    reasoning_tokens: Count = None
    num_search_queries: Count = None
    server_tool_use_details: _ServerTools | None = None
    """OpenRouter."""
    cost: Decimal | _CostTotal | None = None
    """OpenRouter: credits, which are US dollars; Perplexity: an object."""
    cost_details: _CostDetails | None = None
    is_byok: bool | None = None
    """OpenRouter: the caller's own provider key was used, so `cost` is only OpenRouter's fee."""
    cost_in_usd_ticks: Ticks = None
    """xAI: 10¹⁰ ticks are a US dollar."""
    num_sources_used: Count = None
    """xAI: what its live search read. Billed by the source, for which there is no price but the reported cost."""


_USAGE: Final = LenientDecoder(_Usage)
_NO_INPUT_DETAILS: Final = _InputDetails()
_NO_OUTPUT_DETAILS: Final = _OutputDetails()


def read_usage(
    raw: bytes, draft: Draft, provider: str | None, *, has_output: bool = True, units: Mapping[str, int] | None = None
) -> None:
    """Fill in the usage from the provider's object; `units` are counts from elsewhere in the response, by bucket."""
    if raw[:1] != b"{":
        if raw not in (b"", b"null"):
            draft.problems.add("usage")
        return
    draft.usage_raw = raw
    lost: set[str] = set()
    reported = _USAGE.decode(raw, lost)
    draft.service_tier = draft.service_tier or reported.service_tier
    parts = _input_parts(reported)
    if units:
        parts |= {bucket: count for bucket, count in units.items() if count}
    output: int | None = None
    if has_output:
        output, output_parts = _output(reported, provider)
        parts |= output_parts
    input_tokens = _input(reported, has_output)
    usage = Usage.from_totals(input_tokens=input_tokens, output_tokens=output if has_output else UNSET, **parts)
    cost = _reported_nano_usd(reported, provider)
    if lost or not parts.items() <= msgspec.to_builtins(usage).items():
        draft.problems.add("usage")
    if input_tokens is None and output is None and cost is None:
        draft.problems.add("usage")
        return
    draft.usage = usage if cost is None else msgspec.structs.replace(usage, reported_cost_nano_usd=cost)


def _input(reported: _Usage, has_output: bool) -> int | None:
    for count in (reported.prompt_tokens, reported.input_tokens):
        if count is not None:
            return count
    if reported.prompt_cache_hit_tokens is not None and reported.prompt_cache_miss_tokens is not None:
        return reported.prompt_cache_hit_tokens + reported.prompt_cache_miss_tokens
    return None if has_output else reported.total_tokens


def _input_parts(reported: _Usage) -> dict[str, Any]:
    details = reported.prompt_tokens_details or reported.input_tokens_details or _NO_INPUT_DETAILS
    cached = details.cached_tokens if details.cached_tokens is not None else reported.prompt_cache_hit_tokens
    searches = reported.server_tool_use_details and reported.server_tool_use_details.web_search_requests
    seconds = reported.prompt_audio_seconds
    # Counts of zero are left out of what most requests do not have; a cache that was not hit is worth knowing.
    optional = (
        ("input_audio", details.audio_tokens),
        ("input_image", details.image_tokens),
        ("input_video", details.video_tokens),
        ("input_audio_ms", seconds and seconds * 1000),
        ("web_searches", searches or reported.num_search_queries),
        ("tool_calls", reported.num_sources_used),
    )
    parts = {"cache_read": cached} | {name: count for name, count in optional if count}
    if details.cache_write_tokens is not None or details.cache_write_tokens_details is not None:
        parts |= _cache_writes(details)
    return parts


def _cache_writes(details: _InputDetails) -> dict[str, int]:
    total, split = details.cache_write_tokens, details.cache_write_tokens_details
    if split is None:
        return {} if total is None else {"cache_write": total}
    lifetimes = {"cache_write_30m": split.ttl_30m_tokens or 0, "cache_write_12h": split.ttl_12h_tokens or 0}
    unsplit = (total or 0) - sum(lifetimes.values())
    if unsplit < 0 and total is not None:
        return {"cache_write": total}
    return {name: count for name, count in (lifetimes | {"cache_write": unsplit}).items() if count > 0}


def _output(reported: _Usage, provider: str | None) -> tuple[int | None, dict[str, Any]]:
    """Return all output tokens, and the parts of them."""
    details = reported.completion_tokens_details or reported.output_tokens_details or _NO_OUTPUT_DETAILS
    visible = reported.completion_tokens if reported.completion_tokens is not None else reported.output_tokens
    reasoning = details.reasoning_tokens
    apart = reported.citation_tokens or 0
    if reasoning is None and reported.reasoning_tokens is not None:
        reasoning = reported.reasoning_tokens
        apart += reasoning if provider == "perplexity" else 0
    elif reasoning and _is_reasoning_apart(reported, visible, reasoning, provider):
        apart += reasoning
    elif reasoning is None and provider in _REASONING_IN_TOTAL:
        reasoning = _uncounted(reported, visible)
        apart += reasoning or 0
    parts: dict[str, Any] = {"output_reasoning": reasoning}
    optional = {
        "output_audio": details.audio_tokens,
        "output_image": details.image_tokens,
        "output_citation": reported.citation_tokens,
        "accepted_prediction": details.accepted_prediction_tokens,
        "rejected_prediction": details.rejected_prediction_tokens,
    }
    parts |= {name: count for name, count in optional.items() if count}
    return (None if visible is None else visible + apart), parts


def _uncounted(reported: _Usage, visible: int | None) -> int | None:
    """Return what the total has more than its parts; None: nothing, or one of them is not known."""
    prompt = reported.prompt_tokens if reported.prompt_tokens is not None else reported.input_tokens
    if visible is None or prompt is None or reported.total_tokens is None:
        return None
    return max(reported.total_tokens - prompt - visible, 0) or None


def _is_reasoning_apart(reported: _Usage, visible: int | None, reasoning: int, provider: str | None) -> bool:
    """Let the reported total decide, and the provider's habit where it cannot."""
    prompt = reported.prompt_tokens if reported.prompt_tokens is not None else reported.input_tokens
    if visible is not None and prompt is not None and reported.total_tokens is not None:
        if reported.total_tokens == prompt + visible:
            return False
        if reported.total_tokens == prompt + visible + reasoning:
            return True
    return provider in REASONING_APART


def _reported_nano_usd(reported: _Usage, provider: str | None) -> int | None:
    if provider not in _REPORTS_COST:
        return None
    if reported.cost_in_usd_ticks is not None:
        return round(Decimal(reported.cost_in_usd_ticks) / 10)
    usd = reported.cost.total_cost if isinstance(reported.cost, _CostTotal) else reported.cost
    if usd is not None and reported.is_byok and reported.cost_details:
        usd += reported.cost_details.upstream_inference_cost or 0
    if usd is None or not usd.is_finite() or not 0 <= usd <= _MAX_USD:
        return None
    return round(usd * 10**9)
