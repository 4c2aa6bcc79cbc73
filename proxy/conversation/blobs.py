"""Blobs: the pictures, sounds and files inside a conversation.

They are numbered in order of appearance, so that the same bodies always give the same numbers. Their bytes stay in base64
until somebody wants them.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final, Literal

import msgspec

from proxy.conversation.document import clean

Form = Literal["image", "audio", "video", "file"]
_DATA_URL: Final = re.compile(r"data:([^;,]{0,200})((?:;[^;,]{0,200})*),", re.ASCII)
_MEDIA_TYPE: Final = re.compile(r"[a-z0-9.+-]{1,64}/[a-z0-9.+-]{1,64}", re.ASCII)
_LONGEST_URL: Final = 2000
UNKNOWN_TYPE: Final = "application/octet-stream"


class Media(msgspec.Struct, frozen=True, tag="media", tag_field="kind"):
    """A picture, sound, film or file."""

    form: Form
    media_type: str
    """As the sender says."""
    size: int | None = None
    """Bytes. None: they are not in the conversation."""
    blob: int | None = None
    """Its number among the blobs. None: its bytes are elsewhere."""
    url: str | None = None
    """Where they are."""
    name: str | None = None


class Blob(msgspec.Struct, frozen=True):
    """The bytes of a medium."""

    media_type: str
    name: str | None
    data: str | bytes
    """Text is base64."""

    def content(self) -> bytes:
        """Return its bytes, as far as they can be read."""
        return self.data if isinstance(self.data, bytes) else _decoded(self.data)


class Blobs:
    """Collects the blobs of a conversation."""

    def __init__(self) -> None:
        self._blobs: list[Blob] = []

    @property
    def all(self) -> tuple[Blob, ...]:
        """What was collected."""
        return tuple(self._blobs)

    def add(self, form: Form, media_type: object, data: object, *, name: object = None) -> Media:
        """Take base64 text, a data URL or bytes."""
        said = _media_type(media_type, form)
        label = clean(name)[:200] if isinstance(name, str) and name else None
        if isinstance(data, str) and (match := _DATA_URL.match(data)) is not None:
            said = _media_type(match[1], form) if match[1] else said
            data = data[match.end() :]
            if ";base64" not in match[2].lower():
                data = data.encode("utf-8", "replace")
        if not isinstance(data, str | bytes) or not data:
            return Media(form, said, name=label)
        blob = Blob(said, label, data)
        self._blobs.append(blob)
        size = len(data) if isinstance(data, bytes) else base64_size(data)
        return Media(_form_of(said, form), said, size, len(self._blobs) - 1, name=label)

    def link(self, form: Form, url: object, *, media_type: object = None, name: object = None) -> Media:
        """Take an address, which may be a data URL."""
        if not isinstance(url, str):
            return Media(form, _media_type(media_type, form))
        if url[:5].lower() == "data:":
            return self.add(form, media_type, url, name=name)
        label = clean(name)[:200] if isinstance(name, str) and name else None
        return Media(form, _media_type(media_type, form), url=clean(url[:_LONGEST_URL]), name=label)


def base64_size(text: str) -> int:
    """Return how many bytes base64 text stands for."""
    return len(text) * 3 // 4 - text[-2:].count("=")


def _decoded(text: str) -> bytes:
    standard = text.translate(_URL_SAFE)
    try:
        return base64.b64decode(standard + "=" * (-len(standard) % 4))
    except (binascii.Error, ValueError):
        return b""


_URL_SAFE: Final = str.maketrans("-_", "+/")
_FORMS: Final[dict[str, Form]] = {"image": "image", "audio": "audio", "video": "video"}
_DEFAULTS: Final[dict[Form, str]] = {"image": "image/*", "audio": "audio/*", "video": "video/*", "file": UNKNOWN_TYPE}


def _media_type(said: object, form: Form) -> str:
    """Return a media type; a bare format such as `wav` gets its form in front."""
    text = said.strip().lower() if isinstance(said, str) else ""
    if "/" not in text and text and form != "file":
        text = f"{form}/{text}"
    return text if _MEDIA_TYPE.fullmatch(text) else _DEFAULTS[form]


def _form_of(media_type: str, form: Form) -> Form:
    return _FORMS.get(media_type.partition("/")[0], form)
