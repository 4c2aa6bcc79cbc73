"""What Glassline takes up: time to start, memory, disk, packages; and how soon a record can be seen.

Measured on a Glassline of its own, so that no other run has left anything in its memory.
"""

import http.client
import random
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import combinations
from pathlib import Path

import msgspec

from benchmarks.load import end_load, start_load
from benchmarks.machine import Cores, process_tree, read_memory
from benchmarks.measure import Sender, Variant, wait_for_records
from benchmarks.servers import PLAIN_KEY, Glassline, StartError, running_glassline
from benchmarks.workloads import CLOSED_LOOP, PACED_1000, STREAMS_1000, Workload
from proxy.cli.installation import installed_bytes, installed_packages

STARTS = 5
SETTLE_SECONDS = 2.0
"after which what a start or a run has left behind is done"
POLL_SECONDS = 0.004
VISIBLE_WITHIN_SECONDS = 10.0
LOOK_SECONDS = 1.0
"between two looks at the memory"


class Delays(msgspec.Struct, frozen=True):
    """Seconds until something happened, over so many times."""

    count: int
    p50: float
    p99: float
    max: float


class Footprint(msgspec.Struct, frozen=True, kw_only=True):
    start_seconds: list[float]
    "from the start of the command until its /readyz said yes"
    idle_bytes: dict[str, int]
    "memory by process, before the first request; pages shared by several are counted once in all"
    streams: int
    stream_bytes: float
    "further memory of all processes per open stream, at so many"
    growth_requests: int
    "over which the growth was measured"
    growth_bytes_per_million: float
    "of all processes, by the slope over these requests"
    visible: Delays
    "from the last byte of an answer until the API showed its record, under 1,000 other requests per second"
    installed_bytes: int
    "Glassline and every package that it needs"
    packages: int
    errors: list[str]


def measure_footprint(
    sender: Sender, upstream_port: int, folder: Path, cores: Cores, *, growth_requests: int, probe_seconds: float
) -> Footprint:
    """Start Glassline several times, and ask the last one for everything else."""
    starts = []
    for number in range(1, STARTS):
        with running_glassline(upstream_port, folder / f"start-{number}", cores) as glassline:
            starts.append(glassline.ready_seconds)
    with running_glassline(upstream_port, folder / "footprint", cores) as glassline:
        starts.append(glassline.ready_seconds)
        time.sleep(SETTLE_SECONDS)
        idle = read_memory(process_tree(glassline.server.pid))
        errors: list[str] = []
        visible = _measure_visibility(glassline, sender, probe_seconds, errors)
        growth = _measure_growth(glassline, sender, growth_requests, errors)
        stream_bytes = _measure_streams(glassline, sender, errors)
    return Footprint(
        start_seconds=starts,
        idle_bytes=idle,
        streams=STREAMS_1000.connections,
        stream_bytes=stream_bytes,
        growth_requests=growth_requests,
        growth_bytes_per_million=growth,
        visible=visible,
        installed_bytes=installed_bytes(),
        packages=len(installed_packages()),
        errors=errors,
    )


def _total(glassline: Glassline) -> int:
    return sum(read_memory(process_tree(glassline.server.pid), "Pss_Anon").values())


@contextmanager
def _beside(
    glassline: Glassline, sender: Sender, workload: Workload, seconds: float, errors: list[str]
) -> Iterator["subprocess.Popen[str]"]:
    """Send a workload for as long as the context lasts, and wait until it is recorded."""
    variant = Variant("glassline", glassline.server.port, glassline)
    before = glassline.count_records()
    options = variant.options(workload, seconds)
    process = start_load(variant.port, sender.bodies[workload.name], options, sender.build, sender.core)
    yield process
    load = end_load(process)
    recorded = wait_for_records(glassline, before, load.requests)
    if load.errors:
        errors.append(f"{workload.name} beside a look: {load.first_error}")
    if recorded < load.requests:
        errors.append(f"{workload.name} beside a look: {load.requests} requests sent, {recorded} recorded")


def _measure_visibility(glassline: Glassline, sender: Sender, seconds: float, errors: list[str]) -> Delays:
    body = sender.bodies[CLOSED_LOOP.name].read_bytes()
    chance, delays = random.Random(1), []
    with _beside(glassline, sender, PACED_1000, seconds, errors) as load:
        while load.poll() is None:
            time.sleep(chance.uniform(0, 0.02))
            delays.append(_until_visible(glassline, body))
    delays = sorted(delays[:-1])  # the last one may have outlived the load
    if not delays:
        raise StartError("no record became visible while 1,000 requests per second went through")
    return Delays(len(delays), statistics.median(delays), delays[int(0.99 * len(delays))], delays[-1])


def _until_visible(glassline: Glassline, body: bytes) -> float:
    """Send a request; returns the seconds from the last byte of its answer until the API shows its record."""
    with closing(http.client.HTTPConnection("127.0.0.1", glassline.server.port, timeout=10)) as connection:
        connection.request("POST", "/v1/chat/completions", body, {"Authorization": f"Bearer {PLAIN_KEY}"})
        answer = connection.getresponse()
        answer.read()
        answered = time.monotonic()
    with closing(http.client.HTTPConnection("127.0.0.1", glassline.admin_port, timeout=10)) as connection:
        while (waited := time.monotonic() - answered) < VISIBLE_WITHIN_SECONDS:
            connection.request("GET", f"/api/requests/{answer.headers['x-glassline-request-id']}")
            shown = connection.getresponse()
            shown.read()
            if shown.status == 200:
                return time.monotonic() - answered
            time.sleep(POLL_SECONDS)
    return waited


def _measure_streams(glassline: Glassline, sender: Sender, errors: list[str]) -> float:
    """Return the further memory per stream. There must have been none before: what they leave behind is used again."""
    time.sleep(SETTLE_SECONDS)
    idle = _total(glassline)
    looks: list[int] = []
    with _beside(glassline, sender, STREAMS_1000, 3 * LOOK_SECONDS, errors) as load:
        time.sleep(STREAMS_1000.ramp_seconds + LOOK_SECONDS / 2)
        while load.poll() is None and len(looks) < 3:
            looks.append(_total(glassline))
            time.sleep(LOOK_SECONDS)
    return (max(looks) - idle) / STREAMS_1000.connections


def _measure_growth(glassline: Glassline, sender: Sender, requests: int, errors: list[str]) -> float:
    """Return the bytes per million requests: the median slope between looks (Theil and Sen), which no outlier moves."""
    looks: list[tuple[int, int]] = []
    first = glassline.count_records()
    while (done := glassline.count_records() - first) < requests:
        with _beside(glassline, sender, CLOSED_LOOP, LOOK_SECONDS, errors):
            pass
        looks.append((glassline.count_records() - first, _total(glassline)))
        if looks[-1][0] == done:
            raise StartError("requests are sent and none is recorded")
    steady = looks[len(looks) // 4 :]
    slopes = [(after[1] - before[1]) / (after[0] - before[0]) for before, after in combinations(steady, 2)]
    return statistics.median(slopes) * 1e6 if slopes else 0.0
