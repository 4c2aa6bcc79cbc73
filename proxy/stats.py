"""Live numbers of the processes, in memory that they share: written by one, read by any, no lock, no message.

The supervisor makes the board before it forks; every child inherits it, and so does the program that a supervisor
becomes when it is replaced. A slot is written by its owner alone, a few times a second, so a reader sees numbers at
most that old. Lasting counters live in the store, not here; what is counted here goes on from the numbers of the dead
process that had the same name, so that no sum ever goes back.
"""

from __future__ import annotations

import mmap
import os
import struct
import tempfile
import time
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_SLOT: Final = struct.Struct("<24sqdqqqdqqqqq")
_BOARD: Final = struct.Struct("<qqqd")
LATENESS_BOUNDS_S: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5)
"""Of the histogram of lateness; what is later still falls behind the last."""
_LATENESS: Final = struct.Struct(f"<{len(LATENESS_BOUNDS_S) + 1}qd")
_STRIDE: Final = _SLOT.size + _LATENESS.size
_LAYOUT: Final = _STRIDE * 1000 + 2
"""Changes with the layout: another version's board is not read but replaced."""
_STALE_AFTER_S: Final = 3.0
"""A process that has not written for so long counts as dead: thirty missed ticks of a gateway."""
_RETIRED: Final = -1
"""Stands for the pid of a process that ended as it was told to."""
DEFAULT_SLOTS: Final = 256
"""Gateways of four generations, were there 64 of them: while new ones work, old ones may still drain."""


@dataclass(frozen=True, slots=True)
class ProcessStats:
    """What one process says of itself; of several with one name, such as one that drains for its successor, the sum."""

    process: str
    """Role and number, such as `gateway-0`."""
    pid: int
    is_alive: bool
    in_flight: int
    """Exchanges that are not over."""
    connections: int
    """Open client connections."""
    journal_failures: int
    """Appends that the disk refused since the supervisor started."""
    loop_lag_ms: float
    """Worst lateness of the event loop since the last write."""
    is_ready: bool
    bad_requests: int
    """Requests refused before they had a head that could be recorded."""
    lost_records: int = 0
    """Ends of exchanges that neither disk nor memory could take since the supervisor started."""
    generation: int = 0
    """The configuration that it works with, counted from 1; 0: unknown."""
    shed: int = 0
    """Connections and requests turned away because there were too many."""
    is_retired: bool = False
    """It ended as it was told to and has no successor: only its counts remain."""
    lateness: tuple[int, ...] = ()
    """How often its event loop was how late, by `LATENESS_BOUNDS_S`, since the supervisor started; empty: it has none."""
    late_s: float = 0.0
    """Sum of all that."""


class Lateness:
    """How late an event loop was, each time that it was looked at."""

    __slots__ = ("counts", "total_s")

    def __init__(self, counts: Sequence[int] = (), total_s: float = 0.0) -> None:
        self.counts = list(counts) or [0] * (len(LATENESS_BOUNDS_S) + 1)
        """By `LATENESS_BOUNDS_S`, not cumulative."""
        self.total_s = total_s

    def note(self, seconds: float) -> None:
        """Count one look."""
        self.counts[bisect_left(LATENESS_BOUNDS_S, seconds)] += 1
        self.total_s += max(0.0, seconds)


@dataclass(frozen=True, slots=True)
class ReloadStats:
    """What the supervisor says of the configuration."""

    generation: int = 0
    """Counted from 1, one more with each configuration that was loaded; 0: unknown."""
    is_good: bool = True
    """The last attempt to load it succeeded."""
    at_ms: int = 0
    """When that was, Unix ms; 0: unknown."""


