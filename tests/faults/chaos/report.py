"""`make chaos`: measures every release gate at full size and writes what it saw into docs/reliability.md.

    python -m tests.faults.chaos.report --hours 1            measure, then render
    python -m tests.faults.chaos.report --only kills,chaos   these gates anew, the rest as measured before
    python -m tests.faults.chaos.report --render             render what was measured

Each gate runs in a process of its own and leaves a JSON file below `.cache/reliability/`, so a run that was interrupted
goes on where it stopped. Gates that measure memory or time run alone, the others side by side.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Final

from tests.faults.chaos.gates import GATES, Gate, Scale, Verdict
from tests.harness.process import ROOT, clean_environment

RESULTS: Final = ROOT / ".cache" / "reliability"
DOCUMENT: Final = ROOT / "docs" / "reliability.md"
BEGIN: Final = "<!-- measured: begin (written by `make chaos`) -->"
END: Final = "<!-- measured: end -->"
GATE_WITHIN_S: Final = 3 * 3600
"""Beyond what chaos was asked to take."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was measured for one gate."""

    gate: str
    holds: bool | None
    """None: it could not be measured here."""
    seen: str
    scale: str
    """`full`, or the part of it that was run."""
    seed: int
    seconds: float
    commit: str
    date: str


def measure(gate: Gate, scale: Scale, commit: str) -> Finding:
    """Measure one gate in this process; a measurement that fails is a gate that does not hold."""
    started = time.monotonic()
    try:
        verdict = gate.measure(scale)
    except Exception as error:  # noqa: BLE001 - one gate must not take the report along
        traceback.print_exc()
        verdict = Verdict(holds=False, seen=f"failed: {type(error).__name__}: {str(error).splitlines()[0][:200]}")
    return Finding(
        gate=gate.name,
        holds=verdict.holds,
        seen=verdict.seen,
        scale=scale.name,
        seed=scale.seed,
        seconds=round(time.monotonic() - started, 1),
        commit=commit,
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
    )


def measure_all(gates: Iterable[Gate], scale: Scale, *, side_by_side: int) -> None:
    """Measure gates in processes of their own and keep what they found."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    chosen = list(gates)
    with ThreadPoolExecutor(side_by_side) as pool:
        list(pool.map(lambda gate: _run(gate, scale), [gate for gate in chosen if not gate.is_alone]))
    for gate in chosen:
        if gate.is_alone:
            _run(gate, scale)


def _run(gate: Gate, scale: Scale) -> None:
    command = [sys.executable, "-m", "tests.faults.chaos.report", "--gate", gate.name]
    command += ["--part", str(scale.part), "--seed", str(scale.seed), "--hours", str(scale.hours)]
    log = RESULTS / f"{gate.name}.log"
    with log.open("w", encoding="utf-8") as output:
        try:
            subprocess.run(
                command,
                check=False,
                stdout=output,
                stderr=output,
                timeout=GATE_WITHIN_S + scale.hours * 3600,
                env=clean_environment(),
                cwd=ROOT,
            )
        except subprocess.TimeoutExpired:
            _keep(Finding(gate.name, False, "did not end", scale.name, scale.seed, GATE_WITHIN_S, _commit(), ""))
    finding = load(gate.name)
    said = f"{'holds' if finding.holds else 'DOES NOT HOLD'}: {finding.seen}" if finding else f"no result, see {log}"
    sys.stdout.write(f"{gate.name}: {said}\n")
    sys.stdout.flush()


def load(name: str) -> Finding | None:
    """Return what was last measured for a gate; None: nothing."""
    path = RESULTS / f"{name}.json"
    return Finding(**json.loads(path.read_text())) if path.exists() else None


def _keep(finding: Finding) -> None:
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{finding.gate}.json").write_text(json.dumps(asdict(finding), indent=1))


def render(findings: Sequence[tuple[Gate, Finding | None]], machine: str) -> str:
    """Return the section of the document that holds the figures."""
    lines = [
        BEGIN,
        "",
        f"Measured on {machine}.",
        "Each row names the commit, the seed and the share of the full size that it was measured with.",
        "",
        "| gate | demanded | seen | holds | measured |",
        "|---|---|---|---|---|",
    ]
    for gate, finding in findings:
        if finding is None:
            lines.append(f"| {gate.title} | {gate.demand} | | not measured | |")
            continue
        holds = "not run" if finding.holds is None else "yes" if finding.holds else "**no**"
        when = f"{finding.date}, commit {finding.commit}, seed {finding.seed}, {finding.scale}, {finding.seconds:.0f} s"
        lines.append(f"| {gate.title} | {gate.demand} | {finding.seen.replace('|', '/')} | {holds} | {when} |")
    return "\n".join([*lines, "", END])


def write(text: str) -> None:
    """Put the section where the document has the old one."""
    document = DOCUMENT.read_text(encoding="utf-8")
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCUMENT.write_text(before + text + after, encoding="utf-8")


def describe_machine() -> str:
    """Say what this is measured on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores, {memory:.0f} GB, {platform.system()} {platform.release().split('-')[0]}, "
        f"Python {platform.python_version()}"
    )


def _commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


def _chosen(names: str, wanted: Callable[[Gate], bool]) -> list[Gate]:
    asked = set(filter(None, names.split(",")))
    unknown = asked - {gate.name for gate in GATES}
    if unknown:
        raise SystemExit(f"no such gate: {', '.join(sorted(unknown))}; there are {', '.join(g.name for g in GATES)}")
    return [gate for gate in GATES if (gate.name in asked if asked else wanted(gate))]


def main() -> int:
    """Run from the command line; exit code 1: a gate does not hold or was not measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=1.0, help="below 1: that part of the full size")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="names of gates, separated by commas")
    parser.add_argument("--fresh", action="store_true", help="measure again what this commit has measured")
    parser.add_argument("--render", action="store_true", help="measure nothing")
    parser.add_argument("--side-by-side", type=int, default=max(1, (os.cpu_count() or 2) // 2))
    parser.add_argument("--gate", help=argparse.SUPPRESS)
    parser.add_argument("--part", type=float, default=1.0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.gate:
        [gate] = _chosen(options.gate, lambda _: False)
        _keep(measure(gate, Scale(options.part, options.seed, options.hours), _commit()))
        return 0
    if not options.render:
        scale = Scale(min(1.0, options.hours), options.seed, hours=options.hours)

        def is_due(gate: Gate) -> bool:
            known = load(gate.name)
            return options.fresh or known is None or known.commit != _commit() or not known.holds

        measure_all(_chosen(options.only, is_due), scale, side_by_side=options.side_by_side)
    findings = [(gate, load(gate.name)) for gate in GATES]
    write(render(findings, describe_machine()))
    return int(any(finding is None or finding.holds is False for _, finding in findings))


if __name__ == "__main__":
    sys.exit(main())
