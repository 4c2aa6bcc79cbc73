"""Sort the sbom.json that cyclonedx-py wrote into a directory, and write licences.md beside it.

Run by .ci/sbom in the development environment, which holds every package of requirements.lock that this system needs.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any

_SAID_ELSEWHERE = {
    "apsw-sqlite3mc": "any OSI approved; SQLite is public domain",
}
"""Read in the wheel on 2026-11-21: apsw-sqlite3mc 3.54.0.0 declares no more than "OSI Approved", and its LICENSE says
"any-OSI"."""
_CLASSIFIER = "License :: OSI Approved :: "
_HEAD = """# Licences

What `requirements.lock` installs, and under which licence; written by `make sbom`.

| package | version | licence |
|---|---|---|
"""


def licence_of(name: str) -> str:
    """Return the licence that a package declares, in one line."""
    if name in _SAID_ELSEWHERE:
        return _SAID_ELSEWHERE[name]
    try:
        found = metadata(name)
    except PackageNotFoundError:
        raise SystemExit(f"licences: {name} is not installed and its licence is not known") from None
    expression = found.get("License-Expression")
    if expression:
        return str(expression)
    declared = [
        line.removeprefix(_CLASSIFIER) for line in found.get_all("Classifier") or () if line.startswith(_CLASSIFIER)
    ]
    if declared:
        return " or ".join(sorted(declared))
    first_line = str(found.get("License", "")).strip().partition("\n")[0]
    return first_line or "unknown"


def main(directory: Path) -> None:
    """Write both documents."""
    bill: dict[str, Any] = json.loads((directory / "sbom.json").read_text())
    components = sorted(bill["components"], key=lambda component: component["name"])
    references = {component["bom-ref"]: component["purl"] for component in components}
    for component in components:
        # Lines of the lock file and its comments say nothing about the package.
        component["bom-ref"] = component["purl"]
        component.pop("description", None)
    for entry in bill.get("dependencies", ()):
        entry["ref"] = references.get(entry["ref"], entry["ref"])
    bill["components"] = components
    bill["dependencies"] = sorted(bill.get("dependencies", ()), key=lambda entry: entry["ref"])
    (directory / "sbom.json").write_text(json.dumps(bill, indent=1, sort_keys=True) + "\n")
    rows = [f"| {c['name']} | {c['version']} | {licence_of(c['name'])} |" for c in components]
    (directory / "licences.md").write_text(_HEAD + "\n".join(rows) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
