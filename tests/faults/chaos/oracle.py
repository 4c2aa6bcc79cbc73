"""What must hold after any run, whatever went wrong in it: pure functions over what three independent witnesses saw.

The witnesses are the clients' own journals (`ClientNote`), the provider's truth log (`UpstreamNote`) and the databases
(`Row`, `Account`). None of them knows of the others; a request is recognised by the name that its client gave it.
Nothing here opens a file or a socket, so every rule is itself tested with planted violations (test_oracle.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

ENDED: Final = frozenset({"completed", "upstream_error"})
"""Outcomes of an answer that came to its end; the second one is an error that the provider told in a whole answer."""


@dataclass(frozen=True, slots=True)
class ClientNote:
    """What one client knows of one request that it sent."""

    name: str
    key: str
    status: int
    """0: no head came back."""
    is_whole: bool
    """The end of the answer arrived, as its framing tells it."""
    body_sha256: str
    """Of the bytes of the body that arrived."""
    body_bytes: int
    error_code: str = ""
    """`x-glassline-error` of an answer that Glassline made; empty: it came from the provider."""

    @property
    def is_acknowledged(self) -> bool:
        """The client received the end of an answer, so a record of it must exist."""
        return self.is_whole and self.status > 0


@dataclass(frozen=True, slots=True)
class UpstreamNote:
    """What the provider knows of one request that reached it."""

    name: str
    sent_sha256: str
    """Of the bytes of the body that it sent."""
    sent_bytes: int
    is_whole: bool
    """It sent an answer to its proper end."""
    is_framed: bool
    """The framing of what it sent came to its end, even if the content did not."""
    billed_nano_usd: int
    authorization: str


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the store."""

    id: str
    name: str
    key: str
    status: int | None
    outcome: str
    attempt: int
    response_bytes: int
    response_sha256: str
    """Empty: not kept."""
    error_code: str
    cost_nano_usd: int | None
    settled_nano_usd: int | None
    """None: no reservation, or its whole amount."""
    is_reserved: bool


@dataclass(frozen=True, slots=True)
class Account:
    """One budget at one moment. All amounts are nano-USD."""

    budget: str
    limit: int
    spent: int
    reserved: int
    overrun: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that was seen in one run."""

    clients: Sequence[ClientNote]
    upstream: Sequence[UpstreamNote]
    rows: Sequence[Row]
    accounts: Sequence[Account]
    """After everything has settled."""
    samples: Sequence[Account] = ()
    """At any time while it ran."""
    integrity: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """What the integrity checks of each database said; `ok` and nothing else is good."""
    canaries: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Where each secret was found outside the provider's own log; an empty sequence is good."""
    lost: Mapping[str, int] = field(default_factory=dict)
    """What Glassline itself counted as lost, by reason."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that must never be."""

    rule: str
    subject: str
    detail: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.subject}: {self.detail}"


def violations(seen: Evidence) -> list[Violation]:
    """Return every violation of every rule; an empty list: all hold."""
    return [violation for rule in RULES for violation in rule(seen)]


def databases_are_sound(seen: Evidence) -> Iterable[Violation]:
    """Integrity and foreign keys of every database."""
    for name, said in seen.integrity.items():
        if list(said) != ["ok"]:
            yield Violation("sound", name, "; ".join(said) or "no answer")


def acknowledged_is_recorded(seen: Evidence) -> Iterable[Violation]:
    """What a client received to the end has a row, and one that says so if the provider had sent it to its end."""
    outcomes: dict[str, set[str]] = {}
    for row in seen.rows:
        outcomes.setdefault(row.name, set()).add(row.outcome)
    whole = {note.name for note in seen.upstream if note.is_whole}
    for note in seen.clients:
        if not note.is_acknowledged:
            continue
        if note.name not in outcomes:
            yield Violation("acknowledged", note.name, f"{note.status} {note.error_code} and no row")
        elif note.name in whole and not note.error_code and not outcomes[note.name] & ENDED:
            found = ", ".join(sorted(outcomes[note.name]))
            yield Violation("acknowledged", note.name, f"received in full, recorded as {found}")


def nothing_is_recorded_twice(seen: Evidence) -> Iterable[Violation]:
    """One row for each attempt, and each id once."""
    for identity, count in Counter(row.id for row in seen.rows).items():
        if count > 1:
            yield Violation("once", identity, f"{count} rows with this id")
    for (name, attempt), count in Counter((row.name, row.attempt) for row in seen.rows).items():
        if name and count > 1:
            yield Violation("once", name, f"{count} rows of attempt {attempt}")


