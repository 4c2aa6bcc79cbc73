from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.ledger.ledger import Ledger
from tests.ledger.scenes import Hands, price_book


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def ledger(path: Path, hands: Hands) -> Iterator[Ledger]:
    ledger = Ledger(path, price_book(), hands.clock())
    yield ledger
    ledger.close()
