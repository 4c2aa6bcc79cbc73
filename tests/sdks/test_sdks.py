"""Every official SDK, straight to the provider and through Glassline: the same answers, errors and retries."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sdks.contract import MODELS, play
from tests.sdks.program import Program
from tests.sdks.roster import CORE
from tests.sdks.run import command, environment, run_contract
from tests.sdks.stage import BROKE, Stage, staged


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("sdks"), MODELS) as made:
        yield made


@pytest.mark.parametrize("name", [contract.name for contract in CORE])
@pytest.mark.case(38)
def test_an_sdk_sees_the_same_through_glassline_as_without_it(stage: Stage, name: str, tmp_path: Path) -> None:
    [contract] = [contract for contract in CORE if contract.name == name]
    report = run_contract(stage, contract, tmp_path)
    assert not report.problems, "\n".join(f"{scenario}: {what}" for scenario, what in report.problems.items())


def test_the_vercel_sdk_asks_once_where_a_used_up_budget_answers_402(tmp_path: Path) -> None:
    [contract] = [contract for contract in CORE if contract.name == "Vercel AI SDK, OpenAI"]
    with (
        staged(tmp_path, MODELS, budget_status=402) as stage,
        Program(command(contract), tmp_path / "program", environment(tmp_path)) as program,
    ):
        seen = play(stage, program, contract, "chat", through=True, key=BROKE)
    assert (seen.answer["error"]["type"], seen.answer["error"]["status"]) == ("APICallError", 402)
    assert [row["error_code"] for row in seen.rows] == ["budget_exceeded"]
    assert seen.truths == []
