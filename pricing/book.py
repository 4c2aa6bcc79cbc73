"""PriceBook: what a request cost, and what one can cost at most.

Precedence: the provider's own figure, then the user's override, then the price table, then unknown.
Nothing here raises over what a client or a provider said: what cannot be priced is unknown, with the reason.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from itertools import product

from pricing.cost import Cost
from pricing.limits import limits_of, load_limits
from pricing.override import Override
from pricing.rates import Rates, bound
from pricing.table import Context, Listing, PriceTable, load_table
from pricing.tariff import Tariff, charge
from pricing.usage import Usage

CONFIG_VERSION = "config"
"""The version of what comes from the user's config."""

_FREE = Tariff(model="*", prices={}, source="override", version=CONFIG_VERSION, free=True)
_EXCLUDING_TIERS = frozenset({"default", "flex", "standard", "standard_only"})
"""Service tiers that a request can name to be billed by no dearer one. `auto` and no tier at all may become priority."""


class PriceBook:
    """Prices usages; holds the price table (loaded with the first book, 0.3 s) and the overrides. Safe to share between threads."""

    def __init__(self, overrides: Sequence[Override] = (), *, table: PriceTable | None = None) -> None:
        """`table` None: the one of this process; the first override that matches a model decides."""
        self._overrides = tuple(overrides)
        self._table = table or load_table()
        # Read here, not in the first reservation: that one is on the data path.
        load_limits()
        self._rates = lru_cache(maxsize=4096)(self._compute_rates)
        self._tariffs = lru_cache(maxsize=1024)(self._tariff_in)

    @property
    def version(self) -> str:
        """Version of the price table."""
        return self._table.version

    @property
    def provider_ids(self) -> frozenset[str]:
        """Every provider id the price table knows."""
        return self._table.provider_ids

    def cost(
        self,
        usage: Usage,
        *,
        models: Sequence[str],
        provider: str | None,
        at: datetime,
        tier: str | None = None,
        processing: str | None = None,
        speed: str | None = None,
        region: str | None = None,
        variant: str | None = None,
        free: bool = False,
    ) -> Cost:
        """Price what a request consumed.

        `models`: candidates in order, the response's before the request's; the first that has a price counts.
        `provider`: a provider id of the price table; None: nobody's prices apply, only overrides.
        `at`: when the request started; without a time zone it is UTC. `tier`: the service tier *of the response*.
        `processing`: `batch`. `speed`: `fast` (Anthropic). `region`: where inference ran, as the response says.
        `variant`: what else the price depends on, such as quality and size of a picture. `free`: it costs nothing.
        """
        if usage.reported_cost_nano_usd is not None:
            return Cost(nano_usd=usage.reported_cost_nano_usd, source="provider")
        if free:
            return charge(usage, _FREE)
        # No price changes within a minute, and one minute's requests ask for the same few tariffs.
        minute = _utc(at)
        if minute.second or minute.microsecond:
            minute = minute.replace(second=0, microsecond=0)
        tariff = self._tariffs(tuple(models), provider, minute, tier, processing, speed, region, variant)
        if isinstance(tariff, str):
            return Cost(nano_usd=None, source="unknown", version=self.version, reason=tariff)
        return charge(usage, tariff)

    def rates(
        self,
        model: str,
        *,
        provider: str | None,
        at: datetime,
        tier: str | None = None,
        speed: str | None = None,
        free: bool = False,
    ) -> Rates | None:
        """Return hard upper bounds on the prices of a model, for reserving. None: it has no price.

        `tier`, `speed`: what was *asked for*. Only a tier known to exclude dearer ones narrows the bound.
        Neither a cost the provider reports itself nor units other than tokens, requests and tools are bounded.
        """
        only = tier if tier in _EXCLUDING_TIERS else None
        return self._rates(model, provider, _utc(at).date(), only, speed == "fast", free)

    def _compute_rates(
        self, model: str, provider: str | None, day: date, only: str | None, fast: bool, free: bool
    ) -> Rates | None:
        override = self._override(model, provider, day)
        name = override.alias_of if override and override.alias_of else model
        if free:
            return bound([_FREE], limits_of(name))
        listing = self._find_alias(name, provider) if override else self._find(name, provider)
        possible = self._possible_tariffs(model, provider, _options(listing, day, only, fast))
        # Most moments and contexts share their prices, and reading the bound off a tariff is the slow part.
        distinct = {(*tariff.prices.items(), tariff.multiplier, tariff.per_request_usd): tariff for tariff in possible}
        return bound(distinct.values(), limits_of(name))

    def _possible_tariffs(
        self, model: str, provider: str | None, options: Iterable[tuple[datetime, Context]]
    ) -> Iterator[Tariff]:
        for at, context in options:
            tariff = self._tariff((model,), provider, at, context)
            if isinstance(tariff, Tariff):
                yield tariff

    def _tariff_in(
        self, models: tuple[str, ...], provider: str | None, minute: datetime, *context: str | None
    ) -> Tariff | str:
        return self._tariff(models, provider, minute, _context(*context))

    def _tariff(self, models: Sequence[str], provider: str | None, at: datetime, context: Context) -> Tariff | str:
        for model in models:
            if override := self._override(model, provider, at.date()):
                return self._overridden(override, model, provider, at, context)
        for model in models:
            if listing := self._find(model, provider):
                return listing.tariff(at, context)
        if provider is None:
            return "no price table for this upstream"
        if provider not in self.provider_ids:
            return f"{provider} is not in the price table"
        return f"{provider} has no price for {' or '.join(models) or 'a request without a model'}"

    def _override(self, model: str, provider: str | None, day: date) -> Override | None:
        return next((rule for rule in self._overrides if rule.matches(model, provider, day)), None)

    def _overridden(
        self, override: Override, model: str, provider: str | None, at: datetime, context: Context
    ) -> Tariff | str:
        own = _own_tariff(override)
        if not override.builds_on_table:
            return own
        name = override.alias_of or model
        listing = self._find_alias(name, provider)
        if listing is None:
            seller = provider or "this upstream"
            return (
                f"override {override.model}: {seller} has no price for {name}; a provider can be named: openai/{name}"
            )
        base = listing.tariff(at, context)
        return f"override {override.model}: {base}" if isinstance(base, str) else _layered(own, base)

    def _find(self, model: str, provider: str | None) -> Listing | None:
        return self._table.find(model, provider) if provider else None

    def _find_alias(self, name: str, provider: str | None) -> Listing | None:
        """Find what the user named, who unlike a response may name another provider: `openai/gpt-5-mini`."""
        maker, _, rest = name.partition("/")
        return self._find(name, provider) or self._find(rest, maker)


