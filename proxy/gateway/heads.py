"""The heads we write: a request for the upstream, a response for the client. Pure functions over bytes.

Hop-by-hop headers go first, those named in `Connection` with them; only then are ours added, so that nobody can have
ours removed. All else keeps its spelling, its order and its duplicates. Framing is always written anew.
"""

from __future__ import annotations

from typing import Final

from proxy.framing import HOP_BY_HOP, PRIVATE_PREFIX, RequestHead, ResponseHead
from proxy.gateway.credentials import CREDENTIALS, SIGNATURE, without_credentials, without_our_cookies
from proxy.gateway.dialects import FAMILIES, OWN_CREDENTIALS

_OTHER_PATHS: Final = frozenset((b"x-original-url", b"x-original-uri", b"x-rewrite-url", b"x-forwarded-prefix"))
"""Headers that some servers believe more than the path; what was judged here must be what is served there."""
_DROPPED_REQUEST: Final = (
    HOP_BY_HOP | OWN_CREDENTIALS | _OTHER_PATHS | {b"host", b"content-length", b"expect", b"http2-settings"}
)
_DROPPED_PREFIXES: Final = (PRIVATE_PREFIX, *FAMILIES)
_NOT_IN_DISGUISE: Final = _DROPPED_REQUEST | CREDENTIALS | SIGNATURE
"""Some servers take `content_length` for `content-length`: under such a name nothing of these may pass."""


def request_head(
    head: RequestHead,
    *,
    path: bytes,
    host: bytes,
    credential: bytes | None = None,
    secret: bytes = b"",
    identity_encoding: bool = False,
) -> bytes:
    """Return the head to send upstream, up to where its framing begins.

    `credential` is a header line that replaces the caller's own; b'' removes it, None keeps it. `secret` is the key by
    which the caller was known: where a credential is lent, it leaves in no header. `identity_encoding` asks for an
    answer that we can read.
    """
    lines = [b"%b %b HTTP/1.1\r\nHost: %b\r\n" % (head.method, path, host)]
    for name, value in head.headers:
        key = name.lower()
        if _stays_here(key, head.named_in_connection) or (identity_encoding and key == b"accept-encoding"):
            continue
        if key == b"cookie":
            theirs = without_our_cookies(value)
            if value and not theirs:
                continue
            value = theirs
        if credential is not None:
            kept = without_credentials(key, value, secret)
            if kept is None:
                continue
            value = kept
        lines.append(b"%b: %b\r\n" % (name, value))
    if credential:
        lines.append(credential)
    if identity_encoding:
        lines.append(b"accept-encoding: identity\r\n")
    return b"".join(lines)


def _stays_here(key: bytes, named_in_connection: frozenset[bytes]) -> bool:
    if key in _DROPPED_REQUEST or key in named_in_connection or key.startswith(_DROPPED_PREFIXES):
        return True
    if b"_" not in key:
        return False
    meant = key.replace(b"_", b"-")
    return meant in _NOT_IN_DISGUISE or meant.startswith(_DROPPED_PREFIXES)


def response_head(
    head: ResponseHead, *, has_body: bool, is_http_1_0: bool, keeps_length: bool, own: bytes, connection: bytes
) -> tuple[bytes, bool]:
    """Return the head to send to the client, and whether its body goes out chunked.

    `has_body` is False when the body has no bytes, whatever its length (`has_no_body`). `keeps_length` is False when the body may come out shorter than the upstream said. `own` and `connection` are
    header lines of ours.
    """
    chunked = False
    framing = b""
    length = head.content_length
    if not has_body:
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
