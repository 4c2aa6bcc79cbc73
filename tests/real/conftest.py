"""Writes what the real servers showed into docs/real-servers.md, when all of them were asked (`make real`)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

import pytest

from tests.harness.process import ROOT

REPORT: Final = ROOT / "docs" / "real-servers.md"
NAMES: Final = {"llamacpp": "llama-cpp-python", "transformers": "transformers", "litellm": "litellm"}
HEAD: Final = """# Real servers

`make real` starts servers that this project did not write, with tiny models of random weights made on the spot, and asks them through Glassline.
A listener on the wire between Glassline and the server keeps every byte: what the client got and what is recorded must be those bytes, and the recorded usage must be what the server said.
llama-cpp-python says nothing of its usage in a stream, whatever it is asked; there the record holds an estimate and says so.

"""
_seen: dict[tuple[str, str], str] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note how each test ended."""
    match = re.search(r"::test_(\w+)\[(\w+)\]$", report.nodeid)
    if match and (report.when == "call" or report.failed):
        _seen[match[1], match[2]] = "passed" if report.passed else "failed"


def pytest_sessionfinish() -> None:
    """Write the table."""
    servers = [name for name in NAMES if any(name == server for _, server in _seen)]
    if os.environ.get("GLASSLINE_REPORT") and len(servers) == len(NAMES):
        REPORT.write_text(HEAD + "".join(_rows(servers)), encoding="utf-8")


def _rows(servers: list[str]) -> Iterator[str]:
    versions = [f"{NAMES[server]} {_version(server)}" for server in servers]
    yield f"| | {' | '.join(versions)} |\n|---|{'---|' * len(servers)}\n"
    for test in dict.fromkeys(name for name, _ in _seen):
        cells = (_seen.get((test, server), "-") for server in servers)
        yield f"| {test.replace('_', ' ')} | {' | '.join(cells)} |\n"
    yield f"\nMade by `make real` on {datetime.now(UTC):%Y-%m-%d}.\n"


def _version(server: str) -> str:
    pins = (ROOT / "tests" / "real" / f"{server}.txt").read_text()
    match = re.search(rf"^{NAMES[server]}(?:\[\w+\])?==(\S+)", pins, re.MULTILINE)
    assert match, f"{server} is not pinned"
    return match[1]
