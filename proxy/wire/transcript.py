"""What a reader reads: both bodies of an exchange without their content codings, and the facts that decide how."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from proxy.operations import Operation
from proxy.records import Exchange, Headers
from proxy.wire.decode import content_codings, decode
from proxy.wire.draft import Draft
from proxy.wire.lenient import LenientDecoder, Member, T, last_member, members
from proxy.wire.sse import Event, SseParser

_EXTENSIONS: Final = b"sec-websocket-extensions"


_LATE_MEMBERS: Final = (
    *(b"usage", b"service_tier", b"tool_usage", b"svg_usage"),
    *(b"usageMetadata", b"modelVersion", b"responseId"),
)
"""Members that stand near the end of an answer, after pictures and texts of any length."""


MOST_EVENTS: Final = 300_000
"""Events or messages of one exchange that are looked at: hours of speech have fewer, and a second or two is enough."""
_SLICE: Final = 1 << 20
_END: Final = 64 * 1024


class Transcript(msgspec.Struct, frozen=True):
    """The readable side of an exchange."""

    operation: Operation
    path: str
    """Path and query below the upstream's base URL, credentials masked."""
    request_headers: Headers
    request: bytes
    """Request body, decoded; its head when it was longer than the capture limit."""
    request_tail: bytes
    """The end of a request body that was longer than the capture limit; empty: none, or it cannot be decoded."""
    response: bytes
    """Response body, likewise."""
    response_tail: bytes
    """The end of a response body that was longer than the capture limit; empty: none, or it cannot be decoded."""
    tail_start: int
    """Offset of the tail in the body."""
    response_size: int
    """Bytes of the response body, decoded as far as they were kept."""
    status: int | None
    """None: the response head is not known."""
    headers: Headers
    """Of the response."""
    provider: str | None
    """Provider id of the price table."""

    @classmethod
    def of(cls, exchange: Exchange, operation: Operation, draft: Draft) -> Transcript:
        """Decode both bodies, noting in the draft what could not be."""
        request, response, end = exchange.request, exchange.response, exchange.end
        request_codings = content_codings(exchange.begin.headers)
        request_head = decode(request.head, request_codings)
        codings = content_codings(end.headers)
        response_head = decode(response.head, codings)
        if not request.is_whole:
            draft.problems.add("request_cut")
        if not response.is_whole:
            draft.problems.add("response_cut")
        if request_head.problem:
            draft.problems.add(f"request_{request_head.problem}")
        if response_head.problem:
            draft.problems.add(f"response_{response_head.problem}")
        has_tail = not response.is_whole and not codings
        return cls(
            operation=operation,
            path=exchange.begin.path,
            request_headers=exchange.begin.headers,
            request=request_head.data,
            request_tail=b"" if request.is_whole or request_codings else request.tail,
            response=response_head.data,
            response_tail=response.tail if has_tail else b"",
            tail_start=response.size - len(response.tail),
            response_size=len(response_head.data) if codings else response.size,
            status=end.status,
            headers=end.headers,
            provider=exchange.begin.provider,
        )

    @property
    def request_type(self) -> bytes:
        """Content-Type of the request as sent, with its parameters; empty: none."""
        return _header(self.request_headers, b"content-type")

    @property
    def content_type(self) -> bytes:
        """Media type of the response in lower case, without parameters; empty: unknown."""
        return self.header(b"content-type").partition(b";")[0].strip().lower()

    @property
    def socket_extensions(self) -> bytes:
        """What the two ends of a WebSocket agreed on; what was offered, where the answer is not known."""
        return _header(self.headers if self.status else self.request_headers, _EXTENSIONS)

    def header(self, name: bytes) -> bytes:
        """Return the value of a response header, `name` in lower case; empty: there is none."""
        return _header(self.headers, name)

    @property
    def is_success(self) -> bool:
        """Say whether the status is 2xx, or not known."""
        return self.status is None or 200 <= self.status < 300

    def is_event_stream(self, *, asked: bool) -> bool:
        """Say whether the response is a stream of events; `asked`: the request said `stream: true`.

        Some servers label their streams as JSON, and all send plain JSON errors to who asked for a stream.
        """
        if self.content_type == b"text/event-stream":
            return True
        if not (asked and self.is_success):
            return False
        start = self.response[:16].lstrip(b"\xef\xbb\xbf \t\r\n")
        return not start.startswith((b"{", b"[", b"<", b'"'))

    def events(self) -> Iterator[Event]:
        """Yield the events of a response stream; where its middle was not kept, events are missing.

        Of a stream with absurdly many events the first are read, and those at the very end, where usage stands.
        """
        body, tail, tail_start = self.response, self.response_tail, self.tail_start
        parser, seen = SseParser(), 0
        for start in range(0, len(body), _SLICE):
            found = parser.feed(body[start : start + _SLICE])
            seen += len(found)
            yield from found
            if seen > MOST_EVENTS and not tail:
                tail_start = max(start + _SLICE, len(body) - _END)
                tail = body[tail_start:]
            if seen > MOST_EVENTS:
                break
        if tail:
            parser = SseParser(start=tail_start, is_torn=True)
            yield from parser.feed(tail)
        yield from parser.close()

    def read_request(self, decoder: LenientDecoder[T], draft: Draft) -> T:
        """Decode the request body."""
        lost: set[str] = set()
        value = decoder.decode(self.request, lost)
        note_lost(draft, "request", lost)
        return value

    def read_response(self, decoder: LenientDecoder[T], draft: Draft) -> T:
        """Decode a response body that is one JSON object; of one whose middle was not kept, both ends."""
        lost: set[str] = set()
        if self.response_tail:
            found = members(self.response)[0]
            value = decoder.from_members([*found, *self.members_of_tail()], lost)
        else:
            value = decoder.decode(self.response, lost)
        note_lost(draft, "response", lost)
        return value

    def members_of_tail(self) -> Iterator[Member]:
        """Yield what matters most of an object, or of the last event, whose beginning was not kept."""
        for key in _LATE_MEMBERS:
            member = last_member(self.response_tail, key)
            if member:
                yield member


def note_lost(draft: Draft, side: str, lost: set[str]) -> None:
    """Name what a lenient decoder lost: `request_json` for a broken text, `request.model` for a field."""
    if lost:
        draft.problems.update(f"{side}_json" if name == "json" else f"{side}.{name}" for name in lost)


def _header(headers: Headers, wanted: bytes) -> bytes:
    size = len(wanted)
    for name, value in headers:
        if len(name) == size and name.lower() == wanted:
            return value
    return b""
