"""Streams of JSON objects without the frames of server-sent events: a line each, or the elements of one array.

The objects are found in the text itself, so a stream reads the same however it was split, indented or separated.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from proxy.wire.lenient import closing_bracket
from proxy.wire.sse import Event
from proxy.wire.transcript import MOST_EVENTS, Transcript

_BETWEEN: Final = re.compile(rb"[ \t\r\n,\[\]\x1e\xef\xbb\xbf]*+")
"""What may stand between objects; RFC 7464 puts a record separator before each."""


def objects(transcript: Transcript) -> Iterator[Event]:
    """Yield the objects of a response stream as events; where its middle was not kept, objects are missing."""
    yield from _objects(transcript.response, 0, 0)
    if tail := transcript.response_tail:
        # The tail begins anywhere, also inside an object: the next one stands at the start of a line.
        start = tail.find(b"\n{") + 1
        if start > 0:
            yield from _objects(tail, start, transcript.tail_start)


def _objects(text: bytes, position: int, offset: int) -> Iterator[Event]:
    for _ in range(MOST_EVENTS):
        if between := _BETWEEN.match(text, position):
            position = between.end()
        if position >= len(text):
            return
        if text[position : position + 1] != b"{":
            # Not an object: look for one at the start of a later line.
            position = text.find(b"\n{", position) + 1
            if position <= 0:
                return
        end = closing_bracket(text, position + 1)
        if end < 0:
            yield Event(b"", text[position:], offset + len(text))
            return
        yield Event(b"", text[position:end], offset + end)
        position = end
