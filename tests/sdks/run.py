"""Run one contract from the first scenario to the last and keep what came of it for docs/compatibility.md."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from tests.harness.process import ROOT
from tests.sdks.contract import Contract, check, check_refusal
from tests.sdks.program import Program
from tests.sdks.stage import Stage

HOME = ROOT / ".cache" / "sdks"
RESULTS = HOME / "results"
BINARIES = HOME / "cli" / "node_modules" / ".bin"


@dataclass(slots=True)
class Report:
    """What came of one contract."""

    name: str
    package: str
    version: str
    passed: list[str] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)

    def keep(self) -> None:
        """Write it where the table is made from."""
        RESULTS.mkdir(parents=True, exist_ok=True)
        facts = {name: getattr(self, name) for name in self.__slots__}
        (RESULTS / f"{self.name}.json").write_text(json.dumps(facts, indent=1))


def run_contract(stage: Stage, contract: Contract, directory: Path) -> Report:
    """Run every scenario that the program knows; a scenario that fails does not spare the others."""
    with Program(command(contract), directory, environment(directory)) as program:
        report = Report(contract.name, program.greeting["package"], program.greeting["version"])
        for scenario in program.greeting["scenarios"]:
            attempt(report, scenario, partial(check, stage, program, contract, scenario))
            if scenario in contract.refused:
                attempt(report, f"refused_{scenario}", partial(check_refusal, stage, program, contract, scenario))
    report.keep()
    return report


def attempt(report: Report, scenario: str, run: Callable[[], None]) -> None:
    """Run one scenario and note what came of it."""
    try:
        run()
    except AssertionError as error:
        report.problems[scenario] = str(error)[:2000]
    else:
        report.passed.append(scenario)


def command(contract: Contract) -> list[str]:
    """Return how the program is started; skip where its packages are missing, but fail under CI."""
    interpreter, home = _interpreter(contract.environment)
    if interpreter is not None:
        return [interpreter, str(home / contract.program)]
    missing = f"the packages of {contract.name} are missing: run tests/system/install.sh, or make sdks"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)


def _interpreter(name: str) -> tuple[str | None, Path]:
    """Return what runs the programs of an environment, None where it is not installed; and where they are."""
    node_home, python_home = ROOT / "tests" / "node", ROOT / "tests" / "sdks" / "python"
    if name == "node":
        return (shutil.which("node") if (node_home / "node_modules" / "ai").is_dir() else None), node_home
    if name == "cli":
        return (sys.executable if (BINARIES / "codex").exists() else None), python_home
    python = HOME / name / "bin" / "python"
    return (str(python) if python.exists() else None), python_home


def environment(directory: Path) -> dict[str, str]:
    """Return variables that keep tools from reading or writing anything of the person who runs the tests."""
    return {
        "HOME": str(directory),
        "XDG_CONFIG_HOME": str(directory / "config"),
        "DO_NOT_TRACK": "1",
        "CODEX_BINARY": str(BINARIES / "codex"),
        "CLAUDE_BINARY": str(BINARIES / "claude"),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # or it fetches prices when it is imported
        "PYTHONWARNINGS": "ignore",
    }