class StatsBoard:
    """The shared memory. Slots are numbered from 0."""

    def __init__(self, slots: int = DEFAULT_SLOTS, descriptor: int | None = None) -> None:
        self._slots = slots
        self.descriptor = _anonymous_file() if descriptor is None else descriptor
        """Of the file behind the memory; whoever inherits it may make a board of it."""
        if os.fstat(self.descriptor).st_size < self._size:
            os.ftruncate(self.descriptor, self._size)
        self._memory = mmap.mmap(self.descriptor, self._size)
        if _BOARD.unpack_from(self._memory)[0] != _LAYOUT:
            self._memory[:] = bytes(self._size)
            self.note_reload(ReloadStats())

    @property
    def _size(self) -> int:
        return _BOARD.size + self._slots * _STRIDE

    def note_reload(self, reload: ReloadStats) -> None:
        """Publish what became of the configuration."""
        _BOARD.pack_into(self._memory, 0, _LAYOUT, reload.generation, reload.is_good, float(reload.at_ms))

    @property
    def reload(self) -> ReloadStats:
        """What became of the configuration."""
        _, generation, is_good, at_ms = _BOARD.unpack_from(self._memory)
        return ReloadStats(generation, bool(is_good), int(at_ms))

    def free_slot(self, process: str, taken: Sequence[int]) -> int | None:
        """Return a slot for a new process of that name, one that had the name before if possible; None: all are taken."""
        unused = None
        for slot in range(self._slots):
            if slot in taken:
                continue
            name = self._name(slot)
            if name == process:
                return slot
            if not name and unused is None:
                unused = slot
        return unused

    def retire(self, slot: int) -> None:
        """Note that the owner of a slot ended as it was told to; its counts stay."""
        found = list(_SLOT.unpack_from(self._memory, self._offset(slot)))
        found[1], found[3], found[4] = _RETIRED, 0, 0
        _SLOT.pack_into(self._memory, self._offset(slot), *found)

    def writer(self, slot: int, process: str, pid: int) -> StatsWriter:
        """Return the pen of a slot's owner."""
        return StatsWriter(self._memory, self._offset(slot), process, pid)

    def snapshot(self) -> list[ProcessStats]:
        """Return what every process last said."""
        now = time.monotonic()
        by_name: dict[str, ProcessStats] = {}
        for slot in range(self._slots):
            name, pid, at, *numbers = _SLOT.unpack_from(self._memory, self._offset(slot))
            if not pid:
                continue
            in_flight, connections, failures, lag, ready, bad, lost, generation, shed = numbers
            late = _LATENESS.unpack_from(self._memory, self._offset(slot) + _SLOT.size)
            process, is_alive = name.rstrip(b"\0").decode(), pid != _RETIRED and now - at < _STALE_AFTER_S
            one = ProcessStats(
                process=process,
                pid=pid,
                is_alive=is_alive,
                in_flight=in_flight,
                connections=connections,
                journal_failures=failures,
                loop_lag_ms=lag,
                is_ready=is_alive and bool(ready),
                bad_requests=bad,
                lost_records=lost,
                generation=generation,
                shed=shed,
                is_retired=pid == _RETIRED,
                lateness=tuple(late[:-1]) if any(late) else (),
                late_s=late[-1],
            )
            other = by_name.get(process)
            by_name[process] = one if other is None else _sum(other, one)
        return list(by_name.values())

    def _offset(self, slot: int) -> int:
        return _BOARD.size + slot * _STRIDE

    def _name(self, slot: int) -> str:
        start = self._offset(slot)
        return bytes(self._memory[start : start + 24]).rstrip(b"\0").decode()


StatsReader = StatsBoard


class StatsWriter:
    """Writes one slot, counting on from what a predecessor of the same name left there."""

    def __init__(self, memory: mmap.mmap, offset: int, process: str, pid: int) -> None:
        self._memory = memory
        self._offset = offset
        self._name = process.encode()
        self._pid = pid
        self.generation = 0
        """The configuration that this process works with."""
        name, _, _, _, _, failures, _, _, bad, lost, _, shed = _SLOT.unpack_from(memory, offset)
        is_heir = name.rstrip(b"\0") == self._name
        self._before = (failures, bad, lost, shed) if is_heir else (0, 0, 0, 0)
        *counts, total_s = _LATENESS.unpack_from(memory, offset + _SLOT.size)
        self.lateness = Lateness(counts, total_s) if is_heir else Lateness()

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
        shed: int = 0,
    ) -> None:
        """Replace the slot."""
        failures_before, bad_before, lost_before, shed_before = self._before
        _SLOT.pack_into(
            self._memory,
            self._offset,
            self._name,
            self._pid,
            time.monotonic(),
            in_flight,
            connections,
            failures_before + journal_failures,
            loop_lag_ms,
            is_ready,
            bad_before + bad_requests,
            lost_before + lost_records,
            self.generation,
            shed_before + shed,
        )
        _LATENESS.pack_into(self._memory, self._offset + _SLOT.size, *self.lateness.counts, self.lateness.total_s)


def _sum(one: ProcessStats, other: ProcessStats) -> ProcessStats:
    """Return two processes of one name as one: counts added, gauges of the living added, the living one's state."""
    living = [each for each in (one, other) if each.is_alive]
    first = max(living or [one, other], key=lambda each: (not each.is_retired, each.generation, each.pid))
    return ProcessStats(
        process=one.process,
        pid=first.pid,
        is_alive=bool(living),
        in_flight=sum(each.in_flight for each in living),
        connections=sum(each.connections for each in living),
        journal_failures=one.journal_failures + other.journal_failures,
        loop_lag_ms=max((each.loop_lag_ms for each in living), default=0.0),
        is_ready=any(each.is_ready for each in living),
        bad_requests=one.bad_requests + other.bad_requests,
        lost_records=one.lost_records + other.lost_records,
        generation=first.generation,
        shed=one.shed + other.shed,
        is_retired=one.is_retired and other.is_retired,
        lateness=tuple(map(sum, zip(one.lateness, other.lateness, strict=True)))
        if one.lateness and other.lateness
        else one.lateness or other.lateness,
        late_s=one.late_s + other.late_s,
    )


def _anonymous_file() -> int:
    """Return the descriptor of a file that has no name and lives in memory, where the system has such."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("glassline-stats")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
