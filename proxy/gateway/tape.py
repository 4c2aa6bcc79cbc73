"""The tape of one exchange: bytes and clocks on their way to the journal.

BEGIN is written by `begin`, before dispatch; END by `end`, before the last byte; what lies between is handed over when
64 KB have come together or a clock tick passes.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from functools import partial
from time import time_ns
from typing import TYPE_CHECKING, Final, TypeAlias

from proxy.errors import JournalUnavailable
from proxy.gateway.capture import Capture
from proxy.gateway.credentials import mask_headers
from proxy.journal import CHUNK_REQUEST, CHUNK_RESPONSE, NOTE, FrameKind
from proxy.records import BeginTemplate, End, Outcome, join_headers, split_headers

if TYPE_CHECKING:
    from proxy.framing import ResponseHead
    from proxy.gateway.refusal import Refusal
    from proxy.gateway.service import Gateway

FLUSH_BYTES: Final = 64 * 1024
"""Captured bytes that wait in memory before they go to the journal."""

Begun: TypeAlias = Callable[[JournalUnavailable | None], None]
"""Hears that BEGIN is written, or why the request must not be served."""
_MOST_TIMES: Final = 2 * 65_536
"""Offsets and clocks: 1 MB. A stream may come in a read for each byte, for hours."""


class Tape:
    """What is known of one exchange so far. Durations are µs since its head was complete, on the monotonic clock."""

    __slots__ = (
        "_is_begin_due",
        "_is_kept_whole",
        "_kept_request",
        "_kept_response",
        "_length",
        "_service",
        "_template",
        "_times",
        "connect_us",
        "dispatched_us",
        "end_mutated",
        "id",
        "is_reserved",
        "lease",
        "mutated",
        "number",
        "overhead_us",
        "request",
        "request_complete_us",
        "response",
        "response_head_us",
        "started",
        "started_ms",
    )

    def __init__(self, service: Gateway, template: BeginTemplate, length: int | None) -> None:
        """`length`: what the request says of its own, which the template does not know."""
        self.started = service.now()
        self.started_ms = started_ms = time_ns() // 1_000_000
        self.id = service.new_id(started_ms)
        self.connect_us: int | None = None
        self.dispatched_us: int | None = None
        self.request_complete_us: int | None = None
        self.response_head_us: int | None = None
        self.overhead_us = 0
        self.is_reserved = False
        self.lease: tuple[str, int] | None = None
        """Under which it was admitted, and what it took; what is never dispatched takes nothing."""
        self.mutated: tuple[str, ...] = ()
        self.end_mutated: tuple[str, ...] = ()
        self._is_begin_due = self._is_kept_whole = False
        self._kept_request = self._kept_response = b""
        """What the journal gets at the end, because BEGIN could not be written."""
        self._length = length
        self.number: int | None = None
        """Number of the exchange in the journal; None: BEGIN was not written."""
        self.request = Capture(service.capture_bytes)
        self.response = Capture(service.capture_bytes)
        self._times = array("Q")
        self._service = service
        self._template = template

    def again(self, retry_of: str, body: bytes) -> Tape:
        """Return the tape of another attempt to send a request whose whole body is `body`."""
        tape = Tape(self._service, self._template.again(retry_of), self._length)
        if body:
            tape.request.add(body)
        tape.request_complete_us = 0
        return tape

    def begin(self, begun: Begun) -> None:
        """Write BEGIN with the request bytes so far and call `begun`, mostly at the end of this turn of the loop."""
        body = self.request.take()
        written = partial(self._begin_written, body, begun)
        self._is_begin_due = True
        self.number = self._service.scribe.begin_soon(self._fill(self.lease), body, written)
        if self.number is None:
            written(False)

    def _begin_written(self, body: bytes, begun: Begun, is_written: bool) -> None:
        self._is_begin_due = False
        failure: JournalUnavailable | None = None
        if not is_written:
            self.number = None
            try:
                self.number = self._service.scribe.begin(self._fill(self.lease), body, is_reserved=self.is_reserved)
            except JournalUnavailable as error:
                failure = error
            if self.number is None:
                self._kept_request = body
                self._is_kept_whole = True
        begun(failure)

    def tap(self, pieces: list[bytes], arrived: float) -> None:
        """Take pieces of the response that arrived together."""
        if pieces:
            response = self.response
            response.add_all(pieces)
            times = self._times
            times.append(response.size)
            times.append(int((arrived - self.started) * 1e6))
            if response.pending_bytes >= FLUSH_BYTES:
                self.flush_response()

    def flush_request(self) -> None:
        """Hand over the request bytes that wait."""
        if self._is_kept_whole:
            self._kept_request += self.request.take()
        elif self.number is not None and (data := self.request.take()):
            self._keep(CHUNK_REQUEST, self.request, data)

    def flush_response(self) -> None:
        """Hand over the response bytes that wait."""
        if self._is_kept_whole:
            self._kept_response += self.response.take()
        elif self.number is not None and (data := self.response.take()):
            self._keep(CHUNK_RESPONSE, self.response, data)
        if len(self._times) > _MOST_TIMES:
            self._times = _thinned(self._times)

    def flush_soon(self) -> None:
        """Hand over what waits, at the end of this turn of the loop."""
        number = self.number
        if number is None:
            return
        for kind, capture in ((CHUNK_REQUEST, self.request), (CHUNK_RESPONSE, self.response)):
            if capture.pending_bytes and (data := capture.take()):
                written = partial(self._chunk_written, kind, capture, data)
                self._service.scribe.keep_soon(kind, number, data, written)
        if len(self._times) > _MOST_TIMES:
            self._times = _thinned(self._times)

    def _chunk_written(self, kind: FrameKind, capture: Capture, data: bytes, is_written: bool) -> None:
        if not is_written:
            self._keep(kind, capture, data)

    def switch(self) -> None:
        """Take frames of a WebSocket from now on: `note` says which of them count when not all are kept."""
        self.response = Capture(self._service.capture_bytes, keeps_tail=False)

    def tap_frames(self, data: bytes, arrived: float) -> None:
        """Take bytes of frames from the upstream. A session may last for hours, so clocks end with what is kept."""
        if self.response.is_cut:
            self.response.add(data)
            if self.response.pending_bytes >= FLUSH_BYTES:
                self.flush_response()
        else:
            self.tap([data], arrived)

    def note(self, frame: bytes) -> None:
        """Keep a frame that lies beyond the capture limit."""
        if self.number is not None:
            self._service.scribe.keep(NOTE, self.number, frame)

    def _keep(self, kind: FrameKind, capture: Capture, data: bytes) -> None:
        if self.number is not None and not self._service.scribe.keep(kind, self.number, data):
            capture.lose_rest()

    def end(
        self,
        outcome: Outcome,
        response: ResponseHead | None,
        refusal: Refusal | None,
        ended: Callable[[], None] | None = None,
    ) -> None:
        """Write END; and BEGIN, if it never came to that. At once, or at the end of this turn, and then call `ended`."""
        if self._is_begin_due:
            self._service.scribe.write()  # whether there is a BEGIN decides what is written now
        number = self.number
        request = self.request.take() if self.request.pending_bytes else b""
        answer = self.response.take()
        if number is None:
            # The bodies of callers we do not know are not kept: anybody could fill the disk with them.
            keeps = refusal is None or refusal.code != "invalid_key"
            end = self._end(outcome, response, refusal)
            request, answer = self._kept_request + request, self._kept_response + answer
            self._service.scribe.keep_whole(self._fill(), end, request if keeps else b"", answer)
            if ended is not None:
                ended()
            return
        if request:
            self._keep(CHUNK_REQUEST, self.request, request)
        end = self._end(outcome, response, refusal)
        if ended is None:
            self._service.scribe.keep_end(number, end, answer)
        else:
            self._service.scribe.end_soon(number, end, answer, partial(self._end_written, number, end, answer, ended))

    def _end_written(
        self,
        number: int,
        end: End,
        answer: bytes,
        ended: Callable[[], None],
        is_written: bool,
    ) -> None:
        if not is_written:
            self._service.scribe.keep_end(number, end, answer)
        ended()

    def _fill(self, lease: tuple[str, int] | None = None) -> bytes:
        return self._template.fill(
            self.id,
            self.started_ms,
            is_reserved=self.is_reserved,
            mutated=self.mutated,
            length=self._length,
            lease=lease,
        )

    def _end(self, outcome: Outcome, response: ResponseHead | None, refusal: Refusal | None) -> End:
        request, answer = self.request, self.response
        status: int | None = None
        head = b""
        if response is not None:
            status = response.status
            head = response.lines
            if response.sets_cookies or response.has_addresses:
                head = join_headers(mask_headers(list(split_headers(head))))
        elif refusal is not None:
            status = refusal.status
        return End(
            outcome,
            status,
            head,
            refusal.code if refusal is not None else None,
            refusal.message if refusal is not None else None,
            request.size,
            answer.size,
            request.sha256,
            answer.sha256,
            request.tail,
            answer.tail,
            self._times.tobytes(),
            self.request_complete_us,
            self.dispatched_us,
            self.connect_us,
            self.response_head_us,
            int((self._service.now() - self.started) * 1e6),
            self.overhead_us,
            self.end_mutated,
        )


def _thinned(times: array[int]) -> array[int]:
    """Return every second mark: what came between two marks is known to have come by the later one."""
    kept = array("Q", bytes(8 * 2 * -(-len(times) // 4)))
    last = times[-2:]
    kept[0::2], kept[1::2] = times[0::4], times[1::4]
    if kept[-2:] != last:
        kept.extend(last)
    return kept
