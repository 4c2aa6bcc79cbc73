"""What gateways, the recorder and the ledger say to each other over the ledger's UNIX socket.

Each message is a frame: four bytes of little-endian length, then msgpack. Requests carry a `ticket` chosen by the
sender; the answer to a message that wants one carries the same ticket. The ledger answers after its group commit.
Gateways speak tokens, the ledger speaks money: it holds the price table, so that no gateway has to.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

MILLION: Final = 1_000_000


class BudgetLine(msgspec.Struct, frozen=True, array_like=True):
    """One budget that a request falls under, resolved by the gate: whose, how much, for which stretch of time."""

    budget: str
    """Identity of the budget: stable across restarts, unique in a configuration."""
    scope: str
    """Whose share of it: '' or the value of its `per` dimension."""
    limit_nano_usd: int
    is_hard: bool
    """False: never refuses, only counts."""
    window_start_ms: int
    """Start of the calendar window, Unix ms; 0 for rolling and total ones."""
    window_end_ms: int | None
    """When it resets; None: total or rolling."""
    rolling_ms: int | None = None
    """Length of a rolling window; None: not rolling."""


class RateRule(msgspec.Struct, frozen=True, array_like=True):
    """The rate limits of one key."""

    name: str
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent: int | None = None


class Reserve(msgspec.Struct, frozen=True, array_like=True, tag="reserve"):
    """Admit a request or refuse it. Answer: Granted or Refused, durable before it is sent."""

    ticket: int
    exchange: str
    """Id of the exchange; the reservation's identity."""
    owner: str
    """Name of the journal writer that will record the exchange."""
    model: str | None
    provider: str | None
    is_free: bool
    endpoint: str
    """Of the operation, as `proxy.operations` names it; `other` where nobody knows it."""
    input_bytes: int
    """Size of what is text in the request body: an upper bound of its tokens."""
    max_output_tokens: int | None
    """What the request allows for each choice; None: the model's own maximum."""
    choices: int
    is_sliced: bool
    """It is a stream, and the budgets let streams begin with a slice of what they can cost, to grow as text passes."""
    tier: str | None
    """`service_tier` of the request."""
    lines: tuple[BudgetLine, ...]
    rates: tuple[RateRule, ...]
    deny_unpriced: bool = False
    """Refuse what has no price or no bound."""
    is_bounded: bool = True
    """False: nothing in the request says how much it can cost, so that no price helps."""
    unseen_tokens: int = 0
    """Upper bound of the input that is not in the body: pictures, stored conversations, what tools read."""
    tool_calls: int = 0
    """Upper bound of the provider's own tool runs."""
    speed: str | None = None
    """`speed` of the request; `fast` costs more (Anthropic)."""
    units: tuple[tuple[str, int], ...] = ()
    """Upper bounds of what is billed by another unit than the token: bucket of `pricing.Usage`, count."""
    is_session: bool = False
    """A session begins: its reservation stands even while no budget applies, for `Cover` to grow."""
    may_be_awaited: bool = False
    """What it cost may be seen only later, in the record of another exchange."""


class Extend(msgspec.Struct, frozen=True, array_like=True, tag="extend"):
    """Cover more output of an open stream. Answer: Granted or Refused."""

    ticket: int
    exchange: str
    output_tokens: int
    """Upper bound of the output tokens that the reservation must cover from now on, in all."""


class Cover(msgspec.Struct, frozen=True, array_like=True, tag="cover"):
    """Cover what a session has consumed so far and may consume next, in all. Answer: Granted or Refused.

    A session may use several models, each named only when it is used; so this message says all that is to be known.
    What was held before and is not needed any more stays held. Only the reservation with which the session began can
    grow so: one that is settled is never made again, however late this message comes.
    """

    ticket: int
    exchange: str
    owner: str
    provider: str | None
    is_free: bool
    models: tuple[tuple[str | None, str | None], ...]
    """Model and tier of every response so far; the dearest counts for all. None: nobody named it."""
    input_tokens: int
    """Upper bound of the input of all responses, those under way and the next one included."""
    output_tokens: int
    """Upper bound of the output that was seen or may come before more is asked for."""
    unseen_tokens: int
    """What the responses under way may still put out by their own limits."""
    unlimited: int
    """Responses under way that have no limit but the model's."""
    tool_calls: int
    """Upper bound of the provider's own tool runs."""
    lines: tuple[BudgetLine, ...]
    deny_unpriced: bool = False
    known: tuple[tuple[str | None, str | None, tuple[tuple[str, int], ...]], ...] = ()
    """What responses said that they consumed, in no other count: model, tier, buckets of `pricing.Usage`."""
    is_sliced: bool = False
    """The budgets let what is under way be covered bit by bit; else all that it can cost is held, or refused."""
    holds_limited: bool = False
    """Even so, what responses say that they want at most is held to its end, or refused."""


class Release(msgspec.Struct, frozen=True, array_like=True, tag="release"):
    """The request was never dispatched: give everything back. No answer."""

    exchange: str


class Finish(msgspec.Struct, frozen=True, array_like=True, tag="finish"):
    """The exchange is over at its gateway: it no longer counts as concurrent. Money stays reserved. No answer."""

    exchange: str


class Settle(msgspec.Struct, frozen=True, array_like=True, tag="settle"):
    """Turn a reservation into spending. Idempotent: settling what is not open does nothing. Answer: Done."""

    ticket: int
    exchange: str
    nano_usd: int | None
    """What it cost; None: unknown although dispatched, so the whole reservation is spent."""
    input_tokens: int | None = None
    output_tokens: int | None = None
    """Corrects the token rate."""
    is_estimate: bool = False


