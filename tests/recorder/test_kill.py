from __future__ import annotations

import random
import time
from pathlib import Path

import apsw
import pytest

from proxy.config import Config
from proxy.store import SqliteStore, StoreReader, query
from tests.harness.process import wait_until
from tests.recorder.builders import ANSWER, ANSWER_NANO_USD
from tests.recorder.processes import end, fold_all, kill, recorder, start, start_ready, writer

KILLS = 20
KEEP = Config.model_validate({"retention": {"bodies": "36500d", "records": "36500d"}})
"""The exchanges written here are of a fixed day."""


@pytest.mark.slow
def test_killing_recorder_and_writer_at_random_loses_and_doubles_nothing(tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    print("seed", seed)  # shown when the test fails
    chance = random.Random(seed)
    log, config = tmp_path / "said.txt", KEEP
    written = start_ready(writer, tmp_path, log, "w0")
    progress: set[int] = set()
    for round_ in range(KILLS):
        process = start_ready(recorder, tmp_path, config)
        if round_ % 2:
            had = stored_rows(tmp_path / "records.db")
            wait_until(lambda had=had: stored_rows(tmp_path / "records.db") > had, "progress", timeout_s=60)  # type: ignore[misc]
        time.sleep(chance.uniform(0, 0.6))  # the instant of death is what is random here
        if round_ % 4 == 3:
            kill(written)
            written = start_ready(writer, tmp_path, log, f"w{round_}")
        kill(process)
        progress.add(stored_rows(tmp_path / "records.db"))
    kill(written)
    last = start(fold_all, tmp_path, config)
    last.join(60)
    assert last.exitcode == 0

    said = [line.split() for line in log.read_text().splitlines()]
    begun = {id_ for word, id_ in said if word == "begun"}
    ended = {id_ for word, id_ in said if word == "ended"}
    connection = apsw.Connection(str(tmp_path / "records.db"), flags=apsw.SQLITE_OPEN_READONLY)
    rows = connection.execute("SELECT id, outcome, cost_nano_usd, input_tokens FROM exchanges").fetchall()
    assert connection.pragma("integrity_check") == "ok"
    connection.close()
    outcomes = {str(row[0]): row[1] for row in rows}
    assert len(outcomes) == len(rows)
    assert begun <= outcomes.keys()
    assert len(ended) > 200
    # A recorder that always dies before its first commit would prove nothing.
    assert len(progress) > KILLS / 4
    assert {outcomes[id_] for id_ in ended} == {"completed"}
    # Each life of a writer leaves its long exchange open, and perhaps one between an append and the word of it.
    assert len(outcomes.keys() - ended) <= 2 * (KILLS // 4 + 1)

    with StoreReader(tmp_path / "records.db") as reader:
        counters = reader.run(query.counters())
        status = reader.run(query.status())
        histograms = reader.run(query.histograms())
        body = reader.run(query.body(sorted(ended)[-1], "response"))
        assert body is not None
        assert body.head == ANSWER
    total = {name: sum(row.value for row in counters if row.name == name) for name in {row.name for row in counters}}
    completed = sum(outcome == "completed" for outcome in outcomes.values())
    assert total["glassline_requests_total"] == total["glassline_records_written_total"] == len(rows)
    assert total["glassline_cost_usd_total"] == sum(int(str(row[2])) for row in rows if row[2] is not None)
    assert total["glassline_cost_usd_total"] >= completed * ANSWER_NANO_USD
    assert sum(
        row.value for row in counters if row.name == "glassline_tokens_total" and row.labels["type"] == "input"
    ) == sum(int(str(row[3])) for row in rows if row[3] is not None)
    durations = [row for row in histograms if row.name == "gen_ai_client_operation_duration_seconds"]
    assert sum(row.count for row in durations) == completed
    assert "glassline_records_lost_total" not in total
    # What a torn tail tells about its writer's reservations is kept until the ledger was asked; there is none here.
    assert status["torn_tails"] or not list((tmp_path / "journal").iterdir())


def stored_rows(path: Path) -> int:
    with StoreReader(path) as reader:
        return reader.run(query.newest_seq())


def test_a_second_recorder_in_the_same_directory_is_refused(tmp_path: Path) -> None:
    process = start_ready(recorder, tmp_path, KEEP)
    second = start(fold_all, tmp_path, KEEP)
    second.join(60)
    assert second.exitcode == 1
    end(process)


@pytest.mark.slow
def test_a_locked_database_only_delays_records(tmp_path: Path) -> None:
    SqliteStore(tmp_path / "records.db").close()
    log = tmp_path / "said.txt"
    written = start_ready(writer, tmp_path, log, "w")
    process = start_ready(recorder, tmp_path, KEEP)
    connection = apsw.Connection(str(tmp_path / "records.db"))
    connection.set_busy_timeout(30_000)
    connection.execute("BEGIN IMMEDIATE")
    (before,) = connection.execute("SELECT count(*) FROM exchanges").fetchall()
    kill(written)
    (during,) = connection.execute("SELECT count(*) FROM exchanges").fetchall()
    assert before == during
    connection.execute("ROLLBACK")
    end(process)
    ended = {line.split()[1] for line in log.read_text().splitlines() if line.startswith("ended")}
    stored = {str(row[0]) for row in connection.execute("SELECT id FROM exchanges")}
    connection.close()
    assert ended <= stored
