"""The machine under the benchmark: which core runs what, and what a process has used of them.

CPU time is the first field of `/proc/PID/task/*/schedstat`, in nanoseconds: exact to the context switch, where the
ticks of `/proc/PID/stat` are ten milliseconds wide.
Time of threads and processes that have ended is lost, so sample only processes that live through the measurement.
"""

import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
ESTABLISHED = "01"
"the state of an open connection in /proc/net/tcp"


@dataclass(frozen=True, slots=True)
class Cores:
    """Who runs where. With five cores nobody shares; with fewer the proxy under test keeps its core to the last."""

    load: int
    "the load generator, and this program, which sleeps meanwhile"
    proxy: int
    "nginx, or the gateway process of Glassline"
    recorder: int
    "the recorder of Glassline"
    upstream: int
    "the mock provider"
    aside: int
    "every other process of Glassline: the ledger above all"

    def describe(self) -> str:
        """Say it in a sentence."""
        return (
            f"load generator on {self.load}, proxy on {self.proxy}, Glassline's recorder on {self.recorder}, "
            f"its ledger and the rest of it on {self.aside}, provider on {self.upstream}"
        )


def plan_cores(available: Sequence[int]) -> Cores:
    """Share out the cores this process may use."""
    cores = sorted(available)
    if len(cores) >= 5:
        return Cores(*cores[:5])
    if len(cores) == 4:
        return Cores(cores[0], cores[1], cores[2], cores[3], aside=cores[3])
    if len(cores) == 3:
        return Cores(cores[0], cores[1], cores[2], upstream=cores[0], aside=cores[2])
    return Cores(cores[0], cores[-1], recorder=cores[0], upstream=cores[0], aside=cores[0])


@dataclass(frozen=True, slots=True)
class CpuTime:
    run_ns: int
    "time on a core"
    wait_ns: int
    "time runnable but kept from a core by something else: a measure of disturbance"

    def __sub__(self, other: "CpuTime") -> "CpuTime":
        return CpuTime(self.run_ns - other.run_ns, self.wait_ns - other.wait_ns)


def read_cpu_time(pids: Iterable[int]) -> CpuTime:
    """Sum the CPU time of all threads of these processes."""
    fields = [line.split() for pid in pids for line in _thread_files(pid, "schedstat")]
    return CpuTime(sum(int(field[0]) for field in fields), sum(int(field[1]) for field in fields))


def _thread_files(pid: int, name: str) -> list[str]:
    contents = []
    for thread in (PROC / str(pid) / "task").glob("*"):
        try:
            contents.append((thread / name).read_text())
        except (FileNotFoundError, ProcessLookupError):
            continue  # the thread has just ended
    return contents


def process_tree(root_pid: int) -> list[int]:
    """List a process and all its descendants, parents first."""
    children: dict[int, list[int]] = {}
    for pid, parent in _parents():
        children.setdefault(parent, []).append(pid)
    tree = [root_pid]
    for pid in tree:
        tree.extend(children.get(pid, ()))
    return tree


def _parents() -> Iterable[tuple[int, int]]:
    for entry in PROC.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        # The command name may contain spaces and brackets: the fields start after its last bracket.
        yield int(entry.name), int(stat.rpartition(")")[2].split()[1])


def find_children(serve_pid: int, role: str) -> list[int]:
    """Find children of `glassline serve` by the name they give themselves; the command line is everyone's."""
    return [pid for pid in process_tree(serve_pid)[1:] if role in name_of(pid)]


def read_memory(pids: Iterable[int], kind: str = "Pss") -> dict[str, int]:
    """Return the bytes of memory of each process, by its name; pages that they share are counted once in all.

    `Pss_Anon` leaves out the pages of files, such as libraries, whose share depends on who else has them open.
    """
    return {name_of(pid): _proportional_bytes(pid, kind) for pid in pids}


def _proportional_bytes(pid: int, kind: str) -> int:
    lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{kind}:"))


def name_of(pid: int) -> str:
    """Return the name of a process; empty: it has ended."""
    try:
        return (PROC / str(pid) / "comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def count_connections(pids: Iterable[int], port: int) -> list[int]:
    """Count the open connections to a local port that each of these processes serves."""
    lines = [line.split() for line in (PROC / "net" / "tcp").read_text().splitlines()[1:]]
    sockets = {f"socket:[{line[9]}]" for line in lines if line[1].endswith(f":{port:04X}") and line[3] == ESTABLISHED}
    return [sum(_target(link) in sockets for link in (PROC / str(pid) / "fd").iterdir()) for pid in pids]


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except FileNotFoundError:
        return ""  # it has just been closed


def pin(pids: Iterable[int], core: int) -> None:
    """Bind every thread of these processes to one core; what they start later inherits it."""
    for pid in pids:
        for thread in (PROC / str(pid) / "task").glob("*"):
            try:
                os.sched_setaffinity(int(thread.name), {core})
            except ProcessLookupError:
                continue


def yield_to_others(pids: Iterable[int]) -> None:
    """Give every thread of these processes the lowest priority."""
    for pid in pids:
        for thread in (PROC / str(pid) / "task").glob("*"):
            try:
                os.setpriority(os.PRIO_PROCESS, int(thread.name), 19)
            except ProcessLookupError:
                continue


def describe_machine() -> dict[str, str]:
    """Name what the figures depend on."""
    return {
        "CPU": f"{_cpu_model()}, {len(os.sched_getaffinity(0))} cores available",
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GB",
        "kernel": platform.release(),
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "compiler": _first_line(["cc", "--version"]),
        "nginx": _first_line(["nginx", "-v"]).removeprefix("nginx version: nginx/"),
    }


def _cpu_model() -> str:
    for line in (PROC / "cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _first_line(command: list[str]) -> str:
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip().partition("\n")[0]


def describe_commit(root: Path) -> str:
    """Name the commit, and say when the tree differs from it."""
    commit = _first_line(["git", "-C", str(root), "rev-parse", "--short", "HEAD"])
    if commit == "unknown":
        return "no commit yet"
    return commit if not _first_line(["git", "-C", str(root), "status", "--porcelain"]) else f"{commit}, modified"
