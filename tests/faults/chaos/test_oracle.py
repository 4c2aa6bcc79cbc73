"""The oracle against a good run and against every violation, planted one at a time: no rule may be vacuous."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.faults.chaos.oracle import RULES, Account, ClientNote, Evidence, Row, UpstreamNote, violations

CLIENT = ClientNote("a", "team", 200, is_whole=True, body_sha256="11", body_bytes=10)
CUT = ClientNote("b", "team", 200, is_whole=False, body_sha256="22", body_bytes=4)
REFUSED = ClientNote("c", "team", 429, is_whole=True, body_sha256="33", body_bytes=9, error_code="budget_exceeded")
UPSTREAM = UpstreamNote("a", "11", 10, is_whole=True, is_framed=True, billed_nano_usd=500, authorization="Bearer p")
UPSTREAM_CUT = UpstreamNote(
    "b", "44", 7, is_whole=False, is_framed=False, billed_nano_usd=200, authorization="Bearer p"
)
ROW = Row("id-a", "a", "team", 200, "completed", 1, 10, "11", "", 500, 500, is_reserved=True)
ROW_CUT = Row("id-b", "b", "team", 200, "client_closed", 1, 4, "22", "", 200, 200, is_reserved=True)
ROW_REFUSED = Row("id-c", "c", "team", 429, "refused", 1, 9, "33", "budget_exceeded", None, 0, is_reserved=False)
ACCOUNT = Account("team", 1000, 700, 0, 0)
GOOD = Evidence(
    clients=[CLIENT, CUT, REFUSED],
    upstream=[UPSTREAM, UPSTREAM_CUT],
    rows=[ROW, ROW_CUT, ROW_REFUSED],
    accounts=[ACCOUNT],
    samples=[replace(ACCOUNT, spent=0, reserved=1000)],
    integrity={"records.db": ["ok"], "ledger.db": ["ok"]},
    canaries={"provider key": []},
)

PLANTED = {
    "a damaged database": ("sound", replace(GOOD, integrity={"ledger.db": ["row 7 missing from index"]})),
    "a database that does not answer": ("sound", replace(GOOD, integrity={"ledger.db": []})),
    "a lost row": ("acknowledged", replace(GOOD, rows=[ROW_CUT, ROW_REFUSED])),
    "a lost refusal": ("acknowledged", replace(GOOD, rows=[ROW, ROW_CUT])),
    "an answer received in full, recorded as cut": (
        "acknowledged",
        replace(GOOD, rows=[replace(ROW, outcome="truncated"), ROW_CUT, ROW_REFUSED]),
    ),
    "a row twice": ("once", replace(GOOD, rows=[ROW, ROW, ROW_CUT, ROW_REFUSED])),
    "an attempt twice": ("once", replace(GOOD, rows=[*GOOD.rows, replace(ROW, id="id-z", settled_nano_usd=0)])),
    "one nano-dollar too many at the end": (
        "cap",
        replace(GOOD, accounts=[replace(ACCOUNT, limit=699)]),
    ),
    "one nano-dollar too many for a moment": (
        "cap",
        replace(GOOD, samples=[replace(ACCOUNT, spent=1, reserved=1000)]),
    ),
    "an overrun that explains itself": ("cap", replace(GOOD, accounts=[replace(ACCOUNT, overrun=1)])),
    "a phantom reservation": ("money", replace(GOOD, accounts=[replace(ACCOUNT, reserved=1)])),
    "a settlement that was counted twice": ("money", replace(GOOD, accounts=[replace(ACCOUNT, spent=900)])),
    "a settlement that was forgotten": ("money", replace(GOOD, accounts=[replace(ACCOUNT, spent=500)])),
    "a bill that nobody paid": (
        "billed",
        replace(GOOD, upstream=[replace(UPSTREAM, billed_nano_usd=501), UPSTREAM_CUT]),
    ),
    "a request that left no trace": (
        "forwarded",
        replace(GOOD, upstream=[*GOOD.upstream, replace(UPSTREAM_CUT, name="z", billed_nano_usd=0)]),
    ),
    "a refused request that was forwarded": (
        "forwarded",
        replace(GOOD, upstream=[*GOOD.upstream, replace(UPSTREAM_CUT, name="c", billed_nano_usd=0)]),
    ),
    "a request that was never sent": ("forwarded", replace(GOOD, upstream=[replace(UPSTREAM_CUT, billed_nano_usd=0)])),
    "a changed byte at the client": ("bytes", replace(GOOD, clients=[replace(CLIENT, body_sha256="12")])),
    "a truncated answer shown as whole": ("bytes", replace(GOOD, clients=[replace(CUT, is_whole=True)])),
    "a changed byte in the record": (
        "bytes",
        replace(GOOD, rows=[replace(ROW, response_sha256="12"), ROW_CUT, ROW_REFUSED]),
    ),
    "a secret in a log": ("secret", replace(GOOD, canaries={"provider key": ["stderr"]})),
    "a record that was counted as lost": ("lost", replace(GOOD, lost={"store": 1})),
}


def test_a_good_run_has_no_violation() -> None:
    assert violations(GOOD) == []


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_violation_is_found(name: str) -> None:
    rule, seen = PLANTED[name]
    assert rule in {violation.rule for violation in violations(seen)}


def test_every_rule_has_a_planted_violation() -> None:
    found = {rule.__name__ for rule in RULES for _, seen in PLANTED.values() if list(rule(seen))}
    assert found == {rule.__name__ for rule in RULES}
    assert all(
        str(violation).startswith(violation.rule) for _, seen in PLANTED.values() for violation in violations(seen)
    )


def test_what_a_crash_settled_at_its_reservation_may_cost_more_but_never_less() -> None:
    interrupted = replace(ROW_CUT, outcome="interrupted", settled_nano_usd=None)
    seen = replace(GOOD, rows=[ROW, interrupted, ROW_REFUSED], accounts=[replace(ACCOUNT, spent=950)])
    assert violations(seen) == []
    assert violations(replace(seen, accounts=[replace(ACCOUNT, spent=499)])) != []


def test_an_error_of_the_provider_that_was_passed_on_is_no_violation() -> None:
    note = ClientNote("e", "team", 503, is_whole=True, body_sha256="55", body_bytes=3)
    sent = UpstreamNote("e", "55", 3, is_whole=True, is_framed=True, billed_nano_usd=0, authorization="Bearer p")
    row = Row("id-e", "e", "team", 503, "completed", 1, 3, "55", "", None, 0, is_reserved=True)
    seen = replace(GOOD, clients=[note], upstream=[sent], rows=[row], accounts=[replace(ACCOUNT, spent=0)])
    assert violations(seen) == []
