"""The wire of /v1/files and /v1/uploads: contents kept in memory for as long as the simulator runs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from proxy.simulator.answer import CREATED
from proxy.simulator.desk import Asked
from proxy.simulator.openai.drawer import Drawer, Object, listed, shown
from proxy.simulator.openai.errors import missing
from proxy.simulator.openai.forms import files_of
from proxy.simulator.openai.switchboard import Row
from proxy.simulator.rejection import RejectionError
from proxy.simulator.reply import Plain

_MAX_FILES = 1000
"""The oldest file is forgotten when another comes: a simulator in a long demo must not grow for ever."""


class FileShelf:
    """All files of one simulator."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[Object, bytes]] = {}
        self._uploads = Drawer("upload", "upload_", bytes=0, filename="", purpose="", status="pending", file=None)
        self._parts: dict[str, bytes] = {}

    def rows(self) -> Iterable[Row]:
        """Return what is answered here."""
        return (
            ("POST", "files", self._take),
            ("GET", "files", self._list),
            ("GET", "files/{}", self._describe),
            ("DELETE", "files/{}", self._delete),
            ("GET", "files/{}/content", self._show),
            ("POST", "uploads", self._uploads.create),
            ("POST", "uploads/{}/parts", self._take_part),
            ("POST", "uploads/{}/complete", self._complete),
            ("POST", "uploads/{}/cancel", self._cancel),
        )

    def put(self, filename: str, purpose: str, content: bytes) -> Object:
        """Keep a file. The id follows from the bytes: the same file twice is one file."""
        digest = hashlib.sha256(f"{filename}\0{purpose}\0".encode() + content).hexdigest()
        described: Object = {
            "id": f"file-{digest[:24]}",
            "object": "file",
            "bytes": len(content),
            "created_at": CREATED,
            "filename": filename,
            "purpose": purpose,
            "status": "processed",
        }
        self._files[described["id"]] = (described, content)
        if len(self._files) > _MAX_FILES:
            del self._files[next(iter(self._files))]
        return described

    def content(self, file_id: str) -> bytes:
        """Return the bytes of a file. Raises RejectionError (404)."""
        return self._find(file_id)[1]

    def _take(self, asked: Asked) -> Plain:
        files, purpose = files_of(asked.content, "file"), asked.content.get("purpose")
        if not files:
            raise missing("file")
        if not isinstance(purpose, str):
            raise missing("purpose")
        return shown(self.put(files[0].filename, purpose, files[0].content))

    def _list(self, _asked: Asked) -> Plain:
        return listed([described for described, _ in reversed(self._files.values())])

    def _describe(self, _asked: Asked, file_id: str) -> Plain:
        return shown(self._find(file_id)[0])

    def _show(self, _asked: Asked, file_id: str) -> Plain:
        return Plain(200, self.content(file_id), content_type="application/octet-stream")

    def _delete(self, _asked: Asked, file_id: str) -> Plain:
        self._find(file_id)
        del self._files[file_id]
        return shown({"id": file_id, "object": "file", "deleted": True})

    def _take_part(self, asked: Asked, upload_id: str) -> Plain:
        self._uploads.find(upload_id)
        files = files_of(asked.content, "data")
        if not files:
            raise missing("data")
        digest = hashlib.sha256(upload_id.encode() + files[0].content).hexdigest()
        part = {"id": f"part_{digest[:24]}", "object": "upload.part", "created_at": CREATED, "upload_id": upload_id}
        self._parts[f"part_{digest[:24]}"] = files[0].content
        return shown(part)

    def _complete(self, asked: Asked, upload_id: str) -> Plain:
        upload, ids = self._uploads.find(upload_id), asked.content.get("part_ids")
        content = b"".join(self._parts.pop(str(part), b"") for part in (ids if isinstance(ids, list) else ()))
        upload["file"] = self.put(upload["filename"], upload["purpose"], content)
        upload["status"] = "completed"
        return shown(upload)

    def _cancel(self, _asked: Asked, upload_id: str) -> Plain:
        upload = self._uploads.find(upload_id)
        upload["status"] = "cancelled"
        return shown(upload)

    def _find(self, file_id: str) -> tuple[Object, bytes]:
        found = self._files.get(file_id)
        if found is None:
            raise RejectionError(404, f"No such File object: {file_id}", param="id")
        return found
