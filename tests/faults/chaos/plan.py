"""What goes wrong, and when: drawn from a seed, so that a run can be repeated, and thinned out to find the culprit."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from tests.harness.tcpfault import Line

ROLES: Final = ("gateway", "ledger", "recorder", "admin")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong."""

    after_s: float
    """Pause since the end of the fault before."""
    kind: str
    role: str = ""
    seconds: float = 0.0
    """How long it lasts."""
    line: str = ""
    """What happens to the connection between Glassline and the provider, see `LINES`."""
    failpoints: str = ""
    """What is armed while it lasts, see `proxy.failpoints`."""

    def __str__(self) -> str:
        return " ".join(
            filter(
                None,
                (self.kind, self.role, self.line, self.failpoints, f"{self.seconds:.1f} s" if self.seconds else ""),
            )
        )


KINDS: Final = {
    "kill_all": 6,
    "kill_one": 6,
    "restart": 2,
    "roll": 2,
    "freeze": 3,
    "full_disk": 2,
    "lock_records": 2,
    "lock_ledger": 1,
    "failpoints": 4,
    "bad_line": 4,
    "reload_good": 2,
    "reload_bad": 2,
}
"""Every kind with its weight."""
FAILPOINTS: Final = (
    "journal.sync:sleep=0.1,recorder.sync:sleep=0.1,ledger.before_commit:sleep=0.05",
    "recorder.sync:eio:3",
    "journal.write:eio:40",
    "store.before_commit:kill:5",
    "store.after_commit:kill:5",
    "ledger.before_commit:kill:40",
    "ledger.after_commit:kill:40",
)
"""A slow disk, a failing one, and processes that die between two steps; each process counts its own passes."""

LINES: Final = {
    "slow": Line(latency_s=0.1, jitter_s=0.1),
    "narrow": Line(bytes_per_s=4000),
    "stalls": Line(stall_after=600),
    "resets": Line(reset_after=600),
    "dead": Line(is_blackhole=True),
    "refuses": Line(refuses=True),
}
"""Bad lines to the provider."""


def draw_plan(seed: int, count: int) -> list[Fault]:
    """Return `count` faults."""
    rng = random.Random(seed)
    kinds = rng.choices(list(KINDS), weights=list(KINDS.values()), k=count)
    return [_draw(rng, kind) for kind in kinds]


def draw_each(seed: int) -> list[Fault]:
    """Return one fault of each kind, in random order."""
    rng = random.Random(seed)
    return [_draw(rng, kind) for kind in rng.sample(list(KINDS), k=len(KINDS))]


def without(plan: Iterable[Fault], kinds: Iterable[str]) -> list[Fault]:
    """Return a plan without some kinds: what still fails then has another cause."""
    unwanted = set(kinds)
    return [fault for fault in plan if fault.kind not in unwanted]


def _draw(rng: random.Random, kind: str) -> Fault:
    after_s = rng.uniform(0.2, 1.5)
    role = rng.choice(ROLES) if kind in ("kill_one", "freeze") else ""
    lasting = kind in ("freeze", "full_disk", "lock_records", "lock_ledger", "failpoints", "bad_line")
    line = rng.choice(list(LINES)) if kind == "bad_line" else ""
    failpoints = rng.choice(FAILPOINTS) if kind == "failpoints" else ""
    return Fault(after_s, kind, role, rng.uniform(0.5, 2.0) if lasting else 0.0, line, failpoints)
