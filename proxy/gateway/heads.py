"""The heads we write: a request for the upstream, a response for the client. Pure functions over bytes.

Hop-by-hop headers go first, those named in `Connection` with them; only then are ours added, so that nobody can have
ours removed. All else keeps its spelling, its order and its duplicates. Framing is always written anew.
"""

from __future__ import annotations

from typing import Final

from proxy.gateway.framing import HOP_BY_HOP, PRIVATE_PREFIX, HeaderList, RequestHead, ResponseHead, has_no_body
from proxy.gateway.identity import CREDENTIALS

_DROPPED_REQUEST: Final = HOP_BY_HOP | {b"host", b"content-length", b"expect"}


def request_head(
    head: RequestHead, *, path: bytes, host: bytes, credential: bytes | None = None, identity_encoding: bool = False
) -> bytes:
    """Return the head to send upstream, up to where its framing begins.

    `credential` is a header line that replaces the caller's own; b'' removes it, None keeps it. `identity_encoding`
    asks for an answer that we can read.
    """
    lines = [b"%b %b HTTP/1.1\r\nHost: %b\r\n" % (head.method, path, host)]
    named = head.named_in_connection
    for name, value in head.headers:
        key = name.lower()
        if key in _DROPPED_REQUEST or key in named or key.startswith(PRIVATE_PREFIX) or b"_" in key:
            continue
        if (credential is not None and key in CREDENTIALS) or (identity_encoding and key == b"accept-encoding"):
            continue
        lines.append(b"%b: %b\r\n" % (name, value))
    if credential:
        lines.append(credential)
    if identity_encoding:
        lines.append(b"accept-encoding: identity\r\n")
    return b"".join(lines)


def response_head(
    head: ResponseHead, *, method: bytes, is_http_1_0: bool, keeps_length: bool, own: bytes, connection: bytes
) -> tuple[bytes, bool]:
    """Return the head to send to the client, and whether its body goes out chunked.

    `keeps_length` is False when the body may come out shorter than the upstream said. `own` and `connection` are
    header lines of ours.
    """
    chunked = False
    framing = b""
    length = head.content_length
    if has_no_body(method, head.status):
        # RFC 9110 §8.6: these carry the length that a body would have had, except 204.
        if length is not None and head.status != 204:
            framing = b"content-length: %d\r\n" % length
    elif length is not None and keeps_length:
        framing = b"content-length: %d\r\n" % length
    elif not is_http_1_0:
        chunked = True
        framing = b"transfer-encoding: chunked\r\n"
    parts = (b"HTTP/1.1 ", head.status_line, head.kept, b"\r\n", own, framing, connection, b"\r\n")
    return b"".join(parts), chunked


def own_response(status: int, headers: bytes, body: bytes, connection: bytes) -> bytes:
    """Return a whole response made here."""
    reason = _REASONS.get(status, b"Error")
    return b"HTTP/1.1 %d %b\r\n%bcontent-length: %d\r\n%b\r\n%b" % (
        status,
        reason,
        headers,
        len(body),
        connection,
        body,
    )


_REASONS: Final = {
    200: b"OK",
    400: b"Bad Request",
    401: b"Unauthorized",
    402: b"Payment Required",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    408: b"Request Timeout",
    413: b"Content Too Large",
    414: b"URI Too Long",
    417: b"Expectation Failed",
    429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
    501: b"Not Implemented",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
    505: b"HTTP Version Not Supported",
}


def recorded_headers(headers: HeaderList) -> HeaderList:
    """Return the request headers worth keeping: those that are not ours."""
    return [(name, value) for name, value in headers if not name.lower().startswith(PRIVATE_PREFIX)]
