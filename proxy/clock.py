"""The two clocks: wall time for people and windows, monotonic time for durations.

Collaborators take a `Clock` by constructor, so that a test can hold time in its hand.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clock:
    """A pair of time sources."""

    wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    """Milliseconds since the Unix epoch, UTC. May jump."""
    monotonic: Callable[[], float] = time.monotonic
    """Seconds since some start. Never goes back."""


SYSTEM = Clock()
