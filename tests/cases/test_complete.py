"""The cases are all there: each number of the specification's forty stands on at least one test."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parent.parent


def marked() -> Iterator[int]:
    for path in TESTS.rglob("test_*.py"):
        if "node_modules" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.case":
                yield ast.literal_eval(node.args[0])


def test_every_one_of_the_forty_cases_has_a_test() -> None:
    assert set(marked()) == set(range(1, 41))
