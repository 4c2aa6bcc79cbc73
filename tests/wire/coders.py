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
