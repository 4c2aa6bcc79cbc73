"""Record: one exchange with all that was made of it, ready to be stored.

The exchange is fact; reading, usage and cost are opinions about it; the kept bodies are what policy left of its bytes.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from pricing import Cost, Totals, Usage
from proxy.records import Charge, Exchange, Headers, Outcome, Reading, Timeline, TokenTimes
from proxy.store.series import Tally

UsageSource = Literal["provider", "estimated", "none"]
Edit = Literal["", "redacted", "redacted_cut"]
"""How stored bytes differ from those that passed; `redacted_cut`: some are missing besides."""


class KeptBody(msgspec.Struct, frozen=True):
    """What is stored of a body."""

    headers: Headers
    size: int
    """Bytes that passed."""
    sha256: bytes
    """Of all of them; empty: not kept, because it would tell what may not be known."""
    head: bytes | None
    """The first bytes. None: the policy keeps no bytes of this body."""
    tail: bytes = b""
    """The last bytes of a body that is longer than `head`."""
    edit: Edit = ""
    timeline: Timeline = Timeline()
    """When the pieces of a stream arrived; empty: it is none, or its bytes were edited."""


class Settlement(msgspec.Struct, frozen=True):
    """What the ledger is told about a reservation."""

    nano_usd: int | None
    """What was spent. None: nobody knows, so the whole reservation."""
    input_tokens: int | None
    output_tokens: int | None
    is_estimate: bool


class JournalPosition(msgspec.Struct, frozen=True):
    """How far a journal segment was folded into the store."""

    resume: int
    """Offset to start at after a restart: everything before it is done with."""
    seen: int
    """Offset up to which frames were taken. What ended before it is stored."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One exchange with all that was made of it."""

    exchange: Exchange
    outcome: Outcome
    """Of the whole: a stream that ended politely but early is `truncated`, whatever the gateway saw."""
    reading: Reading
    usage: Usage | None
    totals: Totals
    usage_source: UsageSource
    cost: Cost
    is_unpriced: bool
    """It cost something, and nobody knows what."""
    settlement: Settlement | None
    """None: the ledger held no reservation."""
    charges: tuple[Charge, ...] = ()
    """The parts that were priced apart; empty: the usage as a whole."""
    bills: tuple[str, ...] = ()
    """Ids of the provider that are paid with this record."""
    resolves: tuple[str, ...] = ()
    """Exchanges whose cost was awaited, and stands in this record."""
    pending_id: str | None = None
    """Id of the provider under which the cost will be seen later; the ledger keeps the reservation until then."""
    times: TokenTimes = TokenTimes()
    """Of a stream's model output."""
    request: KeptBody
    response: KeptBody
    answer: str = ""
    """What the answer says, for search; empty where it is not kept."""
    privacy: tuple[str, ...] = ()
    """What was done for privacy's sake: redacted, redaction_failed, sampled_out."""
    has_echo: bool = False
    """A secret of the configuration passed in it. It is in no part of this record, but it still is in the journal."""
    pseudonyms: tuple[tuple[str, str], ...] = ()
    """Names that stand in its texts, and what stood there; empty unless the policy keeps them."""
    tallies: tuple[Tally, ...] = ()
    """What it adds to the metrics, if it was not there before."""
