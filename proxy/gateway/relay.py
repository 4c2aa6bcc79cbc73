"""One exchange, from a request head to the last byte of its response, by callbacks alone.

    open ─▶ (collect) ─▶ admit ─▶ (reserve) ─▶ dispatch ─▶ response_began ─▶ response_body… ─▶ response_ended
      └──────────┴──────────┴─────────┴── refuse                └─ upstream_lost · client_left · a deadline

Every path ends in exactly one call of `_record`, which appends END to the journal before the client gets its last byte.
All other bytes go to the client first and are tapped afterwards. Durations come from the monotonic clock.
What is sent a second time is the business of `proxy.gateway.retry`, what a budget holds back that of
`proxy.gateway.metered`; both are layers on this one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from proxy.errors import BadRequest, BadResponse, JournalUnavailable, LedgerUnavailable, UpstreamError
from proxy.failpoints import failpoint
from proxy.framing import LAST_CHUNK, ResponseHead, encode_chunks
from proxy.gates.admission import Peek
from proxy.gateway.delivery import Delivery
from proxy.gateway.include_usage import Stripper, insert_option
from proxy.gateway.opening import Opening
from proxy.gateway.refusal import Refusal, body_of, headers_of, spelled, stream_error
from proxy.gateway.rewrite import ResultsRewriter, return_path, rewrite_head, takes_its_key_along
from proxy.gateway.routing import Route
from proxy.gateway.tape import FLUSH_BYTES, Tape
from proxy.records import Outcome
from proxy.reservations import Answer, Granted, Refused, Reserve

if TYPE_CHECKING:
    from proxy.gateway.client import ClientConnection
    from proxy.gateway.service import Gateway
    from proxy.gateway.socket.relay import SocketRelay
    from proxy.gateway.upstream import UpstreamConnection

_HELD_BYTES: Final = 64 * 1024
"""A response that may not be the last word is held back up to this size."""
_REDIRECTS: Final = frozenset((301, 302, 303, 307, 308))
_DONE: Final = b"[DONE]"
_POOL_GRACE_S: Final = 1.0
"""Beyond the time to connect, for a connection of a full pool to become free."""
_FOREVER: Final = float("inf")
STOPPING: Final = Refusal("draining", 503, "the proxy is stopping")
OVERLOADED: Final = Refusal("overloaded", 503, "the bodies in memory have reached limits.memory_mb")
_NO_LEDGER: Final = Refusal("recorder_unavailable", 503, "the ledger does not answer, so budgets cannot be checked")


class Relay:
    """One exchange between a client connection and an upstream connection."""

    __slots__ = (
        "_client",
        "_connect_started",
        "_content_length",
        "_delivery",
        "_head",
        "_held",
        "_is_admitted",
        "_is_collecting",
        "_is_edited",
        "_last_byte_at",
        "_opening",
        "_original",
        "_peek",
        "_remaining_nano",
        "_response",
        "_rewrites_body",
        "_route",
        "_service",
        "_tape",
        "_total_deadline",
        "_upstream",
        "_wants_fresh_connection",
        "_window",
        "_window_bytes",
        "is_over",
        "method",
        "request_is_sent",
    )

    def __init__(
        self,
        service: Gateway,
        client: ClientConnection,
        opening: Opening,
        route: Route,
        tape: Tape,
        content_length: int | None,
    ) -> None:
        self.is_over = False
        """END is in the journal."""
        self.request_is_sent = False
        """Every byte of the request was handed to the upstream's connection."""
        self.method = opening.head.method
        self._service = service
        self._client = client
        self._delivery = Delivery(client, opening.head)
        self._opening = opening
        self._head = opening.head
        self._route = route
        self._tape = tape
        self._content_length = content_length
        self._last_byte_at = tape.started
        self._window: list[bytes] = []
        """Request body bytes that were not sent yet."""
        self._window_bytes = 0
        self._is_collecting = self._is_admitted = False
        self._peek: Peek | None = None
        self._original: bytes | None = None
        """The client's own body, when another one is sent."""
        self._is_edited = False
        """What is sent upstream differs from what the client sent."""
        self._remaining_nano: int | None = None
        self._upstream: UpstreamConnection | None = None
        self._wants_fresh_connection = False
        self._connect_started = 0.0
        self._response: ResponseHead | None = None
        self._held: list[bytes] | None = None
        """Pieces of a response of which the client may never hear; None: it hears of this one."""
        self._rewrites_body = route.operation is not None and route.operation.endpoint == "message_batches"
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
        if refusal is None and self._client.request_is_open and not self._service.has_room():
            refusal = OVERLOADED
        if refusal is not None:
            self.refuse(self._service.judge_failure(self._client, self._head, refusal))
        elif self._client.request_is_open:
            self._is_collecting = self._opening.window_bytes > 0
            if not self._is_collecting:
                self._admit(None)

    def request_body(self, piece: bytes, *, is_last: bool) -> None:
        """Take a piece of the request body, b"" perhaps when it is the last."""
        if self.is_over:
            return
        tape, service = self._tape, self._service
        if piece:
            tape.request.add(piece)
            if tape.request.size > service.body_bytes:
                self.refuse(self._too_large())
                return
        if is_last:
            tape.request_complete_us = int((service.now() - tape.started) * 1e6)
        if self._upstream is not None:
            self._send_on(self._upstream, piece, is_last=is_last)
        elif piece and not self._await(piece):
            self.refuse(OVERLOADED)
        elif self._is_collecting and self._window_bytes > self._opening.window_bytes:
            self._is_collecting = False
            self._admit(None)
        elif is_last and not self._is_admitted:
            self._is_collecting = False
            if len(self._window) > 1:
                self._window = [b"".join(self._window)]
                tape.request.gather(self._window[0])
            self._admit(self._window[0] if self._window else b"")
        elif self._window_bytes > FLUSH_BYTES and not self._is_collecting and not is_last:
            self._client.pause_reading()

    def _send_on(self, upstream: UpstreamConnection, piece: bytes, *, is_last: bool) -> None:
        is_chunked = self._head.is_chunked
        if piece:
            upstream.write(encode_chunks([piece]) if is_chunked else piece)
        if is_last:
            if is_chunked:
                upstream.write(LAST_CHUNK)
            self.request_is_sent = True
        self._last_byte_at = self._service.now()
        if self._tape.request.pending_bytes >= FLUSH_BYTES:
            self._tape.flush_request()

    def _await(self, piece: bytes) -> bool:
        """Keep a piece until the request may go; False: there is no memory for it."""
        self._window.append(piece)
        size = len(piece)
        self._window_bytes += size
        return self._service.hold(size)

    @property
    def held_bytes(self) -> int:
        """Bytes of the request's body in memory."""
        return self._window_bytes if self._window else 0

    def _too_large(self) -> Refusal:
        return Refusal("too_large", 413, f"the body is larger than {self._service.body_bytes} bytes")

    def _admit(self, body: bytes | None) -> None:
        """Decide about a request; `body` is its whole body, None when it is not collected."""
        self._is_admitted = True
        gate, route, policy = self._service.gate, self._route, self._opening.policy
        peek = self._peek = gate.read(policy, route, self._head, body) if body else None
        if self._opening.is_limited:
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
        reserve = self._reservation(self._tape, body)
        if reserve is None:
            self._dispatch()
        else:
            self._tape.is_reserved = True
            self._service.ledger.reserve(reserve, self._reserved)

    def _reservation(self, tape: Tape, body: bytes | None) -> Reserve | None:
        """Return what to ask of the ledger for the exchange on `tape`; None: nothing."""
        if not self._opening.is_limited:
            return None
        return self._service.gate.reservation(
            tape.id,
            self._opening.policy,
            self._route,
            method=self.method,
            user=self._opening.claims.user,
            input_bytes=self._content_length or self._tape.request.size,
            body=body,
            peek=self._peek,
            now_ms=tape.started_ms,
        )

    def _reserved(self, answer: Answer | LedgerUnavailable) -> None:
        if self.is_over:
            if isinstance(answer, Granted):
                self._service.ledger.release(self._tape.id)
        elif isinstance(answer, Granted):
            self._granted(answer)
        else:
            # What the ledger granted without being heard is given back as the record says: at no cost.
            self._tape.is_reserved = isinstance(answer, LedgerUnavailable)
            self.refuse(self._refusal_of(answer))

    def _granted(self, answer: Granted) -> None:
        self._remaining_nano = answer.remaining_nano_usd
        if answer.lease:
            self._tape.lease = answer.lease, answer.reserved_nano_usd
        failpoint("gateway.after_reserve")
        self._dispatch()

    def _refusal_of(self, answer: Answer | LedgerUnavailable) -> Refusal:
        return (
            self._service.gate.refusal_of(answer, self._opening.policy) if isinstance(answer, Refused) else _NO_LEDGER
        )

    # --- dispatch ----------------------------------------------------------------------------------------------

    def _dispatch(self) -> None:
        self._tape.begin(self._begun)

    def _begun(self, error: JournalUnavailable | None) -> None:
        if self.is_over:
            return
        if error is not None:
            self.refuse(Refusal("recorder_unavailable", 503, str(error)))
            return
        try:
            failpoint("gateway.after_begin")
            self._connect()
        except Exception:
            self._client.fail()
            raise

    def _connect(self) -> None:
        try:
            pool = self._service.pool(self._route.target)
        except OSError as error:  # ssl.SSLError is one
            self.connect_failed(f"its certificates cannot be read: {error.strerror}")
            return
        connection = None if self._wants_fresh_connection else pool.take(self)
        if connection is not None:
            self.connected(connection)
        else:
            self._connect_started = self._service.now()
            self._tape.connect_us = 0
            pool.connect(self)

    def connected(self, connection: UpstreamConnection) -> None:
        """Send what there is of the request."""
        failpoint("gateway.after_connect")
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
            self._service.let_go(self.held_bytes)
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
        if len(body) == 1 and len(body[0]) > FLUSH_BYTES:
            connection.write(first + framing)
            connection.write(body[0])  # as it is: a copy of a large body would be held beside it
        else:
            connection.write(b"".join((first, framing, *body)))
        failpoint("gateway.after_request")

    def _must_read(self) -> bool:
        """Say whether the answer must come without content coding."""
        return self._is_edited or self._rewrites_body

    def connect_failed(self, reason: str) -> None:
        """Answer for an upstream that cannot be reached."""
        if not self.is_over:
            self.refuse(self._unreachable(reason), outcome="upstream_error")

    def _unreachable(self, reason: str) -> Refusal:
        message = f"the upstream `{self._route.target.name}` cannot be reached: {reason}"
        return Refusal("upstream_unreachable", 502, message)

    def pause_request(self) -> None:
        """Stop reading from the client: the upstream takes no more."""
        self._client.pause_reading()

    def resume_request(self) -> None:
        """Read from the client again."""
        self._client.resume_reading()

    # --- the response ------------------------------------------------------------------------------------------

    def response_began(self, head: ResponseHead) -> None:
        """Take the upstream's response head."""
        failpoint("gateway.first_byte")
        self._response = head
        now = self._last_byte_at = self._service.now()
        self._tape.response_head_us = int((now - self._tape.started) * 1e6)
        if self._is_provisional(head):
            self._held = []
            return
        self._start_response(head)

    def _is_provisional(self, head: ResponseHead) -> bool:  # noqa: ARG002 - for the layers on this one
        """Say whether another attempt may take the place of this response."""
        return False

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
            self._delivery.editor = ResultsRewriter(path)

    def _ticket_for(self, target: bytes) -> str:
        policy, now_s = self._opening.policy, self._service.wall_ms() // 1000
        return self._service.gate.issue_ticket(policy, self._route.target.name, target, now_s) if policy else ""

    def upgraded(self, head: ResponseHead) -> SocketRelay:  # noqa: ARG002 - for the one relay that may
        """Take the head with which the upstream changes the protocol. Raises BadResponse."""
        raise BadResponse("it switched protocols")

    def _start_response(self, head: ResponseHead) -> None:
        if self._is_edited and head.is_event_stream:
            self._delivery.editor = Stripper()
        if head.has_addresses or self._rewrites_body:
            self._rewrite(head)
        self._delivery.begin(head, self._own_headers(), is_last=self._service.is_draining)

    def response_body(self, pieces: list[bytes], wire: bytes | None = None) -> None:
        """Relay pieces of the body. Called once for each read from the upstream, perhaps with none.

        `wire`: the same in chunks, where it came so.
        """
        if self._held is not None:
            self._hold(self._held, pieces)
            return
        now = self._last_byte_at = self._service.now()
        if looks_like_the_end(pieces):
            # The client may take this for the end: what it has seen must survive us from now on.
            self._tape.tap(pieces, now)
            self._tape.flush_response()
            self._delivery.write(pieces, wire)
            return
        self._delivery.write(pieces, wire)
        failpoint("gateway.mid_stream")
        self._tape.tap(pieces, now)

    def flush_head(self) -> None:
        """Send a response head whose body has not begun."""
        self._delivery.flush_head()

    def response_ended(self, pieces: list[bytes]) -> None:
        """Relay the last pieces of a response that ended as its framing promised."""
        self._upstream = None
        if self._held is not None:
            self._held.extend(pieces)
            self._judge_held(self._held)
            return
        self._tape.tap(pieces, self._service.now())
        self._end(pieces)

    def _hold(self, held: list[bytes], pieces: list[bytes]) -> None:
        self._last_byte_at = self._service.now()
        held.extend(pieces)
        if sum(map(len, held)) > _HELD_BYTES:
            self.response_body(self._release_held())

    def _judge_held(self, held: list[bytes]) -> None:  # noqa: ARG002 - for the layers on this one
        """Decide about a response that was held back and is complete."""
        self._end_held()

    def _release_held(self) -> list[bytes]:
        """Begin to pass on what was held back; return its pieces."""
        held, self._held = self._held or [], None
        if self._response is not None:
            self._start_response(self._response)
        return held

    def _end_held(self) -> None:
        pieces = self._release_held()
        self._tape.tap(pieces, self._service.now())
        self._end(pieces)

    def _end(self, pieces: list[bytes]) -> None:
        """Record the exchange and relay its last pieces, which are tapped already."""
        failpoint("gateway.last_byte")
        delivery = self._delivery
        last = delivery.last(pieces)
        self._record("client_closed" if delivery.is_gone else "completed", ended=partial(self._finish, last))

    def _finish(self, last: bytes) -> None:
        """Send the last bytes: END is written."""
        delivery = self._delivery
        try:
            failpoint("gateway.after_end")
            if self._service.is_strict:
                # A client that got everything may count on the record: without one it does not get everything.
                self._service.scribe.when_durable(
                    lambda is_durable: delivery.finish(last) if is_durable else delivery.break_off()
                )
            else:
                delivery.finish(last)
        except Exception:
            self._client.fail()
            raise

    def pause_response(self) -> None:
        """Stop reading from the upstream: the client takes no more."""
        if self._upstream is not None:
            self._upstream.pause()

    def resume_response(self) -> None:
        """Read from the upstream again."""
        self._last_byte_at = self._service.now()
        if self._upstream is not None:
            self._upstream.resume()

    # --- endings that nobody wished for ------------------------------------------------------------------------

    def _cut(self, refusal: Refusal) -> None:
        """End a running stream with an error that its wire knows."""
        response, route = self._response, self._route
        kind = response.content_type if response is not None and not response.is_encoded else b""
        event = stream_error(refusal, route.envelope, route.endpoint, self._tape.id, kind)
        self._drop_upstream()
        self._record("refused", refusal)
        self._delivery.finish_with(event)

    def upstream_lost(self, connection: UpstreamConnection, *, is_clean: bool) -> None:  # noqa: ARG002 - see the layers
        """Take note that the upstream's connection is gone before the response was complete."""
        self.upstream_broke("it closed the connection before its answer was complete", is_clean=is_clean)

    def upstream_broke(self, reason: str, *, is_clean: bool) -> None:
        """End an exchange whose upstream failed: an answer of ours if nothing was sent yet, else a visible break."""
        self._upstream = None
        if self.is_over:
            return
        if not self._delivery.has_begun:
            self.refuse(self._failed(reason), outcome="upstream_reset")
            return
        self._delivery.flush_editor()
        self._record("truncated" if is_clean else "upstream_reset")
        self._delivery.break_off()

    def _failed(self, reason: str) -> Refusal:
        return Refusal("upstream_unreachable", 502, f"the upstream `{self._route.target.name}` failed: {reason}")

    def client_left(self) -> None:
        """Take note that the client is gone; cancel the upstream, or drain it where the configuration says so."""
        self._delivery.is_gone = True
        if self.is_over:
            return
        if self._route.target.drains and self.request_is_sent and self._upstream is not None and self._drains():
            return
        self._leave()

    def _drains(self) -> bool:
        """Read the answer to its end although nobody waits for it; False: that is done for enough of them already."""
        service = self._service
        if len(service.drained) >= service.limits.drained_answers:
            return False
        service.drained.add(self)
        self._total_deadline = min(self._total_deadline, service.now() + service.timeouts.drained_answer)
        self.resume_response()
        return True

    def _leave(self) -> None:
        """End an exchange whose client is gone."""
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
        if self._delivery.has_begun:
            self._record(outcome, refusal)
            self._delivery.break_off()
            return
        envelope = self._route.envelope
        refusal = spelled(refusal, envelope)
        body = body_of(refusal, envelope, self._tape.id)
        self._response = self._held = self._tape.response_head_us = None
        if refusal.code != "invalid_key":
            self._tape.response.add(body)
        self._record(outcome, refusal)
        headers = headers_of(refusal, envelope, self._tape.id) + self._own_headers()
        self._delivery.answer(refusal.status, headers, body, is_last=self._service.is_draining)

    def check_deadlines(self, now: float) -> None:
        """End the exchange if it waited too long for somebody. Called with the clock tick."""
        timeouts = self._route.target.timeouts
        if now > self._total_deadline:
            if self._delivery.is_gone:
                self._leave()
            else:
                self._time_out("the whole exchange took too long")
        elif self._upstream is not None and not self.request_is_sent and self._client.is_reading_paused:
            if now - self._last_byte_at > timeouts.idle:
                self._time_out(f"the upstream took nothing of the request for {timeouts.idle:g} s")
        elif self._client.request_is_open and (self._upstream is None or not self.request_is_sent):
            if now - self._client.last_read > self._service.timeouts.body_idle or self._client.is_too_slow(now):
                self.refuse(Refusal("bad_request", 408, "the request body took too long"), outcome="timeout")
        elif self._upstream is None:
            # The ledger and an attempt to connect have deadlines of their own; a place in the pool has this one.
            is_connecting = self._connect_started and self._response is None
            if is_connecting and now - self._connect_started > timeouts.connect + _POOL_GRACE_S:
                self.refuse(self._unreachable("all its connections are in use"), outcome="upstream_error")
        elif self._client.paused_since is not None:
            if now - self._client.paused_since > self._service.timeouts.write_stall:
                self._drop_upstream()
                self._record("client_closed")
                self._delivery.break_off(is_stalled=True)
        elif self._response is None:
            if now - self._last_byte_at > timeouts.first_byte:
                self._time_out(f"the upstream did not answer within {timeouts.first_byte:g} s")
        elif now - self._last_byte_at > timeouts.idle:
            self._time_out(f"the upstream sent nothing for {timeouts.idle:g} s")

    def _time_out(self, reason: str) -> None:
        self.refuse(Refusal("upstream_timeout", 504, reason), outcome="timeout")

    def cut_for_shutdown(self) -> None:
        """End the exchange because this process stops."""
        if self.is_over:
            return
        if self._delivery.is_empty:
            self.refuse(STOPPING)
        else:
            self._cut(STOPPING)

    def _drop_upstream(self) -> None:
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.detach()

    # --- the record --------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Hand what was tapped to the journal. Called with the clock tick."""
        self._tape.flush_soon()

    def _record(
        self, outcome: Outcome, refusal: Refusal | None = None, ended: Callable[[], None] | None = None
    ) -> None:
        """Append END, once, and free the place in the ledger. At once, or soon, and then call `ended`."""
        if self.is_over:
            return
        self.is_over = True
        service = self._service
        service.relays.discard(self)
        service.let_go(self.held_bytes)
        if self._delivery.is_gone:
            service.drained.discard(self)
        self._end_tape(outcome, refusal, ended)

    def _end_tape(self, outcome: Outcome, refusal: Refusal | None, ended: Callable[[], None] | None = None) -> None:
        tape, editor = self._tape, self._delivery.editor
        if isinstance(editor, ResultsRewriter) and editor.edits:
            tape.end_mutated += ("results_url",)
        tape.end(outcome, self._response, refusal, ended)
        if tape.is_reserved:
            if tape.number is not None:
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


def looks_like_the_end(pieces: list[bytes]) -> bool:
    """Say whether a client may take these pieces for the end of a stream."""
    return bool(pieces) and _DONE in pieces[-1][-16:]


def _header_safe(text: str) -> bytes:
    return bytes(byte for byte in text.encode("utf-8", "replace") if byte >= 0x20 and byte != 0x7F)
