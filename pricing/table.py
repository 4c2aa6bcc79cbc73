"""Tariffs from the published prices (`catalogue.py`) and from what these lack (`data/gaps.yaml`).

The sums are our own: the engine that comes with these prices raises on usages it finds incomplete, guesses a provider
from the model's name, and charges the standard price for a tier that is not listed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import cache, lru_cache
from importlib import resources
from itertools import product

import msgspec

from pricing.catalogue import Match, Prices, Row, Seller, load_catalogue
from pricing.override import glob_matches
from pricing.tariff import Steps, Tariff

Context = Mapping[str, str]
"""What of a request selects a price: `service_tier`, `processing`, `speed`, `region`, `variant`."""

_TABLE_KEYS = ("service_tier", "processing", "speed")
"""The part of it that the table itself knows."""

LIST_PRICE = frozenset({"", "auto", "default", "standard", "standard_only", "on_demand"})
"""Names by which OpenAI, Anthropic, Gemini and Groq call their standard service tier or speed."""

ANYWHERE = frozenset({"", "global", "not_available", "default"})
"""Names of no region in particular, for which the list price holds."""
_ANY_REGION = "*"


class Gap(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One row of `gaps.yaml`: what the price table does not say."""

    provider: str
    """Provider id; `*` for any."""
    source: str
    """Where the fact is from."""
    checked: date
    """When it was checked."""
    models: tuple[str, ...] = ()
    """Globs over the table's model ids."""
    prices: dict[str, Decimal] = {}
    """USD by the table's key, where the table has none."""
    adds: tuple[str, ...] = ()
    """Model ids that the table lacks altogether; `prices` or `variants` are theirs."""
    variants: dict[str, dict[str, Decimal]] = {}
    """Prices that depend on what was ordered, such as quality and size of a picture, by its name."""
    regions: dict[str, Decimal] = {}
    """Factor on the prices of tokens, by the region in which inference ran; `*`: any that has no factor of its own."""
    cache_write_12h_per_input: Decimal | None = None
    """Price of a twelve-hour cache write as a factor of the input price."""
    free: bool = False
    """A row without prices costs nothing."""
    list_price_tiers: tuple[str, ...] = ()
    """Service tiers of the provider that are billed at the standard price."""

    def applies(self, provider: str, model: str) -> bool:
        """Say whether the row speaks of this model."""
        return self.provider in ("*", provider) and (
            model in self.adds or any(glob_matches(glob, model) for glob in self.models)
        )


class PriceTable:
    """The price table: finds a model under its provider, and only there."""

    def __init__(self) -> None:
        """Read the published prices and `gaps.yaml`."""
        self._catalogue = load_catalogue()
        self.version = self._catalogue.version
        self._by_id = {seller.id: seller for seller in self._catalogue.sellers}
        self._owners = {id(row): seller for seller in self._catalogue.sellers for row in seller.models}
        self._gaps = load_gaps()
        self._added = {(gap.provider, model): _unpriced_row(model) for gap in self._gaps for model in gap.adds}
        self._owners |= {id(row): self._by_id[provider] for (provider, _), row in self._added.items()}
        self._regional = frozenset(gap.provider for gap in self._gaps if gap.regions)
        # Model names come from clients: bounded, so that made-up ones cannot fill the memory.
        self.find = lru_cache(maxsize=4096)(self._find)

    @property
    def provider_ids(self) -> frozenset[str]:
        """Every provider id of the table."""
        return frozenset(self._by_id)

    def models_of(self, provider: str) -> Iterator["Listing"]:
        """Return every row of one provider."""
        for row in self._by_id[provider].models:
            yield self._listing(self._by_id[provider], row)

    def _find(self, model: str, provider: str) -> "Listing | None":
        seller = self._by_id.get(provider)
        if seller is None or not model:
            return None
        row = self._catalogue.find(model, seller) or self._added.get((provider, model))
        return None if row is None else self._listing(seller, row)

    def _listing(self, seller: Seller, row: Row) -> "Listing":
        owner = self._owners[id(row)]
        return Listing(
            row=row,
            version=self.version,
            # A variant (flex, batch, …) of the maker need not be offered by a reseller.
            is_own=owner is seller,
            gaps=tuple(gap for gap in self._gaps if gap.applies(owner.id, row.id)),
            list_price_tiers=LIST_PRICE.union(
                *(gap.list_price_tiers for gap in self._gaps if gap.provider == seller.id)
            ),
            is_regional=seller.id in self._regional,
        )


