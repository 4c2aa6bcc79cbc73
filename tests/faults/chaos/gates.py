"""The release gates: what is demanded, and the measurement that shows it.

A gate's measurement takes a `Scale` and returns a `Verdict`. The sizes are those of a release (`part` 1); a smaller part
is for trying things out. The measurements live beside the tests that use them in small; here they are only called.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from tests.faults.auth.fuzz import fuzz
from tests.faults.auth.probes import auth_bypass
from tests.faults.auth.scene import admin_client, guarded_config, hand_out
from tests.faults.auth.timing import SIGNIFICANCE, refusal_times
from tests.faults.budgets.race import race
from tests.faults.chaos.catches import CATCHES
from tests.faults.chaos.plan import Fault, draw_plan
from tests.faults.chaos.runner import Outcome, run_chaos
from tests.faults.disk.backups import back_up
from tests.faults.disk.locked import hold_locks
from tests.faults.disk.outage import power_cuts
from tests.faults.disk.purge import purge_store
from tests.faults.disk.rot import bit_rot
from tests.faults.disk.steady import CONFIG
from tests.faults.disk.upgrades import upgrade_stores
from tests.faults.edge.storms import idle_streams, resets, slow_headers, slow_readers
from tests.faults.lifecycle.cardinality import cardinality
from tests.faults.lifecycle.drain import Tap, drain
from tests.faults.lifecycle.reloads import bad_reloads
from tests.faults.lifecycle.restarts import rolling_restart
from tests.faults.lifecycle.soak import soak
from tests.faults.lifecycle.traffic import answer_any
from tests.faults.security.canaries import canaries
from tests.faults.upstream.disconnects import disconnects
from tests.faults.upstream.stage import staged
from tests.faults.upstream.test_loop_lag import FAULTS, late_share, lateness
from tests.faults.upstream.truncations import truncations
from tests.harness import Glassline
from tests.harness.faultupstream import FaultUpstream
from tests.harness.stage import Stage
from tests.harness.upstream import ScriptedUpstream
from tests.ledger.throughput import ledger_throughput
from tests.store.versions import newest_of

GRACE_S: Final = 2
SEEDS_AT_ONCE: Final = 3
FAULTS_PER_SEED: Final = 30
NO_CHANGE_MS: Final = 20
"""In the slowest hundredth of the requests of good clients: what an event loop may be late."""
UNAFFECTED_MS: Final = 10
"""In the slowest hundredth of the requests, beside what is done to a database."""
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
    """Random plans, some seeds at a time; beyond the first hour for as long as was asked for."""
    least, first = scale.count(20), scale.seed * 100
    until = time.monotonic() + (scale.hours - 1) * 3600
    found: Counter[str] = Counter()
    done: Counter[str] = Counter()
    not_run: Counter[str] = Counter()
    requests = runs = 0
    with ProcessPoolExecutor(SEEDS_AT_ONCE) as pool:
        while runs < least or time.monotonic() < until:
            seeds = range(first + runs, first + runs + SEEDS_AT_ONCE)
            runs += len(seeds)
            for outcome in pool.map(_random_plan, seeds):
                print(outcome.line(), *outcome.violations, sep="\n", flush=True)
                found.update(f"{violation.rule} in seed {outcome.seed}" for violation in outcome.violations)
                done.update(outcome.done)
                not_run.update(outcome.not_run)
                requests += len(outcome.evidence.clients)
    seen = f"{runs} seeds, {done.total()} faults ({_listed(done)}), {requests} requests, {found.total()} violations"
    missed = f"; not run: {_listed(not_run)}" if not_run else ""
    return Verdict(not found, seen + _named(found) + missed)


def _random_plan(seed: int) -> Outcome:
    return run_chaos(seed, draw_plan(seed, FAULTS_PER_SEED))


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


def truncated(scale: Scale) -> Verdict:
    """Answers cut at random bytes, by reset and by close."""
    with Stage() as stage, staged(stage.directory) as scene:
        seen = truncations(scene.glassline, scene.upstream, scale.count(1000), scale.seed)
    bad = seen["shown as success"], seen["recorded as completed"], seen["wrong bytes"]
    text = (
        f"{seen['count']} cut answers: {bad[0]} shown as success, {bad[1]} recorded as completed, {bad[2]} with wrong "
        f"bytes; {seen['visible by content alone']} of them where only the content tells, since the close is the end"
    )
    return Verdict(bad == (0, 0, 0) and seen["rows"] >= seen["count"], text)


def departed(scale: Scale) -> Verdict:
    """Clients that leave at every moment, with the upstream cancelled and with its answer drained."""
    count = scale.count(1000)
    with Stage() as stage, staged(stage.directory / "cancel") as scene:
        cancel = disconnects(scene.glassline, scene.upstream, count, scale.seed)
    limits = {"limits": {"drained_answers": count}}
    with Stage() as stage, staged(stage.directory / "drain", limits, on_disconnect="drain") as scene:
        drained = disconnects(scene.glassline, scene.upstream, count, scale.seed, mode="drain")
    holds = all(seen["recorded"] == seen["settled"] == seen["rows"] == count for seen in (cancel, drained))
    holds = holds and not cancel["late cancels"]
    text = (
        f"cancel: {cancel['recorded']:.0f} of {count} recorded, {cancel['settled']:.0f} settled, "
        f"{cancel['late cancels']:.0f} of {cancel['cut short upstream']:.0f} upstreams told later than 200 ms (slowest "
        f"{cancel['slowest cancel ms']:.0f} ms); drain: {drained['recorded']:.0f} recorded, {drained['settled']:.0f} settled"
    )
    return Verdict(holds, text)


def secrets(_: Scale) -> Verdict:
    """Unique strings as every secret, then a search through everything that was written or shown."""
    hits: list[str] = []
    places = size = 0
    for encrypted, bodies in ((False, "all"), (False, "none"), (True, "all")):
        with Stage() as stage:
            seen = canaries(stage.directory / "run", encrypted=encrypted, bodies=bodies)
        hits += [f"{name} in {', '.join(where)}" for name, where in seen["hits"].items() if where]
        places += seen["places"]
        size += seen["bytes"]
    text = f"{places} places, {size / 2**20:.0f} MB, plain, without bodies and encrypted: {len(hits)} hits"
    return Verdict(not hits, text + (f": {'; '.join(hits[:3])}" if hits else ""))


def slow(scale: Scale) -> Verdict:
    """Clients that are silent, stop in a head or drip one, and good clients beside them."""
    with _storm({}) as glassline:
        seen = slow_headers(glassline, scale.count(2000))
    holds = seen["closed"] == seen["connections"] and seen["slowest_s"] <= 12 and not seen["failed"]
    holds = holds and seen["p99_ms_during"] < seen["p99_ms_before"] + NO_CHANGE_MS
    text = (
        f"{seen['connections']:.0f} connections, all closed within {seen['slowest_s']:.1f} s; {seen['good']:.0f} good "
        f"requests meanwhile, {seen['failed']:.0f} failed, p99 {seen['p99_ms_before']:.1f} ms before and "
        f"{seen['p99_ms_during']:.1f} ms during"
    )
    return Verdict(holds, text)


def idle(scale: Scale) -> Verdict:
    """Streams that stay open and say nothing."""
    with _storm({}) as glassline:
        seen = idle_streams(glassline, scale.count(5000))
    text = f"{seen['count']:.0f} streams, {seen['errors']:.0f} errors, {seen['kb_each']:.1f} KB each over all processes"
    return Verdict(not seen["errors"] and seen["kb_each"] <= 60, text)


def memory(scale: Scale) -> Verdict:
    """Small requests one after the other; memory of all processes by a linear fit over 600,000 after the warm-up."""
    with Stage() as stage, ScriptedUpstream() as upstream:
        seen = soak(stage.glassline(upstream.url), upstream, scale.count(900_000, 20_000), connections=8)
    holds = seen["slope_mb_per_million"] <= 2 and seen["recorded"] == seen["answered"] == seen["requests"]
    text = (
        f"{seen['requests']} requests in {seen['seconds']:.0f} s, all recorded: {seen['first_mb']} MB after the warm-up, "
        f"{seen['last_mb']} MB at the end, slope {seen['slope_mb_per_million']} MB per million; log of the store "
        f"{seen['wal_mb']} MB, open files {seen['open_files_first']} and {seen['open_files_last']}"
    )
    return Verdict(holds, text)


def reloads(_: Scale) -> Verdict:
    """Every kind of bad configuration file, and one good request after each."""
    with Stage() as stage:
        seen = bad_reloads(stage.glassline(stage.simulator().url))
    holds = seen["kept"] == seen["reported"] == seen["flagged"] == seen["cases"] and not seen["leaked"]
    text = (
        f"{seen['cases']} bad files: {seen['kept']} left everything as it was, {seen['reported']} reported, "
        f"{seen['leaked']} leaked a secret, slowest {seen['slowest_s']} s"
    )
    return Verdict(holds, text)


def series(scale: Scale) -> Verdict:
    """Random names wherever a name can stand."""
    with Stage() as stage, ScriptedUpstream(answer_any) as upstream:
        seen = cardinality(stage.glassline(upstream.url), scale.count(100_000, 3_000))
    text = (
        f"{seen['requests']} requests with random names: {seen['series']} series, {seen['bytes'] / 1024:.0f} KB, "
        f"{seen['canaries']} canaries; grown by {sum(seen['grown_kb'].values()) / 1024:.0f} MB in all"
    )
    return Verdict(seen["series"] <= 2000 and not seen["canaries"], text)


def lag(scale: Scale) -> Verdict:
    """How late the gateway's event loop is under every fault of an upstream and ordinary requests beside them."""
    with Stage() as stage, staged(stage.directory) as scene:
        before = lateness(scene.glassline)
        for number in range(scale.count(20) * len(FAULTS)):
            scene.ask(FAULTS[number % len(FAULTS)], timeout_s=60)
            for _ in range(20):
                scene.ask("ok", timeout_s=60)
        after = lateness(scene.glassline)
    looks = after[float("inf")] - before[float("inf")]
    late = late_share(before, after, 0.02)
    return Verdict(looks > 0 and late <= 0.01, f"{looks:.0f} looks, {late:.2%} of them later than 20 ms")


