"""Every golden file: bytes → reading → cost, compared with what was worked out by hand."""

from __future__ import annotations

from decimal import Decimal
from functools import cache
from pathlib import Path

import pytest

from pricing import PriceBook
from proxy import wire
from proxy.operations import OPERATIONS
from proxy.providers import PROVIDERS
from proxy.recorder.verdict import judge, operation_of
from tests.golden.golden import differences, golden_files, load, usd

WITHOUT_FILE: frozenset[str] = frozenset()
"""Providers whose golden file is still to come. It may only shrink."""
OPERATIONS_WITHOUT_FILE = frozenset(
    {
        ("bedrock", "speech_socket"),
    }
)
"""Billed operations, by dialect and endpoint, whose golden file is still to come. It may only shrink."""
FILES = golden_files()


@cache
def book() -> PriceBook:
    return PriceBook()


@pytest.mark.parametrize("name", FILES)
def test_a_golden_file_is_read_and_priced_to_the_last_digit(name: str) -> None:
    golden = load(FILES[name])
    exchange = golden.exchange()
    reading = wire.read(exchange)
    verdict = judge(exchange, reading, book())
    wrong = list(differences(golden.reading, reading))
    expected = None if golden.cost_usd is None else Decimal(golden.cost_usd)
    if usd(verdict.cost.nano_usd) != expected:
        wrong.append(
            f"cost: expected {expected}, found {usd(verdict.cost.nano_usd)}"
            f" ({verdict.cost.reason or verdict.cost.components})"
        )
    source = golden.cost_source or ("unknown" if expected is None else "table")
    if verdict.cost.source != source:
        wrong.append(f"cost source: expected {source}, found {verdict.cost.source}")
    if verdict.usage_source != golden.usage_source and golden.reading.get("usage"):
        wrong.append(f"usage source: expected {golden.usage_source}, found {verdict.usage_source}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", FILES)
def test_a_golden_file_shows_how_its_cost_was_worked_out(name: str) -> None:
    golden = load(FILES[name])
    if golden.cost_usd is not None and Decimal(golden.cost_usd) > 0:
        comments = [line for line in FILES[name].read_text().splitlines() if line.lstrip().startswith("#")]
        assert any("=" in line for line in comments), "the arithmetic is missing"


def test_every_provider_has_a_golden_file() -> None:
    shown = {golden.upstream.name or golden.upstream.provider for golden in map(load, FILES.values())}
    names = {row.name: {row.name, row.price_id} for row in PROVIDERS.values()}
    missing = {name for name, aliases in names.items() if not aliases & shown}
    assert missing <= WITHOUT_FILE


def test_every_operation_that_is_billed_has_a_golden_file() -> None:
    shown = {
        (operation.dialect, operation.endpoint)
        for golden in map(load, FILES.values())
        if (operation := operation_of(golden.exchange())) is not None
    }
    billed = {(each.dialect, each.endpoint) for each in OPERATIONS if each.billing != "nothing"}
    assert billed - shown <= OPERATIONS_WITHOUT_FILE


def test_golden_files_lie_in_a_folder_of_their_provider() -> None:
    root = Path(__file__).parent
    assert {path.parent.parent for path in FILES.values()} <= {root}
