"""Which messages of a session are kept although the session is longer than what is kept of a body.

A session may last for hours, and every response in it is billed by itself. So beyond the capture limit the messages
that say what was consumed, and by which model, go to the journal one by one, as unmasked uncompressed text frames that
readers read like the frames before them. Of a very long message both ends are kept: what was consumed stands there.
"""

from __future__ import annotations

import re
from typing import Final

from proxy.websocket import Message, Opcode, encode_frame

HEAD_BYTES: Final = 16 * 1024
TAIL_BYTES: Final = 48 * 1024
"""Kept of the beginning and of the end of a message. A whole response with all its output may be megabytes; its id
stands in the first hundred bytes, what it consumed behind the output."""

_COUNTS: Final = re.compile(rb'"(?:usage|usageMetadata|tool_usage)"\s*:\s*\{')
"""What was consumed, in the words of OpenAI and Gemini."""
_EVENTS: Final = re.compile(rb'"type"\s*:\s*"(?:(?:transcription_)?session\.(?!output_|input_)|response\.created")')
"""The settings of a session, with the models that it uses; and that a response began, should its end never come."""


def may_count(data: bytes) -> bool:
    """Say whether bytes from the server may hold the end of a message that says what was consumed."""
    return b'"usage' in data


def noted(message: Message) -> bytes:
    """Return the frame to keep of a message; empty: none."""
    if message.opcode is not Opcode.TEXT and message.opcode is not Opcode.BINARY:
        return b""  # Gemini sends its JSON in binary frames.
    if not any(_COUNTS.search(part) for part in (message.head, message.tail)) and not _EVENTS.search(message.head):
        return b""
    return encode_frame(Opcode.TEXT, message.head + message.tail)
