"""The published prices of models, as data: `data/prices.json`, written from a release of genai-prices.

Which name means which model, what it costs since when and at which hour, and what is dearer or cheaper by order.
Nothing is priced here; `table.py` chooses and adds what the data lack. `python -m tests.pricing.catalogue` writes the
file, and tests compare every answer with that package's own.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time
from importlib import resources

import msgspec

from pricing.tariff import Steps

_COMPACT_DATE = re.compile(r"(?<=-)(20\d{2})(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=-|:|$)")
"""As LiteLLM and OpenRouter write it: `gpt-5.2-20251211`."""


class Match(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which names mean a model; of the fields exactly one is given. Texts are in lower case."""

    equals: str | None = None
    starts: str | None = None
    ends: str | None = None
    contains: str | None = None
    regex: str | None = None
    any: tuple["Match", ...] = ()
    all: tuple["Match", ...] = ()

    def holds(self, name: str) -> bool:
        """Say whether this name, in lower case, is meant."""
        if self.equals is not None:
            return name == self.equals
        if self.starts is not None:
            return name.startswith(self.starts)
        if self.ends is not None:
            return name.endswith(self.ends)
        if self.contains is not None:
            return self.contains in name
        if self.regex is not None:
            return re.search(self.regex, name) is not None
        if self.any:
            return any(part.holds(name) for part in self.any)
        return bool(self.all) and all(part.holds(name) for part in self.all)


class Prices(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Prices and when they are in force; without any condition, always."""

    usd: dict[str, Steps]
    """By the table's key, the price from each number of tokens on; -1: from the first."""
    since: date | None = None
    """A day in UTC."""
    begins: time | None = None
    """Time of day in UTC; before `ends`, or after it when the hours span midnight."""
    ends: time | None = None

    def is_active(self, at: datetime) -> bool:
        """Say whether they are in force at that moment."""
        moment = at.astimezone(UTC) if at.tzinfo is not None else at.replace(tzinfo=UTC)
        if self.since is not None:
            return moment.date() >= self.since
        if self.begins is None or self.ends is None:
            return True
        clock = moment.time()
        if self.ends < self.begins:
            return clock >= self.begins or clock < self.ends
        return self.begins <= clock < self.ends


class Variant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Prices for what was ordered in a certain way."""

    when: dict[str, str]
    prices: Prices


class Row(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One model."""

    id: str
    match: Match
    prices: tuple[Prices, ...] = ()
    """The last that is in force holds, else the first; none: it has no price."""
    variants: tuple[Variant, ...] = ()
    """For each key the first that fits holds."""

    def prices_at(self, at: datetime, context: Mapping[str, str]) -> dict[str, Steps]:
        """Return the prices in force for what was ordered like this."""
        found: dict[str, Steps] = {}
        for variant in self.variants:
            if variant.prices.is_active(at) and variant.when.items() <= context.items():
                found = variant.prices.usd | found
        standard = self.standard(at) or (self.prices[0] if self.prices else None)
        return (standard.usd if standard is not None else {}) | found

    def standard(self, at: datetime) -> Prices | None:
        """Return the standard prices in force; None: none of those that are listed."""
        return next((prices for prices in reversed(self.prices) if prices.is_active(at)), None)


class Seller(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One provider and the models that it sells."""

    id: str
    models: tuple[Row, ...]
    resells: tuple[str, ...] = ()
    """Whose models it sells as well, in this order, at their prices."""

    def find(self, name: str) -> Row | None:
        """Return the model of its own that a name, in lower case, means."""
        return next((row for row in self.models if row.match.holds(name)), None)


class Catalogue(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file."""

    version: str
    """The release that it was written from."""
    sellers: tuple[Seller, ...]

    def find(self, name: str, seller: Seller) -> Row | None:
        """Return the model that a seller's customer means by a name."""
        by_id = {each.id: each for each in self.sellers}
        shops = [seller, *(by_id[other] for other in seller.resells if other in by_id)]
        return next((row for spelling in _spellings(name) for shop in shops if (row := shop.find(spelling))), None)


def _spellings(name: str) -> Iterator[str]:
    """Return the name as it is looked for: in lower case, and then with compact dates written out."""
    yield name.lower()
    written_out = _COMPACT_DATE.sub(_with_dashes, name.lower())
    if written_out != name.lower():
        yield written_out


def _with_dashes(match: re.Match[str]) -> str:
    try:
        return date(int(match[1]), int(match[2]), int(match[3])).isoformat()
    except ValueError:
        return match[0]


def load_catalogue() -> Catalogue:
    """Read `data/prices.json`."""
    text = (resources.files("pricing") / "data" / "prices.json").read_bytes()
    return msgspec.json.decode(text, type=Catalogue)
