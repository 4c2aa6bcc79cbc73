"""The reading half of the journal: every frame of every writer, in order, exactly as far as it can be trusted.

A frame is delivered when its checksum fits. What does not fit is one of three things: a write in flight (wait for
it), a tail that its writer never finished (cut it), or damage (skip to the next frame that fits, set the bytes
aside). Which of them depends on whether more can come: a segment is *closed* once its writer is dead or has begun
another one. Both facts are looked up before the bytes are read, so that "closed and read to the end" means what it
says.

Whatever the bytes are: frames before the damage are delivered, nothing raises, every call ends.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple, Protocol
from zlib import crc32

import msgspec

from proxy.encryption import FrameCipher, vault
from proxy.journal.frames import (
    CRC,
    HEADER,
    HEADER_SIZE,
    MAGIC,
    MAX_PAYLOAD,
    PREFIX,
    SEALED_VERSION,
    VERSION,
    FrameKind,
)
from proxy.journal.quarantine import Quarantine
from proxy.journal.unsafe import unsafe_marker
from proxy.locks import is_held

CHUNK_BYTES: Final = 256 * 1024
"""One read: about a hundred small exchanges."""
PATIENCE_S: Final = 1.0
"""How long a place in an open segment must stay unreadable before it counts as damage. No write takes that long."""
SEARCH_BYTES: Final = 256 * 1024 * 1024
"""Checksum work spent on one damaged place. Bodies are strangers' bytes and may imitate frame headers without end."""
_CANDIDATE_BYTES: Final = 64
"""What looking at one imitation costs, as if it were checksum work."""
_SUFFIX: Final = ".journal"
_KINDS: Final = {int(kind): kind for kind in FrameKind}
_VERSIONS: Final = (VERSION, SEALED_VERSION)


class Segment(NamedTuple):
    """The name of one segment file."""

    writer: str
    number: int
    """Segments of a writer are numbered from 0 without gaps."""

    @property
    def file_name(self) -> str:
        """Name of the file in the journal directory."""
        return f"{self.writer}.{self.number:08d}{_SUFFIX}"

    @property
    def successor(self) -> Segment:
        """The segment that its writer begins next."""
        return Segment(self.writer, self.number + 1)

    @classmethod
    def from_file_name(cls, name: str) -> Segment | None:
        """Return the segment that a file holds; None: the file is something else."""
        writer, _, number = name.removesuffix(_SUFFIX).rpartition(".")
        if not name.endswith(_SUFFIX) or not writer or not (number.isascii() and number.isdigit()):
            return None
        return cls(writer, int(number))


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One frame whose checksum fits."""

    writer: str
    segment: Segment
    offset: int
    """Where the frame starts in its segment."""
    kind: FrameKind
    exchange: int
    payload: bytes


class Position(Protocol):
    """How far a segment was read by an earlier reader; kept by whoever keeps what was read."""

    @property
    def resume(self) -> int:
        """Offset to start at: everything before it is done with."""
        ...

    @property
    def seen(self) -> int:
        """Offset up to which frames were delivered once already: damage before it was counted then."""
        ...


@dataclass(slots=True)
class Damage:
    """What could not be read, counted since this reader was made."""

    bad_frames: int = 0
    """Places in the middle of a segment that were skipped."""
    torn_tails: int = 0
    """Ends of segments that their writer never finished."""
    lost_bytes: int = 0
    """Size of both."""


@dataclass(slots=True)
class _Open:
    """A segment that is being read, or was."""

    segment: Segment
    file: int
    inode: int
    """As its directory told it."""
    offset: int
    seen: int
    is_closed: bool = False
    """Nothing will be appended any more."""
    is_read: bool = False
    """Closed, and read to its end."""
    stuck_since: float | None = None
    """Since when the bytes at `offset` do not make a frame."""


@dataclass(slots=True)
class _Writer:
    """One writer's segments, oldest first."""

    name: str
    cipher: FrameCipher | None
    segments: dict[int, _Open] = field(default_factory=dict)
    is_dead: bool = False
    is_damaged: bool = False