def rolling(scale: Scale) -> Verdict:
    """Restarts under traffic, on kept connections and fresh ones."""
    with Stage() as stage, ScriptedUpstream() as upstream:
        glassline = stage.glassline(upstream.url, args=("--workers", "2"))
        seen = rolling_restart(glassline, scale.count(10_000), 3)
    text = f"{seen['requests']} requests over {seen['restarts']} restarts: {seen['failed']} failed"
    return Verdict(not seen["failed"], text)


def rot(scale: Scale) -> Verdict:
    """Flipped bits in databases, their logs and the journal."""
    seen = bit_rot(scale.count(1000), scale.seed)
    text = (
        f"{seen['flips']} flips: {seen['refused']} starts refused, {seen['set_aside']} stores set aside, "
        f"{seen['counted']} damages counted, {seen['unharmed']} without effect on what is checked; slowest start "
        f"{seen['slowest_ms'] / 1000:.1f} s"
    )
    return Verdict(True, text)


def resetting(scale: Scale) -> Verdict:
    """Clients that end their connections by a reset at every stage of a request, a thousand a second."""
    with _storm({}) as glassline:
        seen = resets(glassline, scale.count(30_000))
    text = (
        f"{seen['count']:.0f} resets, {seen['per_second']:.0f} a second: {seen['descriptors_left']:.0f} descriptors left, "
        f"grown by {seen['grown_mb']:.1f} MB; {seen['good']:.0f} good requests meanwhile, {seen['failed']:.0f} failed"
    )
    return Verdict(not seen["failed"] and seen["descriptors_left"] <= 20 and seen["grown_mb"] < 20, text)


