"""The prompt cache that an application steers: it marks places in its prompt, and the provider keeps what is before.

A prompt is a row of blocks, some of which are marked with a lifetime. What was kept before is found again at the end of
any block, up to the last mark; what follows it up to each mark is written with that mark's lifetime. Less than 1,024
tokens are not kept. Nothing expires here: there is no clock.
Sources: Anthropic's and AWS's documentation of prompt caching, 2026-11.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from proxy.simulator.answer import Buckets, CountText, Usage

Lifetime = Literal["5m", "1h"]

_LEAST_TOKENS: Final = 1024
_MAX_PREFIXES: Final = 10_000
"""Prefixes kept, least recently used first out."""


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of a prompt."""

    text: str
    lifetime: Lifetime | None = None
    """What is before and in it is to be kept so long. None: it is not marked."""


class BreakpointCache:
    """Remembers the marked prefixes of prompts."""

    def __init__(self) -> None:
        self._prefixes: OrderedDict[bytes, None] = OrderedDict()

    def take(self, owner: str, blocks: Sequence[Block], input_tokens: int, count: CountText) -> Usage:
        """Return what of a prompt is read and what is written, and remember it."""
        last = max((index for index, block in enumerate(blocks) if block.lifetime), default=-1)
        links = _chain(owner, blocks[: last + 1])
        ends = _ends(blocks[: last + 1], input_tokens, count)
        known = max((index for index, link in enumerate(links) if link in self._prefixes), default=-1)
        read = ends[known] if known >= 0 else 0
        written = {"5m": 0, "1h": 0}
        begin = read
        for index in range(known + 1, last + 1):
            lifetime = blocks[index].lifetime
            if lifetime is not None and ends[index] >= _LEAST_TOKENS:
                written[lifetime] += ends[index] - begin
                begin = ends[index]
                self._remember(links[index])
        if known >= 0:
            self._remember(links[known])
        extra: Buckets = tuple((f"cache_write_{life}_tokens", tokens) for life, tokens in written.items() if tokens)
        return Usage(input_tokens, read, extra=extra)

    def _remember(self, link: bytes) -> None:
        self._prefixes[link] = None
        self._prefixes.move_to_end(link)
        if len(self._prefixes) > _MAX_PREFIXES:
            self._prefixes.popitem(last=False)


def _chain(owner: str, blocks: Sequence[Block]) -> list[bytes]:
    """Return a digest of everything up to the end of each block."""
    links, link = [], owner.encode("utf-8", "replace")
    for block in blocks:
        link = hashlib.blake2b(link + block.text.encode("utf-8", "replace"), digest_size=16).digest()
        links.append(link)
    return links


def _ends(blocks: Sequence[Block], input_tokens: int, count: CountText) -> list[int]:
    """Return the number of tokens up to the end of each block."""
    ends, total = [], 0
    for block in blocks:
        total = min(input_tokens, total + count(block.text))
        ends.append(total)
    return ends
