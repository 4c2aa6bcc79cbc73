"""Counts that stand elsewhere than in a usage object, for answers that have none.

llama.cpp adds `timings` to every answer and to the last chunk of a stream, where the usage is left out unless it was
asked for. Fireworks puts what it read into headers. Sources: llama-server's recorded answers (docs.rs, llmp 0.1.0);
docs.fireworks.ai, "Performance Metrics Overview"; seen 2026-11.
"""

from __future__ import annotations

from typing import Final

import msgspec

from pricing import Usage
from proxy.wire.draft import Draft
from proxy.wire.lenient import LenientDecoder
from proxy.wire.openai.usage import MAX_COUNT, Count
from proxy.wire.transcript import Transcript


class _Timings(msgspec.Struct):
    cache_n: Count = None
    """Tokens of the prompt that were still in memory."""
    prompt_n: Count = None
    """The others."""
    predicted_n: Count = None


_TIMINGS: Final = LenientDecoder(_Timings)


def read_timings(raw: bytes, draft: Draft) -> None:
    """Fill in the usage from llama.cpp's timings."""
    if raw[:1] != b"{":
        return
    timings = _TIMINGS.decode(raw, set())
    if timings.prompt_n is None and timings.predicted_n is None:
        return
    read = None if timings.prompt_n is None else timings.prompt_n + (timings.cache_n or 0)
    draft.usage = Usage.from_totals(input_tokens=read, output_tokens=timings.predicted_n, cache_read=timings.cache_n)
    draft.usage_raw = raw


def read_headers(transcript: Transcript, draft: Draft) -> None:
    """Fill in the input from Fireworks' headers; of the output they say nothing."""
    read = _count(transcript.header(b"fireworks-prompt-tokens"))
    if read is not None:
        cached = _count(transcript.header(b"fireworks-cached-prompt-tokens"))
        draft.usage = Usage.from_totals(input_tokens=read, output_tokens=None, cache_read=cached)


def _count(value: bytes) -> int | None:
    return int(value) if value.isdigit() and len(value) < len(str(MAX_COUNT)) else None
