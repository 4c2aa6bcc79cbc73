"""The usage objects of pictures and sound, which count text, audio and images apart, or seconds instead of tokens.

Types: openai-python 3.52, seen 2026-11-21.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from pricing import Usage
from pricing.usage import Count as Counted
from proxy.wire.draft import Draft
from proxy.wire.lenient import LenientDecoder
from proxy.wire.openai.usage import Count

Made = Literal["text", "audio", "image"]
"""What an operation makes: of this kind is output that the provider does not split."""
_LONGEST_S: Final = 10**9
"""No recording lasts longer; what claims to is not believed."""


class _CachedDetails(msgspec.Struct):
    cached_text_tokens: Count = None
    cached_image_tokens: Count = None
    cached_audio_tokens: Count = None


class _InputDetails(msgspec.Struct):
    audio_tokens: Count = None
    image_tokens: Count = None
    cached_tokens: Count = None


class _OutputDetails(msgspec.Struct):
    text_tokens: Count = None
    audio_tokens: Count = None
    image_tokens: Count = None
    reasoning_tokens: Count = None


class ModalUsage(msgspec.Struct):
    """A usage object."""

    type: str | None = None
    """tokens or duration; pictures do not say."""
    seconds: float | None = None
    model: str | None = None
    """Of `svg_usage`: the model that drew."""
    input_tokens: Count = None
    input_tokens_details: _InputDetails | None = None
    input_token_details: _InputDetails | None = None
    """What transcriptions call it."""
    cached_tokens: Count = None
    cached_tokens_details: _CachedDetails | None = None
    """Of the tool that draws."""
    output_tokens: Count = None
    output_tokens_details: _OutputDetails | None = None
    reasoning_tokens: Count = None
    """Of `svg_usage`: within the output."""

    def buckets(self, made: Made) -> Usage | None:
        """Return the buckets; None: it says nothing that can be believed."""
        if self.type == "duration":
            return spoken(self.seconds)
        if self.input_tokens is None and self.output_tokens is None:
            return None
        return Usage.from_totals(
            input_tokens=self.input_tokens, output_tokens=self.output_tokens, **self._input_parts(), **self._made(made)
        )

    def _input_parts(self) -> dict[str, Counted]:
        given = self.input_tokens_details or self.input_token_details or _InputDetails()
        cached = self.cached_tokens_details or _CachedDetails()
        total = self.cached_tokens if self.cached_tokens is not None else given.cached_tokens
        images, audio = cached.cached_image_tokens or 0, cached.cached_audio_tokens or 0
        parts = {
            "input_audio": (given.audio_tokens or 0) - audio,
            "input_image": (given.image_tokens or 0) - images,
            "cache_read_audio": audio,
            "cache_read_image": images,
        }
        found: dict[str, Counted] = {name: count for name, count in parts.items() if count}
        return found if total is None else found | {"cache_read": total - images - audio}

    def _made(self, made: Made) -> dict[str, Counted]:
        said = self.output_tokens_details or _OutputDetails()
        parts = {
            "output_audio": said.audio_tokens,
            "output_image": said.image_tokens,
            "output_reasoning": said.reasoning_tokens or self.reasoning_tokens,
        }
        if made != "text" and said.text_tokens is None and said.audio_tokens is None and said.image_tokens is None:
            parts[f"output_{made}"] = self.output_tokens
        return {name: count for name, count in parts.items() if count}


_USAGE: Final = LenientDecoder(ModalUsage)


def read_modal_usage(raw: bytes, draft: Draft) -> ModalUsage | None:
    """Decode a usage object; None: there is none."""
    if raw[:1] != b"{":
        if raw not in (b"", b"null"):
            draft.problems.add("usage")
        return None
    lost: set[str] = set()
    said = _USAGE.decode(raw, lost)
    draft.problems.update(f"usage.{name}" for name in lost)
    return said


def take_modal_usage(raw: bytes, draft: Draft, made: Made) -> None:
    """Fill in the usage of a whole answer; what cannot be understood is unknown."""
    said = read_modal_usage(raw, draft)
    if said is not None:
        draft.usage_raw = raw
        draft.usage = said.buckets(made)
        if draft.usage is None:
            draft.problems.add("usage")


def spoken(seconds: float | None) -> Usage | None:
    """Return the usage of a recording billed by its length; None: no length that can be believed."""
    if seconds is None or not 0 <= seconds <= _LONGEST_S:
        return None
    return Usage(input_audio_ms=round(seconds * 1000))
