"""Sending a request again: when that is safe, and what it means for the record and the money.

Three reasons, each before a byte has gone to the client, and only while the whole body is still in memory:

· An idle connection closed under the request, and the upstream had not read all of it. Nobody can have acted on it, so
  it goes out once more, at once, on a fresh connection; the record stays the same one.
· The upstream rejects an edit of ours. The client's own bytes go out instead; the record stays the same one.
· `retries` of the upstream asks for it. This is another attempt: another record with a reservation of its own, which is
  taken before the last attempt is given up. Where a budget has no room for it, the client gets the answer it has.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from proxy.errors import LedgerUnavailable
from proxy.gateway.include_usage import is_rejection
from proxy.gateway.refusal import Refusal
from proxy.gateway.relay import Relay
from proxy.gateway.tape import Tape
from proxy.records import Outcome, split_headers
from proxy.reservations import Answer, Granted

if TYPE_CHECKING:
    from proxy.config import Retries
    from proxy.framing import ResponseHead
    from proxy.gateway.upstream import UpstreamConnection

_IDEMPOTENT: Final = frozenset((b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"))
"""RFC 9110 §9.2.2: once or twice is the same."""
_RACE_S: Final = 0.1
"""A connection that had been closed already breaks within a round trip; one that breaks later may have been at work."""


@dataclass(frozen=True, slots=True)
class _Failure:
    """What an attempt came to, and what the client gets if it was the last."""

    outcome: Outcome
    refusal: Refusal | None
    """None: the upstream's own answer, which is held back."""


