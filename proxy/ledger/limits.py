"""Rate limits, in memory: requests and tokens in the last sixty seconds, requests in flight.

The window slides in steps of one second and errs on the strict side: what was admitted within a second counts until
that whole second is sixty seconds ago. After a restart the windows are empty: a rate limit protects availability,
money is guarded by accounts.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from proxy.reservations import RateRule, Refused, Reserve

WINDOW_S: Final = 60
MAX_COUNT: Final = 2**53
"""Counts are capped here: far above any limit, exact in every number type they may pass through."""
BYTES_PER_TOKEN: Final = 4
"""English text and JSON in OpenAI's tokenizers; only a first guess, corrected when the usage is known."""
CONCURRENT_RETRY_MS: Final = 1000
"""When a slot frees is not foreseeable; a second is short for people and long for a server."""
MAX_OPEN_S: Final = 3600
"""Charges that nobody corrected by then are forgotten, so that memory is bounded whatever gateways do."""


class MinuteWindow:
    """A count over the last sixty seconds."""

    def __init__(self) -> None:
        self._seconds: deque[list[int]] = deque()
        self._total = 0

    def total(self, now: float) -> int:
        """Return the count at `now`, seconds on the monotonic clock."""
        oldest = int(now) - WINDOW_S
        while self._seconds and self._seconds[0][0] < oldest:
            self._total -= self._seconds.popleft()[1]
        return self._total

    def add(self, now: float, count: int) -> None:
        """Count more at `now`."""
        second = int(now)
        if self._seconds and self._seconds[-1][0] >= second:
            self._seconds[-1][1] += count
        else:
            self._seconds.append([second, count])
        self._total += count

    def take_back(self, then: float, count: int) -> None:
        """Uncount what was added at `then`, if that still counts."""
        for entry in self._seconds:
            if entry[0] == int(then):
                count = min(count, entry[1])
                entry[1] -= count
                self._total -= count
                return

    def fits_in_ms(self, now: float, needed: int, limit: int) -> int | None:
        """Return after how many ms `needed` more would fit; None: never."""
        if needed > limit:
            return None
        excess = self.total(now) + needed - limit
        for second, count in self._seconds:
            if excess <= 0:
                break
            excess -= count
            if excess <= 0:
                return math.ceil((second + WINDOW_S + 1 - now) * 1000)
        return 0


@dataclass(slots=True)
class _Meter:
    """The three measures of one rule."""

    requests: MinuteWindow = field(default_factory=MinuteWindow)
    tokens: MinuteWindow = field(default_factory=MinuteWindow)
    in_flight: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Charge:
    """What one exchange was counted for."""

    names: tuple[str, ...]
    at: float
    tokens: int


class Limiter:
    """The rate limits of all keys."""

    def __init__(self) -> None:
        self._meters: dict[str, _Meter] = {}
        self._charges: dict[str, _Charge] = {}

    def knows(self, exchange: str) -> bool:
        """Say whether the exchange was charged and not settled yet."""
        return exchange in self._charges

    def refusal(self, request: Reserve, now: float) -> Refused | None:
        """Return why `request` must not go now; None: it may."""
        tokens = guessed_tokens(request.input_bytes)
        for rule in request.rates:
            meter = self._meters.get(rule.name)
            refused = _refusal(rule, meter or _Meter(), tokens, now, request.ticket)
            if refused is not None:
                return refused
        return None

    def charge(self, exchange: str, rules: Sequence[RateRule], input_bytes: int, now: float) -> None:
        """Count an admitted exchange."""
        self._forget_before(now - MAX_OPEN_S)
        tokens = guessed_tokens(input_bytes)
        names = tuple({rule.name for rule in rules})
        for name in names:
            meter = self._meters.setdefault(name, _Meter())
            meter.requests.add(now, 1)
            meter.tokens.add(now, tokens)
            meter.in_flight.add(exchange)
        self._charges[exchange] = _Charge(names, now, tokens)

    def finish(self, exchange: str) -> None:
        """Free the concurrency slot."""
        charge = self._charges.get(exchange)
        for name in charge.names if charge else ():
            self._meters[name].in_flight.discard(exchange)

    def settle(self, exchange: str, tokens: int | None, now: float) -> None:
        """Correct the guess: more tokens count from now, fewer are taken back; None: the guess stands."""
        self.finish(exchange)
        charge = self._charges.pop(exchange, None)
        if charge is None or tokens is None:
            return
        excess = max(0, min(tokens, MAX_COUNT)) - charge.tokens
        for name in charge.names:
            if excess > 0:
                self._meters[name].tokens.add(now, excess)
            else:
                self._meters[name].tokens.take_back(charge.at, -excess)

    def release(self, exchange: str) -> None:
        """Uncount an exchange that was never dispatched."""
        self.finish(exchange)
        charge = self._charges.pop(exchange, None)
        if charge is None:
            return
        for name in charge.names:
            self._meters[name].requests.take_back(charge.at, 1)
            self._meters[name].tokens.take_back(charge.at, charge.tokens)

    def _forget_before(self, then: float) -> None:
        for exchange in list(islice(self._charges, 2)):  # two for each one added: the backlog shrinks, the cost is flat
            charge = self._charges[exchange]
            if charge.at >= then:
                return
            del self._charges[exchange]
            if any(exchange in self._meters[name].in_flight for name in charge.names):
                self._charges[exchange] = charge  # a long stream: look again when its turn comes


def guessed_tokens(input_bytes: int) -> int:
    """Return the tokens to count for a request body before anybody counted them."""
    return -(-max(0, min(input_bytes, MAX_COUNT)) // BYTES_PER_TOKEN)


def _refusal(rule: RateRule, meter: _Meter, tokens: int, now: float, ticket: int) -> Refused | None:
    if rule.concurrent is not None and len(meter.in_flight) >= rule.concurrent:
        in_flight = len(meter.in_flight)
        return Refused(
            ticket, "concurrent", rule.name, rule.concurrent, in_flight, 0, 1, retry_after_ms=CONCURRENT_RETRY_MS
        )
    if rule.requests_per_minute is not None:
        limit, total = rule.requests_per_minute, meter.requests.total(now)
        if total + 1 > limit:
            wait_ms = meter.requests.fits_in_ms(now, 1, limit)
            return Refused(ticket, "requests", rule.name, limit, total, 0, 1, retry_after_ms=wait_ms)
    if rule.tokens_per_minute is not None:
        limit, total = rule.tokens_per_minute, meter.tokens.total(now)
        if total + tokens > limit:
            wait_ms = meter.tokens.fits_in_ms(now, tokens, limit)
            return Refused(ticket, "tokens", rule.name, limit, total, 0, tokens, retry_after_ms=wait_ms)
    return None
