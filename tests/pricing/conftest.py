from datetime import UTC, datetime

import pytest

from pricing import PriceBook

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="session")
def book() -> PriceBook:
    return PriceBook()


@pytest.fixture(scope="session")
def now() -> datetime:
    """The day for which the reference cases were worked out."""
    return NOON
