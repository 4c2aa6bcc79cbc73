"""A response under a hard budget: only what the reservation covers is passed on, the rest waits or is cut.

What a stream may still produce is an `Allowance`; when it runs low, the ledger is asked for more. A response that cannot
be read as it comes is held as a whole until everything is covered.
"""

from __future__ import annotations

from proxy.errors import LedgerUnavailable
from proxy.framing import ResponseHead
from proxy.gateway.meter import Allowance
from proxy.gateway.refusal import Refusal
from proxy.gateway.relay import looks_like_the_end
from proxy.gateway.retry import RepeatingRelay
from proxy.reservations import Answer, Granted


class MeteredRelay(RepeatingRelay):
    """An exchange whose response may outgrow its reservation."""

    _allowance: Allowance | None = None
    """How much output the reservation covers; None: all of it."""

    def response_began(self, head: ResponseHead) -> None:
        """Take the upstream's response head."""
        super().response_began(head)
        if self._allowance is not None and self._held is None:
            self._begin_metering(self._allowance, head)

    def response_body(self, pieces: list[bytes], wire: bytes | None = None) -> None:
        """Relay as many pieces of the body as are covered."""
        if self._allowance is None or self._held is not None:
            super().response_body(pieces, wire)
            return
        self._last_byte_at = self._service.now()
        self._pass_covered(self._allowance, pieces)

    def response_ended(self, pieces: list[bytes]) -> None:
        """Relay the last pieces, or wait until they are covered."""
        if self._allowance is None or self._held is not None:
            super().response_ended(pieces)
            return
        self._upstream = None
        self._end_metered(self._allowance, pieces)

    def flush_head(self) -> None:
        """Send a response head whose body has not begun, unless it may still become a refusal."""
        if self._allowance is None or not self._allowance.is_blind:
            super().flush_head()

    def resume_response(self) -> None:
        """Read from the upstream again, unless something of it waits to be covered."""
        if self._allowance is None or not self._allowance.is_holding:
            super().resume_response()
        else:
            self._last_byte_at = self._service.now()

    def _granted(self, answer: Granted) -> None:
        choices = self._peek.choices if self._peek is not None else 1
        self._allowance = None if answer.output_tokens is None else Allowance(answer.output_tokens, choices)
        super()._granted(answer)

    def _must_read(self) -> bool:
        return self._allowance is not None or super()._must_read()

    def _release_held(self) -> list[bytes]:
        self._allowance = None  # an error is billed by nobody
        return super()._release_held()

    def _begin_metering(self, allowance: Allowance, head: ResponseHead) -> None:
        if head.status >= 300:  # what is no answer is billed by nobody
            self._allowance = None
            return
        allowance.begin(head.content_type, is_encoded=head.is_encoded)
        if allowance.is_blind:
            self._ask_for_more(allowance)

    def _pass_covered(self, allowance: Allowance, pieces: list[bytes]) -> None:
        """Relay what the reservation covers; the rest waits until it covers more."""
        if self.is_over:
            return
        self._tap_metered(allowance, pieces)
        covered = allowance.take(pieces)
        if covered:
            self._delivery.write(covered)
        self._ask_for_more(allowance)

    def _tap_metered(self, allowance: Allowance, pieces: list[bytes]) -> None:
        """Record what came, before anything of it may be taken for the end. What nobody may see yet can still change."""
        if not allowance.is_blind:
            self._tape.tap(pieces, self._service.now())
            if looks_like_the_end(pieces):
                self._tape.flush_response()

    def _end_metered(self, allowance: Allowance, pieces: list[bytes]) -> None:
        if self.is_over:
            return
        self._tap_metered(allowance, pieces)
        covered = allowance.take(pieces) + allowance.close()
        if not allowance.is_holding:
            self._allowance = None
            self._end(covered)
            return
        allowance.is_ended = True
        if covered:
            self._delivery.write(covered)
        self._ask_for_more(allowance)

    def _ask_for_more(self, allowance: Allowance) -> None:
        needed = allowance.tokens_to_ask()
        if allowance.refusal is not None and allowance.is_holding:
            self._stop_metered(allowance, allowance.refusal)
            return
        if allowance.is_holding:
            self.pause_response()
        if needed is not None:
            self._service.ledger.extend(self._tape.id, needed, self._extended)

    def _extended(self, answer: Answer | LedgerUnavailable) -> None:
        allowance = self._allowance
        if self.is_over or allowance is None:
            return
        if not isinstance(answer, Granted):
            allowance.refusal = self._refusal_of(answer)
            if allowance.is_holding or allowance.is_blind:
                self._stop_metered(allowance, allowance.refusal)
            return
        was_blind = allowance.is_blind
        covered = allowance.grant(answer.output_tokens)
        if was_blind:
            self._tape.tap(covered, self._service.now())
        if answer.output_tokens is None:
            self._allowance = None
        if allowance.is_ended and not allowance.is_holding:
            self._allowance = None
            self._end(covered)
            return
        if covered:
            self._delivery.write(covered)
        self._ask_for_more(allowance)
        if self._client.paused_since is None:
            self.resume_response()

    def _stop_metered(self, allowance: Allowance, refusal: Refusal) -> None:
        """End a response that outgrew its budget: by an answer of our own if nothing of it was passed on."""
        if allowance.is_blind and not self._delivery.has_begun:
            self._delivery.withdraw()
            self.refuse(refusal)
        else:
            self._cut(refusal)
