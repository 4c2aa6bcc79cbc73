"""The checks that catch the planted bugs, each from the suite's own means: what they return is what they found.

Called with the name of a bug they run against a Glassline that has it; with None against one that has not, and must
then find nothing.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from tests.faults.chaos.plan import Fault
from tests.faults.chaos.planted import planted, program
from tests.faults.chaos.runner import run_chaos
from tests.faults.disk.outage import power_cuts
from tests.harness import Glassline
from tests.harness.client import RawClient, exchange, post
from tests.harness.process import wait_until
from tests.harness.stage import with_upstream
from tests.harness.upstream import ScriptedUpstream

Check = Callable[[str | None], list[str]]
HEADER_S: Final = 1.0
KEY: Final = "gl-planted-0123456789-right"
SIBLING: Final = KEY[:20] + "9-wrong"
CHAT: Final = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}'
POWER_CUTS: Final = 150


def calm_traffic(bug: str | None) -> list[str]:
    """Bad clients and bad answers, no fault of ours: then the oracle."""
    return _judge(bug, [Fault(2.0, "reload_good")])


def recorder_killed(bug: str | None) -> list[str]:
    """The recorder dies, once, between what it writes first and what it writes second; each answer has its record."""
    point, rule = ("planted.between", "kill:3") if bug else ("store.before_commit", "kill:12")
    with tempfile.TemporaryDirectory(prefix="glassline-once-") as once:
        env = {"GLASSLINE_FAILPOINTS": f"{point}:{rule}", "GLASSLINE_FAILPOINTS_ONCE": once}
        with _glassline(bug, {}, env) as glassline:
            answered: list[str] = []

            def ask() -> str:
                answered.append(f"answer-{len(answered)}")
                request = post("/v1/chat/completions", CHAT, headers=(f"x-glassline-session: {answered[-1]}",))
                assert exchange(glassline.port, request).status == 200
                return answered[-1]

            wait_until(lambda: ask() and (Path(once) / point).exists(), "the death", timeout_s=30)
            glassline.wait_for_rows(1, f"session = '{ask()}'", timeout_s=30)
            there = {row["session"] for row in glassline.rows("SELECT session FROM requests")}
    return [f"{name} was received and has no record" for name in answered if name not in there]


def power_cut(bug: str | None) -> list[str]:
    """Power is cut behind answers of the ledger."""
    with planted(bug) if bug else contextlib.nullcontext():
        try:
            power_cuts(POWER_CUTS, 1, "strict")
        except AssertionError as error:
            return [str(error)]
    return []


def slow_heads(bug: str | None) -> list[str]:
    """Clients that never finish the head of their request are let go of in time."""
    with _glassline(bug, {"timeouts": {"header": HEADER_S}}) as glassline:
        clients = [RawClient(glassline.port, timeout_s=5 * HEADER_S) for _ in range(5)]
        for client in clients:
            client.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n")
        deadline = time.monotonic() + 5 * HEADER_S
        held = []
        for number, client in enumerate(clients):
            client.socket.settimeout(max(0.1, deadline - time.monotonic()))
            try:
                client.read_all()
            except TimeoutError:
                held.append(f"connection {number} was still held after {5 * HEADER_S:g} s")
            client.socket.close()
        return held


def foreign_keys(bug: str | None) -> list[str]:
    """A key that shares its beginning with a good one is still a wrong one."""
    config = {"auth": "virtual", "keys": [{"name": "right", "key": KEY}]}
    with _glassline(bug, config) as glassline:
        statuses = [
            exchange(glassline.port, post("/v1/chat/completions", CHAT, key=key)).status for key in (KEY, SIBLING)
        ]
    return [] if statuses == [200, 401] else [f"right and wrong key were answered {statuses}"]


CATCHES: Final[Mapping[str, Check]] = {
    "record_in_a_task": calm_traffic,
    "check_then_increment": calm_traffic,
    "normal_ledger": power_cut,
    "position_before_commit": recorder_killed,
    "no_header_deadline": slow_heads,
    "short_cache_key": foreign_keys,
}
"""Which check catches which bug."""


def _judge(bug: str | None, plan: list[Fault]) -> list[str]:
    command = program(bug) if bug else ("proxy",)
    outcome = run_chaos(1, plan, program=command, clients=12, settled_within_s=3 if bug else 60)
    return [str(violation) for violation in outcome.violations]


@contextlib.contextmanager
def _glassline(bug: str | None, config: Mapping[str, Any], env: Mapping[str, str] | None = None) -> Iterator[Glassline]:
    with tempfile.TemporaryDirectory(prefix="glassline-planted-") as directory, ScriptedUpstream() as upstream:
        command = program(bug) if bug else ("proxy",)
        started = Glassline(Path(directory), with_upstream(config, upstream.url), env=env, program=command)
        with closing(started):
            yield started.start()
