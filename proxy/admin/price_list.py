"""The prices in force, as a table that people can search, and what to write down for a model that has none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from difflib import get_close_matches
from typing import Final

import msgspec

from pricing.table import PriceTable, load_table
from pricing.tariff import Steps, Tariff
from proxy.config.schema import PriceOverride, Pricing
from proxy.gates.globs import Globs

_SHOWN: Final = ("input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok")
_NEAR: Final = 0.6
"""As alike must a listed name be to be proposed."""


class PriceRow(msgspec.Struct, frozen=True, kw_only=True):
    """The price of one model. Amounts are US dollars, exact, as text."""

    provider: str
    model: str
    input: str | None
    """For a million input tokens. Like all that follow: None: it has no such price."""
    output: str | None
    cache_read: str | None
    cache_write: str | None
    steps: str | None
    """What a long prompt changes, such as `input 6 above 200,000 tokens`; None: nothing."""
    others: dict[str, str]
    """Prices of other units and kinds of tokens, by the table's key."""
    effective_from: str | None
    """ISO date; None: it says no date."""
    is_filled: bool
    """Some of it is not from the published table but from our own list of what that lacks."""
    override: int | None
    """Which override takes its place, counted from 0; None: none does."""


class Unpriced(msgspec.Struct, frozen=True, kw_only=True):
    """A model that was used and has no price."""

    model: str
    requests: int
    """Without a price, in the stretch of time that was asked for."""
    all_requests: int
    input_tokens: int
    """Of all its requests, like `output_tokens`."""
    output_tokens: int
    provider: str | None
    upstream: str | None
    reason: str | None
    last_used_ms: int | None
    example: str | None
    """Id of a request."""
    near: str | None
    """A model with a price and nearly the same name; None: there is none."""
    override: str
    """What to write under `pricing.overrides`, YAML."""


class PriceList:
    """All prices in force at one moment."""

    def __init__(self, pricing: Pricing) -> None:
        table = load_table()
        self.version = table.version
        self.overrides = pricing.overrides
        self.rows: Sequence[PriceRow] = list(_rows(table, pricing.overrides))

    def search(self, words: str = "", provider: str | None = None) -> list[PriceRow]:
        """Return the rows that hold every word in their provider or model."""
        wanted = words.lower().split()
        return [
            row
            for row in self.rows
            if (provider is None or row.provider == provider)
            and all(word in f"{row.provider}/{row.model}".lower() for word in wanted)
        ]

    @property
    def providers(self) -> list[str]:
        """Return the providers that there are prices of."""
        return sorted({row.provider for row in self.rows})

    def near(self, model: str, provider: str | None) -> str | None:
        """Return the model with the name most alike, of this provider or, for None, of any."""
        names = {row.model: row for row in self.rows if provider is None or row.provider == provider}
        found = get_close_matches(model.lower(), names, n=1, cutoff=_NEAR)
        if not found:
            return None
        return found[0] if provider is not None else f"{names[found[0]].provider}/{found[0]}"


def proposed_override(model: str, near: str | None) -> str:
    """Return the line of YAML that gives a model a price: to be completed, or that of a model that is alike."""
    name = msgspec.json.encode(model).decode()
    if near is not None:
        return f"- {{model: {name}, alias_of: {msgspec.json.encode(near).decode()}}}"
    return f"- {{model: {name}, input: 0.00, output: 0.00}}  # US dollars per million tokens"


def _rows(table: PriceTable, overrides: Sequence[PriceOverride]) -> Iterator[PriceRow]:
    now = datetime.now(UTC)
    globs = [(Globs([each.model]), each) for each in overrides]
    for provider in sorted(table.provider_ids):
        for listing in table.models_of(provider):
            tariff = listing.tariff(now, {})
            if isinstance(tariff, Tariff):
                yield _row(provider, tariff, _override_of(provider, tariff.model, globs, now))


def _override_of(provider: str, model: str, globs: Iterable[tuple[Globs, PriceOverride]], now: datetime) -> int | None:
    today = now.date().isoformat()
    for number, (glob, rule) in enumerate(globs):
        begins, ends = rule.effective_from or "", rule.effective_to or "9999"
        if rule.provider in (None, provider) and begins <= today < ends and glob.match(model):
            return number
    return None


def _row(provider: str, tariff: Tariff, override: int | None) -> PriceRow:
    first = {key: _text(steps[0][1]) for key, steps in tariff.prices.items()}
    return PriceRow(
        provider=provider,
        model=tariff.model,
        input=first.get("input_mtok"),
        output=first.get("output_mtok"),
        cache_read=first.get("cache_read_mtok"),
        cache_write=first.get("cache_write_mtok"),
        steps="; ".join(_steps(key, steps) for key, steps in tariff.prices.items() if len(steps) > 1) or None,
        others={key: price for key, price in first.items() if key not in _SHOWN},
        effective_from=tariff.effective_date,
        is_filled=bool(tariff.filled),
        override=override,
    )


def _steps(key: str, steps: Steps) -> str:
    name = key.removesuffix("_mtok").replace("_", " ")
    return ", ".join(f"{name} {_text(price)} above {threshold:,} tokens" for threshold, price in steps[1:])


def _text(price: Decimal) -> str:
    return f"{price.normalize():f}"
