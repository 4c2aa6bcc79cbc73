"""Content codings, for tests of what was compressed on its way."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import brotli
import zstandard

CODINGS = ("gzip", "deflate", "br", "zstd")


def pack(coding: str, data: bytes) -> bytes:
    """Compress."""
    coders: dict[str, Callable[[bytes], bytes]] = {
        "br": brotli.compress,
        "gzip": gzip.compress,
        "deflate": zlib.compress,
        "zstd": zstandard.ZstdCompressor().compress,
    }
    return coders[coding](data)


UNPACKERS: dict[str, Callable[[], Callable[[bytes], bytes]]] = {
    "gzip": lambda: zlib.decompressobj(31).decompress,
    "deflate": lambda: zlib.decompressobj().decompress,
    "br": lambda: brotli.Decompressor().process,
    "zstd": lambda: zstandard.ZstdDecompressor().decompressobj().decompress,
}
"""Makers of functions that take the next piece of a packed body and return what it gives."""
