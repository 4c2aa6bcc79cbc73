"""What Google keeps for a while: files, which are uploaded in two steps, and cached contents."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping

import msgspec

from proxy.simulator.ask import read_mapping
from proxy.simulator.desk import text_of
from proxy.simulator.rejection import RejectionError
from proxy.simulator.reply import Plain
from proxy.simulator.truth import Request

_MAX_KEPT = 1000
"""The oldest is forgotten when another comes: a simulator in a long demo must not grow for ever."""
_CREATED = "2026-01-01T00:00:00.000000Z"
_EXPIRES = "2026-01-03T00:00:00.000000Z"
"""Two days later. A clock here would make answers differ from run to run."""


class Collection:
    """Resources of one kind, by name."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._kept: dict[str, Mapping[str, object]] = {}

    def add(self, resource: Mapping[str, object]) -> None:
        """Keep a resource under its name."""
        self._kept[text_of(resource.get("name"))] = resource
        if len(self._kept) > _MAX_KEPT:
            del self._kept[next(iter(self._kept))]

    def find(self, name: str) -> Mapping[str, object]:
        """Return the resource of that full name. Raises RejectionError if there is none."""
        found = self._kept.get(name)
        if found is None:
            raise RejectionError(404, f"{name} was not found.", kind="NOT_FOUND")
        return found

    def serve(self, method: str, name: str) -> Plain:
        """Answer GET and DELETE of one resource, or GET of all ('')."""
        if not name:
            return plain({self._kind: list(self._kept.values())})
        found = self.find(f"{self._kind}/{name}")
        if method == "DELETE":
            del self._kept[f"{self._kind}/{name}"]
            return plain({})
        return plain(found)


class Uploads:
    """Uploads that were begun: the first step says what comes, the second brings it."""

    def __init__(self, files: Collection) -> None:
        self._files = files
        self._begun: dict[str, Mapping[str, object]] = {}

    def take(self, request: Request, content: Mapping[str, object]) -> Plain:
        """Answer either step of a resumable upload."""
        upload = request.query.get("upload_id", "")
        if not upload:
            return self._begin(request, read_mapping(content.get("file")))
        meta = self._begun.pop(upload, None)
        if meta is None:
            raise RejectionError(400, "Upload has already been terminated.")
        return self._finish(request, meta)

    def _begin(self, request: Request, meta: Mapping[str, object]) -> Plain:
        upload = hashlib.sha256(b"%d\0%b" % (request.n, request.body)).hexdigest()[:32]
        self._begun[upload] = {**meta, "mimeType": request.headers.get("x-goog-upload-header-content-type", "")}
        base = f"http://{request.headers.get('host', 'localhost')}{request.path.partition('?')[0]}"
        url = f"{base}?upload_id={upload}&upload_protocol=resumable"
        headers = ((b"x-goog-upload-url", url.encode()), (b"x-goog-upload-status", b"active"))
        return Plain(200, b"{}", headers=headers)

    def _finish(self, request: Request, meta: Mapping[str, object]) -> Plain:
        digest = hashlib.sha256(request.body)
        name = f"files/{digest.hexdigest()[:12]}"
        resource: dict[str, object] = {
            "name": name,
            **({"displayName": meta["displayName"]} if "displayName" in meta else {}),
            "mimeType": meta["mimeType"],
            "sizeBytes": str(len(request.body)),
            "createTime": _CREATED,
            "updateTime": _CREATED,
            "expirationTime": _EXPIRES,
            "sha256Hash": base64.b64encode(digest.hexdigest().encode()).decode(),
            "uri": f"https://generativelanguage.googleapis.com/v1beta/{name}",
            "state": "ACTIVE",
            "source": "UPLOADED",
        }
        self._files.add(resource)
        body = msgspec.json.encode({"file": resource})
        return Plain(200, body, headers=((b"x-goog-upload-status", b"final"),))


def cached_content(identity: str, content: Mapping[str, object], tokens: int) -> dict[str, object]:
    """Return the resource of contents that are to be cached."""
    return {
        "name": f"cachedContents/{identity[:20]}",
        "model": text_of(content.get("model")),
        "createTime": _CREATED,
        "updateTime": _CREATED,
        "expireTime": _EXPIRES,
        "usageMetadata": {"totalTokenCount": tokens},
    }


def plain(value: Mapping[str, object]) -> Plain:
    """Return an answer of one object, which is billed by nobody."""
    return Plain(200, msgspec.json.encode(value))
