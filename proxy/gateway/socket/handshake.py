"""The handshake of a WebSocket (RFC 6455 §4), relayed end to end: key, version, protocols and extensions pass as they are.

So whatever the two ends agree on, compression included, holds between them and not with us.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl

from proxy.framing import RequestHead, ResponseHead
from proxy.gates.session import NAMED_IN_MESSAGES
from proxy.gateway.refusal import Refusal
from proxy.gateway.routing import Route
from proxy.websocket import Deflate, read_extensions

UPGRADE_LINES: Final = b"connection: Upgrade\r\nupgrade: websocket\r\n\r\n"
"""The end of a head that asks for or grants a WebSocket: hop-by-hop, so ours."""


def is_upgrade(head: RequestHead) -> bool:
    """Say whether a request asks to become a WebSocket."""
    return b"upgrade" in head.named_in_connection and head.lowered.get(b"upgrade", b"").lower() == b"websocket"


def judge_handshake(head: RequestHead, length: int | None) -> Refusal | None:
    """Refuse what cannot become a WebSocket."""
    if head.method != b"GET" or head.is_http_1_0:
        return Refusal("bad_request", 400, "a WebSocket begins with a GET of HTTP/1.1")
    if length or head.is_chunked:
        return Refusal("bad_request", 400, "a request for a WebSocket has no body")
    if b"sec-websocket-key" not in head.lowered:
        return Refusal("bad_request", 400, "a request for a WebSocket names a Sec-WebSocket-Key")
    return None


def model_of(route: Route) -> str | None:
    """Return the model that the path or the query of a session names; None: its frames name it, or nobody does."""
    operation = route.operation
    if operation is not None and (operation.dialect, operation.endpoint) in NAMED_IN_MESSAGES:
        return None  # a query would only say which model the caller wants us to believe in
    if operation is not None and operation.model is not None:
        return operation.model
    return next(filter(None, _named_in_query(route)), None)


def judge_models_named(route: Route) -> Refusal | None:
    """Refuse a query that names two models: which of them would answer, and at what price, is not ours to know."""
    if len(_named_in_query(route)) < 2:
        return None
    return Refusal("bad_request", 400, "the query names two models; a limit of this key needs to know which is meant")


def _named_in_query(route: Route) -> list[str]:
    query = parse_qsl(route.recorded_path.partition("?")[2], keep_blank_values=True)
    return [value for name, value in query if name in ("model", "deployment")]


def is_websocket(head: ResponseHead) -> bool:
    """Say whether a 101 grants a WebSocket and nothing else."""
    return _value(head, b"upgrade").lower() == b"websocket"


def switching_head(head: ResponseHead, own: bytes) -> bytes:
    """Return the head that grants the WebSocket to the client."""
    return b"".join((b"HTTP/1.1 ", head.status_line, head.kept, b"\r\n", own, UPGRADE_LINES))


def compression_of(head: ResponseHead, *, is_server: bool) -> Deflate | None:
    """Return how a side compresses. Raises ValueError for what nobody here can undo."""
    return read_extensions(_value(head, b"sec-websocket-extensions"), is_server=is_server)


def _value(head: ResponseHead, name: bytes) -> bytes:
    lines = (line.partition(b":") for line in head.lines.split(b"\r\n"))
    return b",".join(value.strip() for key, _, value in lines if key.strip().lower() == name)
