"""Text to fill requests with: real prose and real code, so that it compresses as text does.

A grammar of made-up sentences would compress far better than what people and programs write.
"""

from __future__ import annotations

import ast
import random
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_LEFT_OUT: Final = frozenset(("test", "tests", "site-packages", "lib2to3", "idlelib", "encodings", "__pycache__"))


class Library:
    """Prose and code of some files, handed out in slices."""

    def __init__(self, prose: str, code: dict[str, str], seed: int) -> None:
        self._words = prose.split(" ")
        self._code = list(code.items())
        self.numbers = random.Random(seed)

    def prose(self, size: int) -> str:
        """Return about `size` characters of consecutive prose."""
        count = max(1, size // 6)
        start = self.numbers.randrange(max(1, len(self._words) - count))
        return " ".join(self._words[start : start + count])

    def code(self, lines: int) -> tuple[str, str]:
        """Return the name of a file and consecutive lines of it, numbered as agents are shown them."""
        name, text = self.numbers.choice(self._code)
        all_lines = text.splitlines()
        start = self.numbers.randrange(max(1, len(all_lines) - lines))
        shown = all_lines[start : start + lines]
        return name, "\n".join(f"{start + at + 1:6d}\t{line}" for at, line in enumerate(shown))


def standard_library(seed: int) -> Library:
    """Return the text of Python's standard library."""
    folder = Path(sysconfig.get_path("stdlib"))
    paths = sorted(path for path in folder.rglob("*.py") if not _LEFT_OUT & set(path.relative_to(folder).parts))
    return _library(((str(path.relative_to(folder)), path.read_text("utf-8", "replace")) for path in paths), seed)


def own_text(seed: int) -> Library:
    """Return the text of this repository: what the dictionary may learn from, because it is ours to give away."""
    root = Path(__file__).parents[2]
    code = {str(path.relative_to(root)): path.read_text("utf-8") for path in sorted((root / "proxy").rglob("*.py"))}
    docs = " ".join(path.read_text("utf-8") for path in sorted((root / "docs").glob("*.md")))
    return Library(" ".join(docs.split()), code, seed)


def _library(files: Iterable[tuple[str, str]], seed: int) -> Library:
    code: dict[str, str] = {}
    prose: list[str] = []
    for name, text in files:
        if text.count("\n") > 200:
            code[name] = text
            prose.extend(_docstrings(text))
    return Library(" ".join(" ".join(prose).split()), code, seed)


def _docstrings(text: str) -> Iterable[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            yield ast.get_docstring(node) or ""
