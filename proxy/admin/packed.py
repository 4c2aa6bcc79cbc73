"""Answers packed on their way out: those that are whole and made of text. Streams pass as they come."""

from __future__ import annotations

import zlib
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LEAST_BYTES: Final = 1400
"""What fits into one packet is not worth it."""
LEVEL: Final = 4
"""A third of the time of 9, and 5 % larger: 1 ms for 100 KB."""
TYPES: Final = ("application/json", "application/openmetrics-text", "text/")


class Packed:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or "gzip" not in Headers(scope=scope).get("accept-encoding", ""):
            await self._app(scope, receive, send)
            return
        start: Message | None = None

        async def send_packed(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
                return
            if start is not None:
                opening, start = start, None
                if message["type"] == "http.response.body" and not message.get("more_body"):
                    opening, message = _pack(opening, message)
                await send(opening)
            await send(message)

        await self._app(scope, receive, send_packed)


def _pack(start: Message, body: Message) -> tuple[Message, Message]:
    headers = MutableHeaders(raw=list(start["headers"]))
    plain = body.get("body", b"")
    is_text = headers.get("content-type", "").startswith(TYPES) and "content-encoding" not in headers
    if not is_text or len(plain) < LEAST_BYTES:
        return start, body
    packer = zlib.compressobj(LEVEL, zlib.DEFLATED, 31)
    packed = packer.compress(plain) + packer.flush()
    headers["content-encoding"] = "gzip"
    headers["content-length"] = str(len(packed))
    headers.add_vary_header("accept-encoding")
    return {**start, "headers": headers.raw}, {**body, "body": packed}