def _utc(at: datetime) -> datetime:
    if at.tzinfo is UTC:
        return at
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _context(
    tier: str | None = None,
    processing: str | None = None,
    speed: str | None = None,
    region: str | None = None,
    variant: str | None = None,
) -> Context:
    # Anthropic reports batch processing as a service tier.
    is_batch = processing == "batch" or tier == "batch"
    chosen = {
        "service_tier": "" if tier == "batch" else tier or "",
        "processing": "batch" if is_batch else "",
        "speed": speed or "",
        "region": region or "",
        "variant": variant or "",
    }
    return {key: value for key, value in chosen.items() if value}


def _options(listing: Listing | None, day: date, only: str | None, fast: bool) -> Iterator[tuple[datetime, Context]]:
    """Return every moment around the day with every context a request may be billed in."""
    if listing is None:
        midnight = datetime.combine(day, time(0), tzinfo=UTC)
        yield from ((midnight + timedelta(days=offset), {}) for offset in (-1, 0, 1))
    else:
        yield from product(listing.moments(day), listing.contexts(only_tier=only, with_fast=fast))


def _own_tariff(override: Override) -> Tariff:
    return Tariff(
        model=override.model,
        prices={key: ((-1, usd),) for key, usd in override.prices.items()},
        source="override",
        version=CONFIG_VERSION,
        effective_date=override.effective_from.isoformat() if override.effective_from else None,
        multiplier=override.multiplier,
        per_request_usd=Decimal(0) if override.free else override.per_request or Decimal(0),
        free=override.free or override.is_flat,
    )


def _layered(own: Tariff, base: Tariff) -> Tariff:
    return replace(
        own,
        model=base.model,
        prices={**base.prices, **own.prices},
        version=f"{CONFIG_VERSION}, {base.version}",
        effective_date=own.effective_date or base.effective_date,
        free=base.free,
        filled=base.filled,
        filled_version=f"{CONFIG_VERSION}, {base.filled_version}",
    )
