from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.store import SqliteStore, StoreReader, query
from proxy.store.filter import Filter, FilterError, parse_filter
from tests.recorder.builders import make_begin, make_end, make_record
from tests.store.rows import change, write_rows


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreReader]:
    path = tmp_path_factory.mktemp("store") / "records.db"
    rows = [
        make_record(
            make_begin(id="slow", key="search", user="ann lee", tags={"team": "red", "a.b": "c d"}, prompt_name="hi"),
            make_end(ended_us=3_000_000),
        ),
        make_record(
            make_begin(id="failed", key="search", prompt_name="hi", prompt_version="2"),
            make_end(status=500, response=b"{}"),
            response=b"{}",
        ),
        make_record(
            make_begin(id="busy", key="chat", tags={"team": "blue"}),
            make_end(status=429, response=b"{}"),
            response=b"{}",
        ),
        make_record(make_begin(id="refused", key=None), make_end(outcome="refused", status=401, dispatched_us=None)),
        make_record(make_begin(id="odd", key="a[b]*?c", session="s'1", retry_of="x"), make_end(ended_us=100_000)),
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
        ("key:search AND status:>=400", "failed"),
        ("key:search status:>=400 latency:>2s", ""),
        ("latency:>2s", "slow"),
        ("latency:>2500ms", "slow"),
        ("latency:<=0.1", "odd"),
        ("latency:>1m", ""),
        ("latency:100ms..500ms", "failed busy refused odd"),
        ("latency:", ""),
        ("status:4xx", "busy refused"),
        ("status:4XX", "busy refused"),
        ("status:429", "busy"),
        ("status:429..500", "failed busy"),
        ("status:(200 OR 5xx)", "slow failed odd"),
        ("-status:4xx", "slow failed odd"),
        ("-status:(200 OR 5xx)", "busy refused"),
        ("key:s*", "slow failed"),
        ("-key:s*", "busy refused odd"),
        ("key:", "refused"),
        ("-key:", "slow failed busy odd"),
        ("has:key", "slow failed busy odd"),
        ("-has:key", "refused"),
        ('user:"ann lee"', "slow"),
        ('user:("ann lee" OR bob)', "slow"),
        ("key:a[b]*?c", "odd"),
        ("key:a[b]\\*", ""),
        ("session:s'1", "odd"),
        ("outcome:refused", "refused"),
        ("MODEL:gpt-4o-mini*", "slow failed busy refused odd"),
        ("model:gpt-4o-mini", "slow failed busy refused odd"),
        ("model:gpt-4o-mini-2024-07-18", "slow odd"),
        ("-model:gpt-4o-mini-2024-07-18", "failed busy refused"),
        ("provider:openai wire:openai method:POST", "slow failed busy refused odd"),
        ("streaming:false cost:>0", "slow odd"),
        ("cost:0", "failed busy refused"),
        ("cost:>$0.00001", "slow odd"),
        ("cost:$0..$1", "slow failed busy refused odd"),
        ("input:>=1000 output:100", "slow odd"),
        ("input:>=1k", "slow odd"),
        ("input:>0.001M", ""),
        ("tokens:1.1k", "slow odd"),
        ("id:slow", "slow"),
        ("id:(slow OR busy)", "slow busy"),
        ("retry:true", "odd"),
        ("has:retry", "odd"),
        ("meta.team:red", "slow"),
        ("meta.team:(red OR blue)", "slow busy"),
        ("meta.team:r*", "slow"),
        ("has:meta.team", "slow busy"),
        ("meta.team:", "failed refused odd"),
        ("-meta.team:red", "failed busy refused odd"),
        ('meta.a.b:"c d"', "slow"),
        ("prompt:hi", "slow failed"),
        ("prompt:hi@2", "failed"),
        ("key:chat OR latency:>2s", "slow busy"),
        ("key:search (status:500 OR latency:<1s)", "failed"),
        ("-(key:search OR key:chat)", "refused odd"),
        ("(key:search -(status:5xx OR cost:0)) OR (outcome:refused)", "slow refused"),
    ],
)
def test_a_filter_finds_what_it_says(reader: StoreReader, text: str, expected: str) -> None:
    found = {row.id for row in reader.run(query.requests(parse_filter(text)))}
    assert found == set(expected.split())


def test_an_unknown_field_is_named_with_the_ones_that_exist() -> None:
    with pytest.raises(FilterError, match=r"no field `modl`, perhaps `model`; fields: .*latency, .*status"):
        parse_filter("modl:x")


