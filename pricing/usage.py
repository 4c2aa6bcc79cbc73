"""Usage: what one request consumed, in disjoint buckets.

Every token is in exactly one bucket, so sums never count twice and each bucket has one price.
A bucket is tri-state: an integer (known), `None` (unknown), `UNSET` (not applicable; left out of JSON).

**The remainder rule.** Providers often report a total without its split.
`input_uncached` and `output_text` are therefore remainders: they hold every token that was not reported as something else.
A part that is `None` was not reported, and whatever there was of it is counted in the remainder.
So a reported total always comes out exactly, the cost treats an unreported cache as no cache (which is how the
provider bills what it did not report), and `cached_input_tokens` still says unknown, not zero.
A total is unknown only when its remainder is.

Field list: the usage objects of OpenAI, Anthropic, Gemini, xAI, Mistral, OpenRouter and Perplexity as of 2026-11-20.
"""

from collections.abc import Iterable, Mapping
from typing import ClassVar, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

Count: TypeAlias = int | UnsetType | None
"""Known, unknown (None), or not applicable (UNSET)."""


class Usage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one request consumed; see the module docstring for the remainder rule."""

    input_uncached: Count = UNSET
    """Tokens read at the full input price: the input less every input bucket below."""
    cache_read: Count = UNSET
    """Tokens read from the provider's prompt cache, of no stated modality."""
    cache_write: Count = UNSET
    """Tokens written to the prompt cache, lifetime not stated."""
    cache_write_5m: Count = UNSET
    """Tokens written to the cache for five minutes (Anthropic)."""
    cache_write_30m: Count = UNSET
    """Tokens written to the cache for thirty minutes (OpenAI's default)."""
    cache_write_1h: Count = UNSET
    """Tokens written to the cache for one hour (Anthropic)."""
    cache_write_12h: Count = UNSET
    """Tokens written to the cache for twelve hours (OpenAI)."""
    input_audio: Count = UNSET
    """Audio tokens in, not read from the cache."""
    input_image: Count = UNSET
    """Image tokens in, not read from the cache."""
    input_video: Count = UNSET
    """Video tokens in, not read from the cache."""
    cache_read_audio: Count = UNSET
    """Audio tokens read from the cache."""
    cache_read_image: Count = UNSET
    """Image tokens read from the cache."""
    cache_read_video: Count = UNSET
    """Video tokens read from the cache."""

    output_text: Count = UNSET
    """Visible output: the output less every output bucket below."""
    output_reasoning: Count = UNSET
    """Reasoning tokens, shown to the client or not."""
    output_audio: Count = UNSET
    """Audio tokens out."""
    output_image: Count = UNSET
    """Image tokens out."""
    output_video: Count = UNSET
    """Video tokens out."""
    output_citation: Count = UNSET
    """Citation tokens (Perplexity)."""

    accepted_prediction: Count = UNSET
    """Predicted tokens that were used. A subset of the output: informative, never summed or priced."""
    rejected_prediction: Count = UNSET
    """Predicted tokens that were not used. A subset of the output: informative, never summed or priced."""

    web_searches: Count = UNSET
    """Web searches run by the provider."""
    social_searches: Count = UNSET
    """Searches of social media run by the provider (xAI)."""
    file_searches: Count = UNSET
    """Searches of stored files run by the provider."""
    code_executions: Count = UNSET
    """Code runs in the provider's sandbox."""
    containers: Count = UNSET
    """Sandboxes started for code runs and billed each (OpenAI)."""
    rerank_searches: Count = UNSET
    """Rerank searches (Cohere)."""
    tool_calls: Count = UNSET
    """Other tools run by the provider. No table prices them: informative only."""

    input_characters: Count = UNSET
    """Characters of text billed by the character (speech)."""
    input_messages: Count = UNSET
    """Text messages billed by the message (realtime, xAI)."""
    document_pages: Count = UNSET
    """Pages of documents read (OCR)."""
    annotated_document_pages: Count = UNSET
    """Pages of documents read and annotated (OCR)."""
    audio_ms: Count = UNSET
    """Milliseconds of an audio session billed by its length, both directions together."""
    input_audio_ms: Count = UNSET
    """Milliseconds of audio in, billed by length (transcription)."""
    images: Count = UNSET
    """Pictures made that are billed by the piece; their size and quality are the charge's variant."""
    video_ms: Count = UNSET
    """Milliseconds of video made, billed by length; the picture's size is the charge's variant."""

    reported_cost_nano_usd: int | None = None
    """Cost as the provider itself reported it, in nano-USD. None: it reported none."""

    INPUT: ClassVar[tuple[str, ...]] = (
        "input_uncached",
        "cache_read",
        "cache_write",
        "cache_write_5m",
        "cache_write_30m",
        "cache_write_1h",
        "cache_write_12h",
        "input_audio",
        "input_image",
        "input_video",
        "cache_read_audio",
        "cache_read_image",
        "cache_read_video",
    )
    """The disjoint buckets of input tokens, the remainder first."""
    OUTPUT: ClassVar[tuple[str, ...]] = (
        "output_text",
        "output_reasoning",
        "output_audio",
        "output_image",
        "output_video",
        "output_citation",
    )
    """The disjoint buckets of output tokens, the remainder first."""
    UNITS: ClassVar[tuple[str, ...]] = (
        "web_searches",
        "social_searches",
        "file_searches",
        "code_executions",
        "containers",
        "rerank_searches",
        "input_characters",
        "input_messages",
        "document_pages",
        "annotated_document_pages",
        "audio_ms",
        "input_audio_ms",
        "images",
        "video_ms",
    )
    """What is billed by another unit than the token."""
    _PARTS: ClassVar[frozenset[str]] = frozenset((*INPUT[1:], *OUTPUT[1:]))
    _INPUT: ClassVar[frozenset[str]] = frozenset(INPUT)
    _OUTPUT: ClassVar[frozenset[str]] = frozenset(OUTPUT)
    _BILLED: ClassVar[frozenset[str]] = frozenset((*INPUT, *OUTPUT, *UNITS))

    @classmethod
    def from_totals(
        cls,
        *,
        input_tokens: Count = UNSET,
        output_tokens: Count = UNSET,
        **parts: Count,
    ) -> "Usage":
        """Split reported totals into buckets; `parts` are the other fields by name, each included in its total.

        A total always comes out as given. Negative counts are unknown. Parts that together exceed their total
        cannot all be right: all the parts of that total are then unknown.
        """
        fields = parts  # a dictionary of our own
        for name, count in fields.items():
            if isinstance(count, int) and count < 0:
                fields[name] = None
        _fill_remainder(fields, _plausible(input_tokens), "input_uncached", cls._INPUT)
        _fill_remainder(fields, _plausible(output_tokens), "output_text", cls._OUTPUT)
        # mypy cannot see that the one field that is no Count is never among them.
        return cls(**fields)  # type: ignore[arg-type]

    @classmethod
    def total(cls, usages: "Iterable[Usage]") -> "Usage":
        """Add usages up, bucket by bucket; a bucket that applies to none of them does not apply.

        Totals and units are unknown where one is. A part of a total that was not reported is in the remainder, so what
        the others report of it is its sum.
        """
        parts = list(usages)
        if len(parts) == 1:
            return parts[0]
        fields: dict[str, Count] = {}
        for name in cls.__struct_fields__:
            counts = [count for part in parts if (count := getattr(part, name)) is not UNSET]
            if counts:
                known = [count for count in counts if count is not None]
                is_whole = len(known) == len(counts) or (name in cls._PARTS and known)
                fields[name] = sum(known) if is_whole else None
        # As in `from_totals`; a cost that not every part reports is no cost of the whole, which is None as well.
        return cls(**fields)  # type: ignore[arg-type]

    @property
    def input_tokens(self) -> int | None:
        """All input tokens, cached included. None: unknown or not applicable."""
        return self.totals().input

    @property
    def output_tokens(self) -> int | None:
        """All output tokens, reasoning included. None: unknown or not applicable."""
        return self.totals().output

    @property
    def cached_input_tokens(self) -> int | None:
        """Input tokens read from the cache. None: not reported."""
        return self.totals().cached_input

    @property
    def cache_write_tokens(self) -> int | None:
        """Input tokens written to the cache, of every lifetime. None: not reported."""
        return self.totals().cache_write

    @property
    def reasoning_tokens(self) -> int | None:
        """Output tokens spent on reasoning. None: not reported."""
        return self.totals().reasoning

    def totals(self) -> "Totals":
        """Add up the tokens, all at once."""
        sums: dict[str, int] = {}
        unknown: list[str] = []
        for bucket, count in self.counts().items():
            for total, is_essential in _ADDS_TO.get(bucket, ()):
                if count is not None:
                    sums[total] = sums.get(total, 0) + count
                elif is_essential:
                    unknown.append(total)
        for total in unknown:
            sums.pop(total, None)
        return Totals(**sums)

    def counts(self) -> dict[str, int | None]:
        """Return what is summed or billed and applies, by bucket; None: unknown."""
        # Everything that is not UNSET: what has its default is left out.
        fields: dict[str, int | None] = msgspec.to_builtins(self)
        return {bucket: count for bucket, count in fields.items() if bucket in self._BILLED}

    def count(self, bucket: str) -> Count:
        """Return the count in the bucket of that name."""
        count: Count = getattr(self, bucket)
        return count


