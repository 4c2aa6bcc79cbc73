"""Frameworks and command-line tools, straight to the provider and through Glassline. Run by `make sdks`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sdks.contract import MODELS
from tests.sdks.roster import FRAMEWORKS
from tests.sdks.run import run_contract
from tests.sdks.stage import Stage, staged


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("sdks"), MODELS) as made:
        yield made


@pytest.mark.parametrize("name", [contract.name for contract in FRAMEWORKS])
def test_a_framework_sees_the_same_through_glassline_as_without_it(stage: Stage, name: str, tmp_path: Path) -> None:
    [contract] = [contract for contract in FRAMEWORKS if contract.name == name]
    report = run_contract(stage, contract, tmp_path)
    assert not report.problems, "\n".join(f"{scenario}: {what}" for scenario, what in report.problems.items())