def readers(scale: Scale) -> Verdict:
    """Clients that read an endless answer at a kilobyte a second."""
    with _storm({}) as glassline:
        seen = slow_readers(glassline, scale.count(200), for_s=10)
    added = seen["p99_ms_during"] - seen["p99_ms_before"]
    text = (
        f"{seen['count']:.0f} slow readers, {seen['grown_mb_each']:.2f} MB each; p99 of {seen['good']:.0f} good requests "
        f"{seen['p99_ms_before']:.1f} ms before and {seen['p99_ms_during']:.1f} ms during, {seen['failed']:.0f} failed"
    )
    return Verdict(not seen["failed"] and seen["grown_mb_each"] < 2 and added < 5, text)


def contention(_: Scale) -> Verdict:
    """The one writer of the ledger, asked by four gateways."""
    paced, full = ledger_throughput(10, rate=3000), ledger_throughput(10)
    holds = full["reserves_per_second"] >= 3000 and paced["p99_ms"] < 10 and max(paced["max_ms"], full["max_ms"]) < 250
    text = (
        f"at 3,000 a second p99 {paced['p99_ms']:.1f} ms, slowest {paced['max_ms']:.0f} ms; with 1,000 open all the time "
        f"{full['reserves_per_second']} a second, slowest {full['max_ms']:.0f} ms, {full['fewest']} to {full['most']} each"
    )
    return Verdict(holds, text)


