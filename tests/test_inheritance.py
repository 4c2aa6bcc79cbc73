"""What the children inherit: only what several of them need, and nothing that a fork would break."""

from __future__ import annotations

import json
import subprocess
import sys

from proxy.cli.serve import PROCESSES
from proxy.inheritance import COMMON
from tests.harness.process import ROOT

MOST_MODULES = 435
"""A tenth of a second is about a hundred of them: what a start needs not, is loaded where it is used."""
LOADED = "import json, sys; {}; json.dump(sorted(sys.modules), sys.stdout)"


def loaded_by(code: str) -> set[str]:
    command = [sys.executable, "-c", LOADED.format(code)]
    told = subprocess.run(command, capture_output=True, check=True, cwd=ROOT, text=True, timeout=60)
    return set(json.loads(told.stdout))


def test_whatever_is_inherited_is_needed_by_two_kinds_of_children_at_least() -> None:
    needs = [loaded_by(f"import {process}") for process in PROCESSES]
    wanted_by = {name: sum(name in need for need in needs) for name in COMMON}
    assert {name: count for name, count in wanted_by.items() if count < 2} == {}


def test_a_start_loads_no_more_modules_than_it_did() -> None:
    loaded = loaded_by("import proxy.supervisor; from proxy.inheritance import load_inheritance; load_inheritance()")
    assert len(loaded) <= MOST_MODULES


def test_what_is_inherited_starts_no_thread() -> None:
    code = "import threading; from proxy.inheritance import load_inheritance; load_inheritance()"
    check = "; assert threading.active_count() == 1, threading.enumerate()"
    assert "pricing.catalogue" in loaded_by(code + check)
