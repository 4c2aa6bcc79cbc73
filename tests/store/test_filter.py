from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.store import SqliteStore, StoreReader, query
from proxy.store.filter import Filter, FilterError, parse_filter
from tests.recorder.builders import make_begin, make_end, make_record


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreReader]:
    path = tmp_path_factory.mktemp("store") / "records.db"
    rows = [
        make_record(make_begin(id="slow", key="search", user="ann lee"), make_end(ended_us=3_000_000)),
        make_record(make_begin(id="failed", key="search"), make_end(status=500, response=b"{}"), response=b"{}"),
        make_record(make_begin(id="busy", key="chat"), make_end(status=429, response=b"{}"), response=b"{}"),
        make_record(make_begin(id="refused", key=None), make_end(outcome="refused", status=401, dispatched_us=None)),
        make_record(make_begin(id="odd", key="a[b]*?c", session="s'1"), make_end(ended_us=100_000)),
    ]
    with closing(SqliteStore(path)) as store:
        store.write(rows, {})
    with StoreReader(path) as opened:
        yield opened


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "slow failed busy refused odd"),
        ("  ", "slow failed busy refused odd"),
        ("key:search", "slow failed"),
        ("key:search status:>=400", "failed"),
        ("key:search status:>=400 latency:>2s", ""),
        ("latency:>2s", "slow"),
        ("latency:>2500ms", "slow"),
        ("latency:<=0.1", "odd"),
        ("latency:>1m", ""),
        ("status:4xx", "busy refused"),
        ("status:429", "busy"),
        ("-status:4xx", "slow failed odd"),
        ("key:s*", "slow failed"),
        ("-key:s*", "busy refused odd"),
        ("key:", "refused"),
        ("-key:", "slow failed busy odd"),
        ('user:"ann lee"', "slow"),
        ("key:a[b]*?c", "odd"),
        ("key:a[b]\\*", ""),
        ("session:s'1", "odd"),
        ("outcome:refused", "refused"),
        ("MODEL:gpt-4o-mini*", "slow failed busy refused odd"),
        ("streaming:false cost:>0", "slow odd"),
        ("cost:0", "failed busy refused"),
        ("input:>=1000 output:100", "slow odd"),
        ("id:slow", "slow"),
        ("key:search' OR 1=1", None),
    ],
)
def test_a_filter_finds_what_it_says(reader: StoreReader, text: str, expected: str | None) -> None:
    if expected is None:
        with pytest.raises(FilterError):
            parse_filter(text)
        return
    found = {row.id for row in reader.run(query.requests(parse_filter(text)))}
    assert found == set(expected.split())


def test_an_unknown_field_is_named_with_the_ones_that_exist() -> None:
    with pytest.raises(FilterError, match=r"no field `modl`, perhaps `model`; fields: .*latency, .*status"):
        parse_filter("modl:x")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hello", "`hello` is not a filter"),
        ("status:abc", "status:abc: not a number"),
        ("cost:nan", "not a number"),
        ("latency:>2y", "not a duration"),
        ("latency:", "not a duration"),
        ("streaming:maybe", "true or streaming:false"),
        ('key:"open', "is not a filter"),
        ("key:a " * 33, "at most 32"),
    ],
)
def test_a_mistake_is_explained(text: str, message: str) -> None:
    with pytest.raises(FilterError, match=message):
        parse_filter(text)


@given(
    text=st.text(max_size=60)
    | st.lists(st.sampled_from(["key:", "status:", ">=", "*", '"', "'", "-", " ", "4xx", "1e999", "\0", "\ud800"])).map(
        "".join
    )
)
@settings(max_examples=300)
def test_any_text_is_a_filter_that_runs_or_a_clear_error(reader: StoreReader, text: str) -> None:
    try:
        compiled = parse_filter(text)
    except FilterError:
        return
    assert isinstance(compiled, Filter)
    assert compiled.sql.count("?") == len(compiled.parameters)
    if text.isprintable():
        reader.run(query.requests(compiled))