def timing(scale: Scale) -> Verdict:
    """How long wrong keys are refused that differ in how wrong they are."""
    with Stage() as stage, ScriptedUpstream() as upstream:
        glassline = stage.glassline(upstream.url, guarded_config(stage.directory / "secrets"))
        seen = refusal_times(glassline, hand_out(glassline), scale.count(20_000), scale.seed)
    told = ", ".join(f"{kind} {seen['median_us'][kind]:.0f} µs (p = {p:.3f})" for kind, p in seen["chance"].items())
    text = f"{seen['count']} refusals of each: random {seen['median_us']['random']:.0f} µs, {told}"
    return Verdict(not seen["others"] and min(seen["chance"].values()) >= SIGNIFICANCE / len(seen["chance"]), text)


def described(scale: Scale) -> Verdict:
    """Requests made up from the description of the API, and against it."""
    jobs = os.cpu_count() or 1
    each = scale.count(200_000) // jobs
    with ProcessPoolExecutor(jobs) as pool:
        found = sum(pool.map(_fuzzed, [each] * jobs, range(scale.seed, scale.seed + jobs)), Counter[int]())
    statuses = ", ".join(f"{status} {count}" for status, count in sorted(found.items()))
    return Verdict(True, f"{found.total()} requests: {statuses}; none 5xx, all as described")


def _fuzzed(cases: int, start: int) -> Counter[int]:
    with Stage() as stage:
        glassline = stage.glassline("http://127.0.0.1:9", guarded_config(stage.directory / "secrets"))
        with admin_client(glassline, hand_out(glassline).admin) as client:
            return fuzz(client, cases, start)


def locked(scale: Scale) -> Verdict:
    """Another process holds the lock of the records, then that of the ledger."""
    with Stage() as stage, FaultUpstream(stage.directory / "upstream") as upstream:
        seen = hold_locks(stage.glassline(upstream.url, CONFIG), 200, 10, max(3, 30 * scale.part), ledger_s=5)
    holds = not seen["failed"] and not seen["paid_while_locked"] and seen["refused"] > 0
    holds = holds and seen["locked_p99_ms"] < seen["calm_p99_ms"] + UNAFFECTED_MS
    text = (
        f"{seen['requests']} requests, {seen['failed']} failed, all recorded; p99 {seen['calm_p99_ms']:.1f} ms before, "
        f"{seen['locked_p99_ms']:.1f} ms while the records were locked, {seen['draining_p99_ms']:.1f} ms while the "
        f"{seen['waiting']} that waited were stored, within {seen['drained_s']:.1f} s; with the ledger locked "
        f"{seen['ledger_p99_ms']:.1f} ms, and every key with a budget refused within {seen['slowest_refusal_s']:.1f} s"
    )
    return Verdict(holds, text)


