"""A secret that is compared with `==` tells by the time it takes how much of it was right."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import pairwise

import pytest

from tests.harness.process import ROOT

SECRET = re.compile(
    r"(?i)(^|_)(secret|secrets|password|passwords|digest|digests|token|pepper|credential|credentials|signature|seal|"
    r"cookie|stamp|hmac|mac|api_key|form_token|bearer|authorization|session_id)($|_)"
)
HARMLESS = {
    ("proxy/cli/users.py", "password"): "typed twice by the same person",
}
"""By file and operand: why it is no secret, or why nobody who guesses can see the time."""


def compared_secrets(source: str) -> Iterator[tuple[int, str]]:
    """Yield line and operand of each comparison of two values of which one is named like a secret."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Compare):
            continue
        operands = [node.left, *node.comparators]
        for operator, pair in zip(node.ops, pairwise(operands), strict=True):
            if not isinstance(operator, ast.Eq | ast.NotEq) or any(is_plain(side) for side in pair):
                continue
            yield from ((node.lineno, name_of(side)) for side in pair if SECRET.search(name_of(side)))


def is_plain(side: ast.expr) -> bool:
    """Say whether it is a number, a word of ours or a length: nobody's secret is written in the source."""
    if isinstance(side, ast.Call) and isinstance(side.func, ast.Name) and side.func.id == "len":
        return True
    return isinstance(side, ast.Constant) or (isinstance(side, ast.Name) and side.id.lstrip("_").isupper())


def name_of(side: ast.expr) -> str:
    if isinstance(side, ast.Name):
        return side.id
    if isinstance(side, ast.Attribute):
        return side.attr
    if isinstance(side, ast.Call):
        return name_of(side.func)
    if isinstance(side, ast.Subscript):
        return name_of(side.value)
    return ""


def test_no_secret_is_compared_with_an_operator() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line} {name}"
        for path in sorted((ROOT / "proxy").rglob("*.py"))
        if "simulator" not in path.parts
        for line, name in compared_secrets(path.read_text(encoding="utf-8"))
        if (str(path.relative_to(ROOT)), name) not in HARMLESS
    ]
    assert found == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("given == self.password", ["password"]),
        ("digest_of(key) != stored", ["digest_of"]),
        ("token == headers[b'x']", ["token"]),
        ("hmac.compare_digest(a, digest)", []),
        ("len(digest) == 32", []),
        ("tokens_total == x", []),
        ("1 < 2 == api_key", []),
    ],
)
def test_the_rule_sees_what_it_is_for(source: str, expected: list[str]) -> None:
    assert [name for _, name in compared_secrets(source)] == expected


def test_nothing_runs_what_it_is_given() -> None:
    forbidden = {"eval", "exec", "compile", "__import__"}
    found = []
    for path in sorted((ROOT / "proxy").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in forbidden:
                found.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.func.id}")
            if isinstance(node, ast.keyword) and node.arg == "shell":
                found.append(f"{path.relative_to(ROOT)}:{node.value.lineno} shell=")
    assert found == []
