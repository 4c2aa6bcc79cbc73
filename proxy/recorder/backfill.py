"""Backfill: what earlier versions recorded, folded into roll-ups and full-text index a slice at a time.

How far it has come stands in the database and moves in the transaction of what was folded: whoever dies in between, each
row is folded once. Questions are answered rightly meanwhile; only a search does not find what is not indexed yet.
"""

from __future__ import annotations

import logging
from typing import Final

from proxy.errors import StoreError
from proxy.recorder.revise import Reviser
from proxy.store import SqliteStore

log = logging.getLogger(__name__)
ROWS: Final = 50
"""Indexed at a time: about ten milliseconds."""


class Backfill:
    """Folds what was there before."""

    def __init__(self, store: SqliteStore, reviser: Reviser) -> None:
        self._store = store
        self._reviser = reviser
        self._has_rollups = False
        self.is_busy = True
        """There is more to do at once."""

    def step(self) -> None:
        """Fold one slice. Raises StoreError: nothing is lost then."""
        if not self._has_rollups:
            self._has_rollups = not self._store.backfill_rollups()
        elif self.is_busy:
            self.is_busy = self._index_some()

    def _index_some(self) -> bool:
        found = self._store.words.unindexed(ROWS)
        if found is None:
            return False
        seqs, end = found
        self._store.index_earlier([(seq, *self._said(seq)) for seq in seqs], end)
        return True

    def _said(self, seq: int) -> tuple[str, str]:
        row, bodies = self._store.jobs.row(seq), self._store.jobs.bodies(seq)
        if row is None or bodies is None:
            return "", ""
        try:
            return self._reviser.said(row, *bodies)
        except StoreError:
            raise
        except Exception:
            # The border at which one bad record must not take the others along.
            log.exception("record %s cannot be searched for", row["id"])
            return "", ""
