"""Feedback on its way from the journal into the store: once and only once, redacted, and gone from the journal."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.journal import JournalWriter
from proxy.records import Feedback
from proxy.store import StoreReader, query
from proxy.store.feedback import feedback_on
from tests.recorder.builders import START_MS, make_begin, write_chat
from tests.recorder.conftest import Make
from tests.recorder.processes import fold_all, start
from tests.recorder.test_failpoints import armed_fold
from tests.recorder.test_kill import KEEP

CANARY = "CANARY-OF-A-COMMENT"
POINTS = ("recorder.after_poll", "store.before_commit", "store.after_commit", "recorder.before_delete")


def said(request: str, value: float | None = 1.0, comment: str | None = None, name: str = "user") -> Feedback:
    return Feedback(request, name, "token:shop", START_MS, value, comment)


def stored(data_dir: Path, request: str) -> list[Feedback]:
    with StoreReader(data_dir / "records.db") as reader:
        return reader.run(feedback_on(request))


@pytest.mark.parametrize("point", POINTS)
def test_a_crash_at_any_point_neither_loses_nor_revives_what_was_said(tmp_path: Path, point: str) -> None:
    writer = JournalWriter(tmp_path / "journal", "admin", segment_bytes=3000)
    for number in range(60):
        writer.feedback(said(f"id-{number}", 0.0))
        writer.feedback(said(f"id-{number}", None if number % 2 else 0.25, comment="Again."))
    writer.close()
    dying = start(armed_fold, tmp_path, f"{point}:kill:1")
    dying.join(60)
    assert dying.exitcode == -9
    last = start(fold_all, tmp_path, KEEP)
    last.join(60)
    assert last.exitcode == 0
    for number in range(60):
        expected = [] if number % 2 else [said(f"id-{number}", 0.25, "Again.")]
        assert stored(tmp_path, f"id-{number}") == expected
    assert list((tmp_path / "journal").glob("*.journal")) == []


def test_a_torn_tail_costs_the_word_that_was_being_written_and_no_other(
    make: Make,
    tmp_path: Path,
) -> None:
    writer = JournalWriter(tmp_path / "journal", "admin")
    writer.feedback(said("a"))
    writer.feedback(said("b"))
    writer.close()
    (segment,) = (tmp_path / "journal").glob("*.journal")
    segment.write_bytes(segment.read_bytes()[:-40])
    recorder = make()
    while recorder.step():
        pass
    assert stored(tmp_path, "a") == [said("a")]
    assert stored(tmp_path, "b") == []


def test_it_may_come_before_its_request_from_another_journal(
    make: Make,
    journal: JournalWriter,
    tmp_path: Path,
) -> None:
    recorder = make()
    admin = JournalWriter(tmp_path / "journal", "admin")
    admin.feedback(said("a", 0.0))
    recorder.step()
    assert stored(tmp_path, "a") == [said("a", 0.0)]
    write_chat(journal, make_begin(id="a"))
    recorder.step()
    with StoreReader(tmp_path / "records.db") as reader:
        assert [row.id for row in reader.run(query.requests())] == ["a"]
    admin.close()


@pytest.mark.parametrize(
    ("config", "kept"),
    [
        ("{}", f"Write to ann@example.com, {CANARY}"),
        ('{"record": {"redact": ["email"]}}', f"Write to [EMAIL], {CANARY}"),
        ('{"record": {"bodies": "none"}}', None),
        ('{"record": {"bodies": "none", "redact": ["email"]}}', None),
        ('{"record": {"bodies": "errors"}}', f"Write to ann@example.com, {CANARY}"),
    ],
)
def test_a_comment_is_a_text_like_any_other(
    make: Make,
    tmp_path: Path,
    config: str,
    kept: str | None,
) -> None:
    recorder = make(config)
    writer = JournalWriter(tmp_path / "journal", "admin")
    writer.feedback(said("a", comment=f"Write to ann@example.com, {CANARY}"))
    recorder.step()
    assert stored(tmp_path, "a") == [said("a", comment=kept)]
    writer.close()


def test_of_a_comment_that_cannot_be_looked_through_nothing_is_kept_and_that_is_counted(
    make: Make,
    tmp_path: Path,
) -> None:
    recorder = make('{"record": {"redact": [{"name": "slow", "pattern": "(a+)+b"}]}}')
    writer = JournalWriter(tmp_path / "journal", "admin")
    writer.feedback(said("a", comment="a" * 1900))
    recorder.step()
    assert stored(tmp_path, "a") == [said("a")]
    with StoreReader(tmp_path / "records.db") as reader:
        counts = {row.name: row.value for row in reader.run(query.counters())}
    assert counts["glassline_redaction_failures_total"] == 1
    writer.close()


def test_no_comment_stays_in_the_journal_once_it_is_stored(
    make: Make,
    journal: JournalWriter,
    tmp_path: Path,
) -> None:
    recorder = make()
    journal.feedback(said("a", comment=CANARY))
    write_chat(journal, make_begin(id="a", no_store="all"))
    recorder.step()
    assert stored(tmp_path, "a") == [said("a")]
    for path in (tmp_path / "journal").glob("*.journal"):
        assert CANARY.encode() not in path.read_bytes()


def test_feedback_that_makes_no_sense_is_counted_as_lost_and_holds_up_nothing(
    make: Make,
    journal: JournalWriter,
    tmp_path: Path,
) -> None:
    from proxy.journal.frames import FrameKind, frame

    journal.append(frame(FrameKind.FEEDBACK, 0, b"\x93\x01\x02\x03"))
    journal.feedback(said("a"))
    make().step()
    assert stored(tmp_path, "a") == [said("a")]
    with StoreReader(tmp_path / "records.db") as reader:
        counts = {row.name: row.value for row in reader.run(query.counters())}
    assert counts["glassline_records_lost_total"] == 1
