"""One measurement: a workload sent through a variant, and what it cost the processes in between.

The gateway's CPU window is the life of the load generator.
The window over all processes of Glassline ends later, when every request of the run is in `records.db`: work that was
put off is counted, and a request that was not recorded fails the run, as does one whose recorded bodies are not those
that were sent and answered.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import msgspec

from benchmarks.contents import Sent, check_contents, fetch_answer
from benchmarks.load import LoadResult, Quantiles, run_load
from benchmarks.machine import CpuTime, read_cpu_time
from benchmarks.servers import BUDGET_KEY, PLAIN_KEY, Glassline, Server, StartError
from benchmarks.workloads import ALL, Workload, write_body

CATCH_UP_SECONDS = 120
"how long the recorder may take after a run"


@dataclass(frozen=True, slots=True)
class Variant:
    """A way from the load generator to the upstream."""

    name: str
    port: int
    proxy: Server | Glassline | None = None
    "None: straight to the upstream"
    key: str = PLAIN_KEY
    headers: tuple[str, ...] = ()
    "further ones of each request"
    is_rewriting: bool = False
    "the proxy writes each answer anew, and takes part in the first workload only"

    def gateway_pids(self) -> list[int]:
        if isinstance(self.proxy, Glassline):
            return self.proxy.gateways()
        return self.proxy.processes() if self.proxy else []

    def all_pids(self) -> list[int]:
        if isinstance(self.proxy, Glassline):
            return self.proxy.server.processes()
        return self.gateway_pids()

    def options(self, workload: Workload, seconds: float) -> list[str]:
        """Return the load generator's options."""
        options = [*workload.options(seconds), "--authorization", f"Bearer {self.key}"]
        options += [part for header in self.headers for part in ("--header", header)]
        return [*options, "--loose"] if self.is_rewriting else options


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
    wrong_records: list[str] = []
    "what is wrong with the records that were looked at"

    @property
    def delay_us(self) -> Quantiles:
        return self.load.chunk_delay_us if self.load.chunks else self.load.latency_us

    def problems(self) -> list[str]:
        """Say what makes this sample worthless, if anything."""
        where = f"round {self.round}, {self.workload}, {self.variant}"
        found = [f"{where}: {wrong}" for wrong in self.wrong_records]
        if self.load.errors:
            found.append(
                f"{where}: {self.load.errors} errors in {self.load.requests} requests: {self.load.first_error}"
            )
        if self.recorded is not None and self.recorded != self.load.requests:
            found.append(f"{where}: {self.load.requests} requests sent, {self.recorded} recorded")
        return found


@dataclass(frozen=True, slots=True)
class Sender:
    """Sends workloads through variants, and knows what it sent."""

    build: Path
    bodies: dict[str, Path]
    "by workload"
    answers: dict[str, bytes]
    "by workload, as the mock provider gives them"
    core: int | None

    def send(self, workload: Workload, variant: Variant, seconds: float) -> LoadResult:
        """Run the load generator once."""
        options = variant.options(workload, seconds)
        return run_load(variant.port, self.bodies[workload.name], options, self.build, self.core)

    def sent(self, workload: Workload, load: LoadResult) -> Sent:
        """Return what a run has sent."""
        body = self.bodies[workload.name].read_bytes()
        return Sent(body, self.answers[workload.name], int(load.first_nonce, 16), load.requests)


def prepare_sender(build: Path, folder: Path, upstream_port: int, core: int | None) -> Sender:
    """Write the bodies and learn their answers."""
    bodies = {workload.name: write_body(workload, folder) for workload in ALL}
    answers = {name: fetch_answer(upstream_port, path.read_bytes()) for name, path in bodies.items()}
    return Sender(build, bodies, answers, core)


def measure(variant: Variant, workload: Workload, round_number: int, sender: Sender, seconds: float) -> Sample:
    """Send the workload and account for it."""
    gateway, everything = variant.gateway_pids(), variant.all_pids()
    recorder = variant.proxy if isinstance(variant.proxy, Glassline) else None
    recorded_before = recorder.count_records() if recorder else 0
    gateway_before, all_before = read_cpu_time(gateway), read_cpu_time(everything)
    load = sender.send(workload, variant, seconds)
    gateway_cpu = read_cpu_time(gateway) - gateway_before
    if variant.gateway_pids() != gateway:
        raise StartError(f"{variant.name} replaced a process during {workload.name}: its CPU time is lost")
    ended = time.monotonic()
    recorded = wait_for_records(recorder, recorded_before, load.requests) if recorder else None
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
        wrong_records=_wrong_records(recorder, sender.sent(workload, load)) if recorder else [],
    )


def _wrong_records(recorder: Glassline, sent: Sent) -> list[str]:
    return check_contents(recorder.records, recorder.read_body, sent) if sent.requests else []


def _per_unit_us(cpu: CpuTime, units: int) -> float:
    return cpu.run_ns / 1e3 / units if units else 0


def wait_for_records(glassline: Glassline, before: int, expected: int) -> int:
    """Wait until so many more requests are recorded, but not for ever; returns how many they are."""
    deadline = time.monotonic() + CATCH_UP_SECONDS
    while (recorded := glassline.count_records() - before) < expected and time.monotonic() < deadline:
        time.sleep(0.2)
    return recorded
