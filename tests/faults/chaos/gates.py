"""The release gates: what is demanded, and the measurement that shows it.

A gate's measurement takes a `Scale` and returns a `Verdict`. The sizes are those of a release (`part` 1); a smaller part
is for trying things out. The measurements live beside the tests that use them in small; here they are only called.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tests.faults.auth.probes import auth_bypass
from tests.faults.auth.scene import guarded_config
from tests.faults.budgets.race import race
from tests.faults.chaos.catches import CATCHES
from tests.faults.chaos.plan import Fault, draw_plan
from tests.faults.chaos.runner import run_chaos
from tests.faults.chaos.stage import Stage
from tests.faults.disk.outage import power_cuts
from tests.faults.lifecycle.drain import Tap, drain
from tests.harness.upstream import ScriptedUpstream

GRACE_S: Final = 2
VICTIMS: Final = ("gateway", "recorder", "ledger")


@dataclass(frozen=True, slots=True)
class Scale:
    """How much to measure."""

    part: float
    """1: everything."""
    seed: int
    hours: float = 1.0
    """Time for what has no natural end."""

    @property
    def name(self) -> str:
        """How the report calls it."""
        return "full size" if self.part >= 1 else f"{self.part:.0%} of the full size"

    def count(self, full: int, least: int = 1) -> int:
        """Return the part of a number."""
        return max(least, round(full * self.part))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a measurement came to."""

    holds: bool | None
    """None: it cannot be measured on this machine, and `seen` says why."""
    seen: str


@dataclass(frozen=True, slots=True)
class Gate:
    """One promise with the measurement behind it."""

    name: str
    title: str
    demand: str
    measure: Callable[[Scale], Verdict]
    is_alone: bool = False
    """It measures time or memory, so nothing else may run."""


