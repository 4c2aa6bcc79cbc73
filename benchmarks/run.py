"""The benchmark: what Glassline costs beside nginx, measured in the same run.

    python -m benchmarks.run [--quick] [--check-ratio 3.0] [--profile]

Rounds are interleaved: each variant meets each workload once per round.
Prints tables, writes every sample to benchmarks/build/latest.json and the page docs/performance.md (a quick run writes
benchmarks/build/performance.md, because its figures are not for quoting).

Exit codes: 0 done, 1 wrong answers, missing records or a ratio beyond --check-ratio, 3 the machine lacks something.
"""

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib import metadata
from pathlib import Path
from types import FrameType

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import msgspec

from benchmarks import hotspots, report
from benchmarks.machine import Cores, describe_commit, describe_machine, pin, plan_cores
from benchmarks.measure import (
    CHUNKS_PER_SECOND,
    CHUNKS_PER_STREAM,
    CLOSED_LOOP,
    WORKLOADS,
    Bodies,
    LoadResult,
    Sample,
    Send,
    Variant,
    Workload,
    glassline_variants,
    load_options,
    measure,
    run_load,
    write_bodies,
)
from benchmarks.servers import (
    ROOT,
    SetupError,
    StartError,
    build_programs,
    need_nginx,
    running_glassline,
    running_nginx,
    running_upstream,
)

BUILD = ROOT / "benchmarks" / "build"
PROXIES = ("nginx", "glassline", "direct")
ALLOWED_RATIO = 3.0
WARM_UP_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Plan:
    rounds: int
    seconds: float
    proxies: tuple[str, ...]
    workloads: tuple[Workload, ...]
    is_profiled: bool
    build: Path
    "where the programs and the samples of the run go"
    page: Path
    check_ratio: float | None
    nice: int
    "scheduling priority of all that is started, -20 (first) to 19"


def main() -> int:
    signal.signal(signal.SIGTERM, _leave)
    plan = read_plan(sys.argv[1:])
    try:
        build_programs(plan.build)
        _set_priority(plan.nice)
        if "nginx" in plan.proxies:
            need_nginx()
        return run(plan)
    except SetupError as error:
        print(error, file=sys.stderr)
        return 3
    except StartError as error:
        print(error, file=sys.stderr)
        return 1


def _set_priority(nice: int) -> None:
    """Take a priority that every program started from here on inherits."""
    try:
        os.setpriority(os.PRIO_PROCESS, 0, nice)
    except PermissionError as error:
        raise SetupError(f"--nice {nice}: {error.strerror}; only root may raise the priority") from error


def _leave(number: int, _frame: FrameType | None) -> None:
    """Turn a signal into an exception, so that every program we started is stopped on the way out."""
    raise SystemExit(128 + number)


def read_plan(arguments: list[str]) -> Plan:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="benchmarks.run", description="Measure Glassline beside nginx.")
    names = [workload.name for workload in WORKLOADS]
    parser.add_argument("--quick", action="store_true", help="3 rounds of 2 s instead of 5 of 5 s")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, help="length of one measurement")
    parser.add_argument("--proxies", nargs="+", choices=PROXIES, default=PROXIES)
    parser.add_argument("--workloads", nargs="+", choices=names, default=names)
    parser.add_argument("--profile", action="store_true", help="say what dominates, where perf is installed")
    parser.add_argument("--build", type=Path, default=BUILD, help="the folder for programs and samples")
    parser.add_argument("--page", type=Path, help="the page to write")
    parser.add_argument("--check-ratio", type=float, help="fail when the gateway costs more than this many nginxes")
    parser.add_argument("--nice", type=int, default=0, help="priority of everything started, -15 on a busy machine")
    given = parser.parse_args(arguments)
    return Plan(
        rounds=given.rounds or (3 if given.quick else 5),
        seconds=given.seconds or (2.0 if given.quick else 5.0),
        proxies=tuple(given.proxies),
        workloads=tuple(workload for workload in WORKLOADS if workload.name in given.workloads),
        is_profiled=given.profile,
        build=given.build.resolve(),
        page=given.page or (given.build if given.quick else ROOT / "docs") / "performance.md",
        check_ratio=given.check_ratio,
        nice=given.nice,
    )


def run(plan: Plan) -> int:
    """Measure, report, judge."""
    cores = plan_cores(list(os.sched_getaffinity(0)))
    machine = describe_machine()
    pin([os.getpid()], cores.load)
    load_before = os.getloadavg()[0]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="run-", dir=plan.build)))
        variants = start(plan, cores, folder, stack)
        sender = Sender(plan.build, write_bodies(folder), cores.load)
        _warm_up(variants, partial(sender.send, WARM_UP_SECONDS))
        send = partial(sender.send, plan.seconds)
        samples = list(_measure_all(plan, variants, send))
        profiles = _profile_all(plan, variants, send, folder)
    about = report.Circumstances(
        machine=machine,
        commit=describe_commit(ROOT),
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        rounds=plan.rounds,
        seconds=plan.seconds,
        nice=plan.nice,
        cores=_describe_cores(cores),
        load_before=load_before,
        load_after=os.getloadavg()[0],
        versions={name: metadata.version(name) for name in ("uvloop", "httptools", "msgspec")},
    )
    write_results(plan, samples, profiles, about)
    return judge(plan, samples)


