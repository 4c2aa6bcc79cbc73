"""Chaos in small: every kind of fault once, under traffic, then the oracle. The long form is `make chaos`."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.faults.chaos.plan import KINDS, ROLES, draw_each, draw_plan, without
from tests.faults.chaos.runner import run_chaos


def test_a_plan_comes_from_its_seed_alone() -> None:
    assert draw_plan(7, 50) == draw_plan(7, 50) != draw_plan(8, 50)
    assert {fault.kind for fault in draw_plan(1, 400)} == set(KINDS) == {fault.kind for fault in draw_each(1)}
    assert {fault.role for fault in draw_plan(1, 400) if fault.kind == "kill_one"} == set(ROLES)
    assert {fault.kind for fault in without(draw_plan(1, 400), ["roll"])} == set(KINDS) - {"roll"}


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_no_invariant_breaks_under_every_kind_of_fault(record_property: Callable[[str, object], None]) -> None:
    outcome = run_chaos(1, draw_each(1), clients=8)
    record_property("chaos", outcome.line())
    assert outcome.violations == [], outcome.line()
    assert set(outcome.done) >= set(KINDS) - {"lock_ledger", "lock_records"}, "a lock may find its database busy"
    assert len(outcome.evidence.upstream) > 100
    assert any(note.is_acknowledged and note.status == 200 for note in outcome.evidence.clients)
    assert len(outcome.evidence.samples) > 100