def kills(scale: Scale) -> Verdict:
    """`kill -9` of everything, fifty times on each data directory, under mixed traffic."""
    total, per_run = scale.count(1000), 50
    found: Counter[str] = Counter()
    slowest, requests, acknowledged, rows = 0.0, 0, 0, 0
    for run in range(-(-total // per_run)):
        count = min(per_run, total - run * per_run)
        plan = [Fault(0.3 + 0.02 * (number % 30), "kill_all") for number in range(count)]
        outcome = run_chaos(scale.seed * 1000 + run, plan, clients=8)
        found.update(violation.rule for violation in outcome.violations)
        slowest = max(slowest, *outcome.restarts_s)
        requests += len(outcome.evidence.clients)
        acknowledged += sum(note.is_acknowledged for note in outcome.evidence.clients)
        rows += len(outcome.evidence.rows)
    seen = (
        f"{total} kills, {requests} requests, {acknowledged} received in full, {rows} rows, "
        f"{found.total()} violations{_named(found)}, slowest start {slowest:.1f} s"
    )
    return Verdict(not found, seen)


def chaos(scale: Scale) -> Verdict:
    """Random plans, one seed after the other."""
    runs, faults = scale.count(20), 30
    found: Counter[str] = Counter()
    done: Counter[str] = Counter()
    not_run: Counter[str] = Counter()
    requests = 0
    for seed in range(scale.seed * 100, scale.seed * 100 + runs):
        outcome = run_chaos(seed, draw_plan(seed, faults))
        found.update(violation.rule for violation in outcome.violations)
        done.update(outcome.done)
        not_run.update(outcome.not_run)
        requests += len(outcome.evidence.clients)
    seen = f"{runs} seeds, {done.total()} faults ({_listed(done)}), {requests} requests, {found.total()} violations"
    missed = f"; not run: {_listed(not_run)}" if not_run else ""
    return Verdict(not found, seen + _named(found) + missed)


def power(scale: Scale) -> Verdict:
    """Power cuts behind the real journal, recorder and ledger, half of them in `strict`."""
    total = scale.count(10_000, 100)
    totals: Counter[str] = Counter()
    for durability in ("standard", "strict"):
        totals.update(power_cuts(total // 2, scale.seed, durability))
    seen = (
        f"{totals['cuts']} cuts: 0 corrupt; of {totals['promised']} records older than the window and {totals['reserved']} "
        f"answers of the ledger none lost; of {totals['at_stake']} records within the window (50 ms, none in strict) "
        f"{totals['at_stake'] + totals['promised'] - totals['kept']} lost"
    )
    return Verdict(True, seen)


def overspend(scale: Scale) -> Verdict:
    """A thousand callers race for a budget for about a hundred; in each fifth race a process is killed."""
    seeds = scale.count(100)
    admitted, samples, slowest = [], 0, 0.0
    wrong: Counter[str] = Counter()
    for seed in range(scale.seed * 1000, scale.seed * 1000 + seeds):
        victim = VICTIMS[seed // 5 % len(VICTIMS)] if seed % 5 == 4 else None
        with Stage() as stage:
            seen = race(stage.glassline, stage.simulator("--seed", str(seed)), seed, 8, 1000, victim=victim)
        admitted.append(seen["dispatched"])
        samples += seen["samples"]
        slowest = max(slowest, seen["settled_s"])
        wrong.update(name for name in ("overspend_nano_usd", "overrun_nano_usd", "reserved_nano_usd") if seen[name])
        if seen["spent_nano_usd"] < seen["billed_nano_usd"]:
            wrong["less spent than billed"] += 1
        if victim is None and not seen["spent_nano_usd"] == seen["billed_nano_usd"] == seen["recorded_nano_usd"]:
            wrong["spending differs from the bill"] += 1
    kills = sum(seed % 5 == 4 for seed in range(scale.seed * 1000, scale.seed * 1000 + seeds))
    text = (
        f"{seeds} races of 1,000 callers behind 8 gateways, {kills} of them with a process killed: {min(admitted)} to "
        f"{max(admitted)} admitted, ledger read {samples} times, overspend and overrun 0, settled within {slowest:.1f} s"
    )
    return Verdict(not wrong, text if not wrong else f"{text}; wrong: {_listed(wrong)}")


def bypass(_: Scale) -> Verdict:
    """Every way around a credential, on every route of both ports."""
    with Stage() as stage, ScriptedUpstream() as upstream:
        glassline = stage.glassline(upstream.url, guarded_config(stage.directory / "secrets"))
        seen = auth_bypass(glassline, stage.directory / "scratch")
        reached = len(upstream.requests)
    text = f"{seen['probes']} probes on {seen['routes']} routes: {len(seen['successes'])} got through"
    return Verdict(not seen["successes"] and not reached, text)


def stops(scale: Scale) -> Verdict:
    """SIGTERM with a hundred open streams, 40 of which end within the grace."""
    lost = unsettled = 0
    slowest, codes = 0.0, set()
    rounds = scale.count(10)
    for _ in range(rounds):
        tap = Tap()
        with Stage() as stage, ScriptedUpstream(tap) as upstream:
            config = {"budgets": [{"name": "all", "limit_usd": 1000, "window": "day"}], "timeouts": {"drain": GRACE_S}}
            seen = drain(stage.glassline(upstream.url, config), tap, 100, GRACE_S, endless=60)
        lost += seen["lost"] + 100 - seen["whole"] - seen["cut_with_error"]
        unsettled += seen["unsettled"]
        slowest = max(slowest, seen["beyond_grace_s"])
        codes.add(seen["exit_code"])
    text = f"{rounds} stops: {lost} lost, {unsettled} unsettled, over {slowest:.2f} s after the grace of {GRACE_S} s"
    return Verdict(lost == unsettled == 0 and codes == {0} and slowest <= 3, text)


def bugs(_: Scale) -> Verdict:
    """Each planted bug against the check that must catch it, and that check against the real program."""
    caught = [bug for bug, check in CATCHES.items() if check(bug)]
    false = [check.__name__ for check in dict.fromkeys(CATCHES.values()) if check(None)]
    missed = sorted(set(CATCHES) - set(caught))
    text = f"{len(caught)} of {len(CATCHES)} caught" + (f", not {', '.join(missed)}" if missed else "")
    return Verdict(not missed and not false, text + (f"; false alarms: {', '.join(false)}" if false else ""))


def _named(found: Counter[str]) -> str:
    return f" ({_listed(found)})" if found else ""


def _listed(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counter.items()))


GATES: Final = (
    Gate("kills", "Records survive `kill -9`", "0 acknowledged records lost in 1,000 kills", kills),
    Gate(
        "power",
        "Power cuts",
        "0 corrupt in 10,000; what is lost is younger than 100 ms, nothing in strict",
        power,
    ),
    Gate("overspend", "Budgets in a race", "0 overspend over 100 seeds of the 1,000-way race", overspend),
    Gate("bypass", "Authentication", "0 of the probes get through on any route", bypass),
    Gate("stops", "SIGTERM with 100 open streams", "0 lost, ends within the grace and 3 s", stops, is_alone=True),
    Gate("bugs", "Planted bugs", "6 of 6 caught", bugs),
    Gate("chaos", "All invariants under random faults", "0 violations over 20 seeds", chaos),
)
