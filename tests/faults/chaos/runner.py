"""One run of chaos: real processes under traffic, one fault after the other, then the oracle.

    python -m tests.faults.chaos.runner --seed 7 --faults 40

The plan comes from the seed. When a run fails, its seed, its plan and the first violations are printed; run it again
with `--without kind,kind` to find out which fault matters.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import resource
import signal
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import apsw
import httpx

from tests.faults.chaos.oracle import Account, Evidence, Violation, violations
from tests.faults.chaos.plan import LINES, Fault, draw_plan, without
from tests.faults.chaos.traffic import Caller, Traffic
from tests.faults.chaos.witnesses import check_integrity, find_canaries, read_accounts, read_rows, read_truth
from tests.harness import Glassline, Simulator
from tests.harness.process import DeadlineError, wait_until
from tests.harness.tcpfault import Line, TcpFault

CALLERS: Final = (Caller("team", "gl-chaos-team-0123456789"), Caller("crew", "gl-chaos-crew-0123456789"))
PROVIDER_KEY: Final = "sk-canary-provider-77f0c1d2e3"
CANARIES: Final = {
    "provider key": PROVIDER_KEY.encode(),
    **{f"virtual key of {caller.name}": caller.key.encode() for caller in CALLERS},
}
LIMITS_USD: Final = {"team": "0.002", "crew": "100"}
"""One is used up in the middle of a run, the other never."""
SETTLED_WITHIN_S: Final = 60.0
BAD_CONFIGS: Final = ("upstreams: [", "nonsense: 1\n", "", "workers: minus one\n")


@dataclass(slots=True)
class Outcome:
    """What one run came to."""

    seed: int
    evidence: Evidence
    violations: list[Violation]
    done: Counter[str] = field(default_factory=Counter)
    """Faults that were carried out, by kind."""
    not_run: Counter[str] = field(default_factory=Counter)
    """Faults that could not be carried out here."""
    restarts_s: list[float] = field(default_factory=list)
    """How long each start after a kill took."""

    def line(self) -> str:
        """Say it in one line."""
        notes = self.evidence.clients
        acknowledged = sum(note.is_acknowledged for note in notes)
        worst = f"{max(self.restarts_s):.2f} s" if self.restarts_s else "none"
        return (
            f"seed {self.seed}: {sum(self.done.values())} faults ({_counts(self.done)}), {len(notes)} requests, "
            f"{acknowledged} received in full, {len(self.evidence.upstream)} reached the provider, "
            f"{len(self.evidence.rows)} rows, slowest start {worst}, {len(self.violations)} violations"
            + (f"; not run: {_counts(self.not_run)}" if self.not_run else "")
        )


class Chaos:
    """A Glassline, a provider and their misfortunes."""

    def __init__(
        self,
        directory: Path,
        seed: int,
        *,
        clients: int = 16,
        program: Sequence[str] = ("proxy",),
        settled_within_s: float = SETTLED_WITHIN_S,
    ) -> None:
        self._seed = seed
        self._clients = clients
        self._directory = directory
        self._simulator = Simulator(directory / "simulator", "--seed", str(seed))
        self._line = TcpFault(self._simulator.port, seed=seed)
        self._upstream = f"http://127.0.0.1:{self._line.port}/v1"
        # Held for as long as this lasts: while Glassline is dead, nobody else on this machine must answer its clients.
        self._place = socket.socket()
        self._place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._place.bind(("127.0.0.1", 0))
        port = ("--port", str(self._place.getsockname()[1]))
        self._glassline = Glassline(directory / "glassline", _config(self._upstream), program=program, args=port)
        self._settled_within_s = settled_within_s
        self._samples: list[Account] = []
        self._done: Counter[str] = Counter()
        self._not_run: Counter[str] = Counter()
        self._restarts_s: list[float] = []
        self._traffic: Traffic | None = None

    def close(self) -> None:
        """End everything."""
        self._glassline.close()
        self._place.close()
        self._line.close()
        self._simulator.close()

    def run(self, plan: Sequence[Fault]) -> Outcome:
        """Carry out a plan under traffic, heal everything, and judge."""
        self._glassline.start()
        journal = self._directory / "clients.jsonl"
        with (
            self._sampling(),
            Traffic(self._glassline.port, journal, CALLERS, seed=self._seed, clients=self._clients) as traffic,
        ):
            self._traffic = traffic
            for number, fault in enumerate(plan):
                time.sleep(fault.after_s)
                self._suffer(fault, number)
            time.sleep(1.0)
        evidence = self._collect(traffic)
        self._glassline.stop()
        return Outcome(
            seed=self._seed,
            evidence=evidence,
            violations=violations(evidence),
            done=self._done,
            not_run=self._not_run,
            restarts_s=self._restarts_s,
        )

    def _suffer(self, fault: Fault, number: int) -> None:
        action = getattr(self, f"_do_{fault.kind}")
        (self._done if action(fault, number) else self._not_run)[fault.kind] += 1

    def _do_kill_all(self, _: Fault, __: int) -> bool:
        self._glassline.kill_group()
        self._start()
        return True

    def _do_kill_one(self, fault: Fault, _: int) -> bool:
        return self._signal(fault.role, signal.SIGKILL)

    def _do_restart(self, _: Fault, __: int) -> bool:
        self._glassline.stop(timeout_s=60)
        self._start()
        return True

    def _do_roll(self, _: Fault, __: int) -> bool:
        self._glassline.process.send_signal(signal.SIGUSR2)
        return True

    def _do_freeze(self, fault: Fault, _: int) -> bool:
        pids = self._glassline.pids_of(fault.role)
        for pid in pids:
            _kill(pid, signal.SIGSTOP)
        time.sleep(fault.seconds)
        for pid in pids:
            _kill(pid, signal.SIGCONT)
        return bool(pids)

    def _do_full_disk(self, fault: Fault, _: int) -> bool:
        """Let no file of any process grow for a while."""
        before = []
        for pid in self._glassline.pids():
            with contextlib.suppress(ProcessLookupError):
                soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, hard))
                before.append((pid, soft, hard))
        time.sleep(fault.seconds)
        for pid, soft, hard in before:
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))
        self._wait_ready()
        return bool(before)

    def _do_lock_records(self, fault: Fault, _: int) -> bool:
        return self._lock("records.db", fault.seconds)

    def _do_lock_ledger(self, fault: Fault, _: int) -> bool:
        return self._lock("ledger.db", fault.seconds)

    def _do_failpoints(self, fault: Fault, _: int) -> bool:
        """Start it again with failpoints armed, and once more without."""
        self._glassline.kill_group()
        with contextlib.suppress(DeadlineError):  # what dies while it starts does not start
            self._start({"GLASSLINE_FAILPOINTS": fault.failpoints})
            time.sleep(fault.seconds)
        self._glassline.kill_group()
        self._start()
        return True

    def _do_bad_line(self, fault: Fault, _: int) -> bool:
        self._line.change(LINES[fault.line])
        time.sleep(fault.seconds)
        self._line.change(Line())
        return True

    def _do_reload_good(self, _: Fault, number: int) -> bool:
        self._glassline.write_config(_config(self._upstream, f"reload-{number}"))
        self._glassline.reload()
        return True

    def _do_reload_bad(self, _: Fault, number: int) -> bool:
        good = self._glassline.config_file.read_text()
        self._glassline.config_file.write_text(BAD_CONFIGS[number % len(BAD_CONFIGS)])
        self._glassline.reload()
        time.sleep(0.3)
        self._glassline.config_file.write_text(good)
        return True

    def _lock(self, name: str, seconds: float) -> bool:
        connection = apsw.Connection(str(self._glassline.data_dir / name))
        try:
            connection.set_busy_timeout(2000)
            connection.execute("BEGIN EXCLUSIVE")
        except apsw.BusyError:
            return False
        else:
            time.sleep(seconds)
            connection.execute("ROLLBACK")
            return True
        finally:
            connection.close()

    def _signal(self, role: str, number: signal.Signals) -> bool:
        reached = [_kill(pid, number) for pid in self._glassline.pids_of(role)]
        return any(reached)

    def _start(self, env: dict[str, str] | None = None) -> None:
        started = time.monotonic()
        self._glassline.start(env=env)
        self._restarts_s.append(time.monotonic() - started)
        assert self._traffic is not None
        self._traffic.port = self._glassline.port

    def _wait_ready(self) -> None:
        def ready() -> bool:
            try:
                return httpx.get(f"{self._glassline.url}/readyz", timeout=2).status_code == 200
            except httpx.HTTPError:
                return False

        wait_until(ready, "readiness", timeout_s=30)

    @contextlib.contextmanager
    def _sampling(self) -> Iterator[None]:
        """Look at every account from outside, over and over."""
        stop = threading.Event()

        def look() -> None:
            while not stop.wait(0.05):
                with contextlib.suppress(apsw.Error):
                    self._samples.extend(read_accounts(self._glassline.data_dir))

        thread = threading.Thread(target=look)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _collect(self, traffic: Traffic) -> Evidence:
        self._wait_ready()
        data_dir = self._glassline.data_dir
        must_exist = {note.name for note in traffic.notes if note.is_acknowledged}

        def is_settled() -> bool:
            there = {row.name for row in read_rows(data_dir)}
            reached = {note.name for note in read_truth(self._simulator.truth())}
            return must_exist | reached <= there and not any(each.reserved for each in read_accounts(data_dir))

        with contextlib.suppress(DeadlineError):  # the oracle says what is missing
            wait_until(is_settled, "settlement", timeout_s=self._settled_within_s)
        metrics = httpx.get(f"{self._glassline.admin_url}/metrics", timeout=20).text
        (self._directory / "metrics.txt").write_text(metrics)
        logs = [self._glassline.process.stderr, self._glassline.process.stdout, self._directory / "metrics.txt"]
        files = [path for path in data_dir.rglob("*") if path.is_file()]
        return Evidence(
            clients=traffic.notes,
            upstream=read_truth(self._simulator.truth()),
            rows=read_rows(data_dir),
            accounts=read_accounts(data_dir),
            samples=self._samples,
            integrity=check_integrity(data_dir),
            canaries=find_canaries(CANARIES, [*files, *logs]),
            lost=_by_label(metrics, "glassline_records_lost_total", "reason"),
        )


def run_chaos(seed: int, plan: Sequence[Fault], *, keep: Path | None = None, **settings: Any) -> Outcome:
    """Run one plan in a directory of its own, or in `keep`, which stays; `settings` are those of `Chaos`."""
    with ExitStack() as stack:
        if keep is None:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="glassline-chaos-")))
        else:
            directory = keep
        chaos = stack.enter_context(closing(Chaos(directory, seed, **settings)))
        return chaos.run(plan)


def _config(upstream: str, tag: str = "first") -> dict[str, Any]:
    return {
        "auth": "virtual",
        "workers": 2,
        "upstreams": {
            "openai": {
                "base_url": upstream,
                "wire": "openai",
                "provider": "openai",
                "allow_private": True,
                "api_key": PROVIDER_KEY,
                "timeouts": {"first_byte": 3, "idle": 2},
                "retries": {"attempts": 2, "after": ["connect", 503], "backoff": "0.05s"},
            }
        },
        "keys": [
            {
                "name": caller.name,
                "key": caller.key,
                "budgets": [{"limit_usd": float(LIMITS_USD[caller.name]), "window": "total"}],
                "tags": {"config": tag},
            }
            for caller in CALLERS
        ],
    }


def _kill(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def _by_label(metrics: str, name: str, label: str) -> dict[str, int]:
    found = re.findall(rf'^{name}{{.*?{label}="([^"]*)".*?}} (\S+)$', metrics, re.MULTILINE)
    return {value: int(float(count)) for value, count in found}


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counter.items()))


def main() -> int:
    """Run from the command line; exit code 1: something was violated."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", type=int, default=20)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--keep", type=Path, help="directory for everything, which is kept")
    parser.add_argument("--without", default="", help="kinds of faults to leave out, separated by commas")
    options = parser.parse_args()
    plan = without(draw_plan(options.seed, options.faults), options.without.split(","))
    outcome = run_chaos(options.seed, plan, keep=options.keep, clients=options.clients)
    sys.stdout.write(outcome.line() + "\n")
    for (rule, detail), count in Counter((each.rule, each.detail) for each in outcome.violations).most_common(20):
        example = next(each.subject for each in outcome.violations if (each.rule, each.detail) == (rule, detail))
        sys.stdout.write(f"  {count} x {rule}: {detail} (such as {example})\n")
    if outcome.violations:
        sys.stdout.write("plan: " + "; ".join(map(str, plan)) + "\n")
    return bool(outcome.violations)


if __name__ == "__main__":
    sys.exit(main())
