"""One exchange, from a request head to the last byte of its response, by callbacks alone.

    open ─▶ (collect) ─▶ admit ─▶ (reserve) ─▶ dispatch ─▶ response_began ─▶ response_body… ─▶ response_ended
      └──────────┴──────────┴─────────┴── refuse                └─ upstream_lost · client_left · a deadline

Every path ends in exactly one call of `_record`, which appends END to the journal before the client gets its last byte.
All other bytes go to the client first and are tapped afterwards. Durations come from the monotonic clock.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Final

from proxy.errors import BadRequest, JournalUnavailable, LedgerUnavailable
from proxy.gates.admission import Peek
from proxy.gates.admission import peek as read_peek
from proxy.gateway.capture import Capture
from proxy.gateway.framing import LAST_CHUNK, RequestHead, ResponseHead, encode_chunks
from proxy.gateway.gate import endpoint_kind
from proxy.gateway.heads import own_response, recorded_headers, request_head, response_head
from proxy.gateway.identity import Claims, mask_secrets
from proxy.gateway.include_usage import Stripper, insert_option, is_rejection
from proxy.gateway.meter import Meter
from proxy.gateway.refusal import Refusal, body_of, headers_of, stream_error
from proxy.gateway.routing import Route
from proxy.journal import CHUNK_REQUEST, CHUNK_RESPONSE
from proxy.ledger.messages import Answer, Granted, Refused, Reserve
from proxy.records import Begin, End, Outcome

if TYPE_CHECKING:
    from proxy.gates.keys import KeyPolicy
    from proxy.gateway.client import ClientConnection
    from proxy.gateway.service import Gateway
    from proxy.gateway.upstream import UpstreamConnection

FLUSH_BYTES: Final = 64 * 1024
"""Captured bytes that wait in memory before they go to the journal; the clock tick flushes what waits longer."""
_ERROR_BYTES: Final = 64 * 1024
"""An error response to an edited request is held back up to this size, to see whether the edit caused it."""
_EXTEND_AHEAD: Final = 512
"""Tokens left in the reservation of a stream when more are asked for: some 100 ms of a fast model, many round trips."""
_DONE: Final = b"[DONE]"


class Relay:
    """One exchange between a client connection and an upstream connection."""

    __slots__ = (
        "_asked_tokens",
        "_begin",
        "_captured_request",
        "_captured_response",
        "_claims",
        "_client",
        "_client_is_gone",
        "_connect_started",
        "_connect_us",
        "_dispatched_us",
        "_granted_tokens",
        "_head",
        "_held_error",
        "_is_chunked_out",
        "_is_collecting",
        "_is_framed_out",
        "_is_reserved",
        "_is_retry",
        "_journal_number",
        "_last_byte_at",
        "_meter",
        "_mutated",
        "_original",
        "_overhead_us",
        "_peek",
        "_pending_head",
        "_policy",
        "_remaining_nano",
        "_request_complete_us",
        "_response",
        "_response_head_us",
        "_route",
        "_service",
        "_started",
        "_started_ms",
        "_stripper",
        "_times",
        "_total_deadline",
        "_upstream",
        "_window",
        "_window_bytes",
        "_window_limit",
        "id",
        "is_over",
        "method",
        "request_is_sent",
    )

    def __init__(
        self,
        service: Gateway,
        client: ClientConnection,
        head: RequestHead,
        route: Route,
        policy: KeyPolicy | None,
        claims: Claims,
    ) -> None:
        self.id = service.new_id()
        self.method = head.method
        self.is_over = False
        """END is in the journal, or never will be."""
        self.request_is_sent = False
        """Every byte of the request was handed to the upstream's connection."""
        self._service = service
        self._client = client
        self._client_is_gone = False
        self._head = head
        self._route = route
        self._policy = policy
        self._claims = claims
        self._started = self._last_byte_at = service.now()
        self._started_ms = service.wall_ms()
        total = claims.timeout_s or route.target.timeouts.total
        self._total_deadline = self._started + total if total else float("inf")
        self._window: list[bytes] = []
        """Request body bytes that were not sent yet."""
        self._window_bytes = 0
        self._window_limit = 0
        self._is_collecting = False
        self._peek: Peek | None = None
        self._original: bytes | None = None
        """The client's own body, when another one is sent."""
        self._mutated: tuple[str, ...] = ()
        self._is_reserved = False
        self._remaining_nano: int | None = None
        self._granted_tokens: int | None = None
        """Output tokens that the reservation covers; None: all."""
        self._asked_tokens = 0
        self._meter: Meter | None = None
        self._stripper: Stripper | None = None
        self._journal_number: int | None = None
        self._begin: Begin | None = None
        self._upstream: UpstreamConnection | None = None
        self._is_retry = False
        self._connect_started = 0.0
        self._connect_us: int | None = None
        self._dispatched_us: int | None = None
        self._request_complete_us: int | None = None
        self._response_head_us: int | None = None
        self._overhead_us = 0
        self._response: ResponseHead | None = None
        self._pending_head: bytes | None = None
        """Head of the response, waiting for the first bytes of its body or the end of this loop iteration."""
        self._is_chunked_out = False
        self._is_framed_out = True
        self._held_error: list[bytes] | None = None
        self._captured_request = Capture(service.capture_bytes)
        self._captured_response = Capture(service.capture_bytes)
        self._times = array("Q")

    # --- the request -------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Decide from the head alone: refuse, collect the body, or let it flow."""
        self._service.relays.add(self)
        gate = self._service.gate
        refusal = gate.judge_caller(self._policy, self._route.target.name)
        length = self._head.content_length
        if refusal is None and length is not None and length > self._service.body_bytes:
            refusal = self._too_large()
        if refusal is not None:
            self.refuse(refusal)
            return
        if self._head.has_body:
            self._window_limit = gate.window_for(self._policy, self._route, self.method)
            self._is_collecting = self._window_limit > 0
            if not self._is_collecting:
                self._admit(None)

    def request_body(self, piece: bytes) -> None:
        """Take a piece of the request body."""
        if self.is_over or not piece:
            return
        self._captured_request.add(piece)
        if self._captured_request.size > self._service.body_bytes:
            self.refuse(self._too_large())
            return
        upstream = self._upstream
        if upstream is not None:
            upstream.write(encode_chunks([piece]) if self._head.is_chunked else piece)
            self._last_byte_at = self._service.now()
            if self._captured_request.pending_bytes >= FLUSH_BYTES:
                self._flush_request()
            return
        self._window.append(piece)
        self._window_bytes += len(piece)
        if self._is_collecting:
            if self._window_bytes > self._window_limit:
                self._is_collecting = False
                self._admit(None)
        elif self._window_bytes > FLUSH_BYTES:
            self._client.pause_reading()

    def request_ended(self) -> None:
        """Take note that the request is complete."""
        if self.is_over:
            return
        self._request_complete_us = self._elapsed_us()
        if self._upstream is not None:
            if self._head.is_chunked:
                self._upstream.write(LAST_CHUNK)
            self.request_is_sent = True
            self._last_byte_at = self._service.now()
        elif self._is_collecting or not self._head.has_body:
            self._is_collecting = False
            body = self._window[0] if len(self._window) == 1 else b"".join(self._window)
            self._window = [body] if body else []
            self._admit(body)

    def _too_large(self) -> Refusal:
        return Refusal("too_large", 413, f"the body is larger than {self._service.body_bytes} bytes")

    def _admit(self, body: bytes | None) -> None:
        """Decide about a request; `body` is its whole body, None when it is not collected."""
        gate = self._service.gate
        peek = self._peek = read_peek(body, endpoint_kind(self._route.endpoint)) if body else None
        refusal = gate.judge_request(self._policy, self._route, self.method, body, peek)
        if refusal is not None:
            self.refuse(refusal)
            return
        if body and peek is not None and gate.wants_usage(self._route, self._head, peek):
            edited = insert_option(body)
            if edited is not None:
                self._original = body
                self._window = [edited]
                self._mutated = ("include_usage",)
        reserve = gate.reservation(
            self.id,
            self._policy,
            self._route,
            user=self._claims.user,
            input_bytes=self._head.content_length or self._captured_request.size,
            peek=peek,
            now_ms=self._started_ms,
        )
        if reserve is None:
            self._dispatch()
        else:
            self._reserve(reserve)

    def _reserve(self, reserve: Reserve) -> None:
        self._is_reserved = True
        self._service.ledger.reserve(reserve, self._reserved)

    def _reserved(self, answer: Answer | LedgerUnavailable) -> None:
        if self.is_over:
            if isinstance(answer, Granted):
                self._service.ledger.release(self.id)
            return
        if isinstance(answer, Granted):
            self._remaining_nano = answer.remaining_nano_usd
            self._granted_tokens = answer.output_tokens
            if answer.output_tokens is not None:
                self._meter = Meter(self._peek.choices if self._peek is not None else 1)
            self._dispatch()
            return
        self._is_reserved = False
        if isinstance(answer, Refused):
            self.refuse(self._service.gate.refusal_of(answer, self._policy))
        else:
            self.refuse(
                Refusal("recorder_unavailable", 503, "the ledger does not answer, so budgets cannot be checked")
            )

    # --- dispatch ----------------------------------------------------------------------------------------------

    def _dispatch(self) -> None:
        begin = self._make_begin()
        try:
            self._journal_number = self._service.journal.begin(begin, self._captured_request.take())
        except JournalUnavailable as error:
            self._service.journal_failures += 1
            self.refuse(Refusal("recorder_unavailable", 503, str(error)))
            return
        self._begin = begin
        self._connect()

    def _connect(self) -> None:
        pool = self._service.pool(self._route.target)
        self._connect_started = self._service.now()
        connection = None if self._is_retry else pool.take(self)
        if connection is not None:
            self.connected(connection)
        else:
            self._connect_us = 0
            pool.connect(self)

    def connected(self, connection: UpstreamConnection) -> None:
        """Send what there is of the request."""
        now = self._service.now()
        if self._connect_us is not None:
            self._connect_us = int((now - self._connect_started) * 1e6)
        self._upstream = connection
        self._last_byte_at = now
        dispatched = self._dispatched_us = int((now - self._started) * 1e6)
        complete = self._request_complete_us
        if complete is not None:
            self._overhead_us = max(0, dispatched - complete - (self._connect_us or 0))
        body = self._window
        size: int | None
        if complete is not None:
            size = len(body[0]) if len(body) == 1 else sum(map(len, body))
            self.request_is_sent = True
        else:
            size = self._head.content_length
            self._window = []
            self._client.resume_reading()
            if size is None:
                body = [encode_chunks(body)]
        target = self._route.target
        head = request_head(
            self._head,
            path=self._route.upstream_path,
            host=target.host_header,
            body_size=size,
            credential=self._service.gate.lent_credential(self._policy, target),
            identity_encoding=bool(self._mutated),
        )
        connection.write(b"".join((head, *body)))

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
        self._last_byte_at = self._service.now()
        self._response_head_us = int((self._last_byte_at - self._started) * 1e6)
        if self._mutated:
            if head.status in (400, 422):
                self._held_error = []
                return
            if head.is_event_stream:
                self._stripper = Stripper()
        self._start_response(head)

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
        self._last_byte_at = self._service.now()
        if pieces and pieces[-1][-16:].rstrip().endswith(_DONE):
            # The client may take this for the end: what it has seen must survive us from now on.
            self._tap(pieces)
            self._flush_response()
            self._write_body(pieces)
            return
        self._write_body(pieces)
        self._tap(pieces)
        if self._captured_response.pending_bytes >= FLUSH_BYTES:
            self._flush_response()
        if self._meter is not None:
            self._watch_budget(pieces)

    def _write_body(self, pieces: list[bytes]) -> None:
        stripper = self._stripper
        if stripper is not None and pieces:
            pieces = [stripper.feed(b"".join(pieces))]
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

    def _tap(self, pieces: list[bytes]) -> None:
        if not pieces:
            return
        captured = self._captured_response
        for piece in pieces:
            captured.add(piece)
        self._times.extend((captured.size, int((self._last_byte_at - self._started) * 1e6)))
        self._service.dirty.add(self)

    def response_ended(self, pieces: list[bytes]) -> None:
        """Relay the last pieces of a response that ended as its framing promised."""
        self._upstream = None
        if self._held_error is not None:
            self._held_error.extend(pieces)
            if self._resend_original():
                return
            pieces = self._release_error()
        arrived = self._last_byte_at = self._service.now()
        self._tap(pieces)
        if self._stripper is not None:
            pieces = [self._stripper.feed(b"".join(pieces)) + self._stripper.close()]
        last = self._encoded(pieces)
        if self._is_chunked_out:
            last += LAST_CHUNK
        self._record("completed")
        self._overhead_us += int((self._service.now() - arrived) * 1e6)
        self._service.when_durable(lambda: self._deliver(last))

    def _deliver(self, last: bytes) -> None:
        """Hand over the last bytes and the connection."""
        if self._client_is_gone:
            return
        self._write(last)
        self._client.exchange_over(keep_alive=self._head.keep_alive and self._is_framed_or_empty())

    def _is_framed_or_empty(self) -> bool:
        return self._is_framed_out or (self._response is not None and self._response.status in (204, 304))

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
        self._held_error = None
        self._mutated = ()
        self._window = [original]
        self._response = None
        self._connect()
        return True

    # --- a hard budget and a running stream --------------------------------------------------------------------

    def _watch_budget(self, pieces: list[bytes]) -> None:
        meter, granted = self._meter, self._granted_tokens
        if meter is None or granted is None:
            return
        for piece in pieces:
            meter.feed(piece)
        needed = meter.output_tokens + _EXTEND_AHEAD
        if needed <= granted or needed <= self._asked_tokens:
            return
        self._asked_tokens = needed
        if meter.output_tokens > granted:
            self.pause_response()
        self._service.ledger.extend(self.id, needed, self._extended)

    def _extended(self, answer: Answer | LedgerUnavailable) -> None:
        if self.is_over:
            return
        if isinstance(answer, Granted):
            self._granted_tokens = answer.output_tokens
            if answer.output_tokens is None:
                self._meter = None
            if self._client.paused_since is None:
                self.resume_response()
            return
        if isinstance(answer, Refused):
            self._cut(self._service.gate.refusal_of(answer, self._policy))
        else:
            self._cut(Refusal("recorder_unavailable", 503, "the ledger does not answer, so the stream cannot go on"))

    def _cut(self, refusal: Refusal) -> None:
        """End a running stream with an error that its wire knows."""
        event = stream_error(refusal, self._route.target.wire, self._route.endpoint, self.id)
        self._drop_upstream()
        self._record("refused", refusal)
        if self._client_is_gone:
            return
        response = self._response
        if event is None or response is None or not response.is_event_stream or not self._is_chunked_out:
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
            self._connect()
            return
        self.upstream_broke("it closed the connection before its answer was complete", is_clean=is_clean)

    def _can_send_again(self) -> bool:
        return self.request_is_sent and (bool(self._window) or not self._head.has_body)

    def upstream_broke(self, reason: str, *, is_clean: bool) -> None:
        """End an exchange whose upstream failed: an answer of ours if nothing was sent yet, else a visible break."""
        self._upstream = None
        if self.is_over:
            return
        outcome: Outcome = "truncated" if is_clean else "upstream_reset"
        if self._response is None or self._pending_head is not None or self._held_error is not None:
            message = f"the upstream `{self._route.target.name}` failed: {reason}"
            self._response = self._pending_head = self._held_error = None
            self.refuse(Refusal("upstream_unreachable", 502, message), outcome="upstream_reset")
            return
        if self._stripper is not None:
            self._write(self._encoded([self._stripper.close()]))
        self._record(outcome)
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
        body = body_of(refusal, self._route.target.wire, self.id)
        self._response = self._response_head_us = None
        if refusal.code != "invalid_key":
            self._captured_response.add(body)
        self._record(outcome, refusal)
        if self._client_is_gone:
            return
        keep_alive = self._head.keep_alive and not self._client.request_is_open
        shown = b"" if self.method == b"HEAD" else body
        headers = headers_of(refusal) + self._own_headers()
        connection = b"" if keep_alive else b"connection: close\r\n"
        self._client.write(own_response(refusal.status, headers, shown, connection))
        self._client.exchange_over(keep_alive=keep_alive)

    def check_deadlines(self, now: float) -> None:
        """End the exchange if it waited too long for somebody. Called with the clock tick."""
        timeouts = self._route.target.timeouts
        if now > self._total_deadline:
            self._time_out("the whole exchange took too long")
        elif self._upstream is None:
            if self._client.request_is_open and now - self._client.last_read > self._service.timeouts.body_idle:
                self.refuse(Refusal("bad_request", 408, "the request body took too long"), outcome="timeout")
        elif self._client.paused_since is not None:
            if now - self._client.paused_since > self._service.timeouts.write_stall:
                self._drop_upstream()
                self._record("client_closed")
                self._client.break_off(is_framed=False)
        elif self._response is None:
            if self.request_is_sent and now - self._last_byte_at > timeouts.first_byte:
                self._time_out(f"the upstream did not answer within {timeouts.first_byte:g} s")
            elif not self.request_is_sent and now - self._client.last_read > self._service.timeouts.body_idle:
                self.refuse(Refusal("bad_request", 408, "the request body took too long"), outcome="timeout")
        elif now - self._last_byte_at > timeouts.idle:
            self._time_out(f"the upstream sent nothing for {timeouts.idle:g} s")

    def _time_out(self, reason: str) -> None:
        self.refuse(Refusal("upstream_timeout", 504, reason), outcome="timeout")

    def cut_for_shutdown(self) -> None:
        """End the exchange because this process stops."""
        if not self.is_over:
            if self._response is None:
                self.refuse(Refusal("draining", 503, "the proxy is stopping"))
            else:
                self._cut(Refusal("draining", 503, "the proxy is stopping"))

    def _drop_upstream(self) -> None:
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.detach()

    # --- the record --------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Hand what was tapped to the journal. Called with the clock tick."""
        if not self.is_over:
            self._flush_response()
            self._flush_request()
            if self._pending_head is not None:
                self._write(b"")

    def flush_head(self) -> None:
        """Send a response head whose body has not begun."""
        if self._pending_head is not None:
            self._write(b"")

    def _flush_request(self) -> None:
        data = self._captured_request.take()
        if data and self._journal_number is not None:
            self._service.keep(CHUNK_REQUEST, self._journal_number, data)

    def _flush_response(self) -> None:
        data = self._captured_response.take()
        if data and self._journal_number is not None:
            self._service.keep(CHUNK_RESPONSE, self._journal_number, data)

    def _record(self, outcome: Outcome, refusal: Refusal | None = None) -> None:
        """Append END, once, and let go of what the exchange held."""
        if self.is_over:
            return
        self.is_over = True
        service = self._service
        service.relays.discard(self)
        service.dirty.discard(self)
        request = self._captured_request.take()
        response = self._captured_response.take()
        number = self._journal_number
        if number is None:
            keeps = refusal is None or refusal.code != "invalid_key"
            begin = self._begin or self._make_begin()
            service.keep_whole(begin, self._make_end(outcome, refusal), request if keeps else b"", response)
        else:
            if request:
                service.keep(CHUNK_REQUEST, number, request)
            service.keep_end(number, self._make_end(outcome, refusal), response)
        if self._is_reserved:
            if number is None:
                service.ledger.release(self.id)
            else:
                service.ledger.finish(self.id)

    def _make_begin(self) -> Begin:
        claims, policy, route = self._claims, self._policy, self._route
        tags = dict(claims.tags)
        tags.update(route.tags)
        if policy is not None:
            tags.update(policy.tags)
        return Begin(
            id=self.id,
            started_at_ms=self._started_ms,
            upstream=route.target.name,
            wire=route.target.wire,
            provider=route.target.provider,
            is_free=route.target.is_free,
            method=self.method.decode("ascii"),
            path=route.recorded_path,
            headers=mask_secrets(recorded_headers(self._head.headers)),
            key=policy.name if policy is not None else None,
            user=claims.user,
            session=claims.session,
            trace_id=claims.trace_id,
            parent_id=claims.parent_id,
            environment=claims.environment,
            tags=tags,
            prompt_name=claims.prompt_name,
            prompt_version=claims.prompt_version,
            attempt=claims.attempt,
            is_reserved=self._is_reserved,
            mutated=self._mutated,
            no_store=claims.no_store,
        )

    def _make_end(self, outcome: Outcome, refusal: Refusal | None) -> End:
        response = self._response
        status = refusal.status if response is None and refusal is not None else None
        if response is not None:
            status = response.status
        rejected = ("include_usage_rejected",) if self._original is not None and not self._mutated else ()
        return End(
            outcome=outcome,
            status=status,
            headers=mask_secrets(response.headers) if response is not None else (),
            error_code=refusal.code if refusal is not None else None,
            error_message=refusal.message if refusal is not None else None,
            request_size=self._captured_request.size,
            response_size=self._captured_response.size,
            request_sha256=self._captured_request.sha256,
            response_sha256=self._captured_response.sha256,
            request_tail=self._captured_request.tail,
            response_tail=self._captured_response.tail,
            times=self._times.tobytes(),
            request_complete_us=self._request_complete_us,
            dispatched_us=self._dispatched_us,
            connect_us=self._connect_us,
            response_head_us=self._response_head_us,
            ended_us=self._elapsed_us(),
            overhead_us=self._overhead_us,
            mutated=rejected,
        )

    def _own_headers(self) -> bytes:
        lines = b"x-glassline-request-id: %b\r\nx-glassline-overhead-ms: %.3f\r\n" % (
            self.id.encode(),
            self._overhead_us / 1000,
        )
        if self._claims.trace_id is not None:
            lines += b"x-glassline-trace-id: " + _header_safe(self._claims.trace_id) + b"\r\n"
        if self._remaining_nano is not None:
            lines += b"x-glassline-budget-remaining-usd: %.9f\r\n" % (self._remaining_nano / 1e9)
        return lines

    def _connection_header(self) -> bytes:
        if self._service.is_draining or not self._head.keep_alive:
            return b"connection: close\r\n"
        return b"connection: keep-alive\r\n" if self._head.is_http_1_0 else b""

    def _elapsed_us(self) -> int:
        return int((self._service.now() - self._started) * 1e6)


def _header_safe(text: str) -> bytes:
    return bytes(byte for byte in text.encode("utf-8", "replace") if byte >= 0x20 and byte != 0x7F)
