from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import apsw

from proxy.config import Config
from proxy.recorder.bills import Bills
from proxy.recorder.interpret import Interpreter
from proxy.recorder.jobs import run_slice
from proxy.recorder.revise import Reviser
from proxy.store import SqliteStore
from proxy.store.jobs import Task
from proxy.store.row import EXCHANGE_COLUMNS, exchange_row
from tests.recorder.builders import ANSWER_NANO_USD, interpreter, make_begin, make_record

FIRST = files("proxy.store") / "migrations" / "0001_records.sql"


def test_records_of_the_first_version_can_be_priced_again(tmp_path: Path) -> None:
    path = tmp_path / "records.db"
    old = apsw.Connection(str(path))
    old.execute("CREATE TABLE migrations (number INTEGER PRIMARY KEY, name TEXT, applied_at_ms INTEGER)")
    old.execute(FIRST.read_text(encoding="utf-8"))
    old.execute("INSERT INTO migrations (number, name) VALUES (1, '0001_records.sql')")
    columns = [row[1] for row in old.execute("PRAGMA table_info(exchanges)")]
    for begin in (make_begin(id="priced"), make_begin(id="free", upstream="gone", provider=None, is_free=True)):
        made = zip(EXCHANGE_COLUMNS, exchange_row(make_record(begin)), strict=True)
        row = {name: value for name, value in made if name in columns}
        marks = ", ".join("?" * len(row))
        old.execute(f"INSERT INTO exchanges ({', '.join(row)}) VALUES ({marks})", tuple(row.values()))  # noqa: S608
    old.execute("UPDATE exchanges SET cost_nano_usd = 7")
    old.close()
    store = SqliteStore(path)
    try:
        book = interpreter()._book
        reviser = Reviser(book, Config(), Interpreter(book, Config(), Bills(store.bills)))
        job = store.jobs.start(Task(kind="reprice"), "job")
        store.jobs.add(job, 0)
        job, _ = run_slice(job, store.jobs, reviser, 1)
        assert job.is_over
        costs = dict(store._connection.execute("SELECT id, cost_nano_usd FROM exchanges"))
        assert costs == {"priced": ANSWER_NANO_USD, "free": 0}
    finally:
        store.close()