class Totals(msgspec.Struct, frozen=True):
    """Token counts of a usage, added up. None: unknown or not applicable."""

    input: int | None = None
    """Cached included."""
    cached_input: int | None = None
    """None also: not reported. Like the two others that are parts."""
    cache_write: int | None = None
    """Of every lifetime."""
    output: int | None = None
    """Reasoning included."""
    reasoning: int | None = None


def _adds_to(bucket: str) -> tuple[tuple[str, bool], ...]:
    totals = {
        "input": bucket in Usage.INPUT,
        "output": bucket in Usage.OUTPUT,
        "cached_input": bucket.startswith("cache_read"),
        "cache_write": bucket.startswith("cache_write"),
        "reasoning": bucket == "output_reasoning",
    }
    remainders = (Usage.INPUT[0], Usage.OUTPUT[0])
    # What was not reported of a whole is in its remainder.
    return tuple(
        (name, name not in ("input", "output") or bucket in remainders) for name, adds in totals.items() if adds
    )


_ADDS_TO: Mapping[str, tuple[tuple[str, bool], ...]] = {
    bucket: _adds_to(bucket) for bucket in (*Usage.INPUT, *Usage.OUTPUT)
}
"""The totals that a bucket is part of, and whether they are unknown when it is."""


def _plausible(count: Count) -> Count:
    return None if isinstance(count, int) and count < 0 else count


def _fill_remainder(fields: dict[str, Count], total: Count, remainder: str, buckets: frozenset[str]) -> None:
    """Add to the parts of a total what remains of it; drop the parts when they cannot be right."""
    if not isinstance(total, int):
        fields[remainder] = total
        return
    rest = total
    for name, count in fields.items():
        if name in buckets and isinstance(count, int):
            rest -= count
    if rest >= 0:
        fields[remainder] = rest
        return
    fields.update({name: None for name, count in fields.items() if name in buckets and count is not UNSET})
    fields[remainder] = total
