"""What the documents say of SDKs and tools is what was tried, at the versions that are locked."""

from __future__ import annotations

import json
import re

import pytest

from tests.harness.process import ROOT
from tests.sdks.contract import Contract
from tests.sdks.roster import CORE, FRAMEWORKS

EVERY = [*CORE, *FRAMEWORKS]
LOCKS = sorted((ROOT / "tests" / "sdks" / "locks").glob("*.lock"))
COMPATIBILITY = (ROOT / "docs" / "compatibility.md").read_text()
CLIENTS = (ROOT / "docs" / "clients.md").read_text()


def named(contract: Contract) -> str:
    """Return the row of an SDK in docs/compatibility.md."""
    [row] = [line for line in COMPATIBILITY.splitlines() if line.startswith(f"| {contract.name} |")]
    return row


def locked(contract: Contract) -> str:
    """Return the text in which the versions of its environment are locked."""
    if contract.environment in ("node", "cli"):
        home = ROOT / "tests" / ("node" if contract.environment == "node" else "sdks/cli")
        return (home / "package.json").read_text()
    return (ROOT / "tests" / "sdks" / "locks" / f"{contract.environment}.lock").read_text()


@pytest.mark.parametrize("contract", EVERY, ids=lambda contract: contract.name)
def test_the_table_holds_every_sdk_at_its_locked_version(contract: Contract) -> None:
    _, _, package, version, *marks = [cell.strip() for cell in named(contract).split("|")]
    name = package.strip("`")
    separator = '": "' if contract.environment in ("node", "cli") else "=="
    assert f"{name}{separator}{version}" in locked(contract).replace("[openai,anthropic,google]", "")
    assert "✗" not in "".join(marks)


@pytest.mark.parametrize("contract", EVERY, ids=lambda contract: contract.name)
def test_every_sdk_is_explained(contract: Contract) -> None:
    assert re.sub(r" \(.*|,.*", "", contract.name) in CLIENTS


def test_every_package_is_locked_with_its_hash_and_no_host() -> None:
    for lock in LOCKS:
        entries = re.split(r"(?m)^(?=[A-Za-z0-9])", lock.read_text())[1:]
        assert [entry for entry in entries if not re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry)] == [], lock.name
    for name in [*LOCKS, ROOT / "tests/node/package-lock.json", ROOT / "tests/sdks/cli/package-lock.json"]:
        assert not re.search(r"https?:|--index-url|--find-links|\"resolved\"", name.read_text()), name


def test_every_lock_file_holds_what_was_asked_for() -> None:
    for lock in LOCKS:
        wanted = lock.with_suffix(".in").read_text().split()
        held = lock.read_text()
        assert [pin for pin in wanted if re.sub(r"\[.*\]", "", pin) not in re.sub(r"\[.*?\]", "", held)] == []


def test_the_packages_of_node_are_pinned_to_one_version_each() -> None:
    for home in ("tests/node", "tests/sdks/cli"):
        asked = json.loads((ROOT / home / "package.json").read_text())["dependencies"]
        lock = json.loads((ROOT / home / "package-lock.json").read_text())["packages"]
        assert {name: lock[f"node_modules/{name}"]["version"] for name in asked} == asked
