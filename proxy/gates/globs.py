"""Model patterns as people write them: `gpt-5*`, `*-pro`; case does not matter."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import translate


class Globs:
    """A set of patterns. An empty one is false and matches nothing: what that means is for its user to say."""

    __slots__ = ("_match", "patterns")

    def __init__(self, patterns: Iterable[str]) -> None:
        self.patterns = tuple(pattern.lower() for pattern in patterns)
        self._match = re.compile("|".join(translate(pattern) for pattern in self.patterns)).match

    def __bool__(self) -> bool:
        return bool(self.patterns)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Globs) and self.patterns == other.patterns

    def __hash__(self) -> int:
        return hash(self.patterns)

    def match(self, text: str) -> bool:
        """Say whether one of the patterns matches all of `text`."""
        return bool(self.patterns) and self._match(text.lower()) is not None