class JournalReader:
    """Read all segments in `directory`, those of each writer in order."""

    def __init__(
        self,
        directory: Path,
        positions: Mapping[str, Position] | None = None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start at `positions`, by file name; what is not named there is read from its beginning."""
        self.damage = Damage()
        self.has_more = False
        """The last poll ended because it had enough."""
        self.quarantine = Quarantine(directory / "bad")
        self._directory = directory
        self._positions = dict(positions or {})
        self._monotonic = monotonic
        self._writers: dict[str, _Writer] = {}
        self._turn = -1

    @property
    def writers(self) -> list[str]:
        """Names of the writers that have segments, by time of their start."""
        return sorted(self._writers)

    def poll(self, max_bytes: int) -> list[Frame]:
        """Return the next frames, about `max_bytes` of them; an empty list: nothing new."""
        self.scan()
        self.has_more = False
        frames: list[Frame] = []
        names = self.writers
        # Another one goes first each time, so that a backlog of one cannot starve the others.
        self._turn += 1
        first = self._turn % max(1, len(names))
        for name in names[first:] + names[:first]:
            writer = self._writers[name]
            for number in sorted(writer.segments):
                max_bytes -= self._read(writer, writer.segments[number], frames, max_bytes)
                if max_bytes <= 0:
                    self.has_more = True
                    return frames
                if not writer.segments[number].is_read:
                    break
        return frames

    def scan(self) -> None:
        """Look for new segments and dead writers."""
        # Deaths first: a writer found dead can have no segment that the listing after it does not show.
        for writer in self._writers.values():
            writer.is_dead = writer.is_dead or is_lock_free(self._directory, writer.name)
        for segment, inode in self._found():
            writer = self._writers.get(segment.writer) or self._add_writer(segment.writer)
            opened = writer.segments.get(segment.number)
            if opened is None:
                self._open(writer, segment, inode)
            elif opened.inode != inode:
                self._open_anew(opened, inode)
        for writer in self._writers.values():
            newest = max(writer.segments, default=-1)
            for number, opened in writer.segments.items():
                opened.is_closed = writer.is_dead or number < newest

    def is_dead(self, writer: str) -> bool:
        """Say whether the writer had ended when the directory was last scanned; an unknown one has."""
        known = self._writers.get(writer)
        return known is None or known.is_dead

    def is_drained(self, writer: str) -> bool:
        """Say whether the writer is dead and every frame it left was delivered."""
        known = self._writers.get(writer)
        return known is None or (known.is_dead and all(opened.is_read for opened in known.segments.values()))

    def is_damaged(self, writer: str) -> bool:
        """Say whether anything of this writer could not be read."""
        known = self._writers.get(writer)
        return known is not None and known.is_damaged

    def finished(self) -> list[Segment]:
        """Return the segments that are closed and read to their end: the ones that may be forgotten."""
        opened = (opened for writer in self._writers.values() for opened in writer.segments.values())
        return sorted(each.segment for each in opened if each.is_read)

    @property
    def has_live_writers(self) -> bool:
        """Say whether anybody was alive to append more when the directory was last scanned."""
        return any(not writer.is_dead for writer in self._writers.values())

    def size_bytes(self) -> int:
        """Return the size of all segments."""
        opened = (opened for writer in self._writers.values() for opened in writer.segments.values())
        return sum(os.fstat(each.file).st_size for each in opened)

    def offsets(self) -> dict[Segment, int]:
        """Return how far each segment was read."""
        opened = (opened for writer in self._writers.values() for opened in writer.segments.values())
        return {each.segment: each.offset for each in opened}

    def read(self, segment: Segment, offset: int, start: int) -> bytes:
        """Return the payload, from its byte `start` on, of a frame that was delivered before."""
        writer = self._writers[segment.writer]
        file = writer.segments[segment.number].file
        head = _read_at(file, offset, HEADER_SIZE)
        length = _length_at(head, 0) or 0
        return (_payload(head + _read_at(file, offset + HEADER_SIZE, length), 0, length, writer.cipher) or b"")[start:]

    def forget(self, segment: Segment) -> None:
        """Delete a finished segment, and with the last one of a writer its lock file."""
        writer = self._writers[segment.writer]
        opened = writer.segments[segment.number]
        if not opened.is_read:
            raise ValueError(f"{segment.file_name} is not finished")
        if len(writer.segments) == 1:
            # The lock first: whoever dies in between leaves a segment, which is found again, and not a lock for ever.
            _lock_path(self._directory, writer.name).unlink(missing_ok=True)
        (self._directory / segment.file_name).unlink(missing_ok=True)
        unsafe_marker(self._directory / segment.file_name).unlink(missing_ok=True)
        os.close(opened.file)
        del writer.segments[segment.number]
        if not writer.segments:
            del self._writers[writer.name]

    def close(self) -> None:
        """Close all files; delete nothing."""
        for writer in self._writers.values():
            for opened in writer.segments.values():
                os.close(opened.file)
        self._writers.clear()

    def _found(self) -> list[tuple[Segment, int]]:
        """List the segments with their inodes."""
        try:
            with os.scandir(self._directory) as entries:
                names = [(entry.name, entry.inode()) for entry in entries if entry.is_file(follow_symlinks=False)]
        except FileNotFoundError:
            return []
        found = ((Segment.from_file_name(name), inode) for name, inode in names)
        return sorted((segment, inode) for segment, inode in found if segment is not None)

    def _add_writer(self, name: str) -> _Writer:
        keys = vault()
        writer = self._writers[name] = _Writer(name, keys.frames(name) if keys is not None else None)
        return writer

    def _open_anew(self, opened: _Open, inode: int) -> None:
        """Read the copy of a segment that was written anew: what the disk failed may change under who reads it."""
        file = os.open(self._directory / opened.segment.file_name, os.O_RDONLY | os.O_CLOEXEC)
        os.close(opened.file)
        opened.file, opened.inode = file, inode

    def _open(self, writer: _Writer, segment: Segment, inode: int) -> None:
        file = os.open(self._directory / segment.file_name, os.O_RDONLY | os.O_CLOEXEC)
        position = self._positions.get(segment.file_name)
        size = os.fstat(file).st_size
        # A position beyond the end is of another file: after a power cut less may be there than was read.
        resume, seen = (position.resume, position.seen) if position and position.resume <= size else (0, 0)
        writer.segments[segment.number] = _Open(segment, file, inode, resume, seen)

    def _read(self, writer: _Writer, opened: _Open, frames: list[Frame], max_bytes: int) -> int:
        start = opened.offset
        while not opened.is_read and opened.offset - start < max_bytes:
            data = self._next_bytes(opened)
            count = len(frames)
            opened.offset += _parse(opened, data, frames, writer.cipher)
            if len(frames) > count:
                opened.stuck_since = None
            elif not self._has_got_past(writer, opened):
                break
        return opened.offset - start

    def _next_bytes(self, opened: _Open) -> bytes:
        data = _read_at(opened.file, opened.offset, CHUNK_BYTES)
        if len(data) < HEADER_SIZE:
            return data
        length = _length_at(data, 0)
        if length is not None and len(data) < HEADER_SIZE + length:
            return _read_at(opened.file, opened.offset, HEADER_SIZE + length)
        return data

    def _has_got_past(self, writer: _Writer, opened: _Open) -> bool:
        """Deal with a place that is no frame; return whether reading can go on behind it."""
        rest = os.fstat(opened.file).st_size - opened.offset
        if rest <= 0:
            opened.is_read = opened.is_closed
            return False
        if not opened.is_closed and not self._is_patience_over(opened):
            return False
        data = _read_at(opened.file, opened.offset, rest)
        skipped = _find_frame(data)
        if skipped is None and not opened.is_closed:
            return False
        self._skip(writer, opened, data, skipped)
        return not opened.is_read

    def _is_patience_over(self, opened: _Open) -> bool:
        now = self._monotonic()
        if opened.stuck_since is None:
            opened.stuck_since = now
            return False
        if now - opened.stuck_since < PATIENCE_S:
            return False
        opened.stuck_since = now
        return True

    def _skip(self, writer: _Writer, opened: _Open, data: bytes, skipped: int | None) -> None:
        lost = len(data) if skipped is None else skipped
        is_news = opened.offset >= opened.seen
        writer.is_damaged = True
        if is_news:
            self._count(opened, data[:lost], is_tail=skipped is None and _is_cut_short(data))
        opened.offset += lost
        opened.stuck_since = None
        opened.is_read = skipped is None

    def _count(self, opened: _Open, lost: bytes, *, is_tail: bool) -> None:
        self.damage.lost_bytes += len(lost)
        if is_tail:
            self.damage.torn_tails += 1
        else:
            self.damage.bad_frames += 1
            self.quarantine.save(f"{opened.segment.file_name}.{opened.offset}", lost)


def is_lock_free(directory: Path, writer: str) -> bool:
    """Say whether a writer has ended.

    Ask only about one that has a segment: it held its lock before it created that, so that this probe can never be in
    the way of a writer that is about to take it.
    """
    return not is_held(_lock_path(directory, writer))


def _lock_path(directory: Path, writer: str) -> Path:
    return directory / f"{writer}.lock"


def _read_at(file: int, offset: int, length: int) -> bytes:
    data = os.pread(file, length, offset)
    if len(data) == length or not data:
        return data
    pieces = [data]
    while data and length > len(data):
        offset, length = offset + len(data), length - len(data)
        data = os.pread(file, length, offset)
        pieces.append(data)
    return b"".join(pieces)


def _length_at(data: bytes, at: int) -> int | None:
    """Return the payload length that a plausible frame header at `at` claims; None: that is no header of ours."""
    magic, kind, version, length, _ = PREFIX.unpack_from(data, at)
    if magic != MAGIC or version not in _VERSIONS or kind not in _KINDS or length > MAX_PAYLOAD:
        return None
    return int(length)


def _parse(opened: _Open, data: bytes, frames: list[Frame], cipher: FrameCipher | None) -> int:
    """Append the frames at the start of `data`; return how many bytes they take."""
    at, size = 0, len(data)
    segment, base = opened.segment, opened.offset
    while size - at >= HEADER_SIZE:
        magic, kind, version, length, exchange, checksum = HEADER.unpack_from(data, at)
        body = at + HEADER_SIZE
        end = body + length
        if magic != MAGIC or version not in _VERSIONS or kind not in _KINDS or length > MAX_PAYLOAD or end > size:
            break
        sealed = data[body:end]
        if crc32(sealed, crc32(data[at : at + PREFIX.size])) != checksum:
            break
        is_plain = cipher is None and version == VERSION and kind != FrameKind.ERASED
        payload = sealed if is_plain else _payload(data, at, length, cipher)
        if payload is None:
            break
        frames.append(Frame(segment.writer, segment, base + at, _KINDS[kind], exchange, payload))
        at = end
    return at


def _payload(data: bytes, at: int, length: int, cipher: FrameCipher | None) -> bytes | None:
    """Return the payload of the sound frame at `at`; None: it is not of this key, or plain where all is encrypted."""
    body = at + HEADER_SIZE
    payload = data[body : body + length]
    if data[at + 2] == FrameKind.ERASED:
        return b""
    if (data[at + 3] == SEALED_VERSION) != (cipher is not None):
        return None
    return payload if cipher is None else cipher.unseal(payload, data[at : at + PREFIX.size])


def _is_sound(data: bytes, at: int, length: int) -> bool:
    view = memoryview(data)
    body = at + HEADER_SIZE
    checksum = crc32(view[body : body + length], crc32(view[at : at + PREFIX.size]))
    return bool(CRC.unpack_from(data, at + PREFIX.size)[0] == checksum)


def _find_frame(data: bytes) -> int | None:
    """Return where the next sound frame after the start of `data` begins; None: there is none, or none affordable."""
    work = SEARCH_BYTES
    at = data.find(MAGIC, 1)
    while at >= 0 and len(data) - at >= HEADER_SIZE and work > 0:
        length = _length_at(data, at)
        work -= _CANDIDATE_BYTES
        if length is not None and at + HEADER_SIZE + length <= len(data):
            work -= length
            if _is_sound(data, at, length):
                return at
        at = data.find(MAGIC, at + 1)
    return None


def _is_cut_short(data: bytes) -> bool:
    """Say whether `data` looks like a frame whose rest was never written; after a power cut it may be zeros."""
    if len(data) < HEADER_SIZE:
        return data.startswith(MAGIC[: len(data)]) or not data.strip(b"\0")
    if not data.strip(b"\0"):
        return True
    length = _length_at(data, 0)
    return length is not None and HEADER_SIZE + length > len(data)
