"""Deletions beside the traffic: whom is waited for, under which names is looked, and what the report admits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from proxy.config import Pattern
from proxy.config import Record as RecordPolicy
from proxy.policy.redaction import Redactor
from proxy.recorder.deletions import PATIENCE_S, Deletions, Forgetter
from proxy.records import Begin
from proxy.store import SqliteStore
from proxy.store.deletion import Selection
from proxy.store.orders import Orders, Report
from proxy.store.retention import Purged
from tests.recorder.builders import START_MS, make_begin
from tests.store.test_lineage import assistant, make_chat, user

ID = "00000000-0000-4000-8000-000000000000"
ALICE = Selection(user="alice@example.com", before_ms=START_MS + 1)


class Journal:
    """What a recorder does for a deletion, without one."""

    def __init__(self) -> None:
        self.running: list[Begin] = []

    def open_begins(self) -> Sequence[Begin]:
        return self.running

    def erase_journal(self) -> tuple[int, list[str]]:
        return 0, []

    def purge(self) -> Purged:
        return Purged()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    made = SqliteStore(tmp_path / "records.db")
    yield made
    made.close()


def carried_out(
    store: SqliteStore, journal: Journal, *, at_s: float, is_idle: bool = True, selection: Selection = ALICE
) -> Report | None:
    """Ask for a deletion, and return what became of it after `at_s` seconds."""
    now = [0.0]
    orders = Orders(store.path.parent)
    (store.path.parent / "jobs").mkdir(exist_ok=True)
    orders.ask(ID, selection)
    forgetter = Forgetter(store.path.parent, store.deletion, RecordPolicy(), b"secret")
    deletions = Deletions(orders, forgetter, monotonic=lambda: now[0])
    for each in (0.0, *[at_s] * 4):
        now[0] = each
        deletions.step(journal, is_idle=is_idle)
    return orders.report(ID)


@pytest.mark.parametrize(
    ("begin", "is_waited_for"),
    [
        ({"user": "alice@example.com"}, True),
        ({"user": None}, True),
        ({"user": "bob"}, False),
        ({"user": None, "started_at_ms": START_MS + 1}, False),
    ],
)
def test_a_running_request_whose_user_only_its_body_may_name_is_waited_for(
    store: SqliteStore, begin: dict[str, object], is_waited_for: bool
) -> None:
    journal = Journal()
    journal.running.append(make_begin(**begin))
    assert (carried_out(store, journal, at_s=1.0) is None) is is_waited_for
    report = carried_out(store, journal, at_s=PATIENCE_S + 1)
    assert report is not None
    assert any("running" in line for line in report.not_reached) is is_waited_for


def test_a_running_turn_of_an_inferred_session_is_stored_before_it_is_deleted(store: SqliteStore) -> None:
    journal, selection = Journal(), Selection(session="auto:a", before_ms=START_MS + 1)
    store.write([make_chat("a", [user("1")], "one")], {})
    store.write([make_chat("b", [user("1"), assistant("one"), user("2")], "two")], {})
    journal.running.append(make_begin(id="c", session="other"))
    journal.running.append(make_begin(id="c"))
    assert carried_out(store, journal, at_s=1.0, selection=selection) is None
    journal.running.pop()
    said = [user("1"), assistant("one"), user("2"), assistant("two"), user("3")]
    store.write([make_chat("c", said, "three")], {})
    report = carried_out(store, journal, at_s=1.0, selection=selection)
    assert report is not None
    assert (report.emptied, report.not_reached) == (3, [])


def test_a_turn_that_outlasts_the_patience_is_admitted_and_said_to_be_in_no_session(store: SqliteStore) -> None:
    journal = Journal()
    journal.running.append(make_begin(id="c"))
    selection = Selection(session="auto:a", before_ms=START_MS + 1)
    report = carried_out(store, journal, at_s=PATIENCE_S + 1, selection=selection)
    assert report is not None
    assert "prune by key or user" in report.not_reached[0]


def test_a_report_admits_that_not_all_was_stored(store: SqliteStore) -> None:
    assert carried_out(store, Journal(), at_s=1.0, is_idle=False) is None
    report = carried_out(store, Journal(), at_s=PATIENCE_S + 1, is_idle=False)
    assert report is not None
    assert any("not stored yet" in line for line in report.not_reached)


def test_a_damaged_piece_that_cannot_be_deleted_is_named(store: SqliteStore) -> None:
    (store.path.parent / "journal" / "bad" / "folder").mkdir(parents=True)
    report = carried_out(store, Journal(), at_s=1.0)
    assert report is not None
    assert (report.quarantined_files, len(report.not_reached)) == (0, 1)


def test_a_user_is_found_under_the_names_of_rules_that_hold_no_more(store: SqliteStore) -> None:
    earlier = RecordPolicy(redact=("email", "ip"))
    stored = Redactor(earlier, b"secret").redact_identity("alice@example.com").text
    for policy in (RecordPolicy(), RecordPolicy(redact=(Pattern(name="staff", pattern="E1"),))):
        names = Forgetter(store.path.parent, store.deletion, policy, b"secret").names(ALICE)
        assert {"alice@example.com", stored} <= set(names.user)