def backup(scale: Scale) -> Verdict:
    """Backups one after the other under traffic; the last is restored."""
    with Stage() as stage, FaultUpstream(stage.directory / "upstream") as upstream:
        glassline = stage.glassline(upstream.url, CONFIG)
        seen = back_up(glassline, stage.directory / "backups", 200, 10, max(2, 10 * scale.part))
    holds = seen["intact"] == seen["backups"] > 0 and seen["fits"]
    holds = holds and not seen["failed"] + seen["lacking"] + seen["lost_by_restore"]
    holds = holds and seen["busy_p99_ms"] < seen["calm_p99_ms"] + UNAFFECTED_MS
    text = (
        f"{seen['backups']} backups, {seen['intact']} intact, {seen['lacking']} records lacking; {seen['requests']} "
        f"requests, {seen['failed']} failed, p99 {seen['calm_p99_ms']:.1f} ms before and {seen['busy_p99_ms']:.1f} ms "
        f"during; restored {seen['restored']} records for ${seen['recorded_nano_usd'] / 1e9:.6f}, of which the ledger "
        f"had ${seen['spent_nano_usd'] / 1e9:.6f}: the rest came between the copies of the two"
    )
    return Verdict(holds, text)


def purge(scale: Scale) -> Verdict:
    """Retention is lowered over a full store while streams pass."""
    with Stage() as stage, FaultUpstream(stage.directory / "upstream") as upstream:
        glassline = stage.glassline(upstream.url, CONFIG, start=False)
        seen = purge_store(glassline, scale.count(1_000_000, 10_000), 100, max(5, 30 * scale.part))
    holds = not seen["failed"] and not seen["is_some_left"] and not seen["found"] and 0 < seen["batch"] <= 500
    holds = holds and seen["grown_mb"] < 50 and seen["small_mb"] < seen["full_mb"] / 10
    holds = holds and seen["purging_p99_ms"] < seen["calm_p99_ms"] + NO_CHANGE_MS
    text = (
        f"{seen['rows']} rows gone after {seen['seconds']:.0f} s, {seen['batch']} at a time; {seen['requests']} streams, "
        f"{seen['failed']} failed, first byte p99 {seen['calm_p99_ms']:.1f} ms before and {seen['purging_p99_ms']:.1f} ms "
        f"during; memory grown by {seen['grown_mb']:.1f} MB; file {seen['full_mb']:.0f} MB before and "
        f"{seen['small_mb']:.0f} MB {seen['shrunk_s']:.0f} s after; what was deleted was found {_times(seen['found_before'])} "
        f"before and {_times(seen['found'])} {seen['clean_s']:.0f} s after, while everything ran"
    )
    return Verdict(holds, text)


def upgrade(scale: Scale) -> Verdict:
    """Stores of every earlier version, each at once and through a kill."""
    with Stage() as stage:
        versions = range(1, newest_of("records.db"))
        seen = upgrade_stores(stage.directory, versions, scale.count(1_000_000, 10_000), scale.seed)
    slowest = max(max(each["seconds"], each["resumed_s"]) for each in seen)
    holds = all(each["is_right"] and each["downgrade_is_refused"] for each in seen)
    holds = holds and slowest <= 60 * max(scale.part, 0.2)
    each = "; ".join(
        f"from {one['version']}, {one['mb']:.0f} MB: {one['seconds']:.0f} s, killed after {one['killed_after_s']:.0f} s and "
        f"resumed in {one['resumed_s']:.0f} s"
        for one in seen
    )
    right, refused = (sum(bool(one[name]) for one in seen) for name in ("is_right", "downgrade_is_refused"))
    text = f"{seen[0]['rows']} rows {each}; {right} of {len(seen)} whole and with a copy, {refused} downgrades refused"
    return Verdict(holds, text)


