"""Live numbers of the processes, in memory that they share: written by one, read by any, no lock, no message.

The supervisor makes the board before it forks; every child inherits it. A slot is written by its owner alone, a few
times a second, so a reader sees numbers at most that old. Lasting counters live in the store, not here.
"""

from __future__ import annotations

import mmap
import struct
import time
from dataclasses import dataclass
from typing import Final

_SLOT: Final = struct.Struct("<24sqdqqqdqqq")
_STALE_AFTER_S: Final = 3.0
"""A process that has not written for so long counts as dead: thirty missed ticks of a gateway."""


@dataclass(frozen=True, slots=True)
class ProcessStats:
    """What one process says of itself."""

    process: str
    """Role and number, such as `gateway-0`."""
    pid: int
    is_alive: bool
    in_flight: int
    """Exchanges that are not over."""
    connections: int
    """Open client connections."""
    journal_failures: int
    """Appends that the disk refused since the process started."""
    loop_lag_ms: float
    """Worst lateness of the event loop since the last write."""
    is_ready: bool
    bad_requests: int
    """Requests refused before they had a head that could be recorded."""
    lost_records: int = 0
    """Ends of exchanges that neither disk nor memory could take since the process started."""


class StatsBoard:
    """The shared memory. Slots are numbered from 0."""

    def __init__(self, slots: int) -> None:
        self._memory = mmap.mmap(-1, slots * _SLOT.size)
        self._slots = slots

    def writer(self, slot: int, process: str, pid: int) -> StatsWriter:
        """Return the pen of a slot's owner."""
        return StatsWriter(self._memory, slot * _SLOT.size, process, pid)

    def snapshot(self) -> list[ProcessStats]:
        """Return what every process last said."""
        now = time.monotonic()
        found = []
        for slot in range(self._slots):
            name, pid, at, in_flight, connections, failures, lag, ready, *counts = _SLOT.unpack_from(
                self._memory, slot * _SLOT.size
            )
            if pid:
                alive = now - at < _STALE_AFTER_S
                process, is_ready = name.rstrip(b"\0").decode(), alive and bool(ready)
                found.append(
                    ProcessStats(process, pid, alive, in_flight, connections, failures, lag, is_ready, *counts)
                )
        return found


StatsReader = StatsBoard


class StatsWriter:
    """Writes one slot."""

    def __init__(self, memory: mmap.mmap, offset: int, process: str, pid: int) -> None:
        self._memory = memory
        self._offset = offset
        self._name = process.encode()
        self._pid = pid

    def write(
        self,
        *,
        in_flight: int = 0,
        connections: int = 0,
        journal_failures: int = 0,
        loop_lag_ms: float = 0.0,
        is_ready: bool = True,
        bad_requests: int = 0,
        lost_records: int = 0,
    ) -> None:
        """Replace the slot."""
        _SLOT.pack_into(
            self._memory,
            self._offset,
            self._name,
            self._pid,
            time.monotonic(),
            in_flight,
            connections,
            journal_failures,
            loop_lag_ms,
            is_ready,
            bad_requests,
            lost_records,
        )
