"""Counts of Bedrock: Converse's usage object, and the metrics of an invocation, in headers or in a stream's last chunk.

As in Anthropic's API the input leaves the cache out: the prompt is input + cache read + cache written. The tokens of
thinking are part of the output and not told apart. Source: service model of botocore 1.44, AWS's documentation, 2026-11.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import UNSET

from pricing import Usage
from pricing.usage import Count
from proxy.wire.draft import Draft
from proxy.wire.lenient import LenientDecoder
from proxy.wire.openai.usage import Count as Tokens
from proxy.wire.transcript import Transcript


class _CacheDetail(msgspec.Struct, rename="camel"):
    ttl: str | None = None
    input_tokens: Tokens = None


class _Usage(msgspec.Struct, rename="camel"):
    input_tokens: Tokens = None
    output_tokens: Tokens = None
    cache_read_input_tokens: Tokens = None
    cache_write_input_tokens: Tokens = None
    cache_details: list[_CacheDetail] | None = None


class Metrics(msgspec.Struct, rename="camel"):
    """`amazon-bedrock-invocationMetrics`, or the headers of the same meaning."""

    input_token_count: Tokens = None
    output_token_count: Tokens = None
    cache_read_input_token_count: Tokens = None
    cache_write_input_token_count: Tokens = None


_USAGE: Final = LenientDecoder(_Usage)
_METRICS: Final = LenientDecoder(Metrics)
_TTLS: Final = {"5m": "cache_write_5m", "1h": "cache_write_1h"}
_HEADERS: Final = (
    b"x-amzn-bedrock-input-token-count",
    b"x-amzn-bedrock-output-token-count",
    b"x-amzn-bedrock-cache-read-input-token-count",
    b"x-amzn-bedrock-cache-write-input-token-count",
)
_DIGITS: Final = 12
"""Of a count that is believed."""


def read_usage(raw: bytes, draft: Draft) -> None:
    """Fill in Converse's usage object; empty: there is none."""
    if raw[:1] != b"{":
        return
    lost: set[str] = set()
    said = _USAGE.decode(raw, lost)
    draft.problems.update(f"usage.{name}" for name in lost)
    draft.usage_raw = raw
    written = said.cache_write_input_tokens
    parts: dict[str, Count] = {"cache_read": said.cache_read_input_tokens, **_writes(said.cache_details, written)}
    draft.usage = _usage(said.input_tokens, said.output_tokens, parts)


def read_metrics(raw: bytes, draft: Draft) -> None:
    """Fill in the metrics of an invocation; empty: there are none."""
    if raw[:1] == b"{":
        take_metrics(_METRICS.decode(raw, set()), draft)
        draft.usage_raw = raw


def read_headers(transcript: Transcript, draft: Draft, *, has_output: bool = True) -> None:
    """Fill in the counts that stand in the headers of a response."""
    take_metrics(Metrics(*(_number(transcript.header(name)) for name in _HEADERS)), draft, has_output=has_output)


def take_metrics(metrics: Metrics, draft: Draft, *, has_output: bool = True) -> None:
    """Fill in the usage, if there is any. `has_output`: the model generates tokens, so that they must be somewhere."""
    output: Count = metrics.output_token_count
    if metrics.input_token_count is None and output is None:
        return
    optional = {
        "cache_read": metrics.cache_read_input_token_count,
        "cache_write": metrics.cache_write_input_token_count,
    }
    parts: dict[str, Count] = {name: count for name, count in optional.items() if count is not None}
    draft.usage = _usage(metrics.input_token_count, output if has_output or output else UNSET, parts)
    draft.usage_raw = msgspec.json.encode({k: v for k, v in msgspec.to_builtins(metrics).items() if v is not None})


def _usage(uncached: int | None, output: Count, parts: dict[str, Count]) -> Usage:
    cached = sum(count for count in parts.values() if isinstance(count, int))
    return Usage.from_totals(
        input_tokens=None if uncached is None else uncached + cached, output_tokens=output, **parts
    )


def _writes(details: list[_CacheDetail] | None, written: int | None) -> dict[str, Count]:
    """Return what was written to the cache by lifetime, as far as the details make up the total."""
    lives: dict[str, Count] = {}
    for detail in details or ():
        name = _TTLS.get(detail.ttl or "")
        if name is not None and detail.input_tokens is not None:
            before = lives.get(name, 0)
            lives[name] = detail.input_tokens + (before if isinstance(before, int) else 0)
    known = sum(count for count in lives.values() if isinstance(count, int))
    if written is None:
        return lives or {"cache_write": None}
    if not lives or known > written:
        return {"cache_write": written}
    return lives | ({"cache_write": written - known} if written > known else {})


def _number(text: bytes) -> int | None:
    return int(text) if text.isdigit() and len(text) <= _DIGITS else None
