"""Bodies of `multipart/form-data`: the fields that decide, and the sizes of the files beside them.

The body is scanned from boundary to boundary: a file is skipped over and never copied. What two parsers could split
in two ways is not read at all: a preamble, a boundary without its line end, a part whose name is not plain.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from proxy.gates.admission.openai import AUDIO, IMAGES, image_tokens
from proxy.gates.admission.peek import PICTURE_TOKENS, Peek
from proxy.gates.admission.values import is_true, name, whole
from proxy.operations import Operation

FIELDS: Final = frozenset({"model", "n", "stream", "size", "partial_images", "quality"})
_BOUNDARY: Final = re.compile(rb'boundary=(?:"([^"\r\n]{1,70})"|([^\s;,"]{1,70}))', re.IGNORECASE)
_DISPOSITION: Final = re.compile(rb"(?:^|\r\n)content-disposition:([^\r\n]*)", re.IGNORECASE)
_PARAMETER: Final = re.compile(rb';[ \t]*([A-Za-z*]+)=(?:"([^"\\]*)"|([^\s";]+))[ \t]*')
_LONGEST_HEAD: Final = 4096
_LONGEST_VALUE: Final = 4096
"""Bytes kept of a field; those that decide have a few."""
_MOST_PARTS: Final = 200
_BYTES_PER_AUDIO_TOKEN: Final = 50
"""A token is 100 ms of sound going in (OpenAI's audio guide, from general knowledge, 2026-11), counted twice to be
safe. Of sound we take a millisecond to need a byte: 8 kbit/s is the least that MP3 knows."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a form."""

    name: str
    is_file: bool
    size: int
    value: bytes
    """The first bytes of a field; empty for a file."""


def is_form(content_type: bytes) -> bool:
    """Say whether a Content-Type announces a form."""
    return content_type.lstrip().lower().startswith(b"multipart/")


def peek(body: bytes, content_type: bytes, operation: Operation | None) -> Peek | None:
    """Read what admission needs of a form; None: it is none that can be read in only one way."""
    parts = _parts(body, content_type)
    if parts is None or _is_ambiguous(parts):
        return None
    fields = {part.name: part.value.decode("utf-8", "replace") for part in parts if not part.is_file}
    endpoint = operation.endpoint if operation is not None else ""
    is_image = endpoint in IMAGES
    file_bytes = sum(part.size for part in parts if part.is_file)
    pictures = sum(part.is_file or part.name.startswith(("image", "mask")) for part in parts)
    partial = whole(fields.get("partial_images", "").encode())
    return Peek(
        model=name(fields.get("model")),
        is_streaming=is_true(fields.get("stream")),
        stream_options=None,
        max_output_tokens=image_tokens(fields.get("size"), partial) if is_image else None,
        choices=whole(fields.get("n", "").encode()) or 1,
        service_tier=None,
        user=None,
        refers_to_stored=False,
        units=(("input_audio_ms", len(body)),) if endpoint in AUDIO else (),
        file_bytes=file_bytes,
        file_tokens=PICTURE_TOKENS * pictures if is_image else -(-file_bytes // _BYTES_PER_AUDIO_TOKEN),
        is_bounded=is_image or endpoint in AUDIO,
    )


def _is_ambiguous(parts: list[Part]) -> bool:
    """Say whether a field that decides stands twice, or in another case."""
    named = [part.name for part in parts if part.name.lower() in FIELDS]
    return len(set(named)) < len(named) or not FIELDS.issuperset(named)


def _parts(body: bytes, content_type: bytes) -> list[Part] | None:
    boundaries = _BOUNDARY.findall(content_type)
    if len(boundaries) != 1:
        return None
    mark = b"--" + (boundaries[0][0] or boundaries[0][1])
    found = []
    for start, end in _spans(body, mark):
        part = _part(body, start, end) if start >= 0 else None
        if part is None:
            return None
        found.append(part)
    return found


def _spans(body: bytes, mark: bytes) -> Iterator[tuple[int, int]]:
    """Yield where each part starts and ends; (-1, -1): it cannot be told."""
    position = 0 if body.startswith(mark) else -1
    for _ in range(_MOST_PARTS):
        after = position + len(mark)
        if position >= 0 and body.startswith(b"--", after):
            if body[after + 2 :].strip(b"\r\n \t"):
                break  # more behind the end, which some parser may read
            return
        following = body.find(mark, after) if position >= 0 and body.startswith(b"\r\n", after) else -1
        if following < 0 or body[following - 2 : following] != b"\r\n":
            break
        yield after + 2, following - 2
        position = following
    yield -1, -1


def _part(body: bytes, start: int, end: int) -> Part | None:
    head_end = body.find(b"\r\n\r\n", start, min(end, start + _LONGEST_HEAD) + 4)
    if head_end < 0:
        return None
    dispositions = _DISPOSITION.findall(body[start:head_end])
    parameters = _parameters(dispositions[0]) if len(dispositions) == 1 else None
    if parameters is None or b"name" not in parameters:
        return None
    is_file = b"filename" in parameters or b"filename*" in parameters
    first, size = head_end + 4, max(0, end - head_end - 4)
    value = b"" if is_file else body[first : first + min(size, _LONGEST_VALUE)]
    return Part(parameters[b"name"].decode("utf-8", "replace"), is_file, size, value)


def _parameters(disposition: bytes) -> dict[bytes, bytes] | None:
    """Return the parameters of a Content-Disposition; None: they are not plain or stand twice."""
    kind, _, _ = disposition.partition(b";")
    rest = disposition[len(kind) :]
    found: dict[bytes, bytes] = {}
    position = 0
    while match := _PARAMETER.match(rest, position):
        key = match[1].lower()
        if key in found or key == b"name*":
            return None
        found[key] = match[2] if match[2] is not None else match[3]
        position = match.end()
    is_plain = position == len(rest) and kind.strip().lower() == b"form-data"
    return found if is_plain else None
