"""What gateways, the recorder and the ledger say to each other over the ledger's UNIX socket.

Each message is a frame: four bytes of little-endian length, then msgpack. Requests carry a `ticket` chosen by the
sender; the answer to a message that wants one carries the same ticket. The ledger answers after its group commit.
Gateways speak tokens, the ledger speaks money: it holds the price table, so that no gateway has to.
"""

from __future__ import annotations

from typing import Literal

import msgspec


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
    """Last segments of the path that decide how a request is bounded: chat, completions, responses, embeddings, other."""
    input_bytes: int
    """Size of the request body: an upper bound of its tokens."""
    max_output_tokens: int | None
    """What the request allows for each choice; None: the model's own maximum."""
    choices: int
    is_streaming: bool
    tier: str | None
    """`service_tier` of the request."""
    lines: tuple[BudgetLine, ...]
    rates: tuple[RateRule, ...]
    deny_unpriced: bool = False


class Extend(msgspec.Struct, frozen=True, array_like=True, tag="extend"):
    """Cover more output of an open stream. Answer: Granted or Refused."""

    ticket: int
    exchange: str
    output_tokens: int
    """Upper bound of the output tokens that the reservation must cover from now on, in all."""


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


class Done(msgspec.Struct, frozen=True, array_like=True, tag="done"):
    """The message was carried out and is durable."""

    ticket: int


class OpenReservation(msgspec.Struct, frozen=True, array_like=True):
    """A reservation that awaits settlement."""

    exchange: str
    owner: str
    reserved_nano_usd: int
    created_ms: int


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


class Balances(msgspec.Struct, frozen=True, array_like=True, tag="balances"):
    """Answer to Balance."""

    ticket: int
    accounts: tuple[Account, ...]


Request = Reserve | Extend | Release | Finish | Settle | Open | Balance
Answer = Granted | Refused | Done | Opened | Balances
