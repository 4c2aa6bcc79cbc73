"""Images: how many tokens a picture is counted as.

The rules are in `data/encodings.yaml`; the size is read from the head of a picture sent inline. A picture behind a URL
is never fetched: it counts as a square of 1024 pixels.
"""

import base64
import binascii
import math
import struct
from decimal import Decimal

from pricing.encodings import ImageRule

ASSUMED_SIZE = (1024, 1024)
"""Of a picture whose size cannot be told. Ours: a common size of generated and down-scaled pictures."""

_HEAD_BASE64_CHARS = 65_536
"""How much of an inline picture is decoded to find its size; JPEG may carry a thumbnail before it. A multiple of 4."""


def image_tokens(rule: ImageRule, url: str, *, is_low_detail: bool) -> int:
    """Count the tokens of a picture given as a URL or `data:` URL."""
    width, height = image_size(url) or ASSUMED_SIZE
    if rule.tile is not None:
        base, per_tile = rule.tile
        return base if is_low_detail else base + per_tile * _tiles(width, height)
    patches = math.ceil(width / 32) * math.ceil(height / 32)
    return math.ceil(min(patches, rule.limit) * (rule.patch or Decimal(1)))


def image_size(url: str) -> tuple[int, int] | None:
    """Read width and height from the head of a `data:` URL with a PNG, GIF, JPEG or WebP. None: not told."""
    if not url.startswith("data:"):
        return None
    payload = url.partition(",")[2][:_HEAD_BASE64_CHARS]
    try:
        head = base64.b64decode(payload[: len(payload) // 4 * 4])
        size = _size_of(head)
    except (binascii.Error, struct.error, ValueError, IndexError):
        return None
    return size if size and min(size) > 0 else None


def _tiles(width: int, height: int) -> int:
    """Count tiles of 512 pixels after fitting into 2048 square and scaling the short side down to 768."""
    shrink = min(1.0, 2048 / max(width, height))
    shrink *= min(1.0, 768 / (min(width, height) * shrink))
    return math.ceil(round(width * shrink, 6) / 512) * math.ceil(round(height * shrink, 6) / 512)


def _size_of(head: bytes) -> tuple[int, int] | None:
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        width, height = struct.unpack_from(">II", head, 16)
        return width, height
    if head.startswith((b"GIF87a", b"GIF89a")):
        width, height = struct.unpack_from("<HH", head, 6)
        return width, height
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return _webp_size(head)
    return _jpeg_size(head) if head.startswith(b"\xff\xd8") else None


def _webp_size(head: bytes) -> tuple[int, int] | None:
    kind = head[12:16]
    if kind == b"VP8X":
        return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", head, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", head, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None


def _jpeg_size(head: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(head) and head[at] == 0xFF:
        marker = head[at + 1]
        # Start-of-frame markers hold the size; C4, C8 and CC share their range but are tables.
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", head, at + 5)
            return width, height
        (length,) = struct.unpack_from(">H", head, at + 2)
        at += 2 + length
    return None
