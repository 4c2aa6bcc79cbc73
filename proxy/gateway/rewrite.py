"""Addresses of the upstream in its answers, turned into ours: the one other exception to byte for byte.

An SDK goes on to some addresses that it is told: Anthropic's sends its key to the `results_url` of a batch, Google's
sends the file to `x-goog-upload-url`, and all follow redirects. Left alone they would pass Glassline by, and take the
proxy's key along. So these three, and nothing else, come out as the address by which the same client reaches the same
place through us. The record keeps the upstream's bytes and names the edit in `mutated`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit, urlunsplit

import msgspec

from proxy.gateway.credentials import TICKET

if TYPE_CHECKING:
    from proxy.framing import RequestHead, ResponseHead
    from proxy.gateway.routing import Origin, Route

_HEADERS: Final = re.compile(
    rb"(\r\n(location|x-goog-upload-url|x-goog-upload-control-url):[ \t]*)([^\r]*)", re.IGNORECASE
)
_EDITS: Final = {b"location": "location"}
_RESULTS_URL: Final = re.compile(rb'("results_url"\s*:\s*)("(?:[^"\\]|\\.)*")')
_BEGINNING: Final = re.compile(rb'"results_url"\s*(?::\s*(?:"(?:[^"\\]|\\.)*\\?)?)?\Z')
_KEY: Final = b'"results_url"'
_RESULTS_PATH: Final = re.compile(r"/messages/batches/[^/]+/results")
_MAX_HELD: Final = 16 * 1024
"""Bytes of an unfinished address; a longer one is none."""
_CARRIED: Final = (b"x-api-key", b"api-key", b"x-goog-api-key", b"x-glassline-key")
_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class ReturnPath:
    """How a client reaches an upstream through us."""

    root: str
    """Scheme and host that the client used."""
    mount: str
    """Front of the client's path."""
    mounted: str
    """Front of the upstream's path for which it stands."""
    origin: Origin
    batches: str | None
    """The address below which the client's batches are, where the request is about them; else None."""

    def turn(self, address: str) -> str | None:
        """Return our address for one of the upstream's API; None: it is none, or it leads back to us as it stands."""
        try:
            parts = urlsplit(address)
            port = parts.port
        except ValueError:
            return None
        path, root = parts.path, self.root
        if parts.netloc:
            if parts.hostname != self.origin.host.lower() or parts.username or not self._is_port(parts.scheme, port):
                return None
        elif parts.scheme or not path.startswith("/") or self.mount == self.mounted:
            return None
        else:
            root = ""
        if path != self.mounted and not path.startswith(self.mounted + "/"):
            return None
        return root + urlunsplit(("", "", self.mount + path[len(self.mounted) :], parts.query, parts.fragment))

    def _is_port(self, scheme: str, port: int | None) -> bool:
        """Say whether an address with this scheme and port is the upstream's.

        A server behind somebody who ends TLS for it calls itself `http`; without a scheme, ours holds.
        """
        if scheme not in ("", *_PORTS):
            return False
        named = port or _PORTS[scheme or self.origin.scheme]
        return named == self.origin.port or (port is None and self.origin.port == _PORTS[self.origin.scheme])

    def turn_results(self, address: str) -> str | None:
        """Return our address for the results of a batch, wherever they are; None: it is something else."""
        try:
            path = urlsplit(address).path
        except ValueError:
            return None
        match = _RESULTS_PATH.search(path)
        return None if match is None or self.batches is None else self.batches + match[0]


def return_path(head: RequestHead, route: Route, *, is_tls: bool) -> ReturnPath:
    """Return how the client of `head` reached us; `is_tls`: over TLS of our own.

    Behind a proxy that ends TLS, `x-forwarded-proto` says so: whoever forges it misleads nobody but itself.
    """
    forwarded = head.lowered.get(b"x-forwarded-proto", b"").partition(b",")[0].strip().lower()
    scheme = forwarded.decode() if forwarded in (b"http", b"https") else ("https" if is_tls else "http")
    host = head.lowered.get(b"host", b"").decode("latin-1")
    root = f"{scheme}://{host}"
    batches = None
    if route.operation is not None and route.operation.endpoint == "message_batches":
        batches = root + head.target.partition(b"?")[0].decode("ascii").partition("/messages/batches")[0]
    return ReturnPath(root, route.mount, route.mounted, route.target.origin, batches)


def takes_its_key_along(head: RequestHead) -> bool:
    """Say whether the client would send its key to wherever a redirect leads.

    HTTP clients take `Authorization` away when the host changes (httpx, requests, fetch), and no other header.
    """
    return any(name in head.lowered for name in _CARRIED)


def rewrite_head(
    head: ResponseHead,
    path: ReturnPath,
    ticket_for: Callable[[bytes], str] | None = None,
    *,
    withholds: bool = False,
) -> tuple[str, ...]:
    """Turn the addresses in the lines that will be relayed; return the names of the edits.

    Google's SDK sends a file to the address it was told without any key, since the address is secret. Where callers
    need a key, `ticket_for` makes one for the upstream's path and query. `withholds`: a redirect to another host loses
    its address, since the client would take our key there.
    """
    edits: list[str] = []

    def turned(match: re.Match[bytes]) -> bytes:
        address = match[3].decode("latin-1").rstrip(" \t")
        ours = path.turn(address)
        if ours is None:
            if not (withholds and _EDITS.get(match[2].lower()) and _is_elsewhere(address)):
                return match[0]
            edits.append("location_withheld")
            return b""
        edit = _EDITS.get(match[2].lower(), "upload_url")
        edits.append(edit)
        if ticket_for is not None and edit == "upload_url":
            ours += f"{'&' if '?' in ours else '?'}{TICKET.decode()}={ticket_for(_target(address))}"
        return match[1] + ours.encode("latin-1")

    head.kept = _HEADERS.sub(turned, head.kept)
    return tuple(dict.fromkeys(edits))


def _is_elsewhere(address: str) -> bool:
    try:
        return bool(urlsplit(address).netloc)
    except ValueError:
        return True


def _target(address: str) -> bytes:
    parts = urlsplit(address)
    return urlunsplit(("", "", parts.path, parts.query, "")).encode("latin-1")


class ResultsRewriter:
    """Turns every `results_url` in a JSON body that comes in pieces; any split gives the same bytes."""

    def __init__(self, path: ReturnPath) -> None:
        self.edits = 0
        self._path = path
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """Return what may go on."""
        data = _RESULTS_URL.sub(self._turned, self._held + data)
        start = _unfinished(data)
        if len(data) - start > _MAX_HELD:
            start = len(data)
        self._held = data[start:]
        return data[:start]

    def close(self) -> bytes:
        """Return what was held back."""
        held, self._held = self._held, b""
        return held

    def _turned(self, match: re.Match[bytes]) -> bytes:
        try:
            address = msgspec.json.decode(match[2], type=str)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return match[0]
        ours = self._path.turn_results(address)
        if ours is None or ours == address:
            return match[0]
        self.edits += 1
        return match[1] + msgspec.json.encode(ours)


def _unfinished(data: bytes) -> int:
    """Return where a member begins whose end has not come; the length of `data`: nowhere."""
    found = data.rfind(_KEY)
    if found >= 0 and _BEGINNING.match(data, found):
        return found
    for size in range(min(len(_KEY) - 1, len(data)), 0, -1):
        if data.endswith(_KEY[:size]):
            return len(data) - size
    return len(data)
