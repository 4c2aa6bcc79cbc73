"""The tap: the bytes of one body on their way to the journal.

They wait in memory until 64 KB have come together, a clock tick passes or the exchange ends. Beyond the capture limit
only size, hash and the last bytes are kept, so an endless body costs nothing.
"""

from __future__ import annotations

import hashlib
from typing import Final, Protocol


class _Digest(Protocol):
    def update(self, data: bytes, /) -> None: ...

    def digest(self) -> bytes: ...


_HASH_BYTES: Final = 4 * 1024
"""Bytes that wait to be hashed once a body comes in several pieces: each open stream has them in memory."""
TAIL_BYTES: Final = 64 * 1024
"""Kept of the end of a body that is longer than the capture limit."""


class Capture:
    """One body."""

    __slots__ = (
        "_digest",
        "_journaled",
        "_keeps_tail",
        "_limit",
        "_pending",
        "_unhashed",
        "_unhashed_bytes",
        "pending_bytes",
        "size",
        "tail",
    )

    def __init__(self, limit: int, *, keeps_tail: bool = True) -> None:
        self.size = 0
        """Bytes that passed."""
        self.pending_bytes = 0
        """Bytes that wait in memory."""
        self.tail = b""
        self._limit = limit
        self._keeps_tail = keeps_tail
        self._pending: list[bytes] = []
        self._journaled = 0
        self._unhashed: list[bytes] = []
        """What `take` returned and the digest lacks: most bodies end before a hash of theirs is wanted."""
        self._unhashed_bytes = 0
        self._digest: _Digest | None = None

    def add(self, piece: bytes) -> None:
        """Take a piece."""
        size = len(piece)
        self.size += size
        self.pending_bytes += size
        self._pending.append(piece)

    def add_all(self, pieces: list[bytes]) -> None:
        """Take pieces that came together."""
        size = len(pieces[0]) if len(pieces) == 1 else sum(map(len, pieces))
        self.size += size
        self.pending_bytes += size
        self._pending += pieces

    def gather(self, body: bytes) -> None:
        """Take the whole body in place of its pieces, which all still wait, so that memory holds it once."""
        self._pending = [body]

    def lose_rest(self) -> None:
        """Take note that what `take` returned last was lost: the journal gets no more of this body but its end."""
        self._hash()
        self._limit = self._journaled = 0

    def take(self) -> bytes:
        """Return what the journal should get now."""
        pending = self._pending
        if not pending:
            return b""
        data = pending[0] if len(pending) == 1 else b"".join(pending)
        self._pending = []
        self._unhashed.append(data)
        self._unhashed_bytes += self.pending_bytes
        journaled = self._journaled + self.pending_bytes
        self.pending_bytes = 0
        if journaled <= self._limit:
            if self._unhashed_bytes > _HASH_BYTES and self._journaled:
                self._hash()
            self._journaled = journaled
            return data
        self._hash()
        room = self._limit - self._journaled
        if self._keeps_tail:
            self.tail = (self.tail + data)[-TAIL_BYTES:]
        self._journaled = self._limit
        return data[:room]

    def _hash(self) -> None:
        """Bring the digest up to date: the whole may pass the limit, and a hash cannot start in the middle."""
        if self._digest is None:
            self._digest = hashlib.sha256()
        for data in self._unhashed:
            self._digest.update(data)
        self._unhashed = []
        self._unhashed_bytes = 0

    @property
    def is_cut(self) -> bool:
        """Say whether the journal does not get all that passed so far."""
        return self.size > self._limit

    @property
    def sha256(self) -> bytes:
        """Digest of everything that passed; empty when the journal holds it all and can be hashed there."""
        if self.size <= self._journaled + self.pending_bytes:
            return b""
        self._hash()
        return self._digest.digest() if self._digest is not None else b""
