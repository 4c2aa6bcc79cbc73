"""Whatever stands in a question to the store is a value: it finds what it literally is, and runs nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import apsw
import httpx
import pytest

from proxy.errors import StoreError
from proxy.store import StoreReader
from proxy.store.query import Query
from tests.admin.conftest import Admin
from tests.faults.auth.payloads import SQL
from tests.faults.auth.recorded import record_texts

TEXT_FIELDS = ("id", "key", "user", "session", "environment", "model", "path", "error", "trace")


@pytest.fixture(scope="module")
def admin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Admin]:
    data_dir = tmp_path_factory.mktemp("injection") / "data"
    record_texts(data_dir, SQL)
    with closing(Admin(data_dir)) as started:
        yield started


def tables(data_dir: Path) -> list[tuple[str, int]]:
    database = apsw.Connection(str(data_dir / "records.db"), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        names = [
            str(name) for (name,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY 1")
        ]
        counts = ((name, database.execute(f'SELECT count(*) FROM "{name}"').fetchall()[0][0]) for name in names)  # noqa: S608
        return [(name, int(str(count))) for name, count in counts]
    finally:
        database.close()


def find(admin: Admin, question: str) -> httpx.Response:
    return admin.get("/api/requests", q=question, limit="1000")


def test_a_search_finds_what_is_literally_there(admin: Admin) -> None:
    for text in SQL:
        if any(mark in text for mark in '"*\0'):
            continue  # they end a quoted value, are a wildcard, and are not kept: told below
        answer = find(admin, f'user:"{text}"')
        assert answer.status_code == 200, text
        assert [row["user"] for row in answer.json()["requests"]] == [text], text


def test_only_a_star_is_a_wildcard(admin: Admin) -> None:
    users = set(SQL)
    for pattern, begin in (("[a-z]*", "[a-z]"), ("%*", "%"), ("_*", "_"), ("?1*", "?1"), ("' OR*", "' OR")):
        answer = find(admin, f'user:"{pattern}"')
        assert {row["user"] for row in answer.json()["requests"]} == {text for text in users if text.startswith(begin)}


def test_no_parameter_of_any_list_makes_the_server_fail_or_tell_more(admin: Admin) -> None:
    before = tables(admin.data_dir)
    assert len(find(admin, "").json()["requests"]) == len(SQL)
    for text in SQL:
        questions = [
            *(("/api/requests", {"q": f"{field}:{text}", "limit": "1"}) for field in TEXT_FIELDS),
            ("/api/requests", {"q": text, "limit": "1"}),
            ("/api/requests", {"q": f"status:{text}", "limit": "1"}),
            ("/api/requests", {"q": f"latency:>{text}", "limit": "1"}),
            ("/api/requests", {"q": f"{text}:x", "limit": "1"}),
            ("/api/requests", {"limit": text}),
            ("/api/requests", {"before": text, "limit": "1"}),
            ("/api/requests", {"sort": text, "order": text, "limit": "1"}),
            ("/api/cost", {"by": text}),
            ("/api/cost", {"from": text}),
            ("/api/cost", {"to": text}),
            ("/api/cost", {"q": f'user:"{text}"'}),
            ("/api/audit", {"limit": text}),
            ("/api/audit", {"before": text}),
        ]
        for path, parameters in questions:
            answer = admin.get(path, **parameters)
            assert answer.status_code in (200, 400), (path, parameters, answer.status_code)
            assert "CREATE TABLE" not in answer.text
            if answer.status_code == 400:
                assert set(answer.json()["error"]) <= {"code", "message", "position"}
                assert "near" not in answer.json()["error"]["message"], "no word of the database's own"
    assert tables(admin.data_dir) == before


def test_the_reader_cannot_write(admin: Admin) -> None:
    with StoreReader(admin.data_dir / "records.db") as store, pytest.raises(StoreError):
        store.run(Query("DELETE FROM exchanges", (), lambda rows: rows))


def test_a_question_that_never_ends_is_ended(admin: Admin) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    start = time.monotonic()
    with StoreReader(admin.data_dir / "records.db", time_limit_s=0.2) as store, pytest.raises(StoreError):
        store.run(Query(endless, (), lambda rows: rows))
    assert time.monotonic() - start < 10
