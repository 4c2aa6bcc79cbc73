"""One exchange, from a request head to the last byte of its response, by callbacks alone.

    open ─▶ (collect) ─▶ admit ─▶ (reserve) ─▶ dispatch ─▶ response_began ─▶ response_body… ─▶ response_ended
      └──────────┴──────────┴─────────┴── refuse                └─ upstream_lost · client_left · a deadline

Every path ends in exactly one call of `_record`, which appends END to the journal before the client gets its last byte.
All other bytes go to the client first and are tapped afterwards. Durations come from the monotonic clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.errors import BadRequest, BadResponse, JournalUnavailable, LedgerUnavailable, UpstreamError
from proxy.gates.admission import Peek
from proxy.gateway.framing import LAST_CHUNK, ResponseHead, encode_chunks, has_no_body
from proxy.gateway.heads import own_response, response_head
from proxy.gateway.include_usage import Stripper, insert_option, is_rejection
from proxy.gateway.opening import Opening
from proxy.gateway.refusal import Refusal, body_of, headers_of, spelled, stream_error
from proxy.gateway.rewrite import ResultsRewriter, return_path, rewrite_head, takes_its_key_along
from proxy.gateway.routing import Route
from proxy.gateway.tape import FLUSH_BYTES, Tape
from proxy.records import Outcome
from proxy.reservations import Answer, Granted, Refused

if TYPE_CHECKING:
    from proxy.gateway.client import ClientConnection
    from proxy.gateway.service import Gateway
    from proxy.gateway.socket.relay import SocketRelay
    from proxy.gateway.upstream import UpstreamConnection

_ERROR_BYTES: Final = 64 * 1024
"""An error response to an edited request is held back up to this size, to see whether the edit caused it."""
_REDIRECTS: Final = frozenset((301, 302, 303, 307, 308))
_DONE: Final = b"[DONE]"
_POOL_GRACE_S: Final = 1.0
"""Beyond the time to connect, for a connection of a full pool to become free."""
_RACE_S: Final = 0.5
"""An idle connection that was closed under a request is noticed within a round trip; later it may have been read."""
_FOREVER: Final = float("inf")
_NO_LEDGER: Final = Refusal("recorder_unavailable", 503, "the ledger does not answer, so budgets cannot be checked")


class Relay:
    """One exchange between a client connection and an upstream connection."""

    # What most exchanges never change stands here, so that making one costs little.
    is_over: bool = False
    """END is in the journal."""
    request_is_sent: bool = False
    """Every byte of the request was handed to the upstream's connection."""
    _client_is_gone: bool = False
    _window_bytes: int = 0
    _is_collecting: bool = False
    _is_admitted: bool = False
    _peek: Peek | None = None
    _original: bytes | None = None
    """The client's own body, when another one is sent."""
    _is_edited: bool = False
    """What is sent upstream differs from what the client sent."""
    _remaining_nano: int | None = None
    _stripper: Stripper | ResultsRewriter | None = None
    """What changes the response's bytes on their way."""
    _rewrites_body: bool = False
    _upstream: UpstreamConnection | None = None
    _is_retry: bool = False
    _connect_started: float = 0.0
    _response: ResponseHead | None = None
    _pending_head: bytes | None = None
    """Head of the response, waiting for the first bytes of its body."""
    _is_chunked_out: bool = False
    _is_framed_out: bool = True
    _held_error: list[bytes] | None = None

    def __init__(
        self,
        service: Gateway,
        client: ClientConnection,
        opening: Opening,
        route: Route,
        tape: Tape,
        content_length: int | None,
    ) -> None:
        self.method = opening.head.method
        self._service = service
        self._client = client
        self._opening = opening
        self._head = opening.head
        self._route = route
        self._tape = tape
        self._content_length = content_length
        self._last_byte_at = tape.started
        self._window: list[bytes] = []
        """Request body bytes that were not sent yet."""
        if route.operation is not None and route.operation.endpoint == "message_batches":
            self._rewrites_body = True
        total = opening.claims.timeout_s or route.target.timeouts.total
        self._total_deadline = tape.started + total if total else _FOREVER

    # --- the request -------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Decide from the head alone: refuse, collect the body, or let it flow."""
        self._service.relays.add(self)
        refusal = self._opening.refusal
        length = self._content_length
        if refusal is None and length is not None and length > self._service.body_bytes:
            refusal = self._too_large()
        if refusal is not None:
            self.refuse(refusal)
        elif self._client.request_is_open:
            self._is_collecting = self._opening.window_bytes > 0
            if not self._is_collecting:
                self._admit(None)

    def request_body(self, piece: bytes) -> None:
        """Take a piece of the request body."""
        if self.is_over or not piece:
            return
        request = self._tape.request
        request.add(piece)
        if request.size > self._service.body_bytes:
            self.refuse(self._too_large())
            return
        upstream = self._upstream
        if upstream is not None:
            upstream.write(encode_chunks([piece]) if self._head.is_chunked else piece)
            self._last_byte_at = self._service.now()
            if request.pending_bytes >= FLUSH_BYTES:
                self._tape.flush_request()
            return
        self._window.append(piece)
        self._window_bytes += len(piece)
        if self._is_collecting:
            if self._window_bytes > self._opening.window_bytes:
                self._is_collecting = False
                self._admit(None)
        elif self._window_bytes > FLUSH_BYTES:
            self._client.pause_reading()

    def request_ended(self) -> None:
        """Take note that the request is complete."""
        if self.is_over:
            return
        self._tape.request_complete_us = self._tape.elapsed_us()
        if self._upstream is not None:
            if self._head.is_chunked:
                self._upstream.write(LAST_CHUNK)
            self.request_is_sent = True
            self._last_byte_at = self._service.now()
        elif not self._is_admitted:
            self._is_collecting = False
            body = self._window[0] if len(self._window) == 1 else b"".join(self._window)
            self._window = [body] if body else []
            self._admit(body)

    def _too_large(self) -> Refusal:
        return Refusal("too_large", 413, f"the body is larger than {self._service.body_bytes} bytes")

    def _admit(self, body: bytes | None) -> None:
        """Decide about a request; `body` is its whole body, None when it is not collected."""
        self._is_admitted = True
        gate, route, policy = self._service.gate, self._route, self._opening.policy
        peek = self._peek = gate.read(policy, route, self._head, body) if body else None
        refusal = gate.judge_request(policy, route, self._head, body, peek)
        if refusal is not None:
            self.refuse(refusal)
            return
        if body and peek is not None and gate.wants_usage(route, self._head, peek):
            edited = insert_option(body)
            if edited is not None:
                self._original = body
                self._is_edited = True
                self._window = [edited]
                self._tape.mutated = ("include_usage",)
        reserve = gate.reservation(
            self._tape.id,
            policy,
            route,
            method=self.method,
            user=self._opening.claims.user,
            input_bytes=self._content_length or self._tape.request.size,
            body=body,
            peek=peek,
            now_ms=self._tape.started_ms,
        )
        if reserve is None:
            self._dispatch()
        else:
            self._tape.is_reserved = True
            self._service.ledger.reserve(reserve, self._reserved)

    def _reserved(self, answer: Answer | LedgerUnavailable) -> None:
        if self.is_over:
            if isinstance(answer, Granted):
                self._service.ledger.release(self._tape.id)
        elif isinstance(answer, Granted):
            self._granted(answer)
        else:
            self._tape.is_reserved = False
            self.refuse(self._refusal_of(answer))

    def _granted(self, answer: Granted) -> None:
        self._remaining_nano = answer.remaining_nano_usd
        self._dispatch()

    def _refusal_of(self, answer: Answer | LedgerUnavailable) -> Refusal:
        return (
            self._service.gate.refusal_of(answer, self._opening.policy) if isinstance(answer, Refused) else _NO_LEDGER
        )

    # --- dispatch ----------------------------------------------------------------------------------------------

    def _dispatch(self) -> None:
        try:
            self._tape.begin()
        except JournalUnavailable as error:
            self._service.journal_failures += 1
            self.refuse(Refusal("recorder_unavailable", 503, str(error)))
            return
        self._connect()

    def _connect(self) -> None:
        try:
            pool = self._service.pool(self._route.target)
        except OSError as error:  # ssl.SSLError is one
            self.connect_failed(f"its certificates cannot be read: {error.strerror}")
            return
        connection = None if self._is_retry else pool.take(self)
        if connection is not None:
            self.connected(connection)
        else:
            self._connect_started = self._service.now()
            self._tape.connect_us = 0
            pool.connect(self)

    def connected(self, connection: UpstreamConnection) -> None:
        """Send what there is of the request."""
        tape, head, body = self._tape, self._head, self._window
        now = self._last_byte_at = self._service.now()
        if tape.connect_us is not None:
            tape.connect_us = int((now - self._connect_started) * 1e6)
        self._upstream = connection
        dispatched = tape.dispatched_us = int((now - tape.started) * 1e6)
        complete = tape.request_complete_us
        if complete is not None:
            tape.overhead_us = max(0, dispatched - complete - (tape.connect_us or 0))
            size = len(body[0]) if len(body) == 1 else sum(map(len, body))
            framing = b"content-length: %d\r\n\r\n" % size if body or self._content_length is not None else b"\r\n"
            self.request_is_sent = True
        else:
            self._window = []
            self._client.resume_reading()
            if head.is_chunked:
                framing = b"transfer-encoding: chunked\r\n\r\n"
                body = [encode_chunks(body)]
            else:
                framing = b"content-length: %d\r\n\r\n" % (self._content_length or 0)
        opening = self._opening
        first = opening.identity_head if self._must_read() else opening.upstream_head
        if opening.signer is not None:
            try:
                first += opening.signer.sign(first, self._route.target.origin.url, b"".join(body))
            except UpstreamError as error:
                self._drop_upstream()
                self.connect_failed(str(error))
                return
        connection.write(b"".join((first, framing, *body)))

    def _must_read(self) -> bool:
        """Say whether the answer must come without content coding."""
        return self._is_edited or self._rewrites_body

    def connect_failed(self, reason: str) -> None:
        """Answer for an upstream that cannot be reached."""
        if not self.is_over:
            message = f"the upstream `{self._route.target.name}` cannot be reached: {reason}"
            self.refuse(Refusal("upstream_unreachable", 502, message), outcome="upstream_error")

    def pause_request(self) -> None:
        """Stop reading from the client: the upstream takes no more."""
        self._client.pause_reading()

    def resume_request(self) -> None:
        """Read from the client again."""
        self._client.resume_reading()

    # --- the response ------------------------------------------------------------------------------------------

    def response_began(self, head: ResponseHead) -> None:
        """Take the upstream's response head."""
        self._response = head
        now = self._last_byte_at = self._service.now()
        self._tape.response_head_us = int((now - self._tape.started) * 1e6)
        if self._is_edited:
            if head.status in (400, 422):
                self._held_error = []
                return
            if head.is_event_stream:
                self._stripper = Stripper()
        if head.has_addresses or self._rewrites_body:
            self._rewrite(head)
        self._start_response(head)

    def _rewrite(self, head: ResponseHead) -> None:
        """Turn the addresses to which the client's SDK would go on past us."""
        path = return_path(self._head, self._route, is_tls=self._client.is_tls)
        is_lent = self._opening.is_lent
        self._tape.end_mutated += rewrite_head(
            head,
            path,
            self._ticket_for if is_lent else None,
            withholds=is_lent and head.status in _REDIRECTS and takes_its_key_along(self._head),
        )
        if self._rewrites_body and head.content_type.startswith(b"application/json") and not head.is_encoded:
            self._stripper = ResultsRewriter(path)

    def _ticket_for(self, target: bytes) -> str:
        policy, now_s = self._opening.policy, self._service.wall_ms() // 1000
        return self._service.gate.issue_ticket(policy, self._route.target.name, target, now_s) if policy else ""

    def upgraded(self, head: ResponseHead) -> SocketRelay:  # noqa: ARG002 - for the one relay that may
        """Take the head with which the upstream changes the protocol. Raises BadResponse."""
        raise BadResponse("it switched protocols")

    def _start_response(self, head: ResponseHead) -> None:
        self._pending_head, self._is_chunked_out = response_head(
            head,
            method=self.method,
            is_http_1_0=self._head.is_http_1_0,
            keeps_length=self._stripper is None,
            own=self._own_headers(),
            connection=self._connection_header(),
        )
        self._is_framed_out = self._is_chunked_out or head.content_length is not None

    def response_body(self, pieces: list[bytes]) -> None:
        """Relay pieces of the body. Called once for each read from the upstream, perhaps with none."""
        if self._held_error is not None:
            self._hold_error(pieces)
            return
        now = self._last_byte_at = self._service.now()
        if looks_like_the_end(pieces):
            # The client may take this for the end: what it has seen must survive us from now on.
            self._tape.tap(pieces, now)
            self._tape.flush_response()
            self._write_body(pieces)
            return
        self._write_body(pieces)
        self._tape.tap(pieces, now)

    def _write_body(self, pieces: list[bytes]) -> None:
        if self._stripper is not None and pieces:
            pieces = [self._stripper.feed(b"".join(pieces))]
        self._write(self._encoded(pieces))

    def _encoded(self, pieces: list[bytes]) -> bytes:
        if self._is_chunked_out:
            return encode_chunks(pieces)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _write(self, data: bytes) -> None:
        if self._pending_head is not None:
            data, self._pending_head = self._pending_head + data, None
        if data and not self._client_is_gone:
            self._client.write(data)

    def flush_head(self) -> None:
        """Send a response head whose body has not begun."""
        if self._pending_head is not None:
            self._write(b"")

    def response_ended(self, pieces: list[bytes]) -> None:
        """Relay the last pieces of a response that ended as its framing promised."""
        self._upstream = None
        if self._held_error is not None:
            self._held_error.extend(pieces)
            if self._resend_original():
                return
            pieces = self._release_error()
        self._tape.tap(pieces, self._service.now())
        self._end(pieces)

    def _end(self, pieces: list[bytes]) -> None:
        """Record the exchange and relay its last pieces, which are tapped already."""
        self._last_byte_at = self._service.now()
        if self._stripper is not None:
            pieces = [self._stripper.feed(b"".join(pieces)) + self._stripper.close()]
        last = self._encoded(pieces)
        if self._is_chunked_out:
            last += LAST_CHUNK
        self._record("completed")
        if self._service.is_strict:
            self._service.when_durable(lambda is_durable: self._deliver(last) if is_durable else self._withhold())
        else:
            self._deliver(last)

    def _deliver(self, last: bytes) -> None:
        """Hand over the last bytes and the connection."""
        if not self._client_is_gone:
            self._write(last)
            self._client.exchange_over(keep_alive=self._head.keep_alive and self._is_framed_or_empty())

    def _withhold(self) -> None:
        """Break off instead of ending: a client that got everything may count on the record."""
        if not self._client_is_gone:
            self._client.break_off(is_framed=self._is_framed_out and self._pending_head is None)

    def _is_framed_or_empty(self) -> bool:
        return self._is_framed_out or (self._response is not None and has_no_body(self.method, self._response.status))

    def pause_response(self) -> None:
        """Stop reading from the upstream: the client takes no more."""
        if self._upstream is not None:
            self._upstream.pause()

    def resume_response(self) -> None:
        """Read from the upstream again."""
        self._last_byte_at = self._service.now()
        if self._upstream is not None:
            self._upstream.resume()

    # --- an edited request that the upstream may object to -----------------------------------------------------

    def _hold_error(self, pieces: list[bytes]) -> None:
        held = self._held_error
        if held is None:
            return
        held.extend(pieces)
        if sum(map(len, held)) > _ERROR_BYTES:
            self.response_body(self._release_error())

    def _release_error(self) -> list[bytes]:
        held, self._held_error = self._held_error or [], None
        if self._response is not None:
            self._start_response(self._response)
        return held

    def _resend_original(self) -> bool:
        """Send the client's own bytes if the upstream rejected our edit; say whether it was so."""
        response, held, original = self._response, self._held_error, self._original
        if response is None or held is None or original is None:
            return False
        if not is_rejection(response.status, b"".join(held)):
            return False
        model = self._peek.model if self._peek is not None else None
        self._service.gate.usage_was_rejected(self._route, model)
        self._tape.end_mutated += ("include_usage_rejected",)
        self._held_error = self._response = None
        self._is_edited = False
        self._window = [original]
        self._connect()
        return True

    def _cut(self, refusal: Refusal) -> None:
        """End a running stream with an error that its wire knows."""
        response, route = self._response, self._route
        kind = response.content_type if response is not None and not response.is_encoded else b""
        event = stream_error(refusal, route.envelope, route.endpoint, self._tape.id, kind)
        self._drop_upstream()
        self._record("refused", refusal)
        if self._client_is_gone:
            return
        if event is None or not self._is_chunked_out:
            self._client.break_off(is_framed=self._is_framed_out)
            return
        self._write(encode_chunks([event]) + LAST_CHUNK)
        self._client.exchange_over(keep_alive=False)

    # --- endings that nobody wished for ------------------------------------------------------------------------

    def upstream_lost(self, connection: UpstreamConnection, *, is_clean: bool) -> None:
        """Take note that the upstream's connection is gone before the response was complete."""
        self._upstream = None
        if self.is_over:
            return
        if connection.is_reused and not connection.got_bytes and not self._is_retry and self._can_send_again():
            # It closed an idle connection while our request was on its way: nobody has read the request.
            self._is_retry = True
            self._tape.end_mutated += ("resent",)
            self._connect()
            return
        self.upstream_broke("it closed the connection before its answer was complete", is_clean=is_clean)

    def _can_send_again(self) -> bool:
        is_fresh = self._service.now() - self._last_byte_at < _RACE_S
        return is_fresh and self.request_is_sent and (bool(self._window) or not self._tape.request.size)

    def upstream_broke(self, reason: str, *, is_clean: bool) -> None:
        """End an exchange whose upstream failed: an answer of ours if nothing was sent yet, else a visible break."""
        self._upstream = None
        if self.is_over:
            return
        if self._response is None or self._pending_head is not None or self._held_error is not None:
            message = f"the upstream `{self._route.target.name}` failed: {reason}"
            self._response = self._pending_head = self._held_error = None
            self.refuse(Refusal("upstream_unreachable", 502, message), outcome="upstream_reset")
            return
        if self._stripper is not None:
            self._write(self._encoded([self._stripper.close()]))
        self._record("truncated" if is_clean else "upstream_reset")
        if not self._client_is_gone:
            self._client.break_off(is_framed=self._is_framed_out)

    def client_left(self) -> None:
        """Take note that the client is gone; cancel the upstream, or drain it where the configuration says so."""
        self._client_is_gone = True
        if self.is_over:
            return
        if self._route.target.drains and self.request_is_sent and self._upstream is not None:
            self.resume_response()
            return
        self._drop_upstream()
        self._record("client_closed")

    def refuse_bad_request(self, error: BadRequest) -> None:
        """Answer a request that turned out to be unacceptable while it arrived."""
        self.refuse(Refusal(error.code, error.status, str(error)))

    def refuse(self, refusal: Refusal, *, outcome: Outcome = "refused") -> None:
        """Answer from here; if the response has begun already, break it off instead."""
        if self.is_over:
            return
        self._drop_upstream()
        if self._response is not None and self._pending_head is None and self._held_error is None:
            self._record(outcome, refusal)
            if not self._client_is_gone:
                self._client.break_off(is_framed=self._is_framed_out)
            return
        envelope = self._route.envelope
        refusal = spelled(refusal, envelope)
        body = body_of(refusal, envelope, self._tape.id)
        self._response = self._tape.response_head_us = None
        if refusal.code != "invalid_key":
            self._tape.response.add(body)
        self._record(outcome, refusal)
        if self._client_is_gone:
            return
        keep_alive = self._head.keep_alive and not self._client.request_is_open
        shown = b"" if self.method == b"HEAD" else body
        headers = headers_of(refusal, envelope, self._tape.id) + self._own_headers()
        connection = b"" if keep_alive else b"connection: close\r\n"
        self._client.write(own_response(refusal.status, headers, shown, connection))
        self._client.exchange_over(keep_alive=keep_alive)

    def check_deadlines(self, now: float) -> None:
        """End the exchange if it waited too long for somebody. Called with the clock tick."""
        timeouts = self._route.target.timeouts
        if now > self._total_deadline:
            self._time_out("the whole exchange took too long")
        elif self._upstream is not None and not self.request_is_sent and self._client.is_reading_paused:
            if now - self._last_byte_at > timeouts.idle:
                self._time_out(f"the upstream took nothing of the request for {timeouts.idle:g} s")
        elif self._client.request_is_open and (self._upstream is None or not self.request_is_sent):
            if now - self._client.last_read > self._service.timeouts.body_idle:
                self.refuse(Refusal("bad_request", 408, "the request body took too long"), outcome="timeout")
        elif self._upstream is None:
            # The ledger and an attempt to connect have deadlines of their own; a place in the pool has this one.
            is_connecting = self._connect_started and self._response is None
            if is_connecting and now - self._connect_started > timeouts.connect + _POOL_GRACE_S:
                self.connect_failed("all its connections are in use")
        elif self._client.paused_since is not None:
            if now - self._client.paused_since > self._service.timeouts.write_stall:
                self._drop_upstream()
                self._record("client_closed")
                self._client.break_off(is_framed=False)
        elif self._response is None:
            if now - self._last_byte_at > timeouts.first_byte:
                self._time_out(f"the upstream did not answer within {timeouts.first_byte:g} s")
        elif now - self._last_byte_at > timeouts.idle:
            self._time_out(f"the upstream sent nothing for {timeouts.idle:g} s")

    def _time_out(self, reason: str) -> None:
        self.refuse(Refusal("upstream_timeout", 504, reason), outcome="timeout")

    def cut_for_shutdown(self) -> None:
        """End the exchange because this process stops."""
        refusal = Refusal("draining", 503, "the proxy is stopping")
        if self.is_over:
            return
        if self._response is None:
            self.refuse(refusal)
        else:
            self._cut(refusal)

    def _drop_upstream(self) -> None:
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.detach()

    # --- the record --------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Hand what was tapped to the journal. Called with the clock tick."""
        self._tape.flush_request()
        self._tape.flush_response()

    def _record(self, outcome: Outcome, refusal: Refusal | None = None) -> None:
        """Append END, once, and free the place in the ledger."""
        if self.is_over:
            return
        self.is_over = True
        self._service.relays.discard(self)
        tape = self._tape
        if isinstance(self._stripper, ResultsRewriter) and self._stripper.edits:
            tape.end_mutated += ("results_url",)
        was_dispatched = tape.number is not None
        tape.end(outcome, self._response, refusal)
        if tape.is_reserved:
            if was_dispatched:
                self._service.ledger.finish(tape.id)
            else:
                self._service.ledger.release(tape.id)

    def _own_headers(self) -> bytes:
        tape = self._tape
        lines = b"x-glassline-request-id: %b\r\nx-glassline-overhead-ms: %.3f\r\n" % (
            tape.id.encode(),
            tape.overhead_us / 1000,
        )
        trace_id = self._opening.claims.trace_id
        if trace_id is not None:
            lines += b"x-glassline-trace-id: " + _header_safe(trace_id) + b"\r\n"
        if self._remaining_nano is not None:
            lines += b"x-glassline-budget-remaining-usd: %.9f\r\n" % (self._remaining_nano / 1e9)
        return lines

    def _connection_header(self) -> bytes:
        if self._service.is_draining or not self._head.keep_alive:
            return b"connection: close\r\n"
        return b"connection: keep-alive\r\n" if self._head.is_http_1_0 else b""


def looks_like_the_end(pieces: list[bytes]) -> bool:
    """Say whether a client may take these pieces for the end of a stream."""
    return bool(pieces) and pieces[-1][-16:].rstrip().endswith(_DONE)


def _header_safe(text: str) -> bytes:
    return bytes(byte for byte in text.encode("utf-8", "replace") if byte >= 0x20 and byte != 0x7F)
