"""A reader: who understands one operation of one wire."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from proxy.wire.draft import Draft
from proxy.wire.transcript import Transcript


@dataclass(frozen=True, slots=True)
class Reader:
    """A name with a version, which goes up when a reader begins to understand more, and a function."""

    name: str
    read: Callable[[Transcript, Draft], None]
    """Fills in the draft; may raise, and loses what it did not fill in yet."""
