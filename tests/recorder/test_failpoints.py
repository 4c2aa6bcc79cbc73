"""The recorder, or a writer, dies at each named point: nothing is lost, nothing is there twice."""

from __future__ import annotations

from multiprocessing.synchronize import Event
from pathlib import Path

import apsw
import pytest

from proxy import failpoints
from proxy.journal import JournalWriter
from proxy.store import StoreReader, query
from tests.recorder.builders import ANSWER, PROMPT, make_begin, make_end
from tests.recorder.processes import end, fold_all, recorder, start, start_ready, writer
from tests.recorder.test_kill import KEEP

EXCHANGES = 60
RECORDER = (
    "recorder.sync",
    "recorder.after_poll",
    "recorder.after_settle",
    "recorder.before_delete",
    "recorder.after_delete",
    "store.before_commit",
    "store.after_commit",
    "store.sync",
    "store.checkpoint",
)
JOURNAL = ("journal.write", "journal.open")


def armed_fold(data_dir: Path, rules: str) -> None:
    """Fold the journal until a failpoint ends it."""
    failpoints.arm({failpoints.VARIABLE: rules})
    fold_all(data_dir, KEEP)


def armed_writer(data_dir: Path, log: Path, rules: str, ready: Event) -> None:
    failpoints.arm({failpoints.VARIABLE: rules})
    writer(data_dir, log, "w", ready)


def write(data_dir: Path) -> set[str]:
    """Leave the journal of a writer that ended, in several segments."""
    journal = JournalWriter(data_dir / "journal", "gateway-0", segment_bytes=20_000)
    for index in range(EXCHANGES):
        journal.end(journal.begin(make_begin(id=f"id-{index}"), PROMPT), make_end(), ANSWER)
    journal.close()
    return {f"id-{index}" for index in range(EXCHANGES)}


def outcomes(data_dir: Path) -> list[tuple[str, str]]:
    connection = apsw.Connection(str(data_dir / "records.db"), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        assert connection.pragma("integrity_check") == "ok"
        return [(str(id_), str(outcome)) for id_, outcome in connection.execute("SELECT id, outcome FROM exchanges")]
    finally:
        connection.close()


def counted(data_dir: Path) -> int:
    with StoreReader(data_dir / "records.db") as reader:
        rows = reader.run(query.counters())
    return sum(row.value for row in rows if row.name == "glassline_records_written_total")


@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("point", RECORDER)
def test_a_recorder_that_dies_at_any_point_loses_and_doubles_nothing(tmp_path: Path, point: str, nth: int) -> None:
    expected = write(tmp_path)
    dying = start(armed_fold, tmp_path, f"{point}:kill:{nth}")
    dying.join(60)
    # Not every point is passed twice by so little work; all are passed once.
    assert dying.exitcode == -9 or (dying.exitcode == 0 and nth == 2)
    last = start(fold_all, tmp_path, KEEP)
    last.join(60)
    assert last.exitcode == 0
    found = outcomes(tmp_path)
    assert sorted(found) == sorted((id_, "completed") for id_ in expected)
    assert counted(tmp_path) == len(expected)


@pytest.mark.parametrize("nth", [1, 2, 30, 31])
@pytest.mark.parametrize("point", JOURNAL)
def test_a_writer_that_dies_at_any_point_leaves_what_it_had_said(tmp_path: Path, point: str, nth: int) -> None:
    log = tmp_path / "said.txt"
    ready = _no_event()
    dying = start(armed_writer, tmp_path, log, f"{point}:kill:{min(nth, 3) if point == 'journal.open' else nth}", ready)
    dying.join(60)
    assert dying.exitcode == -9
    last = start(fold_all, tmp_path, KEEP)
    last.join(60)
    assert last.exitcode == 0
    said = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
    found = dict(outcomes(tmp_path))
    assert {id_ for word, id_ in said if word == "begun"} <= found.keys()
    assert {found[id_] for word, id_ in said if word == "ended"} <= {"completed"}


@pytest.mark.parametrize("action", ["raise", "eio", "enospc"])
@pytest.mark.parametrize("point", ["recorder.after_poll", "store.before_commit", "recorder.before_delete"])
def test_an_error_at_any_point_costs_at_most_the_process(tmp_path: Path, point: str, action: str) -> None:
    expected = write(tmp_path)
    process = start(armed_fold, tmp_path, f"{point}:{action}:1")
    process.join(60)
    again = start_ready(recorder, tmp_path, KEEP)
    end(again)
    assert sorted(outcomes(tmp_path)) == sorted((id_, "completed") for id_ in expected)
    assert counted(tmp_path) == len(expected)


def _no_event() -> Event:
    from tests.recorder.processes import CONTEXT

    return CONTEXT.Event()
