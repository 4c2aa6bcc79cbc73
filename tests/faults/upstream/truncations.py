"""A measure: answers that break off at random places, and how many of them anybody could take for whole."""

from __future__ import annotations

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from tests.faults.upstream.stage import account, ending, request, unframed
from tests.harness import Glassline
from tests.harness.client import Answer, exchange
from tests.harness.faultprogram import body_of, event_of, usage_of
from tests.harness.faultupstream import FaultUpstream
from tests.harness.process import wait_until

DONE: Final = b"data: [DONE]\n\n"
SHAPES: Final = {
    "stream in chunks": "sse | chunked | event 5 | usage | done | end",
    "answer with a length": "json | length | answer",
    "answer in chunks": "json | chunked | answer | end",
    "stream ended by close": "sse | event 5 | usage | done",
    "answer ended by close": "json | answer",
}
"""Each is one whole answer; a cut is put in front of it."""
_THREADS: Final = 16


@dataclass(frozen=True, slots=True)
class _Plan:
    """One answer that breaks off."""

    name: str
    shape: str
    at: int
    """Byte on the wire behind which nothing comes."""
    how: str


def truncations(glassline: Glassline, upstream: FaultUpstream, count: int, seed: int) -> dict[str, int]:
    """Cut `count` answers at random bytes, by reset and by close; return how many passed for whole, and where.

    Where only the close tells the end, a close in the middle looks like one: there an answer counts as shown as a
    success when its content is whole too, to its `[DONE]` or its last brace.
    """
    rng = random.Random(seed)
    sizes = {shape: _whole_size(glassline, upstream, f"t{seed:04}-{n:05}", shape) for n, shape in enumerate(SHAPES)}
    plans = [_draw(rng, f"t{seed:04}-{number + 100:05}", sizes) for number in range(count)]

    def ask(plan: _Plan) -> Answer:
        fault = f"run;cut {plan.at} {plan.how} | {SHAPES[plan.shape]}"
        is_stream = plan.shape.startswith("stream")
        return exchange(glassline.port, request(fault, plan.name, is_stream=is_stream), timeout_s=30)

    with ThreadPoolExecutor(_THREADS) as pool:
        answers = list(pool.map(ask, plans))
    names = {plan.name for plan in plans}
    found = glassline.wait_for_rows(count + len(SHAPES), f"session LIKE 't{seed:04}-%'", timeout_s=60)
    rows = {row["session"]: row for row in found if row["session"] in names}
    wait_until(lambda: account(glassline).reserved == 0, "settlement", timeout_s=30)
    came = Counter[str]()
    for plan, answer in zip(plans, answers, strict=True):
        came["shown as success"] += _looks_like_success(plan, answer)
        came["recorded as completed"] += rows[plan.name]["outcome"] == "completed"
        came["wrong bytes"] += not _is_beginning(plan, answer)
        came["errors of ours"] += answer.status == 502
        came["visible by content alone"] += answer.status == 200 and ending(answer) == "whole"
    keys = ("shown as success", "recorded as completed", "wrong bytes", "errors of ours", "visible by content alone")
    return {"count": count, "rows": len(rows)} | {key: came[key] for key in keys}


def _whole_size(glassline: Glassline, upstream: FaultUpstream, name: str, shape: str) -> int:
    answer = exchange(glassline.port, request(f"run;{SHAPES[shape]}", name, is_stream=shape.startswith("stream")))
    assert ending(answer) == "whole"
    assert unframed(answer)[0] == _expected(name, shape)

    def size() -> int | None:
        return next((served.wire_bytes for served in upstream.truth() if served.name == name), None)

    return wait_until(size, "the size of a whole answer")


def _draw(rng: random.Random, name: str, sizes: dict[str, int]) -> _Plan:
    shape = rng.choice(list(SHAPES))
    how = rng.choice(("rst", "fin"))
    most = sizes[shape] - 1
    if shape.endswith("by close"):
        # A reset tells even behind the last byte that there is more; a close only where something is missing.
        most = sizes[shape] if how == "rst" else sizes[shape] - len(b"\n\n") - 1
    return _Plan(name, shape, rng.randint(1, most), how)


def _expected(name: str, shape: str) -> bytes:
    return event_of(name) * 5 + usage_of(5) + DONE if shape.startswith("stream") else body_of(name)


def _looks_like_success(plan: _Plan, answer: Answer) -> bool:
    if answer.status != 200 or ending(answer) != "whole":
        return False
    return (
        not plan.shape.endswith("by close") or unframed(answer)[0].strip() == _expected(plan.name, plan.shape).strip()
    )


def _is_beginning(plan: _Plan, answer: Answer) -> bool:
    return answer.status == 502 or _expected(plan.name, plan.shape).startswith(unframed(answer)[0])