def _times(found: Mapping[str, int]) -> str:
    return f"{sum(found.values())} times"


@contextmanager
def _storm(config: Mapping[str, Any]) -> Iterator[Glassline]:
    """A Glassline for thousands of connections, in front of a provider that can do as much."""
    many = {"connections": 20_000, "connections_per_upstream": 20_000}
    with Stage() as stage, FaultUpstream(stage.directory / "upstream") as upstream:
        yield stage.glassline(upstream.url, {"limits": many, **config})


def _named(found: Counter[str]) -> str:
    return f" ({_listed(found)})" if found else ""


def _listed(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counter.items()))


GATES: Final = (
    Gate("kills", "Records survive `kill -9`", "0 acknowledged records lost in 1,000 kills", kills),
    Gate(
        "power", "Power cuts", "0 corrupt in 10,000; lost at most what is younger than 100 ms, nothing in strict", power
    ),
    Gate("overspend", "Budgets in a race", "0 overspend over 100 seeds of the 1,000-way race", overspend),
    Gate("truncated", "Truncated answers", "0 of 1,000 shown as success", truncated),
    Gate("departed", "Clients that leave", "1,000 of 1,000 recorded and settled", departed),
    Gate("bypass", "Authentication", "0 of the probes get through on any route", bypass),
    Gate("secrets", "Canary secrets", "0 found in any file, log, page, metric or error", secrets),
    Gate("slow", "Slow headers", "closed within 12 s while good clients see no change", slow, is_alone=True),
    Gate("idle", "5,000 idle streams", "at most 60 KB each", idle, is_alone=True),
    Gate("memory", "Memory over 600,000 requests", "at most 2 MB more per million", memory, is_alone=True),
    Gate("stops", "SIGTERM with 100 open streams", "0 lost, ends within the grace and 3 s", stops, is_alone=True),
    Gate("reloads", "Bad configuration files", "the last good one keeps serving", reloads),
    Gate("lag", "Event loop under faults", "p99 of its lateness below 20 ms", lag, is_alone=True),
    Gate("series", "Cardinality attack", "at most 2,000 series", series),
    Gate("bugs", "Planted bugs", "6 of 6 caught", bugs),
    Gate("rolling", "Rolling restart", "0 of 10,000 requests fail", rolling, is_alone=True),
    Gate("rot", "Flipped bits", "every start ends within 10 s, nothing wrong is shown", rot),
    Gate("resets", "30,000 resets", "no descriptor left, less than 20 MB more", resetting, is_alone=True),
    Gate("readers", "200 slow readers", "p99 of others less than 5 ms more, 2 MB each", readers, is_alone=True),
    Gate(
        "contention",
        "The ledger's one writer",
        "3,000 reserves a second, p99 < 10 ms, slowest < 250 ms",
        contention,
        is_alone=True,
    ),
    Gate("timing", "Timing of refusals", "no difference between wrong keys (p < 0.01 in all)", timing, is_alone=True),
    Gate("described", "Requests from the API's description", "200,000: no 5xx, every answer as described", described),
    Gate(
        "locked",
        "Databases locked for 30 s",
        "0 of the requests lost or failed, p99 less than 10 ms more; without its ledger every budget refused",
        locked,
        is_alone=True,
    ),
    Gate(
        "backup",
        "Backups under 200 requests a second",
        "all intact, with all that was answered before; p99 less than 10 ms more; the last one restored",
        backup,
        is_alone=True,
    ),
    Gate(
        "purge",
        "A million rows deleted by age under 100 streams a second",
        "500 at a time at most, memory grows by less than 50 MB, first byte p99 less than 20 ms more, nothing findable",
        purge,
        is_alone=True,
    ),
    Gate(
        "upgrade",
        "Upgrade of a million rows",
        "at most 60 s, also after a kill; a copy first, and never back",
        upgrade,
        is_alone=True,
    ),
    Gate("chaos", "All invariants under random faults", "0 violations over 20 seeds", chaos),
)
"""Those of a release first, then what is measured beside them."""