def start(plan: Plan, cores: Cores, folder: Path, stack: ExitStack) -> list[Variant]:
    """Start what the plan names; all of it runs throughout, idle while it is not its turn."""
    options = ["--chunks", str(CHUNKS_PER_STREAM), "--rate", str(CHUNKS_PER_SECOND), "--max-seconds", "7200"]
    upstream = stack.enter_context(running_upstream(options, plan.build, folder, cores.upstream))
    variants = []
    if "nginx" in plan.proxies:
        nginx = stack.enter_context(running_nginx(upstream.port, folder, cores.proxy))
        variants.append(Variant("nginx", nginx.port, nginx))
    if "glassline" in plan.proxies:
        variants += glassline_variants(
            stack.enter_context(running_glassline(upstream.port, folder, cores.proxy, cores.aside))
        )
    if "direct" in plan.proxies:
        variants.append(Variant("direct", upstream.port))
    return variants


@dataclass(frozen=True, slots=True)
class Sender:
    build: Path
    bodies: Bodies
    core: int

    def send(self, seconds: float, workload: Workload, variant: Variant) -> LoadResult:
        """Run the load generator once."""
        options = load_options(workload, variant, seconds)
        return run_load(variant.port, self.bodies.of(workload), options, self.build, self.core)


def _warm_up(variants: list[Variant], send: Send) -> None:
    """Fill pools and caches; measured, so that its records are waited for, and forgotten."""
    for variant in variants:
        for found in measure(variant, CLOSED_LOOP, 0, send).problems():
            raise StartError(found)


def _measure_all(plan: Plan, variants: list[Variant], send: Send) -> Iterator[Sample]:
    total = plan.rounds * len(plan.workloads) * len(variants)
    done, started = 0, time.monotonic()
    for round_number in range(1, plan.rounds + 1):
        turn = (round_number - 1) % len(variants)
        for workload in plan.workloads:
            for variant in variants[turn:] + variants[:turn]:
                done += 1
                left = (time.monotonic() - started) / done * (total - done + 1)
                _progress(f"[{done}/{total}] round {round_number}, {workload.title}, {variant.name}, {left:.0f} s left")
                yield measure(variant, workload, round_number, send)
    _progress("")


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def _profile_all(plan: Plan, variants: list[Variant], send: Send, folder: Path) -> list[report.Profile]:
    if not plan.is_profiled:
        return []
    if not hotspots.has_perf():
        print("perf is not installed: no profile")
        return []
    proxied = [variant for variant in variants if variant.proxy]
    return [
        _profile(variant, workload, send, folder)
        for workload in plan.workloads
        if not workload.rate
        for variant in proxied
    ]


def _profile(variant: Variant, workload: Workload, send: Send, folder: Path) -> report.Profile:
    recorded = folder / "perf.data"
    with hotspots.recording(variant.gateway_pids(), recorded):
        send(workload, variant)
    return report.Profile(
        variant=variant.name,
        workload=workload.title,
        libraries=hotspots.read_shares(recorded, "dso", 1.0),
        functions=hotspots.read_shares(recorded, "symbol", 1.0)[:12],
    )


def _describe_cores(cores: Cores) -> str:
    return (
        f"load generator on {cores.load}, proxy on {cores.proxy}, "
        f"the other processes of Glassline on {cores.aside}, provider on {cores.upstream}"
    )


def write_results(
    plan: Plan, samples: list[Sample], profiles: list[report.Profile], about: report.Circumstances
) -> None:
    """Print the tables; write the samples and the page."""
    for workload in plan.workloads:
        print(f"\n{report.text_table(report.summarise(samples, workload), workload)}")
    for found in profiles:
        shares = ", ".join(f"{share.name} {share.percent:.0f} %" for share in found.libraries)
        print(f"\n{found.variant}, {found.workload}: {shares}")
    print(f"\nload average {about.load_before:.1f} before, {about.load_after:.1f} after; {report.disturbance(samples)}")
    latest = {"about": about, "samples": samples, "profiles": profiles}
    (plan.build / "latest.json").write_bytes(msgspec.json.format(msgspec.json.encode(latest)))
    plan.page.parent.mkdir(parents=True, exist_ok=True)
    plan.page.write_text(report.markdown(samples, profiles, about, plan.check_ratio or ALLOWED_RATIO))
    print(f"\nwritten: {plan.page}, {plan.build / 'latest.json'}")


def judge(plan: Plan, samples: list[Sample]) -> int:
    """Say what is wrong with the run; returns the exit code."""
    problems = [problem for sample in samples for problem in sample.problems()]
    if plan.check_ratio is not None:
        ratio = report.gateway_ratio(samples, "glassline")
        if ratio is None:
            problems.append("no ratio to check: nginx and glassline were not both measured under closed_loop")
        elif ratio > plan.check_ratio:
            problems.append(f"the gateway costs {ratio:.2f} nginxes per 1 KB request, allowed are {plan.check_ratio:g}")
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
