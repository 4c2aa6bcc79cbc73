"""The built dashboard: files with stable names, served so that no browser keeps an old one and none asks twice.

An address with `?v=` and the hash of the content is kept for ever. The page maps every module to such an address, so a
module that imports another one by its plain name gets the right one. What was compressed once is kept.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import brotli
import msgspec
from starlette.requests import Request
from starlette.responses import Response

FOLDER: Final = Path(__file__).parent / "static"
FOR_EVER: Final = "public, max-age=31536000, immutable"
ASK_AGAIN: Final = "no-cache"
_TYPES: Final = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".woff2": "font/woff2",
    ".svg": "image/svg+xml",
    ".json": "application/json",
    ".txt": "text/plain; charset=utf-8",
}
_COMPRESSED: Final = frozenset({".js", ".css", ".svg", ".json", ".txt"})
_IMPORTED: Final = re.compile(rb'(?:from|import)\s*"\./([\w.-]+\.js)"')
"""As the build writes what a module cannot do without; what it fetches later is written `import(`."""
_BROTLI_QUALITY: Final = 11
"""Half a second for React, once in the life of a process, on a thread; 7 % less than 9."""


@dataclass(slots=True)
class Asset:
    """One file."""

    name: str
    body: bytes
    media_type: str
    mark: str
    """Of the content: the first half of its SHA-256."""
    written: tuple[int, int]
    """Of the file when it was read: it is read again when this changes."""
    _packed: dict[str, bytes] = field(default_factory=dict)

    def packed(self, accepted: str) -> tuple[str, bytes]:
        """Return the encoding that fits and the bytes in it."""
        if Path(self.name).suffix not in _COMPRESSED:
            return "", self.body
        offered = {
            part.partition(";")[0].strip() for part in accepted.split(",") if ";q=0" not in part.replace(" ", "")
        }
        coding = next((each for each in ("br", "gzip") if each in offered), "")
        if coding and coding not in self._packed:
            self._packed[coding] = _gzip(self.body) if coding == "gzip" else _brotli(self.body)
        return coding, self._packed[coding] if coding else self.body


def _brotli(body: bytes) -> bytes:
    packed: bytes = brotli.compress(body, quality=_BROTLI_QUALITY)
    return packed


def _gzip(body: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return packer.compress(body) + packer.flush()


class Assets:
    """The files of one folder; nothing outside it can be named."""

    def __init__(self, folder: Path = FOLDER, base: str = "") -> None:
        self._folder = folder
        self._base = base
        self._known: dict[str, Asset] = {}

    def find(self, name: str) -> Asset | None:
        """Return a file. Raises nothing: what cannot be read is not there."""
        suffix = Path(name).suffix
        if suffix not in _TYPES or "/" in name or name.startswith("."):
            return None
        path = self._folder / name
        try:
            status = path.stat()
            written = (status.st_mtime_ns, status.st_size)
            known = self._known.get(name)
            if known is None or known.written != written:
                body = path.read_bytes()
                mark = hashlib.sha256(body).hexdigest()[:16]
                known = self._known[name] = Asset(name, body, _TYPES[suffix], mark, written)
        except OSError:
            return None
        return known

    def address(self, name: str) -> str:
        """Return where a browser finds a file, and may keep it for ever."""
        asset = self.find(name)
        return f"{self._base}/static/{name}" + (f"?v={asset.mark}" if asset else "")

    def modules(self) -> str:
        """Return the import map: what each module's plain address stands for."""
        names = sorted(path.name for path in self._folder.glob("*.js"))
        return msgspec.json.encode(
            {"imports": {f"{self._base}/static/{name}": self.address(name) for name in names}}
        ).decode()

    def needed(self, *names: str) -> list[str]:
        """Return the modules of these names and all that they import, so that a browser need not find out one by one."""
        found: dict[str, None] = {}
        left = [f"{name}.js" for name in names]
        while left:
            asset = self.find(left.pop())
            if asset is not None and asset.name not in found:
                found[asset.name] = None
                left += [match.decode() for match in _IMPORTED.findall(asset.body)]
        return sorted(found)

    @property
    def are_built(self) -> bool:
        """Say whether there is a dashboard."""
        return (self._folder / "index.js").is_file()


async def answer_asset(assets: Assets, request: Request) -> Response | None:
    """Answer with a file; None: there is none of this name."""
    asset = assets.find(request.path_params["name"])
    if asset is None:
        return None
    # Compressed on a thread: it may take a tenth of a second.
    coding, body = await asyncio.to_thread(asset.packed, request.headers.get("accept-encoding", ""))
    tag = f'"{asset.mark}{"-" + coding if coding else ""}"'
    is_exact = request.query_params.get("v") == asset.mark
    headers = {
        "cache-control": FOR_EVER if is_exact else ASK_AGAIN,
        "etag": tag,
        "vary": "accept-encoding",
    }
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    headers["content-type"] = asset.media_type
    if coding:
        headers["content-encoding"] = coding
    return Response(body, headers=headers)
