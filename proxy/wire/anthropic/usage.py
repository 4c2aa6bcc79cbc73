"""Usage as the Messages API reports it.

`input_tokens` leaves the cache out: the prompt is input + cache creation + cache read. `output_tokens` holds the
thinking. A stream reports in parts: `message_start` has the input, each `message_delta` repeats running totals, and
what it leaves out or leaves null stands as before. `iterations` splits the work of a request that took several
samplings, each of which may name a model of its own. Of `compaction` entries the SDK says that the totals leave them
out; of the others the sums tell: those that make up the totals are in them, the rest comes on top. `fallback_credit`
says that Anthropic reprices a retry; at what, it does not, so it is kept in the raw usage only.
Source: types of anthropic-sdk-python 2.11, 2026-11.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from pricing import Usage
from pricing.usage import Count
from proxy.records import Charge
from proxy.wire.draft import Draft
from proxy.wire.lenient import LenientDecoder, members
from proxy.wire.openai.usage import Count as Tokens


class _CacheCreation(msgspec.Struct):
    ephemeral_5m_input_tokens: Tokens = None
    ephemeral_1h_input_tokens: Tokens = None


class _ServerTools(msgspec.Struct):
    web_search_requests: Tokens = None
    web_fetch_requests: Tokens = None


class _OutputDetails(msgspec.Struct):
    thinking_tokens: Tokens = None


class _Counts(msgspec.Struct):
    """What the totals and every iteration have in common."""

    input_tokens: Tokens = None
    cache_creation_input_tokens: Tokens = None
    cache_read_input_tokens: Tokens = None
    cache_creation: _CacheCreation | None = None
    output_tokens: Tokens = None


class _Iteration(_Counts):
    type: str | None = None
    model: str | None = None


class _Usage(_Counts):
    output_tokens_details: _OutputDetails | None = None
    server_tool_use: _ServerTools | None = None
    service_tier: str | None = None
    speed: str | None = None
    inference_geo: str | None = None
    iterations: list[_Iteration] | None = None


_USAGE: Final = LenientDecoder(_Usage)
_PARTS: Final = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")
_UNSTATED_REGIONS: Final = (None, "", "not_available")


class UsageOverlay:
    """The usage of one message, growing: every part replaces what it says and leaves the rest."""

    def __init__(self) -> None:
        self._members: dict[str, bytes] = {}

    def add(self, raw: bytes) -> None:
        """Lay the next usage object over the ones before."""
        for member in members(raw)[0]:
            if member.is_whole and member.text != b"null":
                self._members[member.key] = member.text

    @property
    def raw(self) -> bytes:
        """The object as it stands, each value byte for byte as sent; empty: there was none."""
        if not self._members:
            return b""
        pairs = (msgspec.json.encode(key) + b":" + text for key, text in self._members.items())
        return b"{" + b",".join(pairs) + b"}"


def read_usage(raw: bytes, draft: Draft, *, processing: str | None = None) -> None:
    """Fill in what a usage object says; empty: there is none."""
    if raw[:1] != b"{":
        return
    lost: set[str] = set()
    said = _USAGE.decode(raw, lost)
    draft.problems.update(f"usage.{name}" for name in lost)
    draft.usage_raw = raw
    draft.service_tier = said.service_tier or draft.service_tier
    draft.speed = said.speed or draft.speed
    draft.processing = processing or ("batch" if said.service_tier == "batch" else draft.processing)
    if said.inference_geo not in _UNSTATED_REGIONS:
        draft.region = said.inference_geo
    totals = _buckets(said, **_extras(said))
    draft.usage = totals
    if said.iterations:
        draft.attempt("usage.iterations", _take_iterations, said, totals, draft)


def _take_iterations(said: _Usage, totals: Usage, draft: Draft) -> None:
    """Fill in the charges, where one price for the totals would be wrong."""
    inside, outside = _divided(said)
    if not outside and len({each.model for each in inside}) <= 1:
        return
    draft.charges = (*_inside_charges(said, totals, inside), *(_charge(each, _buckets(each)) for each in outside))
    draft.usage = Usage.total(charge.usage for charge in draft.charges)


def _divided(said: _Usage) -> tuple[list[_Iteration], list[_Iteration]]:
    """Return the iterations that the totals hold, and those that come on top."""
    iterations = said.iterations or []
    sampled = [each for each in iterations if each.type != "compaction"]
    own = [each for each in sampled if each.type != "advisor_message"]
    serving = [each for each in own if each.model == own[-1].model]
    # An advisor is not expected in the totals, nor is a model that declined before another answered; the sums decide.
    for inside in (own, sampled, serving):
        if all(_sum(inside, part) == (getattr(said, part) or 0) for part in _PARTS):
            return inside, [each for each in iterations if all(each is not other for other in inside)]
    return own[-1:], [each for each in iterations if each.type in ("compaction", "advisor_message")]


def _inside_charges(said: _Usage, totals: Usage, inside: list[_Iteration]) -> list[Charge]:
    if len({each.model for each in inside}) <= 1:
        return [Charge(usage=totals, model=inside[-1].model if inside else None)]
    # What the totals have beside tokens goes to the one that answered, which is the last.
    *others, last = inside
    return [*(_charge(each, _buckets(each)) for each in others), _charge(last, _buckets(last, **_extras(said)))]


def _charge(iteration: _Iteration, usage: Usage) -> Charge:
    return Charge(usage=usage, model=iteration.model)


def _sum(counts: Sequence[_Counts], part: str) -> int:
    return sum(getattr(each, part) or 0 for each in counts)


def _extras(said: _Usage) -> dict[str, Count]:
    """Return what only the totals say."""
    extras: dict[str, Count] = {}
    if said.output_tokens_details is not None:
        extras["output_reasoning"] = said.output_tokens_details.thinking_tokens
    if said.server_tool_use is not None:
        extras["web_searches"] = said.server_tool_use.web_search_requests
    return extras


def _buckets(counts: _Counts, **extras: Count) -> Usage:
    split = counts.cache_creation or _CacheCreation()
    five, hour = split.ephemeral_5m_input_tokens, split.ephemeral_1h_input_tokens
    known = (five or 0) + (hour or 0)
    written = counts.cache_creation_input_tokens
    if written is None and counts.cache_creation is not None:
        written = known
    parts: dict[str, Count] = {"cache_read": counts.cache_read_input_tokens, **extras}
    if counts.cache_creation is None:
        parts["cache_write"] = written
    else:
        parts |= {"cache_write_5m": five, "cache_write_1h": hour}
        if written is not None and written > known:
            parts["cache_write"] = written - known  # of a lifetime that the split does not name
    uncached = counts.input_tokens
    total = None if uncached is None else uncached + (written or 0) + (counts.cache_read_input_tokens or 0)
    return Usage.from_totals(input_tokens=total, output_tokens=counts.output_tokens, **parts)
