from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.cli.table import DASH, Cell, Column, Screen, ago, count, duration, printable, shorten, size, width


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (None, DASH),
        (0.42, "0.4 ms"),
        (9.94, "9.9 ms"),
        (9.96, "10 ms"),
        (85.4, "85 ms"),
        (999.6, "1.00 s"),
        (1_240, "1.24 s"),
        (12_300, "12.3 s"),
        (59_996, "1m 00s"),
        (200_000, "3m 20s"),
        (7_500_000, "2h 05m"),
        (273_600_000, "3d 04h"),
    ],
)
def test_durations_carry_the_unit_that_suits_them(ms: float | None, text: str) -> None:
    assert duration(ms) == text


def test_sizes_and_counts_carry_units_and_separators() -> None:
    assert [size(n) for n in (812, 4_100, 12_300_000, 999_960, 5 * 10**15)] == [
        "812 B",
        "4.1 kB",
        "12.3 MB",
        "1.0 MB",
        "5000.0 TB",
    ]
    assert count(1234567) == "1,234,567"


def test_relative_times_never_lie_in_the_future() -> None:
    assert [ago(10_000 - s * 1000, 10_000) for s in (-5, 0, 12, 300, 7200, 200_000)] == [
        "now",
        "now",
        "12s ago",
        "5m ago",
        "2h ago",
        "2d ago",
    ]


def test_a_table_aligns_numbers_right_and_wide_characters_by_what_they_take() -> None:
    out = io.StringIO()
    Screen(out).table([Column("NAME"), Column("N", is_number=True)], [("東京", "5"), ("Rio", "12345")])
    assert out.getvalue().splitlines() == ["NAME      N", "東京      5", "Rio   12345"]


def test_colours_are_for_terminals_only(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[31m" in Screen(Terminal()).paint("x", "red")
    assert Screen(io.StringIO()).paint("x", "red") == "x"
    monkeypatch.setenv("NO_COLOR", "1")
    assert Screen(Terminal()).paint("x", "red") == "x"


@given(st.text())
def test_text_from_traffic_cannot_move_the_cursor_or_break_a_line(text: str) -> None:
    out = io.StringIO()
    Screen(out).table([Column("A")], [[Cell(text)]])
    assert not {"\x1b", "\r", "\x07", "\u202e", "\x9b"} & set(out.getvalue())
    assert out.getvalue().count("\n") == 2
    out.getvalue().encode()
    assert printable(text) == printable(printable(text))


@given(st.text(), st.integers(min_value=1, max_value=40))
def test_shortened_text_fits(text: str, columns: int) -> None:
    assert width(shorten(text, columns)) <= columns