class Lease(msgspec.Struct, frozen=True, array_like=True, tag="lease"):
    """Set money aside for requests that a gateway will admit by itself, more with every such message. Answer: Leased.

    A request that was admitted so has no reservation of its own: its `Begin` says what it took from which lease.
    """

    ticket: int
    lease: str
    """Id of a new lease, or of one that is to grow; chosen by the gateway."""
    like: Reserve
    """One of the requests: all have its budgets, model, provider and tier."""
    count: int
    """How many of its size are expected."""
    granted_nano_usd: int = 0
    """What it has been granted so far; one that is over in spite of that does not begin anew."""


class Return(msgspec.Struct, frozen=True, array_like=True, tag="return"):
    """No more requests will be admitted under a lease: give the rest back. No answer.

    It may be said again, with less: what was taken and not dispatched is given back later.
    """

    lease: str
    used_nano_usd: int
    """What admitted requests have taken in all, whether they are settled or not."""


class Draw(msgspec.Struct, frozen=True, array_like=True, tag="draw"):
    """Settle requests under a lease. All amounts count from its beginning, so saying it twice changes nothing.

    Answer: Drawn.
    """

    ticket: int
    lease: str
    drawn_nano_usd: int
    """What the requests that are settled by now had taken."""
    spent_nano_usd: int
    """What they cost."""


class Open(msgspec.Struct, frozen=True, array_like=True, tag="open"):
    """List open reservations, of one owner or of all ('' ). Answer: Opened."""

    ticket: int
    owner: str = ""


class Balance(msgspec.Struct, frozen=True, array_like=True, tag="balance"):
    """State the account behind each line. Answer: Balances."""

    ticket: int
    lines: tuple[BudgetLine, ...]


class Granted(msgspec.Struct, frozen=True, array_like=True, tag="granted"):
    """The request may be dispatched."""

    ticket: int
    reserved_nano_usd: int
    output_tokens: int | None
    """Output tokens covered so far; None: all that the request can produce."""
    remaining_nano_usd: int | None
    """What the tightest hard budget has left after this reservation; None: no budget applies."""
    lease: str = ""
    """Under which it was admitted; '': it has a reservation of its own."""


class Refused(msgspec.Struct, frozen=True, array_like=True, tag="refused"):
    """The request must not be dispatched, or not go on."""

    ticket: int
    reason: Literal["budget", "requests", "tokens", "concurrent", "unpriced"]
    name: str
    """The budget or rate rule that refused."""
    limit: int = 0
    """nano-USD, or a count."""
    spent: int = 0
    reserved: int = 0
    needed: int = 0
    resets_at_ms: int | None = None
    retry_after_ms: int | None = None
    """For rates only: when the same request would fit."""


class Tariff(msgspec.Struct, frozen=True, array_like=True):
    """Upper bounds of the prices of one model, as a gateway needs them to admit requests by itself."""

    input_nano_per_mtok: int
    output_nano_per_mtok: int
    request_nano: int
    max_output_tokens: int
    hides_reasoning: bool

    def upper_bound(self, input_tokens: int, output_tokens: int, tool_calls: int = 0) -> int:  # noqa: ARG002 - none runs
        """Return nano-USD that so many tokens cannot exceed."""
        tokens = input_tokens * self.input_nano_per_mtok + output_tokens * self.output_nano_per_mtok
        return -(-tokens // MILLION) + self.request_nano


class Leased(msgspec.Struct, frozen=True, array_like=True, tag="leased"):
    """Answer to Lease."""

    ticket: int
    nano_usd: int
    """Set aside by this message; 0: nothing, since the cap is near or the price is not known."""
    remaining_nano_usd: int | None
    """What the tightest hard budget has left after that; None: all of them only count."""
    tariff: Tariff | None
    """None: nothing was set aside."""


class Recall(msgspec.Struct, frozen=True, array_like=True, tag="recall"):
    """The money of a lease is needed elsewhere: return it. Comes unasked."""

    ticket: int
    """0"""
    lease: str


class Drawn(msgspec.Struct, frozen=True, array_like=True, tag="drawn"):
    """Answer to Draw: it was carried out and is durable."""

    ticket: int
    is_open: bool
    """False: the lease is over, nothing more can be drawn."""


class Done(msgspec.Struct, frozen=True, array_like=True, tag="done"):
    """The message was carried out and is durable."""

    ticket: int


class OpenReservation(msgspec.Struct, frozen=True, array_like=True):
    """A reservation that awaits settlement."""

    exchange: str
    owner: str
    reserved_nano_usd: int
    created_ms: int
    drawn_nano_usd: int = 0
    """Of a lease: what its settled requests had taken."""


class Opened(msgspec.Struct, frozen=True, array_like=True, tag="opened"):
    """Answer to Open."""

    ticket: int
    reservations: tuple[OpenReservation, ...]


class Account(msgspec.Struct, frozen=True, array_like=True):
    """The state of one budget window."""

    budget: str
    scope: str
    limit_nano_usd: int
    spent_nano_usd: int
    reserved_nano_usd: int
    resets_at_ms: int | None
    overrun_nano_usd: int = 0
    """What providers billed beyond what had been reserved and beyond the limit."""


class Balances(msgspec.Struct, frozen=True, array_like=True, tag="balances"):
    """Answer to Balance."""

    ticket: int
    accounts: tuple[Account, ...]


Request = Reserve | Extend | Cover | Release | Finish | Settle | Lease | Return | Draw | Open | Balance
Answer = Granted | Refused | Leased | Recall | Done | Drawn | Opened | Balances
