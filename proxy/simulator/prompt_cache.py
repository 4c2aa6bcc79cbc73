"""The prompt cache of the simulated provider.

OpenAI caches prefixes of at least 1,024 tokens, in steps of 128 (prompt caching guide, seen 2026-11).
Here a prefix is remembered as a chain of hashes over blocks of its text, so a growing conversation finds its past
and two prompts that differ only at their end share what comes before.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping

from proxy.simulator.answer import CountText

_BLOCK = 256
"""Characters per link of the chain: about half of a 128-token step."""
_LEAST_TOKENS = 1024
_STEP_TOKENS = 128
_MAX_BLOCKS = 200_000
"""Links kept, least recently used first out: prompts of some 50 MB in total."""


class PromptCache:
    """Remembers the prefixes of long prompts."""

    def __init__(self) -> None:
        self._blocks: OrderedDict[bytes, None] = OrderedDict()

    def take(self, owner: str, request: Mapping[str, object], input_tokens: int, count: CountText) -> int:
        """Return how many tokens of this prompt were seen before from the same owner, and remember the prompt."""
        if input_tokens < _LEAST_TOKENS:
            return 0
        text = prompt_text(request)
        known = self._remember(owner, text)
        if known * _BLOCK < _LEAST_TOKENS:
            # A token is at least a character, so a prefix of fewer characters is too short whatever it says.
            return 0
        cached = min(count(text[: known * _BLOCK]), input_tokens) // _STEP_TOKENS * _STEP_TOKENS
        return cached if cached >= _LEAST_TOKENS else 0

    def _remember(self, owner: str, text: str) -> int:
        """Enter the chain of a prompt; return how many of its first blocks were there already."""
        known, is_known = 0, True
        link = owner.encode()
        for start in range(0, len(text) - _BLOCK + 1, _BLOCK):
            link = hashlib.blake2b(
                link + text[start : start + _BLOCK].encode("utf-8", "surrogatepass"), digest_size=16
            ).digest()
            is_known = is_known and link in self._blocks
            known += is_known
            self._blocks[link] = None
            self._blocks.move_to_end(link)
        while len(self._blocks) > _MAX_BLOCKS:
            self._blocks.popitem(last=False)
        return known


def prompt_text(request: Mapping[str, object]) -> str:
    """Return all text of a prompt in the order in which a model reads it."""
    parts = (request.get(name) for name in ("model", "tools", "instructions", "messages", "input", "prompt"))
    return "\n".join(text for part in parts for text in _texts(part))


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)
