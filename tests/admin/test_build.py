"""The committed build of the dashboard is that of its sources: seen without Node."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "dashboard"
BUILT = ROOT / "proxy" / "admin" / "static"


def source_hash() -> str:
    """Sum up the sources as the build does: `bookkeeping` in dashboard/vite.config.ts."""
    names = sorted(
        name
        for path in SOURCES.rglob("*")
        if path.is_file()
        and not any(part == "node_modules" or part.startswith(".") for part in path.relative_to(SOURCES).parts)
        and not re.search(r"\.test\.tsx?$", name := path.relative_to(SOURCES).as_posix())
    )
    total = hashlib.sha256()
    for name in names:
        total.update(name.encode() + b"\0" + (SOURCES / name).read_bytes() + b"\0")
    return total.hexdigest()


def test_the_build_is_that_of_the_sources() -> None:
    assert (BUILT / "SOURCE_HASH").read_text().strip() == source_hash(), "run `make ui` and commit what it writes"


def test_no_file_of_the_build_has_a_hash_in_its_name() -> None:
    assert [path.name for path in BUILT.iterdir() if not re.fullmatch(r"[A-Za-z][\w-]*(\.\w+)?", path.name)] == []
    assert [path.name for path in BUILT.iterdir() if path.is_dir()] == []


def test_the_licences_of_all_that_is_shipped_stand_beside_it() -> None:
    text = (BUILT / "LICENSES.txt").read_text(encoding="utf-8")
    wanted = json.loads((SOURCES / "package.json").read_text())["dependencies"]
    shipped = "\n".join(path.read_text(encoding="utf-8") for path in BUILT.glob("*.js"))
    named = set(re.findall(r"(?m)^(@?[\w/.-]+) [\d.]+\S* \(", text))
    assert {"react", "react-dom"} <= named <= set(lock_names())
    assert text.upper().count("SIL OPEN FONT LICENSE VERSION") == len(list(BUILT.glob("*.woff2")))
    assert len(wanted) < 15, "few dependencies"
    assert shipped


def lock_names() -> list[str]:
    """Return the packages that the lock file installs."""
    packages = json.loads((SOURCES / "package-lock.json").read_text())["packages"]
    return [path.rpartition("node_modules/")[2] for path in packages if path]


def test_every_package_of_the_lock_file_is_known_by_its_hash() -> None:
    packages = json.loads((SOURCES / "package-lock.json").read_text())["packages"]
    assert [name for name, package in packages.items() if name and "integrity" not in package] == []
    direct = json.loads((SOURCES / "package.json").read_text())
    versions = {**direct["dependencies"], **direct["devDependencies"]}
    assert [name for name, version in versions.items() if not re.fullmatch(r"\d+\.\d+\.\d+", version)] == []
