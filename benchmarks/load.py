"""The load generator, load.c, as a function."""

import subprocess
from pathlib import Path

import msgspec

from benchmarks.servers import StartError


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
    "while all streams were open"
    reconnects: int
    first_nonce: str
    "16 hexadecimal digits; the next request has the next number"
    latency_us: Quantiles
    first_byte_us: Quantiles
    chunk_delay_us: Quantiles
    "while all streams were open"
    error_kinds: dict[str, int]
    errors: int
    first_error: str


def start_load(
    port: int, body: Path, options: list[str], build: Path, core: int | None = None
) -> "subprocess.Popen[str]":
    """Start the load generator; see its source for the options."""
    pinning = [] if core is None else ["taskset", "-c", str(core)]
    command = [*pinning, str(build / "load"), "--port", str(port), "--body", str(body), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end_load(process: "subprocess.Popen[str]") -> LoadResult:
    """Wait for the end of the load generator and read what it found."""
    output, complaint = process.communicate()
    if process.returncode:
        raise StartError(f"load generator ended with {process.returncode}: {complaint}")
    return msgspec.json.decode(output, type=LoadResult)


def run_load(port: int, body: Path, options: list[str], build: Path, core: int | None = None) -> LoadResult:
    """Run the load generator to its end."""
    return end_load(start_load(port, body, options, build, core))
