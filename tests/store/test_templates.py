from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy import failpoints
from proxy.failpoints import FailpointError
from proxy.store import SqliteStore, StoreReader, query
from proxy.store.deletion import Names, Selection
from proxy.store.templates import MOST, Templates
from tests.recorder.builders import make_begin, make_record

USAGES = (
    '{"prompt_tokens": 19, "completion_tokens": 10, "total_tokens": 29}',
    '{\n  "input_tokens": 4,\n  "cache_creation": {"ephemeral_5m_input_tokens": 0},\n  "service_tier": "standard"\n}',
    '{"cost":0.000123,"rate":1.5e-07,"is_byok":false,"upstream":null}',
    '{"promptTokensDetails":[{"modality":"TEXT","tokenCount":5},{"modality":"IMAGE","tokenCount":258}]}',
    '{"total_tokens":9007199254740993,"least":-1,"zero":00}',
    "{}",
    "17",
)


@pytest.fixture
def connection() -> Iterator[apsw.Connection]:
    with closing(apsw.Connection(":memory:")) as connection:
        connection.execute("CREATE TABLE templates (id INTEGER PRIMARY KEY, parts TEXT NOT NULL)")
        yield connection


@pytest.mark.parametrize("text", USAGES)
def test_what_a_provider_says_of_its_usage_is_packed_and_comes_back(connection: apsw.Connection, text: str) -> None:
    packed = Templates(connection).pack(text)
    assert isinstance(packed, bytes)
    assert Templates(connection).unpack(packed) == text


_NUMBERS = st.one_of(st.integers(), st.floats(allow_nan=False), st.booleans(), st.none())
_NAMES = st.text("abcdefgh_.0159", min_size=1, max_size=8)
_OBJECTS = st.dictionaries(_NAMES, st.one_of(_NUMBERS, st.dictionaries(_NAMES, _NUMBERS, max_size=3)), max_size=5)


@given(value=_OBJECTS, indent=st.sampled_from((None, 1)))
def test_any_numbers_come_back_in_their_own_spelling(value: dict[str, Any], indent: int | None) -> None:
    with closing(apsw.Connection(":memory:")) as connection:
        connection.execute("CREATE TABLE templates (id INTEGER PRIMARY KEY, parts TEXT NOT NULL)")
        text = json.dumps(value, indent=indent)
        assert Templates(connection).unpack(Templates(connection).pack(text)) == text


@given(text=st.text('#[]{}",:0123 ab\\\n'))
def test_any_text_comes_back(text: str) -> None:
    with closing(apsw.Connection(":memory:")) as connection:
        connection.execute("CREATE TABLE templates (id INTEGER PRIMARY KEY, parts TEXT NOT NULL)")
        assert Templates(connection).unpack(Templates(connection).pack(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        '{"note": "call Ada on 5551234"}',
        '{"prompt_tokens": 1, "user": "ada"}',
        '{"a name that is a sentence": 1}',
        '{"#": 1}',
        "not JSON",
        f'{{"a": {"1" * 5000}}}',
    ],
)
def test_a_text_with_words_of_its_own_stays_as_it_is(connection: apsw.Connection, text: str) -> None:
    templates = Templates(connection)
    assert templates.pack(text) == text
    assert connection.execute("SELECT count(*) FROM templates").get == 0


def test_there_are_no_more_templates_than_are_allowed(connection: apsw.Connection) -> None:
    templates = Templates(connection)
    packed = [templates.pack('{"%s":1}' % ("a" * (number % 60) + "b" * (number // 60))) for number in range(MOST + 60)]
    assert sum(isinstance(each, bytes) for each in packed) >= MOST
    assert connection.execute("SELECT count(*) FROM templates").get == MOST
    assert isinstance(packed[-1], str)


def test_the_view_shows_the_text_without_this_program(tmp_path: Path) -> None:
    path = tmp_path / "records.db"
    with closing(SqliteStore(path)) as store:
        record = make_record()
        store.write([record], {})
    with closing(sqlite3.connect(path)) as database:
        raw, kind = database.execute("SELECT usage, typeof(usage) FROM exchanges").fetchone()
        assert kind == "blob"
        shown = database.execute("SELECT usage, usage_buckets, cost_components FROM request_rows").fetchone()
        (usage,) = database.execute("SELECT usage FROM requests").fetchone()
    assert record.reading.usage_raw is not None
    assert usage == shown[0] == record.reading.usage_raw.decode()
    assert len(raw) < len(usage) / 2
    assert json.loads(shown[1])["output_text"] == record.totals.output
    assert json.loads(shown[2])


@pytest.mark.parametrize("text", USAGES)
def test_sql_puts_together_what_python_does(tmp_path: Path, text: str) -> None:
    path = tmp_path / "records.db"
    with closing(SqliteStore(path)) as store:
        store.write([make_record()], {})
        packed = Templates(store._connection).pack(text)
        store._connection.execute("UPDATE exchanges SET usage = ?", (packed,))
    with StoreReader(path) as reader:
        (row,) = reader.run(query.requests())
    assert row.usage == text


def test_a_template_that_was_not_committed_is_learnt_again(tmp_path: Path) -> None:
    path = tmp_path / "records.db"
    with closing(SqliteStore(path)) as store:
        failpoints.arm({failpoints.VARIABLE: "store.before_commit:raise"})
        try:
            with pytest.raises(FailpointError):
                store.write([make_record()], {})
        finally:
            failpoints.arm({})
        store.write([make_record()], {})
        assert store._connection.execute("SELECT count(*) FROM templates").get
    with StoreReader(path) as reader:
        (row,) = reader.run(query.requests())
    assert row.usage is not None
    json.loads(row.usage)


def test_an_erased_request_has_no_usage_left(tmp_path: Path) -> None:
    path = tmp_path / "records.db"
    with closing(SqliteStore(path)) as store:
        store.write([make_record(make_begin(user="ada"))], {})
        store.deletion.erase(Selection(user="ada"), Names(user=("ada",)))
    with StoreReader(path) as reader:
        (row,) = reader.run(query.requests())
    assert row.usage is None
