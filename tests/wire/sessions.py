"""Sessions over WebSockets, made for tests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, Final

from proxy.gateway.socket.notes import HEAD_BYTES, TAIL_BYTES, noted
from proxy.records import Begin, Body, End, Exchange, Outcome, Timeline, join_headers
from proxy.websocket import Deflate, FrameParser, Opcode, close_frame, encode_frame

Said = dict[str, Any] | bytes
MASK: Final = b"\x0b\xad\xf0\x0d"


def wire_of(messages: Sequence[Said], *, opcode: Opcode = Opcode.TEXT, mask: bytes | None = None) -> bytes:
    """Return the frames of JSON messages; bytes stand for frames as they are."""
    return b"".join(
        message if isinstance(message, bytes) else encode_frame(opcode, json.dumps(message).encode(), mask=mask)
        for message in messages
    )


def make_session(
    asked: Sequence[Said] = (),
    said: Sequence[Said] = (),
    *,
    path: str = "/realtime?model=gpt-realtime",
    wire: str = "openai",
    provider: str | None = "openai",
    opcode: Opcode = Opcode.TEXT,
    limit: int | None = None,
    extensions: bytes = b"",
    outcome: Outcome = "completed",
    status: int | None = 101,
) -> Exchange:
    """Build the exchange of a session; `limit`: bytes kept of each body, with what the gateway notes beyond."""
    request, response = wire_of(asked, mask=MASK), wire_of(said, opcode=opcode)
    agreed = ((b"Sec-WebSocket-Extensions", extensions),) if extensions else ()
    begin = Begin(
        id="01",
        started_at_ms=0,
        upstream="up",
        wire=wire,
        provider=provider,
        is_free=False,
        method="GET",
        path=path,
        headers=((b"Upgrade", b"websocket"), *agreed),
    )
    end = End(outcome=outcome, status=status, head=join_headers(agreed), dispatched_us=1, response_head_us=2)
    tail = _notes(response, limit, Deflate() if extensions else None) if limit is not None else b""
    return Exchange(
        begin, end, _body(request, limit, b""), _body(response, limit, tail), Timeline(((len(response), 5),))
    )


def _notes(wire: bytes, limit: int, deflate: Deflate | None) -> bytes:
    parser = FrameParser(deflate=deflate, keep_head=HEAD_BYTES, keep_tail=TAIL_BYTES)
    return b"".join(noted(message) for message in parser.feed(wire) if message.end_offset > limit)


def _body(data: bytes, limit: int | None, tail: bytes) -> Body:
    head = data if limit is None else data[:limit]
    return Body(head, len(data), hashlib.sha256(data).digest(), tail if len(head) < len(data) else b"")


GOODBYE: Final = close_frame(1000, "")
