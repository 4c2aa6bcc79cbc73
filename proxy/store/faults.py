"""Whose fault a failure of the database is: of the file and the machine, or of the record that was written."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

import apsw

from proxy.errors import StoreError

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
        raise StoreError(f"records.db: {error}") from error
    except OSError as error:
        raise StoreError(f"records.db: {error.strerror}") from error
