"""A second witness: our price of every model beside that of another public list, differences reported and not hidden.

`second_list.csv` holds what is needed of litellm's `model_prices_and_context_window_backup.json`: the standard price of
text tokens by model, in USD per million. `make prices` makes it anew from the package, and with it
`docs/price-differences.md`. The two lists are no independent witnesses: agreement shows that nobody mistyped, a
difference that somebody has to look.
"""

from __future__ import annotations

import csv
import json
import sys
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Final

from pricing.table import PriceTable

HERE = Path(__file__).parent
SECOND_LIST = HERE / "second_list.csv"
REPORT = HERE.parents[2] / "docs" / "price-differences.md"
FIELDS: Final = ("input", "output", "cache_read")
_KEYS: Final = {"input": "input_mtok", "output": "output_mtok", "cache_read": "cache_read_mtok"}
_THEIRS: Final = {
    "input": "input_cost_per_token",
    "output": "output_cost_per_token",
    "cache_read": "cache_read_input_token_cost",
}
_PROVIDERS: Final = {
    "anthropic": "anthropic",
    "azure": "azure",
    "bedrock_converse": "aws",
    "cerebras": "cerebras",
    "deepseek": "deepseek",
    "fireworks_ai": "fireworks",
    "gemini": "google",
    "groq": "groq",
    "mistral": "mistral",
    "openai": "openai",
    "openrouter": "openrouter",
    "perplexity": "perplexity",
    "together_ai": "together",
    "xai": "x-ai",
}
"""litellm's name of a provider, and ours."""
_MODES: Final = frozenset({"chat", "responses", "completion", "embedding"})
_NAMED: Final = ("openai", "anthropic", "google")
"""Providers whose models that we do not know are named, not only counted."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One row of the second list; prices in USD per million tokens, None where it has none."""

    provider: str
    model: str
    prices: dict[str, Decimal | None]


@dataclass(frozen=True, slots=True)
class Difference:
    """A price on which the two lists differ."""

    provider: str
    model: str
    field: str
    ours: Decimal | None
    theirs: Decimal


@dataclass(slots=True)
class Tally:
    """What came of one provider's models."""

    listed: int = 0
    agree: int = 0
    differ: int = 0
    unknown: int = 0


def load() -> tuple[datetime, str, list[Listed]]:
    """Return when the list was taken, its version, and its rows."""
    with SECOND_LIST.open(encoding="utf-8", newline="") as file:
        head = file.readline().removeprefix("# ").split(", ")
        rows = [
            Listed(row["provider"], row["model"], {field: _decimal(row[field]) for field in FIELDS})
            for row in csv.DictReader(file)
        ]
    return datetime.fromisoformat(head[1]).replace(tzinfo=UTC), head[0], rows


def compare(
    table: PriceTable, rows: Iterable[Listed], at: datetime
) -> tuple[dict[str, Tally], list[Difference], list[Listed]]:
    """Return the tally of each provider, the differences, and the models that we do not know."""
    tallies: dict[str, Tally] = {}
    differences: list[Difference] = []
    unknown: list[Listed] = []
    for row in rows:
        tally = tallies.setdefault(row.provider, Tally())
        tally.listed += 1
        ours = _our_prices(table, row, at)
        if ours is None:
            tally.unknown += 1
            unknown.append(row)
            continue
        found = list(_differences(row, ours))
        differences += found
        tally.agree += not found
        tally.differ += bool(found)
    return tallies, differences, unknown


def report(table: PriceTable) -> str:
    """Return the page of differences."""
    at, version, rows = load()
    tallies, differences, unknown = compare(table, rows, at)
    return "\n".join(
        [*_introduction(table, version, at), *_summary(tallies), *_table(differences), *_unknown(unknown), ""]
    )


def extract(wheel: Path) -> Iterator[Listed]:
    """Yield what is needed of the list inside litellm's package."""
    with zipfile.ZipFile(wheel) as archive:
        name = "litellm/model_prices_and_context_window_backup.json"
        entries = json.loads(archive.read(name), parse_float=Decimal, parse_int=Decimal)
    for model, entry in sorted(entries.items()):
        provider = _PROVIDERS.get(entry.get("litellm_provider"))
        if provider is None or entry.get("mode") not in _MODES or not entry.get("input_cost_per_token"):
            continue
        name = model.removeprefix(f"{entry['litellm_provider']}/")
        prices = {field: _per_million(entry.get(key)) for field, key in _THEIRS.items()}
        yield Listed(provider, name, prices)


