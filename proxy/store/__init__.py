"""The store: `records.db`, where every record is kept, and the ways to read it.

The recorder alone writes it (`SqliteStore`); everybody else opens it read-only (`reading`). The view `requests` is a
public interface.
"""

from proxy.store.reading import AsyncStoreReader, StoreReader
from proxy.store.record import Edit, JournalPosition, KeptBody, Record, Settlement, UsageSource
from proxy.store.row import StoredBody
from proxy.store.series import Tally
from proxy.store.sqlite import SqliteStore, Store

__all__ = [
    "AsyncStoreReader",
    "Edit",
    "JournalPosition",
    "KeptBody",
    "Record",
    "Settlement",
    "SqliteStore",
    "Store",
    "StoreReader",
    "StoredBody",
    "Tally",
    "UsageSource",
]
