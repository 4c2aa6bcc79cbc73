"""Write docs/compatibility.md from what the last run left in .cache/sdks/results. `make sdks` runs it."""

from __future__ import annotations

import datetime
import json
from typing import Any

from tests.harness.process import ROOT
from tests.sdks.roster import CORE, FRAMEWORKS
from tests.sdks.run import RESULTS

TARGET = ROOT / "docs" / "compatibility.md"
COLUMNS = {
    # heading: scenarios that count for it
    "answer": ("chat",),
    "stream": ("stream", "stream_plain", "stream_helper", "async_stream", "responses_stream"),
    "tools": ("tools",),
    "errors": ("error_400",),
    "retries": ("error_429",),
    "abort": ("abort",),
    "budget": ("refused_chat", "refused_stream"),
}
HEAD = """# Compatibility

Every program below was run twice against the simulated provider: straight, and through Glassline.
The results must be equal, and so must the number of requests, their methods, paths and bodies, and the headers that the provider saw.
The records must hold the provider's own usage, the cost by hand arithmetic, and bodies with the SHA-256 that the provider noted.

- **answer**, **stream**, **tools**: a plain answer, a streamed one, a tool call and the answer to its result.
- **errors**, **retries**: a 400 raises the same exception; a 429 is tried as many times as without Glassline.
- **abort**: the application leaves in the middle of a stream; the provider is told, and what it had written is recorded.
- **budget**: a used-up budget raises the SDK's own exception and nothing reaches the provider. The number is how many requests the tool makes before it gives up.
- **more**: what else was tried.

✓ passed, ✗ failed, - not tried: the tool has no such thing, or hides it.

"""


def main() -> None:
    """Write the table."""
    entries = [(contract, load(contract.name)) for contract in (*CORE, *FRAMEWORKS)]
    rows = [row(contract.refusal_attempts, entry) for contract, entry in entries if entry is not None]
    titles = ["SDK or tool", "package", "version", *COLUMNS, "more"]
    lines = ["| " + " | ".join(cells) + " |" for cells in [titles, ["---"] * len(titles), *rows]]
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    tail = f"\n\nMade by `make sdks` on {today}. How each of them is pointed at Glassline is in [clients.md](clients.md).\n"
    TARGET.write_text(HEAD + "\n".join(lines) + tail, encoding="utf-8")


def load(name: str) -> dict[str, Any] | None:
    """Return what came of a contract; None: it was not run."""
    file = RESULTS / f"{name}.json"
    found: dict[str, Any] | None = json.loads(file.read_text()) if file.exists() else None
    return found


def row(refusal_attempts: int, entry: dict[str, Any]) -> list[str]:
    """Return the cells of one row."""
    passed, failed = set(entry["passed"]), set(entry["problems"])
    marks = [mark(passed, failed, scenarios) for scenarios in COLUMNS.values()]
    if marks[-1] == "✓" and refusal_attempts > 1:
        marks[-1] = f"✓ ≤ {refusal_attempts}"
    known = {scenario for scenarios in COLUMNS.values() for scenario in scenarios}
    more = [f"{name.replace('_', ' ')} {'✗' if name in failed else '✓'}" for name in sorted((passed | failed) - known)]
    return [entry["name"], f"`{entry['package']}`", entry["version"], *marks, ", ".join(more)]


def mark(passed: set[str], failed: set[str], scenarios: tuple[str, ...]) -> str:
    """Return the sign for a group of scenarios."""
    if failed.intersection(scenarios):
        return "✗"
    return "✓" if passed.intersection(scenarios) else "-"


if __name__ == "__main__":
    main()
