"""The benchmark: what Glassline costs beside nginx and other proxies, measured in the same run.

    python -m benchmarks.run [--quick] [--profile] [--proxies …] [--workloads …] [--render]

Rounds are interleaved: each variant meets each workload once per round.
Prints tables, writes every sample to benchmarks/build/latest.json and the page docs/performance.md (a quick run writes
benchmarks/build/performance.md, because its figures are not for quoting).
A quick run is what CI can do: nginx and Glassline, two workloads, judged by ratios alone.

Exit codes: 0 done, 1 wrong answers, missing or wrong records, or a ratio beyond its limit, 3 the machine lacks something.
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
from importlib import metadata
from pathlib import Path
from types import FrameType

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import msgspec

from benchmarks import competitors, hotspots, report
from benchmarks.elsewhere import read_elsewhere
from benchmarks.footprint import Footprint, measure_footprint
from benchmarks.machine import Cores, describe_commit, describe_machine, pin, plan_cores
from benchmarks.measure import Sample, Sender, Variant, glassline_variants, measure, prepare_sender
from benchmarks.results import Circumstances, Profile, Results
from benchmarks.scaling import Step, measure_scaling
from benchmarks.servers import (
    ROOT,
    Server,
    SetupError,
    StartError,
    build_programs,
    need_nginx,
    running_bare,
    running_glassline,
    running_nginx,
    running_upstream,
)
from benchmarks.summary import summarise
from benchmarks.workloads import ALL, CLOSED_LOOP, QUICK, SHORT_STREAMS, STREAMS_200, WORKLOADS, Workload

BUILD = ROOT / "benchmarks" / "build"
PROXIES = ("nginx", "bare", "glassline", "direct", "litellm", "portkey")
QUICK_PROXIES = ("nginx", "glassline")
BESIDE = ("scaling", "footprint")
"what is measured after the rounds"
WARM_UP_SECONDS = 0.5
GROWTH_REQUESTS = 900_000
VISIBLE_SECONDS = 15.0
PROVIDER = ("--max-seconds", "14400")


@dataclass(frozen=True, slots=True)
class Limit:
    """What a quick run may cost, in nginxes: what it does cost, and a fifth for the noise of other machines."""

    variant: str
    workload: Workload
    gateway: float
    everything: float
    "all processes"


LIMITS = (
    Limit("glassline", CLOSED_LOOP, 5.0, 18),
    Limit("glassline+budget", CLOSED_LOOP, 7.5, 26),
    Limit("glassline", SHORT_STREAMS, 2.4, 4),
)


@dataclass(frozen=True, slots=True)
class Plan:
    rounds: int
    seconds: float
    proxies: tuple[str, ...]
    workloads: tuple[Workload, ...]
    beside: tuple[str, ...]
    is_profiled: bool
    is_judged: bool
    "a ratio beyond its limit fails the run"
    is_rendered: bool
    "nothing is measured: the page is written anew from what was"
    build: Path
    "where the programs and the samples of the run go"
    page: Path
    nice: int
    "scheduling priority of all that is started, -20 (first) to 19"


def main() -> int:
    signal.signal(signal.SIGTERM, _leave)
    plan = read_plan(sys.argv[1:])
    try:
        if plan.is_rendered:
            latest = msgspec.json.decode((plan.build / "latest.json").read_bytes(), type=Results)
            return write_page(plan, msgspec.structs.replace(latest, elsewhere=read_elsewhere(plan.build)))
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
    parser = argparse.ArgumentParser(prog="benchmarks.run", description="Measure Glassline beside other proxies.")
    names = [workload.name for workload in ALL]
    parser.add_argument("--quick", action="store_true", help="what CI does: few rounds, judged by ratios against nginx")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, help="length of one measurement")
    parser.add_argument("--proxies", nargs="+", choices=PROXIES)
    parser.add_argument("--workloads", nargs="+", choices=names)
    parser.add_argument("--beside", nargs="*", choices=BESIDE, help="what to measure after the rounds")
    parser.add_argument("--profile", action="store_true", help="say what dominates, where perf is installed")
    parser.add_argument("--render", action="store_true", help="write the page anew from the latest samples")
    parser.add_argument("--build", type=Path, default=BUILD, help="the folder for programs and samples")
    parser.add_argument("--page", type=Path, help="the page to write; its pictures go into a folder of its name")
    parser.add_argument("--nice", type=int, default=0, help="priority of everything started, -15 on a busy machine")
    given = parser.parse_args(arguments)
    chosen = given.workloads or [workload.name for workload in (QUICK if given.quick else WORKLOADS)]
    return Plan(
        rounds=given.rounds or (3 if given.quick else 5),
        seconds=given.seconds or (1.0 if given.quick else 5.0),
        proxies=tuple(given.proxies or (QUICK_PROXIES if given.quick else PROXIES)),
        workloads=tuple(workload for workload in ALL if workload.name in chosen),
        beside=tuple(given.beside if given.beside is not None else (() if given.quick else BESIDE)),
        is_profiled=given.profile,
        is_judged=given.quick,
        is_rendered=given.render,
        build=given.build.resolve(),
        page=given.page or (given.build if given.quick else ROOT / "docs") / "performance.md",
        nice=given.nice,
    )


def run(plan: Plan) -> int:
    """Measure, report, judge."""
    available = sorted(os.sched_getaffinity(0))
    cores = plan_cores(available)
    machine = describe_machine()
    versions = {name: metadata.version(name) for name in ("uvloop", "httptools", "msgspec")}
    versions |= competitors.describe_competitors(plan.proxies)
    pin([os.getpid()], cores.load)
    load_before = os.getloadavg()[0]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="run-", dir=plan.build)))
        upstream = stack.enter_context(running_upstream([*PROVIDER], plan.build, folder, cores.upstream))
        sender = prepare_sender(plan.build, folder, upstream.port, cores.load)
        samples, profiles = _measure_proxies(plan, cores, folder, upstream.port, sender)
        footprint = _measure_footprint(plan, cores, folder, upstream.port, sender)
        scaling = _measure_scaling(plan, available, folder, upstream, sender)
    about = Circumstances(
        machine=machine,
        commit=describe_commit(ROOT),
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        rounds=plan.rounds,
        seconds=plan.seconds,
        nice=plan.nice,
        cores=cores.describe(),
        load_before=load_before,
        load_after=os.getloadavg()[0],
        versions=versions,
    )
    results = Results(
        about=about,
        samples=samples,
        scaling=scaling,
        footprint=footprint,
        profiles=profiles,
        elsewhere=read_elsewhere(plan.build),
    )
    (plan.build / "latest.json").write_bytes(msgspec.json.format(msgspec.json.encode(results)))
    return write_page(plan, results)


def _measure_proxies(
    plan: Plan, cores: Cores, folder: Path, upstream_port: int, sender: Sender
) -> tuple[list[Sample], list[Profile]]:
    with ExitStack() as stack:
        variants = start(plan, cores, folder, upstream_port, stack)
        _warm_up(variants, sender)
        samples = list(_measure_all(plan, variants, sender))
        return samples, _profile_all(plan, variants, sender, folder)


def _measure_footprint(plan: Plan, cores: Cores, folder: Path, upstream_port: int, sender: Sender) -> Footprint | None:
    if "footprint" not in plan.beside:
        return None
    _progress("footprint")
    return measure_footprint(
        sender, upstream_port, folder, cores, growth_requests=GROWTH_REQUESTS, probe_seconds=VISIBLE_SECONDS
    )


def _measure_scaling(plan: Plan, available: list[int], folder: Path, upstream: Server, sender: Sender) -> list[Step]:
    steps: list[Step] = []
    if "scaling" in plan.beside:
        for step in measure_scaling(sender, upstream, folder, available, plan.rounds, plan.seconds):
            _progress(f"{step.gateways} gateways, round {step.round}")
            steps.append(step)
    _progress("")
    return steps


def start(plan: Plan, cores: Cores, folder: Path, upstream_port: int, stack: ExitStack) -> list[Variant]:
    """Start what the plan names; all of it runs throughout, idle while it is not its turn."""
    variants = []
    if "nginx" in plan.proxies:
        nginx = stack.enter_context(running_nginx(upstream_port, folder, cores.proxy))
        variants.append(Variant("nginx", nginx.port, nginx))
    if "bare" in plan.proxies:
        bare = stack.enter_context(running_bare(upstream_port, folder, cores.proxy))
        variants.append(Variant("bare", bare.port, bare))
    if "glassline" in plan.proxies:
        glassline = stack.enter_context(running_glassline(upstream_port, folder / "glassline", cores))
        variants += glassline_variants(glassline)
    if "direct" in plan.proxies:
        variants.append(Variant("direct", upstream_port))
    if "litellm" in plan.proxies:
        litellm = stack.enter_context(competitors.running_litellm(upstream_port, folder, cores.proxy))
        variants.append(Variant("litellm", litellm.port, litellm, competitors.LITELLM_KEY, is_rewriting=True))
    if "portkey" in plan.proxies:
        portkey = stack.enter_context(competitors.running_portkey(folder, cores.proxy))
        headers = competitors.portkey_headers(upstream_port)
        variants.append(Variant("portkey", portkey.port, portkey, headers=headers, is_rewriting=True))
    return variants


def _warm_up(variants: list[Variant], sender: Sender) -> None:
    """Fill pools and caches; measured, so that its records are waited for, and forgotten."""
    for variant in variants:
        for found in measure(variant, CLOSED_LOOP, 0, sender, WARM_UP_SECONDS).problems():
            raise StartError(found)


def _measure_all(plan: Plan, variants: list[Variant], sender: Sender) -> Iterator[Sample]:
    pairs = [(workload, variant) for workload in plan.workloads for variant in variants if _takes(variant, workload)]
    total = plan.rounds * len(pairs)
    done, started = 0, time.monotonic()
    for round_number in range(1, plan.rounds + 1):
        turn = (round_number - 1) % len(variants)
        for workload in plan.workloads:
            for variant in variants[turn:] + variants[:turn]:
                if not _takes(variant, workload):
                    continue
                done += 1
                left = (time.monotonic() - started) / done * (total - done + 1)
                _progress(f"[{done}/{total}] round {round_number}, {workload.title}, {variant.name}, {left:.0f} s left")
                yield measure(variant, workload, round_number, sender, plan.seconds)
    _progress("")


def _takes(variant: Variant, workload: Workload) -> bool:
    return workload == CLOSED_LOOP or not variant.is_rewriting


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def _profile_all(plan: Plan, variants: list[Variant], sender: Sender, folder: Path) -> list[Profile]:
    if not plan.is_profiled:
        return []
    if not hotspots.has_perf():
        print("perf is not installed: no profile")
        return []
    proxied = [variant for variant in variants if variant.proxy and not variant.is_rewriting]
    return [
        _profile(variant, workload, sender, plan.seconds, folder)
        for workload in plan.workloads
        if workload in (CLOSED_LOOP, STREAMS_200)
        for variant in proxied
    ]


def _profile(variant: Variant, workload: Workload, sender: Sender, seconds: float, folder: Path) -> Profile:
    recorded = folder / "perf.data"
    with hotspots.recording(variant.gateway_pids(), recorded):
        sender.send(workload, variant, seconds)
    return Profile(
        variant=variant.name,
        workload=workload.title,
        libraries=hotspots.read_shares(recorded, "dso", 1.0),
        functions=hotspots.read_shares(recorded, "symbol", 1.0)[:12],
    )


def write_page(plan: Plan, results: Results) -> int:
    """Print the tables, write the page and its pictures, and say what is wrong; returns the exit code."""
    for workload in ALL:
        if rows := summarise(results.samples, workload):
            print(f"\n{report.text_table(rows, workload)}")
    for found in results.profiles:
        shares = ", ".join(f"{share.name} {share.percent:.0f} %" for share in found.libraries)
        print(f"\n{found.variant}, {found.workload}: {shares}")
    about = results.about
    disturbance = report.disturbance(results.samples)
    print(f"\nload average {about.load_before:.1f} before, {about.load_after:.1f} after; {disturbance}")
    pictures = plan.page.with_suffix("")
    pictures.mkdir(parents=True, exist_ok=True)
    for name, picture in report.draw_plots(results).items():
        (pictures / name).write_text(picture)
    plan.page.write_text(report.markdown(results))
    print(f"\nwritten: {plan.page}, {plan.build / 'latest.json'}")
    return judge(plan, results)


def judge(plan: Plan, results: Results) -> int:
    """Say what is wrong with the run; returns the exit code."""
    problems = list(results.problems())
    for limit in LIMITS if plan.is_judged else ():
        problems += exceeded(results.samples, limit)
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def exceeded(samples: list[Sample], limit: Limit) -> list[str]:
    """Say in what a variant costs more than it may."""
    row = next((row for row in summarise(samples, limit.workload) if row.variant == limit.variant), None)
    if row is None or row.gateway_ratio is None or row.all_ratio is None:
        return [f"no ratio to check: nginx and {limit.variant} were not both measured under {limit.workload.name}"]
    return [
        f"{limit.variant} costs {ratio:.2f} nginxes per {limit.workload.unit} ({limit.workload.title}, {what}), "
        f"{most:g} are allowed"
        for what, ratio, most in (
            ("gateway", row.gateway_ratio, limit.gateway),
            ("all processes", row.all_ratio, limit.everything),
        )
        if ratio > most
    ]


if __name__ == "__main__":
    sys.exit(main())
