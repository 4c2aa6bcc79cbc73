"""Counting tokens once: the tokenizer is by far the most expensive thing a simulated answer needs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache, partial

from pricing.tokens import count_text, estimate_input
from proxy.simulator.answer import CountText

_MAX_PROMPTS = 10_000
"""Prompts whose count is kept; a digest and a number each."""
_BYTES_PER_TOKEN = 4
"""For prompts that the tokenizer cannot judge (files, audio): the common rule of thumb for English."""

_count_short = lru_cache(maxsize=16_384)(count_text)
_SHORT = 512
"""Longer texts are not kept: tool names and arguments repeat, documents do not."""


class TokenCounter:
    """Counts prompts and texts, and remembers."""

    def __init__(self) -> None:
        self._prompts: dict[tuple[str, str], int] = {}

    def text_counter(self, model: str) -> CountText:
        """Return a function that counts texts for one model."""
        return partial(_count, model=model)

    def prompt(self, kind: str, request: Mapping[str, object], model: str, digest: str) -> int:
        """Count the input tokens of a request; `digest` identifies its body."""
        counted = self._prompts.get((kind, digest))
        if counted is None:
            counted = self._prompts[kind, digest] = _estimate(kind, request, model)
            if len(self._prompts) > _MAX_PROMPTS:
                del self._prompts[next(iter(self._prompts))]
        return counted


def _count(text: str, model: str) -> int:
    return _count_short(text, model) if len(text) <= _SHORT else count_text(text, model)


def _estimate(kind: str, request: Mapping[str, object], model: str) -> int:
    estimated = estimate_input(request, kind, model)
    return len(str(request).encode("utf-8", "replace")) // _BYTES_PER_TOKEN if estimated is None else estimated
