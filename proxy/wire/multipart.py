"""Form fields of a `multipart/form-data` body: the short ones. Files are skipped over and never copied."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

_BOUNDARY: Final = re.compile(rb'boundary=(?:"([^"]{1,200})"|([^\s;,"]{1,200}))', re.IGNORECASE)
_NAME: Final = re.compile(rb'[;\s]name=(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))', re.IGNORECASE)
_FILE: Final = re.compile(rb"[;\s]filename\*?=", re.IGNORECASE)
_LONGEST_HEAD: Final = 8192
_LONGEST_VALUE: Final = 1 << 20
_MOST_PARTS: Final = 1000


class Part(NamedTuple):
    """One part of a form."""

    name: str
    is_file: bool
    start: int
    """Where its value begins in the body."""
    end: int
    """Where it ends; the end of the body when that was not found."""
    is_whole: bool
    """Its end was found: the body does not break off inside it."""


def is_form(content_type: bytes) -> bool:
    """Say whether a Content-Type announces a form."""
    return content_type.lstrip()[:19].lower() == b"multipart/form-data"


def parts(body: bytes, content_type: bytes) -> Iterator[Part]:
    """Yield the parts of a body; nothing when it is no form."""
    match = _BOUNDARY.search(content_type)
    if match is None or not is_form(content_type):
        return
    mark = b"--" + (match[1] or match[2])
    position = body.find(mark)
    for _ in range(_MOST_PARTS):
        if position < 0 or body.startswith(b"--", position + len(mark)):
            return
        head_end = body.find(b"\r\n\r\n", position, position + _LONGEST_HEAD)
        if head_end < 0:
            return
        head = body[position:head_end]
        following = body.find(b"\r\n" + mark, head_end + 2)
        name = _NAME.search(head)
        end = max(following, head_end + 4) if following >= 0 else len(body)
        if name is not None:
            yield Part(
                (name[1] or name[2] or b"").decode("utf-8", "replace"),
                _FILE.search(head) is not None,
                head_end + 4,
                end,
                following >= 0,
            )
        position = following + 2 if following >= 0 else -1


def fields(body: bytes, content_type: bytes) -> dict[str, str]:
    """Return the whole fields that are no files; of several with one name, the last."""
    return {
        part.name: body[part.start : part.end].decode("utf-8", "replace")
        for part in parts(body, content_type)
        if part.is_whole and not part.is_file and part.end - part.start <= _LONGEST_VALUE
    }
