"""What an installation takes up: its packages, direct or not, and their files."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

PACKAGES: Final = ("proxy", "pricing")
"""Our own."""


def installed_packages() -> set[str]:
    """Return the names of every package that Glassline needs here, directly or not; empty: it is not installed."""
    waiting, found = ["glassline"], set[str]()
    while waiting:
        try:
            requirements = importlib.metadata.requires(waiting.pop()) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for requirement in requirements:
            name = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0].lower().replace("_", "-")
            if "extra ==" not in requirement and name not in found and _is_installed(name):
                found.add(name)
                waiting.append(name)
    return found


def installed_bytes() -> int:
    """Return the size of Glassline and of every package that it needs."""
    root = Path(__file__).parents[2]
    ours = (file for package in PACKAGES for file in (root / package).rglob("*"))
    return sum(map(_size, ours)) + sum(_size(file) for name in installed_packages() for file in _files(name))


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _files(name: str) -> Iterator[Path]:
    for file in importlib.metadata.files(name) or []:
        yield Path(str(file.locate()))


def _size(file: Path) -> int:
    try:
        return file.stat().st_size if file.is_file() else 0
    except OSError:
        return 0
