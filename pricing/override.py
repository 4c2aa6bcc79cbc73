"""Override: what the user's config says a model costs. It goes before the price table."""

import fnmatch
import re
from datetime import date
from decimal import Decimal
from functools import lru_cache

import msgspec


class Override(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rule of `pricing.overrides`; the first that matches a model decides.

    An override with prices of its own replaces the table's row, whatever the service tier, unless `alias_of` is given:
    then they replace only the prices they name. Without prices it modifies the table's price of the model.
    """

    model: str
    """Glob over model names, letter case ignored: `my-finetune*`."""
    provider: str | None = None
    """Provider id as in the price table (`openai`, `azure`, …). None: any."""
    alias_of: str | None = None
    """Price as this model of the table. `provider/model` names another provider than that of the request."""
    multiplier: Decimal = Decimal(1)
    """Factor on every token and tool price: a regional uplift, a negotiated discount."""
    input: Decimal | None = None
    """USD per million input tokens."""
    output: Decimal | None = None
    """USD per million output tokens."""
    cache_read: Decimal | None = None
    """USD per million tokens read from the cache. None: the input price."""
    cache_write: Decimal | None = None
    """USD per million tokens written to the cache, whatever their lifetime. None: the input price."""
    per_request: Decimal | None = None
    """USD per request, added after the multiplier. Alone, without other prices or `alias_of`: a flat fee."""
    free: bool = False
    """The model costs nothing."""
    effective_from: date | None = None
    """First UTC day of the rule. None: always."""
    effective_to: date | None = None
    """First UTC day on which the rule no longer holds. None: never ends."""

    def __post_init__(self) -> None:
        for name in ("multiplier", "input", "output", "cache_read", "cache_write", "per_request"):
            amount: Decimal | None = getattr(self, name)
            if amount is not None and not (amount.is_finite() and amount >= 0):
                raise ValueError(f"{name}: {amount} is not a price: expected a finite number, 0 or more")
        if not self.model:
            raise ValueError("model: expected a name or a glob")

    def matches(self, model: str, provider: str | None, day: date) -> bool:
        """Say whether the rule holds for this model of this provider on this UTC day."""
        if self.provider is not None and self.provider != provider:
            return False
        if self.effective_from is not None and day < self.effective_from:
            return False
        if self.effective_to is not None and day >= self.effective_to:
            return False
        return glob_matches(self.model, model)

    @property
    def builds_on_table(self) -> bool:
        """The rule modifies a row of the price table instead of standing for itself."""
        if self.free:
            return False
        return self.alias_of is not None or not self.prices

    @property
    def is_flat(self) -> bool:
        """A fee for each request is all there is to pay."""
        named = (self.input, self.output, self.cache_read, self.cache_write, self.alias_of)
        return self.per_request is not None and all(price is None for price in named)

    @property
    def prices(self) -> dict[str, Decimal]:
        """The prices named by the rule, USD per million tokens, by the price table's key."""
        named = {
            "input_mtok": self.input,
            "output_mtok": self.output,
            "cache_read_mtok": self.cache_read,
            "cache_write_mtok": self.cache_write,
            "cache_write_5m_mtok": self.cache_write,
            "cache_write_1h_mtok": self.cache_write,
            "cache_write_12h_mtok": self.cache_write,
        }
        prices = {key: price for key, price in named.items() if price is not None}
        if self.is_flat:
            return {"input_mtok": Decimal(0), "output_mtok": Decimal(0)}
        return prices


def glob_matches(pattern: str, name: str) -> bool:
    """Match a model name against a glob, letter case ignored."""
    return _compiled(pattern).fullmatch(name) is not None


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(pattern), re.IGNORECASE)
