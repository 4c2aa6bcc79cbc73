"""One measurement: a workload sent through a variant, and what it cost the processes in between.

The gateway's CPU window is the life of the load generator.
The window over all processes of Glassline ends later, when every request of the run is in `records.db`: work that was
put off is counted, and a request that was not recorded fails the run.
"""

import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.machine import CpuTime, read_cpu_time
from benchmarks.servers import BUDGET_KEY, PLAIN_KEY, Glassline, Server, StartError

CATCH_UP_SECONDS = 30
"how long the recorder may take after a run"
CHUNKS_PER_STREAM = 100
CHUNKS_PER_SECOND = 50

SYSTEM_PROMPT = (
    "You are a careful assistant inside a support tool. Answer in at most three sentences, in the language of the "
    "question, and say so when the documents below do not hold the answer. Never guess a price, a date or a name. "
)
QUESTION = (
    "A customer asks what a reverse proxy adds to the time of a request, and how one would measure it without fooling "
    "oneself: which clock to read, what to compare with, how often to repeat, and what to make of a single slow run. "
)


class Quantiles(msgspec.Struct, frozen=True):
    """Microseconds, right to 1.6 %."""

    count: int
    mean: float
    p50: float
    p90: float
    p99: float
    p999: float
    max: float


class LoadResult(msgspec.Struct, frozen=True):
    """What the load generator prints."""

    requests: int
    finished: int
    seconds: float
    requests_per_second: float
    chunks: int
    chunks_per_second: float
    reconnects: int
    latency_us: Quantiles
    first_byte_us: Quantiles
    chunk_delay_us: Quantiles
    error_kinds: dict[str, int]
    errors: int
    first_error: str


@dataclass(frozen=True, slots=True)
class Workload:
    name: str
    title: str
    connections: int
    rate: float = 0
    "requests per second, 0 for a closed loop"
    is_stream: bool = False

    @property
    def unit(self) -> str:
        return "chunk" if self.is_stream else "request"


CLOSED_LOOP = Workload("closed_loop", "1 KB requests, closed loop, 32 connections", 32)
WORKLOADS = (
    CLOSED_LOOP,
    Workload("paced_150", "1 KB requests, 150 per second", 32, rate=150),
    Workload("paced_1000", "1 KB requests, 1000 per second", 32, rate=1000),
    Workload("streams", f"200 streams of {CHUNKS_PER_SECOND} chunks per second", 200, is_stream=True),
)


@dataclass(frozen=True, slots=True)
class Variant:
    """A way from the load generator to the upstream."""

    name: str
    port: int
    proxy: Server | Glassline | None = None
    "None: straight to the upstream"
    key: str = PLAIN_KEY

    def gateway_pids(self) -> list[int]:
        if isinstance(self.proxy, Glassline):
            return self.proxy.gateways()
        return self.proxy.processes() if self.proxy else []

    def all_pids(self) -> list[int]:
        if isinstance(self.proxy, Glassline):
            return self.proxy.server.processes()
        return self.gateway_pids()


