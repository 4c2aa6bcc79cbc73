"""Whose fault a failure of the database is: of the file and the machine, or of the record that was written."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

import apsw
import msgspec

from proxy.errors import StoreDamaged, StoreError
from proxy.store.damage import is_damage

_FAULTS_OF_A_RECORD: Final = (apsw.ConstraintError, apsw.MismatchError, apsw.TooBigError, apsw.RangeError)
"""All other errors speak against the file or the machine: the same batch may succeed later."""


@contextlib.contextmanager
def our_errors() -> Iterator[None]:
    """Turn failures of the file or the machine into StoreError; those of a record pass."""
    try:
        yield
    except _FAULTS_OF_A_RECORD:
        raise
    except apsw.Error as error:
        kind = StoreDamaged if is_damage(error) else StoreError
        raise kind(f"records.db: {error}") from error
    except OSError as error:
        raise StoreError(f"records.db: {error.strerror}") from error


@contextlib.contextmanager
def sane() -> Iterator[None]:
    """Turn values that we never wrote, so that they cannot be read, into StoreDamaged."""
    try:
        yield
    except (ValueError, TypeError, msgspec.MsgspecError) as error:
        raise StoreDamaged(f"records.db holds values that nobody wrote: {error}") from error
