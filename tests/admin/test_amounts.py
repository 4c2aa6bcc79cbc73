from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.admin.amounts import exact, money


@pytest.mark.parametrize(
    ("nano_usd", "text"),
    [
        (None, "no price"),
        (0, "$0"),
        (1, "$0.00000000100"),
        (12_345_678, "$0.0123"),
        (150_000, "$0.000150"),
        (999_500_000, "$1.00"),
        (999_400_000, "$0.999"),
        (1_234_560_000_000, "$1,234.56"),
        (-2_500_000, "-$0.00250"),
    ],
)
def test_money_shows_three_digits_below_a_dollar_and_never_zero_for_unknown(nano_usd: int | None, text: str) -> None:
    assert money(nano_usd) == text


@given(st.integers(min_value=1, max_value=999_000_000))
def test_money_below_a_dollar_is_off_by_less_than_half_a_percent(nano_usd: int) -> None:
    shown = Decimal(money(nano_usd).removeprefix("$")) * 1_000_000_000
    assert abs(shown - nano_usd) * 200 <= nano_usd


@given(st.integers(min_value=0, max_value=9_000_000 * 10**9))
def test_an_amount_for_programs_loses_nothing(nano_usd: int) -> None:
    written = exact(nano_usd)
    assert "e" not in written.lower()
    assert Decimal(written) * 10**9 == nano_usd