class RepeatingRelay(Relay):
    """An exchange that may be sent more than once."""

    _attempt: int = 1
    _first_id: str = ""
    """Of the first attempt; '': this is it."""
    _failure: _Failure | None = None
    """Of the attempt that may be followed by another; None: one is under way."""
    _was_resent: bool = False

    # --- the same exchange again -------------------------------------------------------------------------------

    def _is_provisional(self, head: ResponseHead) -> bool:
        if head.status < 400:  # what is no error is never asked for again
            return False
        if self._is_edited and head.status in (400, 422):
            return True
        return self._pause_before_another(head.status, head) is not None

    def _judge_held(self, held: list[bytes]) -> None:
        response = self._response
        if response is None:
            return
        if self._is_edited and is_rejection(response.status, b"".join(held)) and self._send_original():
            return
        pause_s = self._pause_before_another(response.status, response)
        if pause_s is None:
            self._end_held()
        else:
            self._rest(pause_s, _Failure("upstream_error", None))

    def _send_original(self) -> bool:
        """Send the client's own bytes, since the upstream rejected our edit."""
        if self._original is None:
            return False
        model = self._peek.model if self._peek is not None else None
        self._service.gate.usage_was_rejected(self._route, model)
        self._tape.end_mutated += ("include_usage_rejected",)
        self._held = self._response = None
        self._is_edited = False
        self._window = [self._original]
        self._connect()
        return True

    def upstream_lost(self, connection: UpstreamConnection, *, is_clean: bool) -> None:
        """Take note that the upstream's connection is gone before the response was complete."""
        self._upstream = None
        if self.is_over:
            return
        is_untouched = connection.is_reused and not connection.got_bytes and not self._was_resent
        is_fresh = self._service.now() - self._last_byte_at < _RACE_S
        is_harmless = (connection.was_unheard and is_fresh) or self.method in _IDEMPOTENT
        if is_untouched and is_harmless and self._can_send_again():
            self._was_resent = self._wants_fresh_connection = True
            self._tape.end_mutated += ("resent",)
            self._connect()
            return
        super().upstream_lost(connection, is_clean=is_clean)

    def _can_send_again(self) -> bool:
        """Say whether the whole request is still in memory."""
        is_complete = self._tape.request_complete_us is not None
        return is_complete and (bool(self._window) or not self._tape.request.size)

    # --- another attempt ---------------------------------------------------------------------------------------

    def _pause_before_another(self, cause: int | str, head: ResponseHead | None = None) -> float | None:
        """Return how many seconds to wait before another attempt; None: there must be none."""
        retries = self._route.target.retries
        if self._attempt >= retries.attempts or cause not in retries.after or self._delivery.has_begun:
            return None
        if self._delivery.is_gone or self._service.is_draining or not self._can_send_again():
            return None
        pause_s = pause_before(
            retries, self._attempt, head, chance=random.random(), now_s=self._service.wall_ms() / 1e3
        )
        if pause_s is None or self._service.now() + pause_s > self._total_deadline:
            return None
        return pause_s

    def connect_failed(self, reason: str) -> None:
        """Answer for an upstream that cannot be reached, or try again."""
        pause_s = None if self.is_over else self._pause_before_another("connect")
        if pause_s is None:
            super().connect_failed(reason)
        else:
            self._rest(pause_s, _Failure("upstream_error", self._unreachable(reason)))

    def upstream_broke(self, reason: str, *, is_clean: bool) -> None:
        """End an exchange whose upstream failed, or try again."""
        pause_s = None if self.is_over else self._pause_before_another("reset")
        if pause_s is None:
            super().upstream_broke(reason, is_clean=is_clean)
            return
        self._upstream = self._response = self._held = None
        self._delivery.withdraw()
        self._rest(pause_s, _Failure("upstream_reset", self._failed(reason)))

    def _rest(self, pause_s: float, failure: _Failure) -> None:
        self._failure = failure
        self._service.loop.call_later(pause_s, self._try_again)

    def _try_again(self) -> None:
        """Ask for what another attempt needs."""
        if self.is_over:
            return
        last, service = self._tape, self._service
        body = self._original if self._original is not None else b"".join(self._window)
        tape = last.again(self._first_id or last.id, body)
        tape.mutated = last.mutated if self._is_edited else ()
        reserve = self._reservation(tape, body or None)
        if reserve is None:
            self._begin_attempt(tape)
            self._dispatch()
            return
        service.ledger.finish(last.id)  # it is under way no more, so the next one may take its place
        tape.is_reserved = True
        service.ledger.reserve(reserve, lambda answer: self._reserved_again(tape, answer))

    def _reserved_again(self, tape: Tape, answer: Answer | LedgerUnavailable) -> None:
        if not isinstance(answer, Granted):
            self._give_up()
        elif self.is_over or self._delivery.is_gone:
            self._service.ledger.release(tape.id)
        else:
            self._begin_attempt(tape)
            self._granted(answer)

    def _begin_attempt(self, tape: Tape) -> None:
        """Record the last attempt as what it came to, and go on with a record of its own."""
        failure, self._failure = self._failure, None
        if failure is None:
            return
        if self._held:
            self._tape.tap(self._held, self._last_byte_at)
        self._end_tape(failure.outcome, failure.refusal)
        self._first_id = self._first_id or self._tape.id
        self._attempt += 1
        self._tape = tape
        self._held = self._response = None
        self._connect_started = 0.0
        self._was_resent = False
        self._wants_fresh_connection = True

    def _give_up(self) -> None:
        """Let the client have what the last attempt came to."""
        failure, self._failure = self._failure, None
        if self.is_over or failure is None:
            return
        if failure.refusal is None:
            self._end_held()
        else:
            self.refuse(failure.refusal, outcome=failure.outcome)

    def check_deadlines(self, now: float) -> None:
        """End the exchange if it waited too long for somebody; a pause of ours is no such wait."""
        if self._failure is None or now > self._total_deadline:
            super().check_deadlines(now)


def pause_before(
    retries: Retries, attempt: int, head: ResponseHead | None, *, chance: float, now_s: float
) -> float | None:
    """Return how many seconds to wait after that attempt; None: its answer forbids another, or wants one too late.

    `chance` is a random number from 0 to 1: the pause is that much shorter, by half at most, so that many callers do
    not come back together.
    """
    asked_s = 0.0
    if head is not None:
        headers = {name.lower(): value for name, value in split_headers(head.lines)}
        if headers.get(b"x-should-retry", b"").lower() == b"false":
            return None
        asked_s = _retry_after(headers, now_s)
    if asked_s > retries.max_wait:
        return None
    own_s = min(retries.backoff * 2.0 ** (attempt - 1), retries.max_wait)
    return max(asked_s, own_s * (1 - chance / 2))


def _retry_after(headers: dict[bytes, bytes], now_s: float) -> float:
    """Return the seconds that the upstream wants to be left alone; 0: it does not say."""
    try:
        if b"retry-after-ms" in headers:
            return max(0.0, float(headers[b"retry-after-ms"]) / 1000)
        said = headers.get(b"retry-after", b"").decode("latin-1")
        if not said:
            return 0.0
        if said[0].isdigit():
            return float(said)
        return max(0.0, parsedate_to_datetime(said).timestamp() - now_s)
    except (ValueError, TypeError, OverflowError):
        return 0.0
