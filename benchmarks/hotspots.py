"""Where the CPU of a process goes, by perf when it is there: shares by library, and the dearest functions."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

SHARE = re.compile(r"^\s*(\d+\.\d+)%\s+(.+?)[\s-]*$")
"a line of the report; perf ends it with dashes where a column has nothing to say"


@dataclass(frozen=True, slots=True)
class Share:
    percent: float
    name: str


def has_perf() -> bool:
    return shutil.which("perf") is not None


@contextmanager
def recording(pids: list[int], into: Path) -> Iterator[None]:
    """Sample these processes for as long as the context lasts. The clock works where hardware counters do not."""
    command = ["perf", "record", "-q", "-e", "cpu-clock", "-F", "997", "-o", str(into), "-p", ",".join(map(str, pids))]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        yield
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        process.kill()
        process.wait()


def read_shares(recorded: Path, sort: str, least_percent: float) -> list[Share]:
    """Read the shares of a recording, `sort` as perf names it (`dso`, `symbol`); empty when perf recorded nothing."""
    command = ["perf", "report", "--stdio", "-i", str(recorded), "--sort", sort]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = (SHARE.match(line) for line in done.stdout.splitlines() if not line.startswith("#"))
    shares = [Share(float(match[1]), match[2]) for match in found if match]
    return [share for share in shares if share.percent >= least_percent]