@dataclass(frozen=True, slots=True)
class Listing:
    """One row of the price table as one provider sells it."""

    row: Row
    """The row itself."""
    version: str
    """Version of the table."""
    is_own: bool
    """The provider lists the row itself; False: it resells another's model."""
    gaps: Sequence[Gap]
    """What the row does not say."""
    list_price_tiers: frozenset[str]
    """Service tiers and speeds billed at the standard price."""
    is_regional: bool = False
    """The provider's prices may depend on the region."""

    def tariff(self, at: datetime, context: Context) -> Tariff | str:
        """Return the prices in force at that moment for that context, or the reason why there is none."""
        chosen = {key: context[key] for key in _TABLE_KEYS if context.get(key, "") not in self.list_price_tiers}
        for key, value in chosen.items():
            if not self._has_variant(at, key, value):
                return f"no {value} price is listed for {self.row.id}"
        factor = self._region_factor(context.get("region", ""))
        if factor is None:
            return f"no price in {context['region']} is listed for {self.row.id}"
        listed = self.row.prices_at(at, chosen)
        prices = _scaled(self._filled(listed, context.get("variant", "")), factor)
        free = not prices and any(gap.free for gap in self.gaps)
        if not prices and not free:
            return f"{self.row.id} is listed without a price"
        return Tariff(
            model=self.row.id,
            prices=prices,
            source="table",
            version=self.version if factor == 1 else self._filled_version,
            effective_date=self._effective_date(at, chosen),
            free=free,
            filled=frozenset(prices.keys() - listed.keys()),
            filled_version=self._filled_version,
        )

    def contexts(self, *, only_tier: str | None, with_fast: bool) -> Iterator[Context]:
        """Return every context that may select a price of this row.

        `only_tier`: the one service tier beside the standard one; None: any. `with_fast`: fast speed was asked for.
        """
        values: dict[str, set[str]] = {}
        for variant in self.row.variants:
            for key, value in variant.when.items():
                if key == "service_tier" and only_tier not in (None, value):
                    continue
                if key == "speed" and not with_fast:
                    continue
                values.setdefault(key, {""}).add(value)
        if regions := {region for gap in self.gaps for region in gap.regions} if self.is_regional else set():
            values["region"] = {"", *regions}
        for combination in product(*values.values()):
            yield {key: value for key, value in zip(values, combination, strict=True) if value}

    def moments(self, day: date) -> Iterator[datetime]:
        """Return moments of that UTC day and its neighbours at which every price in force in them is in force.

        Prices are constant between the start of a day and the edges of the daily windows, so these suffice.
        """
        edges = {time(0)}
        for prices in self.row.prices:
            edges |= {edge for edge in (prices.begins, prices.ends) if edge is not None}
        for offset, edge in product((-1, 0, 1), edges):
            yield datetime.combine(day + timedelta(days=offset), edge, UTC)

    @property
    def _filled_version(self) -> str:
        return f"{self.version}, gaps {max((gap.checked for gap in self.gaps), default='')}"

    def _region_factor(self, region: str) -> Decimal | None:
        """Return the factor on the prices of tokens. None: nobody knows it."""
        if not self.is_regional or region in ANYWHERE:
            return Decimal(1)
        found = (gap.regions.get(region, gap.regions.get(_ANY_REGION)) for gap in self.gaps)
        return next((factor for factor in found if factor is not None), None)

    def _has_variant(self, at: datetime, key: str, value: str) -> bool:
        return self.is_own and any(
            variant.when.get(key) == value and variant.prices.is_active(at) for variant in self.row.variants
        )

    def _filled(self, prices: dict[str, Steps], variant: str) -> dict[str, Steps]:
        for gap in self.gaps:
            if not prices and not gap.adds:
                continue
            added = gap.prices | gap.variants.get(variant.lower(), {})
            prices = {key: ((-1, usd),) for key, usd in added.items()} | prices
            if gap.cache_write_12h_per_input is not None and "input_mtok" in prices:
                twelve_hours = _scaled({"input_mtok": prices["input_mtok"]}, gap.cache_write_12h_per_input)
                prices = {"cache_write_12h_mtok": twelve_hours["input_mtok"]} | prices
        return prices

    def _effective_date(self, at: datetime, chosen: Context) -> str | None:
        in_force: list[Prices | None] = [
            variant.prices
            for variant in self.row.variants
            if any(chosen.get(key) == value for key, value in variant.when.items())
        ]
        in_force.append(self.row.standard(at))
        dates = [prices.since for prices in in_force if prices is not None and prices.since is not None]
        return max(dates).isoformat() if dates else None


@cache
def load_table() -> PriceTable:
    """Read the price table, once."""
    return PriceTable()


def load_gaps() -> tuple[Gap, ...]:
    """Read `data/gaps.yaml`."""
    text = (resources.files("pricing") / "data" / "gaps.yaml").read_bytes()
    return msgspec.yaml.decode(text, type=tuple[Gap, ...])


def _unpriced_row(model: str) -> Row:
    return Row(id=model, match=Match(equals=model))


def _scaled(prices: dict[str, Steps], factor: Decimal) -> dict[str, Steps]:
    """Multiply the prices of tokens."""
    if factor == 1:
        return prices
    return {
        key: tuple((threshold, usd * factor) for threshold, usd in steps) if key.endswith("_mtok") else steps
        for key, steps in prices.items()
    }
