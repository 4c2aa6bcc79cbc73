"""Packing: bytes as they lie in the database, compressed where that makes them shorter.

Small texts have nothing of their own to be compressed with, so a dictionary of what requests and answers of many
applications have in common stands before them. It was trained on generated traffic, never on anybody's
(`benchmarks/corpus`), and comes with the program: a packed text begins with the number of the dictionary that it needs,
and no dictionary ever changes.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Final

import zstandard

LEVEL: Final = 3
"""Zstandard's own default: 133 µs for 50 KB; level 9 takes four times as long for a tenth less."""
NEWEST: Final = 1
"""The dictionary that is used for what is written now."""
_HASH_LOG: Final = 16
"""Half of what the level asks for, like the tables of chains: between two texts other work takes the processor's cache,
and tables that fit into what is left save a third of the time for a five-hundredth more bytes."""
_PLAIN: Final = b"\0"
_SMALL: Final = 24
"""Bytes that are left as they are."""
_FORMAT: Final = zstandard.FORMAT_ZSTD1_MAGICLESS


class Packer:
    """Packs with the newest dictionary."""

    def __init__(self) -> None:
        parameters = zstandard.ZstdCompressionParameters.from_level(
            LEVEL,
            format=_FORMAT,
            hash_log=_HASH_LOG,
            chain_log=_HASH_LOG - 1,
            write_content_size=True,
            write_dict_id=False,
            write_checksum=False,
        )
        self._compressor = zstandard.ZstdCompressor(dict_data=_dictionary(NEWEST), compression_params=parameters)
        self._mark = bytes((NEWEST,))

    def pack(self, data: bytes) -> bytes:
        """Return the bytes as they are stored."""
        if len(data) > _SMALL:
            packed = self._compressor.compress(data)
            if len(packed) < len(data):
                return self._mark + packed
        return _PLAIN + data


def unpack(data: bytes) -> bytes:
    """Return what was packed. Raises ZstdError or OSError: it is damaged, or from a newer version of this program."""
    if data[0] == 0:
        return data[1:]
    return _decompressor(data[0]).decompress(data[1:])


def unpack_start(data: bytes, size: int) -> bytes:
    """Return the first `size` bytes of what was packed. Raises as `unpack` does."""
    if data[0] == 0:
        return data[1 : 1 + size]
    with _decompressor(data[0]).stream_reader(data[1:]) as reader:
        return reader.read(size)


@cache
def _decompressor(number: int) -> zstandard.ZstdDecompressor:
    return zstandard.ZstdDecompressor(dict_data=_dictionary(number), format=_FORMAT)


@cache
def _dictionary(number: int) -> zstandard.ZstdCompressionDict:
    data = (files("proxy.store") / "dictionaries" / f"{number}.zdict").read_bytes()
    return zstandard.ZstdCompressionDict(data)
