"""A refusal of the ledger in one sentence for people."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import ROUND_DOWN, ROUND_UP, Decimal
from typing import Final, NamedTuple

from proxy.reservations import Refused

_CENT: Final = Decimal("0.01")
_NANO: Final = Decimal("1e-9")
_MEASURES: Final = {
    "requests": "requests per minute",
    "tokens": "tokens per minute",
    "concurrent": "requests at the same time",
}


def explain(refused: Refused, key: str | None) -> str:
    """Say which budget or limit of whom refused, how much of it is used, what would still fit, and until when.

    `key`: name of the caller's key; None: a caller nobody configured.
    """
    who = f"key {key}" if key else "callers without a key"
    if refused.reason == "unpriced":
        return f"The price of model {refused.name or '(unknown)'} is not known, and {who} may use priced models only."
    if refused.reason == "budget":
        return _budget(refused, who)
    return _rate(refused, who)


def usd(nano_usd: int, *, rounding: str = ROUND_UP) -> str:
    """Return an amount as people write it: cents, or as many digits as a small amount needs."""
    amount = Decimal(nano_usd) * _NANO
    if amount == amount.quantize(_CENT) or abs(amount) >= 1:
        return f"${amount.quantize(_CENT, rounding=rounding):,}"
    return f"${amount.normalize():f}"


def moment(ms: int) -> str:
    """Return an instant as ISO 8601 in UTC, to the second, never early."""
    return datetime.fromtimestamp(-(-ms // 1000), UTC).isoformat().replace("+00:00", "Z")


def _budget(refused: Refused, who: str) -> str:
    if not refused.name:
        return f"The reservation of this request of {who} is no longer open."
    room = max(0, refused.limit - refused.spent - refused.reserved)
    used = f"{usd(refused.spent)} spent"
    if refused.reserved:
        used += f" and {usd(refused.reserved)} reserved"
    when = "it does not reset" if refused.resets_at_ms is None else f"more fits at {moment(refused.resets_at_ms)}"
    return (
        f"Budget {refused.name} ({who}) has {used} of {usd(refused.limit)}; this request may need"
        f" {usd(refused.needed)}, {usd(room, rounding=ROUND_DOWN)} would still fit; {when}."
    )


class Told(NamedTuple):
    """What the sentence of a refusal says in figures."""

    budget: str
    needed_nano_usd: int
    """Rounded up."""
    room_nano_usd: int
    """Rounded down: what would still have fitted."""
    fits_at: str | None
    """ISO 8601, UTC. None: it does not reset."""


_TOLD: Final = re.compile(
    r"Budget (?P<budget>.+) \((?:key [^()]+|callers without a key)\) has .+; this request may need \$(?P<needed>[\d,.]+),"
    r" \$(?P<room>[\d,.]+) would still fit; (?:more fits at (?P<at>\S+)|it does not reset)\."
)


def read_refusal(text: str) -> Told | None:
    """Return what a budget's refusal said; None: the sentence is none of a budget."""
    match = _TOLD.fullmatch(text)
    if match is None:
        return None
    needed, room = (int(Decimal(match[name].replace(",", "")) / _NANO) for name in ("needed", "room"))
    return Told(match["budget"], needed, room, match["at"])


def _rate(refused: Refused, who: str) -> str:
    measure = _MEASURES.get(refused.reason, refused.reason)
    room = max(0, refused.limit - refused.spent)
    if refused.retry_after_ms is None:
        when = "this request is larger than the limit and never fits"
    else:
        when = f"try again in {max(1, -(-refused.retry_after_ms // 1000))} s"
    return (
        f"Limit {refused.name} ({who}) is {refused.limit} {measure}, {refused.spent} are used;"
        f" this request needs {refused.needed}, {room} would still fit; {when}."
    )
