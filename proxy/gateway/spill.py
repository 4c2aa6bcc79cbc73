"""Frames that the journal could not take yet: tried again with every tick, in order, and counted when they must go."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from proxy.errors import JournalUnavailable

_BODY_BYTES: Final = 64 * 1024 * 1024
"""Bytes of bodies that wait in memory while the disk refuses them."""
_ALL_BYTES: Final = 80 * 1024 * 1024
"""With the ends of exchanges, which may wait when no body may: without its end an exchange is worth little."""


class Spill:
    """A queue of appends."""

    def __init__(self, body_bytes: int = _BODY_BYTES, all_bytes: int = _ALL_BYTES) -> None:
        self.lost_records = 0
        """Ends for which there was no room: their exchanges will be recorded as interrupted, or not at all."""
        self.waiting: deque[tuple[int, Callable[[], None]]] = deque()
        """Size and call of each, in order."""
        self._ends = 0
        """Of exchanges, since nothing waited."""
        self._bytes = 0
        self._body_bytes = body_bytes
        self._all_bytes = all_bytes

    @property
    def size(self) -> int:
        """Bytes that wait."""
        return self._bytes

    def add_body(self, size: int, append: Callable[[], None]) -> bool:
        """Keep the append of a piece of a body for later; False: there is no room."""
        return self._add(size, append, self._body_bytes)

    def add_end(self, size: int, append: Callable[[], None]) -> bool:
        """Keep the append of an end for later; False: there is no room, and the loss is counted."""
        is_kept = self._add(size, append, self._all_bytes)
        self._ends += is_kept
        self.lost_records += not is_kept
        return is_kept

    def _add(self, size: int, append: Callable[[], None], limit: int) -> bool:
        if self._bytes + size > limit:
            return False
        self.waiting.append((size, append))
        self._bytes += size
        return True

    def retry(self) -> None:
        """Append in order until the disk refuses again."""
        while self.waiting:
            size, append = self.waiting[0]
            try:
                append()
            except JournalUnavailable:
                return
            self.waiting.popleft()
            self._bytes -= size
        self._ends = 0

    def abandon(self) -> int:
        """Let go of all that waits; return how many records are lost with it, at most."""
        lost, self._ends, self._bytes = self._ends, 0, 0
        self.waiting.clear()
        self.lost_records += lost
        return lost
