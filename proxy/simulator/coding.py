"""Content codings: bodies packed as they go, so that every event can be unpacked as soon as it is there."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, Protocol

import brotli
import zstandard


class Packer(Protocol):
    """Packs one body."""

    def pack(self, data: bytes, *, is_last: bool) -> bytes:
        """Return everything that is needed to unpack `data`; after the last, nothing more may come."""


class _Zlib:
    def __init__(self, window_bits: int) -> None:
        self._compressor = zlib.compressobj(wbits=window_bits)

    def pack(self, data: bytes, *, is_last: bool) -> bytes:
        return self._compressor.compress(data) + self._compressor.flush(zlib.Z_FINISH if is_last else zlib.Z_SYNC_FLUSH)


class _Brotli:
    def __init__(self) -> None:
        self._compressor: Any = brotli.Compressor(quality=4)

    def pack(self, data: bytes, *, is_last: bool) -> bytes:
        packed: bytes = self._compressor.process(data)
        return packed + bytes(self._compressor.finish() if is_last else self._compressor.flush())


class _Zstandard:
    def __init__(self) -> None:
        self._compressor = zstandard.ZstdCompressor(level=1).compressobj()

    def pack(self, data: bytes, *, is_last: bool) -> bytes:
        mode = zstandard.COMPRESSOBJ_FLUSH_FINISH if is_last else zstandard.COMPRESSOBJ_FLUSH_BLOCK
        return self._compressor.compress(data) + self._compressor.flush(mode)


PACKERS: dict[str, Callable[[], Packer]] = {
    "gzip": lambda: _Zlib(31),
    "deflate": lambda: _Zlib(15),
    "br": _Brotli,
    "zstd": _Zstandard,
}
"""By the name of the content coding."""
