"""Blobs: pictures, sounds and files of strangers, served so that they can do nothing.

A browser may show a few kinds of pictures, sound and film, after a look at their first bytes; everything else is a
download of nobody-knows-what. Among these is SVG: it is a document with scripts, whatever it calls itself.
"""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from proxy.conversation import Blob

_MAGIC: Final = (
    (b"\x89PNG\r\n\x1a\n", 0, "image/png"),
    (b"\xff\xd8\xff", 0, "image/jpeg"),
    (b"GIF8", 0, "image/gif"),
    (b"WEBP", 8, "image/webp"),
    (b"ftypavif", 4, "image/avif"),
    (b"WAVE", 8, "audio/wav"),
    (b"OggS", 0, "audio/ogg"),
    (b"fLaC", 0, "audio/flac"),
    (b"ID3", 0, "audio/mpeg"),
    (b"\xff\xfb", 0, "audio/mpeg"),
    (b"\xff\xf3", 0, "audio/mpeg"),
    (b"ftypM4A", 4, "audio/mp4"),
    (b"ftyp", 4, "video/mp4"),
    (b"\x1aE\xdf\xa3", 0, "video/webm"),
)
_UNKNOWN: Final = "application/octet-stream"
_EXTENSIONS: Final = {"audio/mpeg": "mp3", "audio/mp4": "m4a", "image/jpeg": "jpg", "application/pdf": "pdf"}
_POLICY: Final = "default-src 'none'; img-src 'self'; media-src 'self'; sandbox"


def blob_answer(blob: Blob, name: str) -> Response:
    """Answer with a blob; `name`: of the file, if it has none of its own."""
    data = blob.content()
    kind = shown_as(data)
    file = _file_name(blob.name or f"{name}.{_extension(kind, blob.media_type)}")
    return Response(
        data,
        headers={
            "content-type": kind,
            "content-disposition": f'{"attachment" if kind == _UNKNOWN else "inline"}; filename="{file}"',
            "content-security-policy": _POLICY,
            "x-content-type-options": "nosniff",
            "cross-origin-resource-policy": "same-origin",
        },
    )


def shown_as(data: bytes) -> str:
    """Return the media type under which bytes are served: what they are, whatever they are called."""
    for magic, at, kind in _MAGIC:
        if data[at : at + len(magic)] == magic and not (magic == b"WEBP" and data[:4] != b"RIFF"):
            return kind
    return _UNKNOWN


def _extension(kind: str, said: str) -> str:
    if kind == _UNKNOWN:
        return _EXTENSIONS.get(said, "bin")
    return _EXTENSIONS.get(kind, kind.partition("/")[2])


def _file_name(name: str) -> str:
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "-_. ") else "_" for c in name)[:100].strip(". ")
    return kept or "file"