def write_second_list(wheel: Path, day: str) -> None:
    """Write `second_list.csv` from litellm's package."""
    version = wheel.name.split("-")[1]
    with SECOND_LIST.open("w", encoding="utf-8", newline="") as file:
        file.write(f"# litellm {version}, {day}, MIT licence (Copyright 2023 Berri AI), USD per million tokens\n")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["provider", "model", *FIELDS])
        rows = {(row.provider, row.model): row for row in extract(wheel)}
        for (provider, model), row in sorted(rows.items()):
            writer.writerow([provider, model, *(_text(row.prices[field]) for field in FIELDS)])


def _our_prices(table: PriceTable, row: Listed, at: datetime) -> dict[str, Decimal] | None:
    listing = table.find(row.model, row.provider)
    tariff = None if listing is None else listing.tariff(at, {})
    if tariff is None or isinstance(tariff, str):
        return None
    return {field: tariff.prices[key][0][1] for field, key in _KEYS.items() if key in tariff.prices}


def _differences(row: Listed, ours: dict[str, Decimal]) -> Iterator[Difference]:
    for field, theirs in row.prices.items():
        our = ours.get(field)
        # No price and a price of 0 are one to the second list; an embedding has no output in either.
        if theirs and our != theirs:
            yield Difference(row.provider, row.model, field, our, theirs)


def _introduction(table: PriceTable, version: str, at: datetime) -> list[str]:
    lists = f"({table.version}, with `pricing/data/gaps.yaml`) beside a second public list ({version}, MIT licence)"
    return [
        "# Where price lists differ",
        "",
        f"Our price table {lists}, on {at.date()}.",
        "Compared are the standard prices of text tokens in USD per million.",
        "Neither list is right by itself: the provider's own page is.",
        "This page is written by `make prices`; a test fails when the lists change and the page does not.",
        "",
    ]


def _summary(tallies: dict[str, Tally]) -> list[str]:
    rows = [
        f"| {provider} | {tally.listed} | {tally.agree} | {tally.differ} | {tally.unknown} |"
        for provider, tally in sorted(tallies.items())
    ]
    return [
        "| provider | models in the second list | agree | differ | not in our table |",
        "|---|---:|---:|---:|---:|",
        *rows,
        "",
    ]


def _table(differences: Iterable[Difference]) -> list[str]:
    rows = [
        f"| {each.provider} | `{each.model}` | {each.field} | {_text(each.ours) or 'none'} | {_text(each.theirs)} |"
        for each in sorted(differences, key=lambda each: (each.provider, each.model, each.field))
    ]
    return [
        "## Prices that differ",
        "",
        "Where we have no price of a cache read, the input price is charged.",
        "",
        "| provider | model | price of | ours | second list |",
        "|---|---|---|---:|---:|",
        *rows,
        "",
    ]


def _unknown(unknown: Iterable[Listed]) -> list[str]:
    names = [row for row in unknown if row.provider in _NAMED]
    return [
        "## Models that our table lacks",
        "",
        "Their cost is unknown, never 0, until an override names one. Other providers are counted above.",
        "",
        *(f"- {row.provider}: `{row.model}`" for row in names),
    ]


def _per_million(price: Decimal | None) -> Decimal | None:
    # The list holds floats: what is beyond a picodollar a token is noise of theirs.
    return None if price is None else (Decimal(price) * 10**6).quantize(Decimal("0.000001")).normalize()


def _decimal(text: str) -> Decimal | None:
    return Decimal(text) if text else None


def _text(price: Decimal | None) -> str:
    return "" if price is None else f"{price.normalize():f}"


def main() -> None:
    """Write the report; with a package of litellm and a day, first the second list."""
    if len(sys.argv) == 3:
        write_second_list(Path(sys.argv[1]), sys.argv[2])
    REPORT.write_text(report(PriceTable()), encoding="utf-8")


if __name__ == "__main__":
    main()