def caps_hold(seen: Evidence) -> Iterable[Violation]:
    """At every instant spent + reserved ≤ limit, with no help from `overrun`."""
    for account in (*seen.samples, *seen.accounts):
        if account.spent + account.reserved > account.limit:
            over = account.spent + account.reserved - account.limit
            yield Violation("cap", account.budget, f"{over} nano-USD beyond {account.limit}")
        if account.overrun:
            yield Violation("cap", account.budget, f"overrun of {account.overrun} nano-USD")


def money_adds_up(seen: Evidence) -> Iterable[Violation]:
    """After all has settled nothing is reserved, and each account holds what its rows were settled at."""
    settled: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    for row in seen.rows:
        if row.is_reserved and row.settled_nano_usd is None:
            unknown[row.key] += 1
        settled[row.key] += row.settled_nano_usd or 0
    for account in seen.accounts:
        if account.reserved:
            yield Violation("money", account.budget, f"{account.reserved} nano-USD still reserved")
        gap = account.spent - settled[account.budget]
        if gap < 0 or (gap > 0 and not unknown[account.budget]):
            yield Violation("money", account.budget, f"spent {account.spent}, rows say {settled[account.budget]}")


def what_was_billed_is_spent(seen: Evidence) -> Iterable[Violation]:
    """No answer that was received whole is settled at less than the provider bills for it.

    What a provider generates of a stream after its reader has gone nobody but the provider can know.
    """
    billed: Counter[str] = Counter()
    for note in seen.upstream:
        if note.is_whole:
            billed[note.name] += note.billed_nano_usd
    for row in seen.rows:
        is_known = row.outcome == "completed" and row.settled_nano_usd is not None
        if is_known and (row.settled_nano_usd or 0) < billed[row.name]:
            yield Violation("billed", row.name, f"settled at {row.settled_nano_usd}, billed {billed[row.name]}")


def what_reached_the_provider_is_recorded(seen: Evidence) -> Iterable[Violation]:
    """Each request that reached the provider has a row of a kind that was forwarded, and none is invented."""
    forwarded: dict[str, set[str]] = {}
    for row in seen.rows:
        forwarded.setdefault(row.name, set()).add(row.outcome)
    reached = {note.name for note in seen.upstream}
    for name in sorted(reached):
        if name not in forwarded:
            yield Violation("forwarded", name, "reached the provider and has no row")
        elif forwarded[name] <= {"refused"}:
            yield Violation("forwarded", name, "reached the provider and is recorded as refused")
    for row in seen.rows:
        if row.outcome == "completed" and row.name and row.name not in reached and not row.error_code:
            yield Violation("forwarded", row.name, "recorded as completed and never reached the provider")


def bytes_are_the_same(seen: Evidence) -> Iterable[Violation]:
    """A whole answer has one hash at the provider, at the client and in the record."""
    sent: dict[str, set[str]] = {}
    for note in seen.upstream:
        if note.is_framed:
            sent.setdefault(note.name, set()).add(note.sent_sha256)
    for client in seen.clients:
        if (
            client.is_whole
            and not client.error_code
            and client.status
            and client.body_sha256 not in sent.get(client.name, {client.body_sha256} if client.status != 200 else set())
        ):
            yield Violation("bytes", client.name, "the client received other bytes than any answer that was sent")
    for row in seen.rows:
        is_whole_row = row.outcome == "completed" and row.response_sha256 and row.name in sent
        if is_whole_row and not row.error_code and row.response_sha256 not in sent[row.name]:
            yield Violation("bytes", row.name, "the record's hash is of other bytes than were sent")


def secrets_stay_secret(seen: Evidence) -> Iterable[Violation]:
    """No canary stands anywhere but in what the provider received."""
    for name, places in seen.canaries.items():
        for place in places:
            yield Violation("secret", name, f"found in {place}")


def nothing_was_lost(seen: Evidence) -> Iterable[Violation]:
    """Glassline itself says that it lost nothing."""
    for reason, count in seen.lost.items():
        if count:
            yield Violation("lost", reason, f"{count} counted as lost")


RULES: Final = (
    databases_are_sound,
    acknowledged_is_recorded,
    nothing_is_recorded_twice,
    caps_hold,
    money_adds_up,
    what_was_billed_is_spent,
    what_reached_the_provider_is_recorded,
    bytes_are_the_same,
    secrets_stay_secret,
    nothing_was_lost,
)
