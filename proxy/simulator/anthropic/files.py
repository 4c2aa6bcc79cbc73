"""The wire of /v1/files: uploads kept in memory for as long as the simulator runs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from proxy.simulator.anthropic.errors import invalid, not_found
from proxy.simulator.desk import Asked
from proxy.simulator.openai.forms import files_of
from proxy.simulator.reply import Plain

_MAX_FILES = 1000
"""The oldest upload is forgotten when another comes."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that somebody uploaded."""

    id: str
    filename: str
    content: bytes

    def describe(self) -> dict[str, object]:
        """Return the file object."""
        return {
            "id": self.id,
            "type": "file",
            "filename": self.filename,
            "mime_type": "text/plain" if self.filename.endswith(".txt") else "application/octet-stream",
            "size_bytes": len(self.content),
            "created_at": "2026-01-01T00:00:00Z",
            "downloadable": True,
        }


class FileShelf:
    """All files of one simulator."""

    def __init__(self) -> None:
        self._uploads: dict[str, Upload] = {}

    def reply(self, asked: Asked, parts: list[str]) -> Plain:
        """Answer what is asked below `/v1/files`."""
        match asked.request.method, parts:
            case "POST", []:
                return self._add(asked)
            case "GET", []:
                data = [upload.describe() for upload in reversed(self._uploads.values())]
                return _plain({"data": data, "has_more": False, "first_id": None, "last_id": None})
            case "GET", [id_]:
                return _plain(self._find(id_).describe())
            case "GET", [id_, "content"]:
                return Plain(200, self._find(id_).content, content_type="application/octet-stream")
            case "DELETE", [id_]:
                del self._uploads[self._find(id_).id]
                return _plain({"id": id_, "type": "file_deleted"})
            case _:
                raise not_found(asked.request.path)

    def _add(self, asked: Asked) -> Plain:
        files = files_of(asked.content, "file")
        if not files:
            raise invalid("file", "Field required")
        filename, content = files[0].filename, files[0].content
        digest = hashlib.sha256(filename.encode() + b"\0" + content).hexdigest()
        upload = Upload(f"file_{digest[:24]}", filename, content)
        self._uploads[upload.id] = upload
        if len(self._uploads) > _MAX_FILES:
            del self._uploads[next(iter(self._uploads))]
        return _plain(upload.describe())

    def _find(self, id_: str) -> Upload:
        upload = self._uploads.get(id_)
        if upload is None:
            raise not_found(id_)
        return upload


def _plain(value: Mapping[str, object]) -> Plain:
    return Plain(200, msgspec.json.encode(value))
