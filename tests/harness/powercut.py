"""Power cuts, simulated: every write and sync of the real code is recorded, then the machine "loses power".

`Recording` notes what a process does to the files below one directory: SQLite through a VFS of apsw, Python through the
functions of `os`. `Recording.image` builds what a disk may hold after a cut behind event k: all of a file up to its
last sync; each later write at random, whole, torn at 512 bytes or not at all; a new, renamed or deleted name only as
far as its directory was synced, and at random beyond. So it is harsher than any file system that keeps its promises.
What it does not model is a disk that lies about a sync.
"""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import apsw

SECTOR: Final = 512
_SURVIVES: Final = 0.5
_IS_TORN: Final = 0.3
_VFS: Final = "powercut"

Kind = Literal["create", "write", "truncate", "sync", "rename", "unlink", "dirsync"]


@dataclass(frozen=True, slots=True)
class Event:
    """One thing done to the disk."""

    kind: Kind
    file: int = 0
    """Number of the file; names come and go."""
    offset: int = 0
    """Of a write; the new size of a truncation."""
    data: bytes = b""
    path: str = ""
    """Relative to the recorded directory: of a name, or of the directory that is synced."""
    target: str = ""
    """New name."""


@dataclass(slots=True)
class Recording:
    """What was done to the files below `root`, in order."""

    root: Path
    events: list[Event] = field(default_factory=list)
    _names: dict[str, int] = field(default_factory=dict)
    _descriptors: dict[int, tuple[int, str]] = field(default_factory=dict)
    _files: int = 0

    @property
    def now(self) -> int:
        """The number of events so far: a moment at which power may fail."""
        return len(self.events)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Record what this process does, by whatever thread."""
        vfs = _Vfs(self)
        patched = {name: getattr(os, name) for name in _PATCHED}
        for name in _PATCHED:
            setattr(os, name, getattr(self, f"_{name}")(patched[name]))
        try:
            yield
        finally:
            for name, original in patched.items():
                setattr(os, name, original)
            vfs.unregister()

    def image(self, cut: int, chance: random.Random, directory: Path) -> None:
        """Write to `directory` what may be left when power fails behind `cut` events."""
        happened = self.events[:cut]
        for parent in {Path(event.path).parent for event in self.events if event.kind == "create"}:
            (directory / parent).mkdir(parents=True, exist_ok=True)
        contents = _contents(happened, chance)
        for path, file in _surviving_names(happened, chance).items():
            (directory / path).write_bytes(contents.get(file, b""))

    def note(self, kind: Kind, path: str | None, **more: Any) -> None:
        """Add an event about the file that has this name now."""
        if path is not None:
            self.events.append(Event(kind, self._names.get(path, 0), path=path, **more))

    def appear(self, path: str) -> None:
        """Add the creation of a file, unless it is there."""
        if path not in self._names:
            self._files += 1
            self._names[path] = self._files
            self.note("create", path)

    def vanish(self, path: str) -> None:
        """Add the deletion of a name."""
        if path in self._names:
            self.note("unlink", path)
            del self._names[path]

    def relative(self, path: object) -> str | None:
        """Return the path below the recorded directory; None: it is elsewhere."""
        if not isinstance(path, str | os.PathLike):
            return None
        with contextlib.suppress(ValueError):
            return str(Path(os.path.abspath(path)).relative_to(self.root))  # noqa: PTH100 - links are not followed
        return None

    def _open(self, original: Callable[..., int]) -> Callable[..., int]:
        def opened(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
            descriptor = original(path, flags, *args, **kwargs)
            name = self.relative(path)
            if name is not None:
                if flags & os.O_CREAT:
                    self.appear(name)
                self._descriptors[descriptor] = (self._names.get(name, 0), name)
            return descriptor

        return opened

    def _dup(self, original: Callable[[int], int]) -> Callable[[int], int]:
        def dup(descriptor: int) -> int:
            copy = original(descriptor)
            if descriptor in self._descriptors:
                self._descriptors[copy] = self._descriptors[descriptor]
            return copy

        return dup

    def _close(self, original: Callable[[int], None]) -> Callable[[int], None]:
        def close(descriptor: int) -> None:
            self._descriptors.pop(descriptor, None)
            original(descriptor)

        return close

    def _write(self, original: Callable[[int, bytes], int]) -> Callable[[int, bytes], int]:
        def write(descriptor: int, data: bytes) -> int:
            written = original(descriptor, data)
            if descriptor in self._descriptors:
                file, name = self._descriptors[descriptor]
                # What Python writes without saying where goes to the end.
                offset = os.fstat(descriptor).st_size - written
                self.events.append(Event("write", file, offset, bytes(data[:written]), name))
            return written

        return write

    def _pwrite(self, original: Callable[[int, bytes, int], int]) -> Callable[[int, bytes, int], int]:
        def pwrite(descriptor: int, data: bytes, offset: int) -> int:
            written = original(descriptor, data, offset)
            if descriptor in self._descriptors:
                file, name = self._descriptors[descriptor]
                self.events.append(Event("write", file, offset, bytes(data[:written]), name))
            return written

        return pwrite

    def _ftruncate(self, original: Callable[[int, int], None]) -> Callable[[int, int], None]:
        def ftruncate(descriptor: int, size: int) -> None:
            original(descriptor, size)
            if descriptor in self._descriptors:
                file, name = self._descriptors[descriptor]
                self.events.append(Event("truncate", file, size, path=name))

        return ftruncate

    def _fsync(self, original: Callable[[int], None]) -> Callable[[int], None]:
        def fsync(descriptor: int) -> None:
            original(descriptor)
            if descriptor in self._descriptors:
                file, name = self._descriptors[descriptor]
                self.events.append(Event("sync" if file else "dirsync", file, path=name))

        return fsync

    _fdatasync = _fsync

    def _unlink(self, original: Callable[..., None]) -> Callable[..., None]:
        def unlink(path: Any, *args: Any, **kwargs: Any) -> None:
            original(path, *args, **kwargs)
            if (name := self.relative(path)) is not None:
                self.vanish(name)

        return unlink

    def _replace(self, original: Callable[..., None]) -> Callable[..., None]:
        def replace(source: Any, target: Any, *args: Any, **kwargs: Any) -> None:
            original(source, target, *args, **kwargs)
            before, after = self.relative(source), self.relative(target)
            if before is not None and after is not None and before in self._names:
                self.note("rename", before, target=after)
                self._names[after] = self._names.pop(before)

        return replace

    _rename = _replace


_PATCHED: Final = (
    "open",
    "dup",
    "close",
    "write",
    "pwrite",
    "ftruncate",
    "fsync",
    "fdatasync",
    "unlink",
    "replace",
    "rename",
)


class _Vfs(apsw.VFS):
    """SQLite's file system, recorded; the default one while it is registered."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        super().__init__(_VFS, "unix", makedefault=True)

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 (SQLite calls it)
        filename = name.filename() if isinstance(name, apsw.URIFilename) else name
        path = self._recording.relative(filename) if filename else None
        return _File(self._recording, path, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802 (SQLite calls it)
        super().xDelete(filename, syncdir)
        path = self._recording.relative(filename)
        if path is not None:
            self._recording.vanish(path)
            if syncdir:
                self._recording.note("dirsync", str(Path(path).parent))


class _File(apsw.VFSFile):
    """A file of SQLite's, recorded."""

    def __init__(self, recording: Recording, path: str | None, name: Any, flags: list[int]) -> None:
        super().__init__("unix", name, flags)
        self._recording = recording
        self._path = path
        if path is not None and flags[0] & apsw.SQLITE_OPEN_CREATE:
            recording.appear(path)
        # As in os_unix.c: the first sync of a journal or log also syncs the directory that holds it.
        self._syncs_directory = bool(flags[0] & (apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_WAL))

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 (SQLite calls it)
        super().xWrite(data, offset)
        self._recording.note("write", self._path, offset=offset, data=bytes(data))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802 (SQLite calls it)
        super().xTruncate(newsize)
        self._recording.note("truncate", self._path, offset=newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802 (SQLite calls it)
        super().xSync(flags)
        self._recording.note("sync", self._path)
        if self._syncs_directory and self._path is not None:
            self._syncs_directory = False
            self._recording.note("dirsync", str(Path(self._path).parent))


def _contents(events: list[Event], chance: random.Random) -> dict[int, bytes]:
    """Return what is left of each file's bytes."""
    last_sync = {event.file: index for index, event in enumerate(events) if event.kind == "sync"}
    contents: dict[int, bytearray] = {}
    for index, event in enumerate(events):
        if event.kind not in ("write", "truncate"):
            continue
        data = contents.setdefault(event.file, bytearray())
        is_safe = index < last_sync.get(event.file, -1)
        if not is_safe and chance.random() > _SURVIVES:
            continue
        if event.kind == "truncate":
            _resize(data, event.offset)
        elif is_safe or chance.random() > _IS_TORN:
            _put(data, event.offset, event.data)
        else:
            _put_torn(data, event, chance)
    return {file: bytes(data) for file, data in contents.items()}


def _put_torn(data: bytearray, event: Event, chance: random.Random) -> None:
    """Put those sectors of a write that reached the disk."""
    at, end = event.offset, event.offset + len(event.data)
    while at < end:
        to = min(end, (at // SECTOR + 1) * SECTOR)
        if chance.random() < _SURVIVES:
            _put(data, at, event.data[at - event.offset : to - event.offset])
        at = to


def _put(data: bytearray, offset: int, piece: bytes) -> None:
    if len(data) < offset:
        data.extend(bytes(offset - len(data)))
    data[offset : offset + len(piece)] = piece


def _resize(data: bytearray, size: int) -> None:
    if size < len(data):
        del data[size:]
    else:
        data.extend(bytes(size - len(data)))


def _surviving_names(events: list[Event], chance: random.Random) -> dict[str, int]:
    """Return the names that are left, each with its file."""
    synced: dict[str, int] = {}
    for index, event in enumerate(events):
        if event.kind == "dirsync":
            synced[event.path] = index
    # Most file systems keep the order of names, none promises it.
    keeps_order = chance.random() < _SURVIVES
    lost: set[str] = set()
    names: dict[str, int] = {}
    for index, event in enumerate(events):
        if event.kind not in ("create", "rename", "unlink"):
            continue
        parent = str(Path(event.path).parent)
        if index > synced.get(parent, -1) and (chance.random() > _SURVIVES or (keeps_order and parent in lost)):
            lost.add(parent)
            continue
        if event.kind == "create":
            names[event.path] = event.file
        elif event.kind == "unlink":
            names.pop(event.path, None)
        else:
            names.pop(event.path, None)
            names[event.target] = event.file
    return names
