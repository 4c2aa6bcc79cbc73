"""Several gateways: how much more they relay than one, and how evenly they share the work.

Each gateway has a core of its own; everything else of the run shares one that no gateway uses, the same in every step,
so that only the number of gateways differs. The other processes of Glassline run there at the lowest priority: the load
generator and the provider go first, and recording is done when the load has ended.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import msgspec

from benchmarks.load import end_load, start_load
from benchmarks.machine import (
    Cores,
    count_connections,
    find_children,
    pin,
    process_tree,
    read_cpu_time,
    yield_to_others,
)
from benchmarks.measure import Sender, Variant, wait_for_records
from benchmarks.servers import Glassline, Server, StartError, running_glassline
from benchmarks.workloads import CLOSED_LOOP

CONNECTIONS_PER_GATEWAY = 64


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One round with so many gateways."""

    gateways: int
    round: int
    requests_per_second: float
    cpu_us: float
    "of all gateways per request: grows when they get in each other's way"
    connections: list[int]
    "open at each gateway while the load lasts"
    busy: list[float]
    "share of its core that each gateway used: well below 1, something else was the limit"
    errors: list[str]


def plan_gateways(cores: Sequence[int]) -> list[tuple[int, ...]]:
    """Return the cores of the gateways in each step: as many steps as there are cores beside the one for the rest."""
    free = sorted(cores)[1:]
    return [tuple(free[:count]) for count in range(1, min(3, len(free)) + 1)]


def measure_scaling(
    sender: Sender, upstream: Server, folder: Path, cores: Sequence[int], rounds: int, seconds: float
) -> Iterator[Step]:
    """Run every number of gateways in turn, each round. The provider moves to the core of the rest, and stays there."""
    rest = sorted(cores)[0]
    pin([upstream.pid], rest)
    for round_number in range(1, rounds + 1):
        for gateway_cores in plan_gateways(cores):
            place = folder / f"scaling-{round_number}-{len(gateway_cores)}"
            with _running(upstream.port, place, rest, gateway_cores) as glassline:
                yield _measure(glassline, round_number, replace(sender, core=rest), seconds)


@contextmanager
def _running(upstream_port: int, place: Path, rest: int, gateway_cores: tuple[int, ...]) -> Iterator[Glassline]:
    cores = Cores(load=rest, proxy=gateway_cores[0], recorder=rest, upstream=rest, aside=rest)
    with running_glassline(upstream_port, place, cores, gateway_cores) as glassline:
        gateways = find_children(glassline.server.pid, "gateway")
        yield_to_others(pid for pid in process_tree(glassline.server.pid) if pid not in gateways)
        yield glassline


def _measure(glassline: Glassline, round_number: int, sender: Sender, seconds: float) -> Step:
    gateways = glassline.gateways()
    workload = replace(CLOSED_LOOP, connections=CONNECTIONS_PER_GATEWAY * len(gateways))
    variant = Variant("glassline", glassline.server.port, glassline)
    warm = sender.send(workload, variant, 0.5)
    before, started = [read_cpu_time([pid]).run_ns for pid in gateways], time.monotonic()
    options = variant.options(workload, seconds)
    process = start_load(variant.port, sender.bodies[workload.name], options, sender.build, sender.core)
    time.sleep(seconds / 2)
    connections = count_connections(gateways, variant.port)
    load = end_load(process)
    used = [read_cpu_time([pid]).run_ns - earlier for pid, earlier in zip(gateways, before, strict=True)]
    elapsed_ns = (time.monotonic() - started) * 1e9
    if not load.finished or not sum(used):
        raise StartError(f"{len(gateways)} gateways relayed nothing: {load.first_error}")
    sent = warm.requests + load.requests
    recorded = wait_for_records(glassline, 0, sent)
    wrong = [load.first_error] if load.errors else []
    wrong += [f"{sent} requests sent, {recorded} recorded"] if recorded != sent else []
    return Step(
        gateways=len(gateways),
        round=round_number,
        requests_per_second=load.requests_per_second,
        cpu_us=sum(used) / 1e3 / load.finished,
        connections=connections,
        busy=[ran / elapsed_ns for ran in used],
        errors=[f"{len(gateways)} gateways, round {round_number}: {text}" for text in wrong],
    )
