"""The relay of a session: a request like any other until the upstream says 101, frames both ways from then on.

Before 101 any answer of the upstream is relayed as an answer, and ours is plain HTTP. After it, bytes pass as they
come: opcodes, fragments, masks, pings and close frames are not ours to touch. When one side breaks, the other breaks
visibly. The outcome is `completed` when either side has said goodbye with a close frame.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec

from proxy.framing import ResponseHead
from proxy.gates.admission import Peek
from proxy.gateway.metered import MeteredRelay
from proxy.gateway.opening import Opening
from proxy.gateway.refusal import Refusal, socket_error
from proxy.gateway.relay import OVERLOADED, STOPPING
from proxy.gateway.routing import Route
from proxy.gateway.socket.handshake import (
    UPGRADE_LINES,
    compression_of,
    is_websocket,
    judge_handshake,
    judge_models_named,
    model_of,
    switching_head,
)
from proxy.gateway.socket.meter import Needed, meter_for
from proxy.gateway.socket.notes import HEAD_BYTES, TAIL_BYTES, may_count, noted
from proxy.gateway.socket.toll import Toll
from proxy.gateway.tape import FLUSH_BYTES, Tape
from proxy.records import Outcome
from proxy.reservations import Cover, Reserve
from proxy.websocket import FrameParser, Message, Opcode, close_frame, encode_frame

if TYPE_CHECKING:
    from proxy.gateway.client import ClientConnection
    from proxy.gateway.service import Gateway
    from proxy.gateway.upstream import UpstreamConnection

GOING_AWAY: Final = 1001
POLICY: Final = 1008
TOO_BIG: Final = 1009
RESTART: Final = 1012
TRY_LATER: Final = 1013
"""SDKs that reconnect at all do so after 1001, 1005, 1006, 1011, 1012, 1013 and 1015 (openai 3.52 for Python)."""
_FIRST_INPUT: Final = 1024
_FIRST_OUTPUT: Final = 256
"""Tokens reserved before a session begins; its messages have more covered."""


class SocketRelay(MeteredRelay):
    """One session between a client connection and an upstream connection."""

    is_upgraded: bool = False
    """Both sides speak frames."""
    _client_said_goodbye: bool = False
    _server_said_goodbye: bool = False
    _toll: Toll | None = None
    """Holds back what a limit of the key depends on; None: nothing does."""
    _is_compressed: bool = False
    """What the server says can only be understood inflated."""
    _upstream_is_full: bool = False
    _waiting_bytes: int = 0
    """Of the messages that wait, as far as the gateway's account of its memory has heard of them."""
    _keeps: int = 0
    """Bytes of each message of the client that must be read."""

    def __init__(
        self,
        service: Gateway,
        client: ClientConnection,
        opening: Opening,
        route: Route,
        tape: Tape,
        content_length: int | None,
    ) -> None:
        super().__init__(service, client, opening, route, tape, content_length)
        self._from_client = FrameParser(keep_head=0)
        self._from_server = FrameParser(keep_head=HEAD_BYTES, keep_tail=TAIL_BYTES)

    # --- before the upgrade ------------------------------------------------------------------------------------

    def _admit(self, body: bytes | None) -> None:  # noqa: ARG002 - an upgrade has none
        """Decide from the head alone: that is all there is before the first frame."""
        self._is_admitted = True
        policy, gate, model = self._opening.policy, self._service.gate, model_of(self._route)
        refusal = judge_handshake(self._head, self._content_length) or gate.judge_session(policy, self._route, model)
        if refusal is None and gate.session_is_limited(policy):
            refusal = judge_models_named(self._route)
        if refusal is None and self._service.is_draining:
            refusal = STOPPING
        if refusal is not None:
            self.refuse(refusal)
            return
        reserve = self._reservation(self._tape, None)
        if reserve is None:
            self._dispatch()
            return
        self._tape.is_reserved = True
        self._service.ledger.reserve(reserve, self._reserved)

    def _reservation(self, tape: Tape, body: bytes | None) -> Reserve | None:  # noqa: ARG002 - an upgrade has none
        """Return what to ask of the ledger before the first message; None: nothing."""
        model = model_of(self._route)
        reserve = self._service.gate.reservation(
            tape.id,
            self._opening.policy,
            self._route,
            method=self.method,
            user=self._opening.claims.user,
            input_bytes=_FIRST_INPUT,
            body=None,
            peek=Peek(model, True, None, _FIRST_OUTPUT, 1, None, None, False),
            now_ms=tape.started_ms,
            is_session=True,
        )
        if reserve is None or model is not None:
            return reserve
        return msgspec.structs.replace(reserve, deny_unpriced=False)  # Its messages will name it.

    def connected(self, connection: UpstreamConnection) -> None:
        """Send the request."""
        tape = self._tape
        now = self._last_byte_at = self._service.now()
        if tape.connect_us is not None:
            tape.connect_us = int((now - self._connect_started) * 1e6)
        self._upstream = connection
        dispatched = tape.dispatched_us = int((now - tape.started) * 1e6)
        tape.overhead_us = max(0, dispatched - (tape.request_complete_us or 0) - (tape.connect_us or 0))
        self.request_is_sent = True
        connection.write(self._opening.upstream_head + UPGRADE_LINES)

    def upgraded(self, head: ResponseHead) -> SocketRelay:
        """Switch both sides to frames."""
        if not is_websocket(head):
            return super().upgraded(head)
        now = self._last_byte_at = self._service.now()
        self._tape.response_head_us = int((now - self._tape.started) * 1e6)
        self._tape.switch()
        self._response = head
        self._keeps = self._service.body_bytes if self._service.gate.session_is_limited(self._opening.policy) else 0
        self._watch(head)
        self._set_up_toll()
        self.is_upgraded = self._delivery.has_begun = True
        self._client.write(switching_head(head, self._own_headers()))
        self._client.switch(self)
        return self

    def _watch(self, head: ResponseHead) -> None:
        """Make ready to read along, as far as the extensions chosen allow it."""
        try:
            deflate = compression_of(head, is_server=True)
        except ValueError:
            self._from_server.problem = self._from_client.problem = "extension"
            return
        self._is_compressed = deflate is not None
        self._from_server = FrameParser(deflate=deflate, keep_head=HEAD_BYTES, keep_tail=TAIL_BYTES)
        self._from_client = FrameParser(deflate=compression_of(head, is_server=False), keep_head=self._keeps)

    def _set_up_toll(self) -> None:
        """Read what a limit of the key depends on, before it goes."""
        gate, ledger, policy = self._service.gate, self._service.ledger, self._opening.policy
        if not gate.session_is_limited(policy):
            return
        operation = self._route.operation
        self._toll = Toll(
            self._from_client,
            meter_for(operation, model_of(self._route)) if self._tape.is_reserved else None,
            judge=partial(gate.judge_message, policy, operation),
            covers=self._cover,
            ask=ledger.cover,
            refusal_of=self._refusal_of,
            limit_bytes=self._service.body_bytes,
        )
        self._toll.on_answer = self._answered

    def _cover(self, needed: Needed, ahead: tuple[int, int]) -> Cover | None:
        return self._service.gate.cover(
            self._tape.id,
            self._opening.policy,
            self._route,
            user=self._opening.claims.user,
            needed=needed,
            ahead=ahead,
            now_ms=self._tape.started_ms,
        )

    # --- frames ------------------------------------------------------------------------------------------------

    def frames_from_client(self, data: bytes) -> None:
        """Pass bytes on to the upstream."""
        if self.is_over or not data:
            return
        self._last_byte_at = self._service.now()
        request = self._tape.request
        request.add(data)
        if request.pending_bytes >= FLUSH_BYTES:
            self._tape.flush_request()
        if self._toll is None:
            self._forward(data)
        for message in self._from_client.feed(data) if self._toll is None else self._toll.take(data):
            if message.opcode is Opcode.CLOSE:
                self._client_said_goodbye = True
        if self._toll is not None:
            self._pass_on(self._toll)

    def _forward(self, data: bytes) -> None:
        if data and self._upstream is not None:
            self._upstream.write(data)

    def _pass_on(self, toll: Toll) -> None:
        """Let what may go go; end the session of which nothing more may."""
        self._forward(toll.release())
        self._account_for(toll)
        if toll.refusal is not None:
            self._stop(toll.refusal)
        elif toll.is_waiting and not toll.is_covered():
            self._client.pause_reading()
            if toll.is_used_up:
                self.pause_response()

    @property
    def held_bytes(self) -> int:
        """Bytes of messages in memory."""
        return self._waiting_bytes

    def _account_for(self, toll: Toll) -> None:
        """Tell the gateway how much more waits now, or less; beyond its memory the session must end."""
        more, self._waiting_bytes = toll.held_bytes - self._waiting_bytes, toll.held_bytes
        if more <= 0:
            self._service.let_go(-more)
        elif not self._service.hold(more) and toll.refusal is None:
            toll.refusal = OVERLOADED

    def _answered(self) -> None:
        """Go on after the ledger has answered."""
        toll = self._toll
        if self.is_over or toll is None:
            return
        self._pass_on(toll)
        if toll.is_covered():
            if not self._upstream_is_full:
                self._client.resume_reading()
            if self._client.paused_since is None:
                super().resume_response()

    def resume_response(self) -> None:
        """Read from the upstream again, unless what it said is not covered."""
        if self._toll is None or not self._toll.is_used_up:
            super().resume_response()

    def pause_request(self) -> None:
        """Stop reading from the client: the upstream takes no more."""
        self._upstream_is_full = True
        super().pause_request()

    def resume_request(self) -> None:
        """Read from the client again, unless what it said is not covered."""
        self._upstream_is_full = False
        if self._toll is None or not self._toll.is_waiting:
            super().resume_request()

    def _stop(self, refusal: Refusal) -> None:
        """End the session because of a limit."""
        said = socket_error(refusal, self._route.dialect, self._tape.id)
        error = encode_frame(Opcode.TEXT, said) if said else b""
        code = {"too_large": TOO_BIG, "overloaded": TRY_LATER}.get(refusal.code, POLICY)
        self._hang_up(code, refusal, "refused", error)

    def frames_from_upstream(self, data: bytes) -> None:
        """Pass bytes on to the client."""
        if self.is_over or not data:
            return
        now = self._last_byte_at = self._service.now()
        if self._is_compressed or may_count(data):
            # The client may go by what it reads here: it must survive us from then on.
            if self._observe(data, now):
                self._tape.flush_response()
            self._client.write(data)
        else:
            self._client.write(data)
            self._observe(data, now)
        if self._toll is not None and not self._toll.is_covered():
            self._pass_on(self._toll)

    def _observe(self, data: bytes, now: float) -> bool:
        """Tap bytes of the upstream; say whether they end a message that says what was consumed."""
        self._tape.tap_frames(data, now)
        counts = [self._take(message) for message in self._from_server.feed(data)]
        return True in counts

    def _take(self, message: Message) -> bool:
        note = noted(message)
        if message.opcode is Opcode.CLOSE:
            self._server_said_goodbye = True
        elif note and self._tape.response.is_cut:
            self._tape.note(note)
        if self._toll is not None:
            self._toll.said(message)
        return bool(note)

    # --- endings -----------------------------------------------------------------------------------------------

    @property
    def _is_farewell(self) -> bool:
        return self._client_said_goodbye or self._server_said_goodbye

    def upstream_lost(self, connection: UpstreamConnection, *, is_clean: bool) -> None:
        """End the session as the upstream ended it."""
        if not self.is_upgraded:
            super().upstream_lost(connection, is_clean=is_clean)
            return
        self._upstream = None
        if self.is_over:
            return
        is_clean = is_clean or self._is_farewell
        self._record("completed" if self._is_farewell else "truncated" if is_clean else "upstream_reset")
        self._client.break_off(is_framed=is_clean)

    def client_left(self) -> None:
        """End the session as the client ended it."""
        if not self.is_upgraded or self.is_over:
            super().client_left()
            return
        self._delivery.is_gone = True
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            if self._client_said_goodbye:
                upstream.finish(b"")
            else:
                upstream.detach()
        self._record("completed" if self._is_farewell else "client_closed")

    def check_deadlines(self, now: float) -> None:
        """End a session that waited too long for somebody. Called with the clock tick."""
        if not self.is_upgraded or self.is_over:
            super().check_deadlines(now)
            return
        timeouts, stalled_since = self._route.target.timeouts, self._client.paused_since
        if now > self._total_deadline:
            self._time_out("the whole session took too long")
        elif stalled_since is not None:
            if now - stalled_since > self._service.timeouts.write_stall:
                self._drop_upstream()
                self._record("client_closed")
                self._client.break_off(is_framed=False)
        elif now - self._last_byte_at > timeouts.socket_idle:
            self._time_out(f"nothing passed for {timeouts.socket_idle:g} s")

    def _time_out(self, reason: str) -> None:
        if self.is_upgraded:
            self._hang_up(GOING_AWAY, Refusal("upstream_timeout", 504, reason), "timeout")
        else:
            super()._time_out(reason)

    def _cut(self, refusal: Refusal) -> None:
        if self.is_upgraded:
            self._hang_up(RESTART, refusal, "refused")
        else:
            super()._cut(refusal)

    def _hang_up(self, code: int, refusal: Refusal, outcome: Outcome, error: bytes = b"") -> None:
        """End the session from here: with a close frame where one may stand, else with a break."""
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            if self._from_client.is_between_frames and not self._client_said_goodbye:
                upstream.finish(close_frame(GOING_AWAY, "", mask=os.urandom(4)))
            else:
                upstream.detach()
        self._record(outcome, refusal)
        if self._delivery.is_gone:
            return
        if not self._from_server.is_between_frames or self._server_said_goodbye:
            self._client.break_off(is_framed=False)
            return
        if not self._from_server.is_between_messages:
            error = b""  # A data frame in the midst of another message would become part of it.
        self._client.say_goodbye(error + close_frame(code, refusal.message.partition(";")[0]))
