"""Writes `pricing/data/prices.json` from the installed release of genai-prices: `python -m tests.pricing.catalogue`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from importlib.metadata import distribution
from pathlib import Path
from typing import Any, Final

import genai_prices
import msgspec
from genai_prices import types as theirs
from genai_prices.data import providers

from pricing.catalogue import Match, Prices, Row, Seller, Variant
from pricing.tariff import Steps

DATA: Final = Path(__file__).parents[2] / "pricing" / "data"
FILE: Final = DATA / "prices.json"
LICENCE: Final = DATA / "LICENSE-genai-prices"


def render() -> str:
    """Return the file: one model in each line, so that a change of a price is a change of a line."""
    sellers = ",\n".join(_render_seller(provider) for provider in providers)
    return f'{{"version": "genai-prices {genai_prices.__version__}", "sellers": [\n{sellers}\n]}}\n'


def licence() -> str:
    """Return the licence under which the prices are ours to ship."""
    package = distribution("genai-prices")
    [file] = [file for file in package.files or () if file.name == "LICENSE"]
    return Path(str(file.locate())).read_text(encoding="utf-8")


def _render_seller(provider: theirs.Provider) -> str:
    seller = Seller(id=provider.id, resells=tuple(provider.fallback_model_providers or ()), models=())
    fields = msgspec.to_builtins(seller) | {"models": "MODELS"}
    rows = ",\n".join(json.dumps(_plain(row), ensure_ascii=False) for row in map(_row, provider.models))
    return json.dumps(fields).replace('"MODELS"', f"[\n{rows}\n]")


def _plain(row: Row) -> Any:
    return msgspec.to_builtins(row)


def _row(model: theirs.ModelInfo) -> Row:
    dated = model.prices if isinstance(model.prices, list) else [theirs.ConditionalPrice(prices=model.prices)]
    return Row(
        id=model.id,
        match=_match(model.match),
        prices=tuple(_prices(each.prices, each.constraint) for each in dated),
        variants=tuple(
            Variant(when=variant.when, prices=_prices(variant.prices, variant.constraint))
            for variant in model.price_variants or ()
        ),
    )


def _match(clause: Any) -> Match:
    match clause:
        case theirs.ClauseEquals(equals=text):
            return Match(equals=text.lower())
        case theirs.ClauseStartsWith(starts_with=text):
            return Match(starts=text.lower())
        case theirs.ClauseEndsWith(ends_with=text):
            return Match(ends=text.lower())
        case theirs.ClauseContains(contains=text):
            return Match(contains=text.lower())
        case theirs.ClauseRegex(regex=pattern):
            return Match(regex=pattern)
        case theirs.ClauseOr(or_=clauses):
            return Match(any=tuple(map(_match, clauses)))
        case theirs.ClauseAnd(and_=clauses):
            return Match(all=tuple(map(_match, clauses)))
    raise TypeError(f"a match of a kind that is not known here: {clause!r}")


def _prices(prices: theirs.ModelPrice, constraint: object) -> Prices:
    usd = dict(_listed(vars(prices).items()))
    match constraint:
        case None:
            return Prices(usd=usd)
        case theirs.StartDateConstraint(start_date=day):
            return Prices(usd=usd, since=day)
        case theirs.TimeOfDateConstraint(start_time=start, end_time=end):
            return Prices(usd=usd, begins=_in_utc(start), ends=_in_utc(end))
    raise TypeError(f"a condition of a kind that is not known here: {constraint!r}")


def _listed(prices: Iterable[tuple[str, object]]) -> Iterator[tuple[str, Steps]]:
    for key, price in prices:
        match price:
            case None:
                continue
            case Decimal():
                yield key, ((-1, price),)
            case theirs.TieredPrices(base=base, tiers=tiers):
                yield key, ((-1, base), *((tier.start, tier.price) for tier in tiers))
            case _:
                raise TypeError(f"a price of a kind that is not known here: {price!r}")


def _in_utc(clock: time) -> time:
    moment = datetime.combine(date(1970, 1, 1), clock, clock.tzinfo or UTC)
    return moment.astimezone(UTC).time()


if __name__ == "__main__":
    FILE.write_text(render(), encoding="utf-8")
    LICENCE.write_text(licence(), encoding="utf-8")
    print(f"written: {FILE}")
