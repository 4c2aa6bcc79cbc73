"""What a gateway may spend without asking: leases of the ledger, one for each kind of request that comes often.

Requests of a kind fall under the same budgets and have the same prices. When many come, the wallet asks for a lease and
admits from it, without a message; it asks for more before that is used up, and returns what lies idle. Where there is
no lease, or not enough in it, or more to decide than money, the ledger decides about the request by itself.

Invariant: what was admitted under a lease never exceeds what the ledger has granted for it, durably, before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from proxy.ledger.demand import LEAST_REQUESTS, plain_cost
from proxy.reservations import BudgetLine, Granted, Lease, Leased, Reserve, Tariff

OFTEN: Final = 8
"""Requests of a kind after which a lease is asked for, or more of it. Fewer do not feel the way to the ledger."""
COUNTED_S: Final = 1.0
"""Within which these must come for a first lease."""
_SHORTEST_S: Final = 0.02
"""Of counting, to judge from it how many will come."""
AHEAD_S: Final = 0.5
"""For how long a lease should last: few messages, and little money away from the other gateways."""
RENEW_S: Final = 1.0
"""A lease asks anew at least so often, so that its prices are never old."""
USABLE_S: Final = 2.0
"""For so long after it was asked for the prices of a lease hold; `proxy.ledger.ledger` looks as far ahead."""
IDLE_S: Final = 1.0
"""A lease that nobody used for so long is returned."""
BACK_OFF_S: Final = 0.5
"""Pause after a lease was refused or recalled: the cap is near."""
MOST_KINDS: Final = 1024
"""Kinds that are counted at a time; some hundred bytes each."""
_LEASED: Final = frozenset(
    {"chat", "completions", "messages", "responses", "generate_content", "converse", "invoke", "embeddings"}
)

Kind: TypeAlias = tuple[tuple[BudgetLine, ...], str | None, str | None, str | None]


@dataclass(slots=True)
class _Purse:
    """A kind of request, and the lease that it has."""

    since: float
    """When counting began."""
    count: int = 0
    """Requests since then."""
    lease: str = ""
    """'': none."""
    tariff: Tariff | None = None
    granted: int = 0
    used: int = 0
    remaining: int | None = None
    """What the tightest budget had left beside the lease when the ledger last spoke."""
    usable_until: float = 0.0
    ask_at: float = 0.0
    """Not before."""
    renew_at: float = 0.0
    renew_below: int = 0
    """Nano-USD."""
    last_used: float = 0.0
    is_asked: bool = False
    is_over: bool = False
    """The lease was returned."""

    @property
    def rest(self) -> int:
        return self.granted - self.used


class Wallet:
    """All leases of one gateway."""

    def __init__(
        self, ask: Callable[[Lease, Callable[[Leased | None], None]], None], give_back: Callable[[str, int], None]
    ) -> None:
        """`ask` passes a Lease on and calls back, with None where it is unknown what the ledger did.

        `give_back` says, for certain, how much of a lease was used.
        """
        self._ask = ask
        self._give_back = give_back
        self._purses: dict[Kind, _Purse] = {}
        self._taken: dict[str, tuple[_Purse, int]] = {}
        """By exchange under way: from where, and nano-USD."""
        self._number = 0

    @property
    def is_used(self) -> bool:
        """Say whether there is anything to tidy."""
        return bool(self._purses)

    def admit(self, request: Reserve, now: float) -> Granted | None:
        """Admit a request under a lease; None: the ledger has to be asked."""
        if not _is_plain(request):
            return None
        kind = (request.lines, request.model, request.provider, request.tier)
        purse = self._purses.get(kind) or self._begin(kind, now)
        purse.count += 1
        granted = self._take(purse, purse.tariff, request, now) if purse.tariff is not None else None
        is_due = purse.granted - purse.used <= purse.renew_below or now >= purse.renew_at
        if is_due and not purse.is_asked and now >= purse.ask_at:
            self._renew(kind, purse, request, now)
        return granted

    def finish(self, exchange: str) -> bool:
        """Take note that an exchange is over; say whether it was admitted here."""
        return self._taken.pop(exchange, None) is not None

    def release(self, exchange: str) -> bool:
        """Take back what an exchange had that was never dispatched; say whether it was admitted here."""
        purse, nano_usd = self._taken.pop(exchange, (None, 0))
        if purse is None:
            return False
        purse.used -= nano_usd
        if purse.is_over:
            self._give_back(purse.lease, purse.used)
        return True

    def recall(self, lease: str, now: float) -> None:
        """Return a lease whose money is needed elsewhere."""
        for kind, purse in self._purses.items():
            if purse.lease == lease:
                self._end(kind, purse)
                self._begin(kind, now).ask_at = now + BACK_OFF_S
                return

    def tidy(self, now: float) -> None:
        """Return what lies idle."""
        for kind, purse in tuple(self._purses.items()):
            # One that cannot be used is asked for again and again: that is no use.
            used = purse.last_used if purse.tariff is not None else max(purse.since, purse.last_used)
            if used < now - IDLE_S:
                self._end(kind, purse)

    def empty(self) -> None:
        """Return everything."""
        for kind, purse in tuple(self._purses.items()):
            self._end(kind, purse)

    def _begin(self, kind: Kind, now: float) -> _Purse:
        if len(self._purses) >= MOST_KINDS:
            self._purses = {each: purse for each, purse in self._purses.items() if purse.lease}
        purse = self._purses[kind] = _Purse(now)
        return purse

    def _take(self, purse: _Purse, tariff: Tariff, request: Reserve, now: float) -> Granted | None:
        need = plain_cost(request, tariff)
        rest = purse.granted - purse.used - need
        if now >= purse.usable_until or need <= 0 or rest < 0:
            return None
        purse.used += need
        purse.last_used = now
        self._taken[request.exchange] = purse, need
        remaining = None if purse.remaining is None else purse.remaining + rest
        return Granted(0, need, None, remaining, purse.lease)

    def _renew(self, kind: Kind, purse: _Purse, request: Reserve, now: float) -> None:
        """Ask for what the requests of the next moment will need, if they are many."""
        counted_s, count = now - purse.since, purse.count
        if purse.tariff is None and counted_s > COUNTED_S:
            purse.since, purse.count = now, 1
            return
        if count < OFTEN:
            return
        expected = int(count * AHEAD_S / max(counted_s, _SHORTEST_S))
        if purse.tariff is not None:
            expected -= purse.rest // max(1, plain_cost(request, purse.tariff))
        if not purse.lease:
            self._number += 1
            purse.lease = f"{request.owner}/{self._number}"
            purse.last_used = now
        purse.since, purse.count, purse.is_asked = now, 0, True
        message = Lease(0, purse.lease, request, max(expected, LEAST_REQUESTS), purse.granted)
        self._ask(message, lambda answer: self._leased(kind, purse, answer, now))

    def _leased(self, kind: Kind, purse: _Purse, answer: Leased | None, asked_at: float) -> None:
        purse.is_asked = False
        if purse.is_over:
            return
        if answer is None:
            self._end(kind, purse)
        elif answer.tariff is None:
            purse.ask_at = asked_at + BACK_OFF_S
        else:
            purse.granted += answer.nano_usd
            purse.tariff = answer.tariff
            purse.remaining = answer.remaining_nano_usd
            purse.usable_until = asked_at + USABLE_S
            purse.renew_at = asked_at + RENEW_S
            purse.renew_below = purse.rest // 2

    def _end(self, kind: Kind, purse: _Purse) -> None:
        del self._purses[kind]
        if purse.lease:
            purse.is_over = True
            self._give_back(purse.lease, purse.used)


def _is_plain(request: Reserve) -> bool:
    """Say whether money is all that decides, and the whole of it is known at once."""
    return (
        request.endpoint in _LEASED
        and request.is_bounded
        and bool(request.lines)
        and request.model is not None
        and not (
            request.rates
            or request.is_sliced
            or request.is_free
            or request.tool_calls
            or request.speed
            or request.units
            or request.is_session
            or request.may_be_awaited
        )
    )