@pytest.mark.parametrize(
    ("text", "message", "position"),
    [
        ("key:a colour:red", "there is no field `colour`", 6),
        ("meta.:x", "there is no field `meta.`", 0),
        ("has:colour", "has:colour: name a field", 4),
        ("status:abc", "abc: not a number", 7),
        ("key:a status:>=", ">=: not a number", 13),
        ("status:1e999", "not a number", 7),
        ("status:1..", "1..: not a number", 7),
        ("cost:nan", "not a number", 5),
        ("cost:€5", "not a number: write \\$0.01", 5),
        ("input:99999999999999999999", "not a number", 6),
        ("latency:>2y", "not a duration", 8),
        ("latency:-1s", "not a duration", 8),
        ("latency:2s..", "not a duration", 8),
        ("streaming:maybe", "true or streaming:false", 10),
        ("key:>a", "a text cannot be compared", 4),
        ('key:"open', "quotation mark is not closed", 4),
        ('"open', "quotation mark is not closed", 0),
        ('key:"a"b', "a space must stand between", 4),
        ("key:(a b)", "write OR between the values", 7),
        ("key:(a OR)", "a value must stand after OR", 9),
        ("key:()", "nothing stands in these parentheses", 4),
        ("key:(a", r"this `\(` is not closed", 4),
        ("(key:a", r"this `\(` is not closed", 0),
        ("()", "nothing stands in these parentheses", 0),
        ("(key:a))", r"a `\)` without its `\(`", 7),
        ("OR key:a", "nothing stands before this OR", 0),
        ("key:a OR", "something must stand after OR", 8),
        ("key:a OR OR key:b", "something must stand after OR", 9),
        ("- key:a", "a term must stand right after", 1),
        ("--key:a", "a term must stand right after", 1),
        ("(" * 9 + "key:a" + ")" * 9, "at most 8 groups", 8),
        ("key:a " * 33, "at most 32", 196),
        ("key:" + "a" * 5000, "at most 4096 characters", 4096),
        ("key:\ud800", "this is no character", 4),
        ("-late", "search for at least one word", 0),
        ("key:a -(late key:b)", "in front of each word", 7),
        ("a*", "at least 3 letters", 0),
    ],
)
def test_a_mistake_is_explained_where_it_stands(text: str, message: str, position: int) -> None:
    with pytest.raises(FilterError, match=message) as caught:
        parse_filter(text)
    assert caught.value.position == position
    assert str(caught.value).endswith(f"(at character {position + 1})")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("late", "a b"),
        ("late key:one", "a"),
        ('"late delivery"', "a"),
        ("deliver*", "a b"),
        ("late -delivery", "b"),
        ("(late OR hello) key:two", "b c"),
        ("hello OR key:one", "a c"),
        ("key:two' OR late", "a b"),
    ],
)
def test_words_are_looked_for_in_the_texts(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "records.db"
    with closing(SqliteStore(path)) as store:
        write_rows(store, ({"id": name, "key": key} for name, key in (("a", "one"), ("b", "two"), ("c", "two"))))
        texts = {"a": "a late delivery", "b": "late, to be delivered", "c": "hello"}
        for name, words in texts.items():
            place = "SELECT seq, ?, '' FROM exchanges WHERE id = ?"
            change(path, f"INSERT INTO texts (rowid, request, response) {place}", words, name)
    with StoreReader(path) as reader:
        found = {row.id for row in reader.run(query.requests(parse_filter(text)))}
        newer = {row.id for row in reader.run(query.requests_after(0, parse_filter(text)))}
    assert found == newer == set(expected.split())


PIECES = [
    "key:",
    "status:",
    "meta.a:",
    "has:",
    ">=",
    "..",
    "*",
    '"',
    "'",
    "-",
    " ",
    "(",
    ")",
    " OR ",
    "4xx",
    "$1",
    "1e999",
]


@given(text=st.text(max_size=60) | st.lists(st.sampled_from([*PIECES, "\0", "\ud800"]), max_size=30).map("".join))
@settings(max_examples=300)
def test_any_text_is_a_filter_that_runs_or_a_clear_error(reader: StoreReader, text: str) -> None:
    try:
        compiled = parse_filter(text)
    except FilterError as error:
        position = error.position
    else:
        position = 0
        check_compiled(reader, compiled)
    assert 0 <= position <= len(text)


def check_compiled(reader: StoreReader, compiled: Filter) -> None:
    for clause in ((compiled.sql, compiled.parameters), compiled.zones, compiled.others, *compiled.facets):
        assert clause[0].count("?") == len(clause[1])
    reader.run(query.page(compiled))
    reader.run(query.requests_after(0, compiled))