def glassline_variants(glassline: Glassline) -> list[Variant]:
    port = glassline.server.port
    return [Variant("glassline", port, glassline), Variant("glassline+budget", port, glassline, BUDGET_KEY)]


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One variant under one workload in one round."""

    variant: str
    workload: str
    round: int
    load: LoadResult
    gateway_cpu_us: float | None
    "CPU of the gateway process (nginx: of master and worker) per request or chunk; None without a proxy"
    all_cpu_us: float | None
    "the same over every process of the proxy, until all is recorded"
    gateway_waited: float
    "time the gateway was kept from its core, as a share of the time it ran"
    recorded: int | None
    "requests that reached records.db; None where nothing records"
    catch_up_seconds: float | None
    "from the end of the load until all was recorded"

    @property
    def delay_us(self) -> Quantiles:
        return self.load.chunk_delay_us if self.load.chunks else self.load.latency_us

    def problems(self) -> list[str]:
        """Say what makes this sample worthless, if anything."""
        where = f"round {self.round}, {self.workload}, {self.variant}"
        found = []
        if self.load.errors:
            found.append(
                f"{where}: {self.load.errors} errors in {self.load.requests} requests: {self.load.first_error}"
            )
        if self.recorded is not None and self.recorded != self.load.requests:
            found.append(f"{where}: {self.load.requests} requests sent, {self.recorded} recorded")
        return found


@dataclass(frozen=True, slots=True)
class Bodies:
    plain: Path
    stream: Path

    def of(self, workload: Workload) -> Path:
        return self.stream if workload.is_stream else self.plain


def write_bodies(folder: Path) -> Bodies:
    """Write the two request bodies, 1 KB each, with a place for the nonce that the load generator counts up."""
    request: dict[str, Any] = {
        "model": "gpt-4o-mini",
        "messages": [
            {"role": "system", "content": SYSTEM_PROMPT * 3},
            {"role": "user", "content": f"bench-{'0' * 16} {QUESTION}"},
        ],
        "max_tokens": 256,
        "temperature": 0.2,
    }
    bodies = Bodies(folder / "plain.json", folder / "stream.json")
    bodies.plain.write_text(json.dumps(request))
    bodies.stream.write_text(json.dumps(request | {"stream": True, "stream_options": {"include_usage": True}}))
    return bodies


def run_load(port: int, body: Path, options: list[str], build: Path, core: int | None = None) -> LoadResult:
    """Run the load generator to its end; see its source for the options."""
    pinning = [] if core is None else ["taskset", "-c", str(core)]
    command = [*pinning, str(build / "load"), "--port", str(port), "--body", str(body), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StartError(f"load generator ended with {done.returncode}: {done.stderr}")
    return msgspec.json.decode(done.stdout, type=LoadResult)


def load_options(workload: Workload, variant: Variant, seconds: float) -> list[str]:
    options = ["--connections", str(workload.connections), "--seconds", str(seconds)]
    options += ["--authorization", f"Bearer {variant.key}"]
    if workload.rate:
        options += ["--rate", str(workload.rate)]
    return [*options, "--stream"] if workload.is_stream else options


Send = Callable[[Workload, Variant], LoadResult]
"sends a workload through a variant, for as long as the run says"


def measure(variant: Variant, workload: Workload, round_number: int, send: Send) -> Sample:
    """Send the workload and account for it."""
    gateway, everything = variant.gateway_pids(), variant.all_pids()
    recorder = variant.proxy if isinstance(variant.proxy, Glassline) else None
    recorded_before = recorder.count_records() if recorder else 0
    gateway_before, all_before = read_cpu_time(gateway), read_cpu_time(everything)
    load = send(workload, variant)
    gateway_cpu = read_cpu_time(gateway) - gateway_before
    if variant.gateway_pids() != gateway:
        raise StartError(f"{variant.name} replaced a process during {workload.name}: its CPU time is lost")
    ended = time.monotonic()
    recorded = _wait_for_records(recorder, recorded_before, load.requests) if recorder else None
    caught_up = time.monotonic() - ended if recorder else None
    all_cpu = read_cpu_time(everything) - all_before
    units = load.chunks if workload.is_stream else load.finished
    return Sample(
        variant=variant.name,
        workload=workload.name,
        round=round_number,
        load=load,
        gateway_cpu_us=_per_unit_us(gateway_cpu, units) if gateway else None,
        all_cpu_us=_per_unit_us(all_cpu, units) if everything else None,
        gateway_waited=gateway_cpu.wait_ns / gateway_cpu.run_ns if gateway_cpu.run_ns else 0,
        recorded=recorded,
        catch_up_seconds=caught_up,
    )


def _per_unit_us(cpu: CpuTime, units: int) -> float:
    return cpu.run_ns / 1e3 / units if units else 0


def _wait_for_records(glassline: Glassline, before: int, expected: int) -> int:
    deadline = time.monotonic() + CATCH_UP_SECONDS
    while (recorded := glassline.count_records() - before) < expected and time.monotonic() < deadline:
        time.sleep(0.2)
    return recorded
