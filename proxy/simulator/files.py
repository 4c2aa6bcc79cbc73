"""The wire of /v1/files: uploads kept in memory for as long as the simulator runs."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from proxy.simulator.answer import CREATED
from proxy.simulator.errors import RejectionError, missing
from proxy.simulator.reply import Plain

_MAX_FILES = 1000
"""The oldest upload is forgotten when another comes: a simulator in a long demo must not grow for ever."""
_BOUNDARY = re.compile(rb'boundary="?([^";]+)"?', re.IGNORECASE)
_NAME = re.compile(rb'\bname="([^"]*)"', re.IGNORECASE)
_FILENAME = re.compile(rb'filename="([^"]*)"', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that somebody uploaded."""

    id: str
    filename: str
    purpose: str
    content: bytes

    def describe(self) -> dict[str, object]:
        """Return the file object."""
        return {
            "id": self.id,
            "object": "file",
            "bytes": len(self.content),
            "created_at": CREATED,
            "filename": self.filename,
            "purpose": self.purpose,
            "status": "processed",
        }


class FileShelf:
    """All files of one simulator."""

    def __init__(self) -> None:
        self._uploads: dict[str, Upload] = {}

    def add(self, content_type: str, body: bytes) -> Plain:
        """Take a multipart upload. The id follows from the bytes: the same file twice is one file."""
        parts = read_multipart(content_type, body)
        if "file" not in parts:
            raise missing("file")
        if "purpose" not in parts:
            raise missing("purpose")
        filename, content = parts["file"]
        purpose = parts["purpose"][1].decode(errors="replace")
        digest = hashlib.sha256(f"{filename}\0{purpose}\0".encode() + content).hexdigest()
        upload = Upload(f"file-{digest[:24]}", filename, purpose, content)
        self._uploads[upload.id] = upload
        if len(self._uploads) > _MAX_FILES:
            del self._uploads[next(iter(self._uploads))]
        return _plain(upload.describe())

    def list(self) -> Plain:
        """Return all files, the newest first, on one page."""
        data = [upload.describe() for upload in reversed(self._uploads.values())]
        return _plain({"object": "list", "data": data, "has_more": False})

    def describe(self, file_id: str) -> Plain:
        """Return one file's metadata."""
        return _plain(self._find(file_id).describe())

    def content(self, file_id: str) -> Plain:
        """Return the uploaded bytes."""
        return Plain(200, self._find(file_id).content, content_type="application/octet-stream")

    def delete(self, file_id: str) -> Plain:
        """Forget a file."""
        del self._uploads[self._find(file_id).id]
        return _plain({"id": file_id, "object": "file", "deleted": True})

    def _find(self, file_id: str) -> Upload:
        upload = self._uploads.get(file_id)
        if upload is None:
            raise RejectionError(404, f"No such File object: {file_id}", param="id")
        return upload


def read_multipart(content_type: str, body: bytes) -> Mapping[str, tuple[str, bytes]]:
    """Read a multipart/form-data body: filename ('' for a plain field) and bytes, by field name."""
    boundary = _BOUNDARY.search(content_type.encode())
    if boundary is None:
        raise RejectionError(400, "Expected a multipart/form-data body with a boundary.")
    # With a line break put before it, every delimiter looks the same, the first included (RFC 2046 §5.1.1).
    sections = (b"\r\n" + body).split(b"\r\n--" + boundary[1])
    parts = {}
    for section in sections[1:-1]:
        head, _, content = section.partition(b"\r\n\r\n")
        name, filename = _NAME.search(head), _FILENAME.search(head)
        if name:
            parts[name[1].decode(errors="replace")] = (
                filename[1].decode(errors="replace") if filename else "",
                content,
            )
    return parts


def _plain(value: Mapping[str, object]) -> Plain:
    return Plain(200, msgspec.json.encode(value))
