"""Realign: when the events of a stream came, told by the bytes that redaction left of them."""

from __future__ import annotations

from proxy.records import Body, Headers, Timeline
from proxy.wire.decode import content_codings, decode
from proxy.wire.sse import SseParser


def realigned(timeline: Timeline, body: Body, headers: Headers, left: bytes) -> Timeline:
    """Return the timeline of the events in `left`; an empty one where it cannot be told which is which."""
    is_events = any(
        name.lower() == b"content-type" and value.lower().startswith(b"text/event-stream") for name, value in headers
    )
    if not timeline.pairs or not body.is_whole or not is_events:
        return Timeline()
    codings = content_codings(headers)
    decoded = decode(body.head, codings, ends=[end for end, _ in timeline.pairs] if codings else [])
    ends, ends_left = _ends(decoded.data), _ends(left)
    if len(ends) != len(ends_left):
        return Timeline()
    times = [timeline.at(decoded.offsets.relayed(end) - 1) for end in ends]
    return Timeline(tuple((end, us) for end, us in zip(ends_left, times, strict=True) if us is not None))


def _ends(body: bytes) -> list[int]:
    parser = SseParser()
    return [event.end_offset for event in (*parser.feed(body), *parser.close())]
