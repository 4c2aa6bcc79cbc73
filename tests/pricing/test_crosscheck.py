from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from pricing.table import PriceTable
from tests.pricing.crosscheck.compare import REPORT, compare, load, report


@pytest.fixture(scope="module")
def table() -> PriceTable:
    return PriceTable()


def test_the_page_of_differences_is_that_of_the_lists_as_they_are(table: PriceTable) -> None:
    assert REPORT.read_text(encoding="utf-8") == report(table), "`make prices` writes docs/price-differences.md anew"


def test_most_prices_agree_where_both_lists_know_a_model(table: PriceTable) -> None:
    at, _, rows = load()
    tallies, _, _ = compare(table, rows, at)
    for provider in ("openai", "anthropic", "google", "groq"):
        tally = tallies[provider]
        assert tally.agree >= 5 * tally.differ, (provider, tally)


def test_a_changed_price_is_reported(table: PriceTable) -> None:
    at, _, rows = load()
    row = next(row for row in rows if (row.provider, row.model) == ("openai", "gpt-5"))
    assert compare(table, [row], at)[1] == []
    changed = replace(row, prices=row.prices | {"output": Decimal("10.01")})
    (difference,) = compare(table, [changed], at)[1]
    assert (difference.field, difference.ours, difference.theirs) == ("output", Decimal(10), Decimal("10.01"))
