"""Full-text search: what is found, what is not, and that nothing is left of what was deleted."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest

from proxy.config import Config
from proxy.recorder.backfill import Backfill
from proxy.recorder.bills import Bills
from proxy.recorder.interpret import Interpreter
from proxy.recorder.revise import Reviser
from proxy.store import Record, SqliteStore, StoreReader, query
from proxy.store.deletion import Names, Selection, erase_copy
from proxy.store.filter import parse_filter
from proxy.store.search import MOST_FOUND, SearchError, match_expression, search_clause
from proxy.store.words import MOST_LETTERS, text_of
from tests.recorder.builders import (
    ANSWER,
    JSON_HEADERS,
    SSE_HEADERS,
    START_MS,
    interpreter,
    make_begin,
    make_end,
    make_exchange,
    make_record,
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    with closing(SqliteStore(tmp_path / "records.db")) as made:
        yield made


def prompt(*said: str, **members: Any) -> bytes:
    return json.dumps(
        {"model": "m", "messages": [{"role": "user", "content": text} for text in said]} | members
    ).encode()


def answer(said: str) -> bytes:
    message = {"role": "assistant", "content": said}
    return json.dumps(json.loads(ANSWER) | {"choices": [{"index": 0, "message": message}]}).encode()


def chat(id_: str, asked: bytes, answered: bytes = ANSWER, **begin: Any) -> Record:
    return make_record(make_begin(id=id_, **begin), make_end(answered, asked), request=asked, response=answered)


def find(store: SqliteStore, text: str) -> list[str]:
    sql, values = search_clause(text)
    rows = store._connection.execute(f"SELECT id FROM exchanges WHERE {sql} ORDER BY id", values)  # noqa: S608
    return [str(id_) for (id_,) in rows]


def vocabulary(connection: apsw.Connection) -> set[str]:
    connection.execute("CREATE VIRTUAL TABLE IF NOT EXISTS temp.vocabulary USING fts5vocab (main, texts, row)")
    return {str(term) for (term,) in connection.execute("SELECT term FROM temp.vocabulary")}


@pytest.mark.parametrize(
    "instructed",
    [
        {"messages": [{"role": "system", "content": "{}"}, {"role": "user", "content": "a question"}]},
        {"input": [{"role": "developer", "content": [{"type": "input_text", "text": "{}"}]}]},
        {"system": [{"type": "text", "text": "{}"}], "messages": []},
        {"instructions": "{}", "input": "a question"},
        {"tools": [{"type": "function", "function": {"name": "look", "description": "{}"}}]},
    ],
)
def test_instructions_are_found_once_for_each_key_however_many_sessions_have_them(
    store: SqliteStore, instructed: dict[str, Any]
) -> None:
    body = (
        json.dumps(instructed)
        .replace("{}", "answer like a pirate, whatever the question is, and never say that you are none")
        .encode()
    )
    callers = [("a", "first", "one"), ("b", "first", "two"), ("c", "second", "one")]
    store.write([chat(id_, body, key=key, session=session) for id_, key, session in callers], {})
    assert find(store, "pirate") == ["a", "c"]


def test_what_a_user_says_is_found_in_each_session(store: SqliteStore) -> None:
    body = prompt("tell me a long story about a pirate who had no ship and wanted one very much")
    store.write([chat(id_, body, session=id_) for id_ in "abc"], {})
    assert find(store, "pirate") == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("delivery", ["a", "b"]),
        ("DELIVERY late", ["a"]),
        ("late delivery", ["a"]),
        ('"late delivery"', []),
        ('"delivery is late"', ["a"]),
        ("deliv*", ["a", "b"]),
        ("delivery -late", ["b"]),
        ("cafe", ["a"]),
        ("order-4711", ["b"]),
        ("order-4712", []),
        ("sorry", ["b"]),
        ('say "hello', ["c"]),
        ("東京", ["c"]),
        ("京東", []),
        ("user", []),
        ("content", []),
        ("NEAR", []),
        ("request:late", []),
        ("nowhere", []),
    ],
)
def test_what_was_said_is_found(store: SqliteStore, text: str, expected: list[str]) -> None:
    store.write(
        [
            chat("a", prompt("My delivery\nis late, I wait in the Café")),
            chat("b", prompt("Where is my delivery order-4711?"), answer("I am sorry.")),
            chat("c", prompt('They say "hello" in 東京です')),
        ],
        {},
    )
    assert find(store, text) == expected


def test_a_sum_is_over_everything_in_which_a_word_stands(store: SqliteStore) -> None:
    count = MOST_FOUND + 50
    store.write([chat(f"{number}", prompt("delivery")) for number in range(count)], {})
    assert len(find(store, "delivery")) == MOST_FOUND
    question = query.costs([], from_ms=0, to_ms=2**50, where=parse_filter("delivery", is_all=True))
    with StoreReader(store.path) as reader:
        assert [row.requests for row in reader.run(question)] == [count]


@pytest.mark.parametrize("text", ["", "   ", "-late", "a*", "no*", "!!!", '""', "* "])
def test_what_cannot_be_searched_for_is_said(text: str) -> None:
    with pytest.raises(SearchError):
        match_expression(text)


@pytest.mark.parametrize(
    "text", ['"', '"x', 'x" OR "y', "a AND b", "(", "{request}: x", "x^2", "NOT", "a\0b", "\ud800b", "'"]
)
def test_no_text_is_taken_for_a_language(store: SqliteStore, text: str) -> None:
    store.write([chat("a", prompt("something else"))], {})
    try:
        assert find(store, text) == []
    except SearchError:
        assert not any(letter.isalnum() for letter in text)


def test_a_streamed_answer_is_found_by_words_that_came_in_pieces(store: SqliteStore) -> None:
    events = [{"choices": [{"index": 0, "delta": {"content": piece}}]} for piece in ("Won", "derful wea", "ther")]
    answered = b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in events) + b"data: [DONE]\n\n"
    asked = prompt("What?", stream=True)
    end = make_end(answered, asked, headers=SSE_HEADERS)
    store.write([make_record(make_begin(id="a"), end, request=asked, response=answered)], {})
    assert find(store, '"wonderful weather"') == ["a"]


def test_encoded_bodies_are_found(store: SqliteStore) -> None:
    asked, answered = gzip.compress(prompt("a squeezed question")), gzip.compress(answer("a squeezed reply"))
    headers = (*JSON_HEADERS, (b"content-encoding", b"gzip"))
    begin = make_begin(id="a", headers=headers)
    store.write([make_record(begin, make_end(answered, asked, headers=headers), request=asked, response=answered)], {})
    assert find(store, '"squeezed question"') == find(store, '"squeezed reply"') == ["a"]


@pytest.mark.parametrize(
    ("policy", "found"),
    [
        ('{"record": {"bodies": "none"}}', set()),
        ('{"record": {"bodies": "errors"}}', set()),
        ('{"record": {"redact": ["email"]}}', {"question", "reply"}),
        ("{}", {"question", "reply", "somebody"}),
    ],
)
def test_only_what_may_be_stored_is_found(store: SqliteStore, policy: str, found: set[str]) -> None:
    asked, answered = prompt("question of somebody@example.com"), answer("reply to somebody@example.com")
    exchange = make_exchange(make_begin(id="a"), make_end(answered, asked), asked, answered)
    store.write([interpreter(policy).record(exchange)], {})
    assert {word for word in ("question", "reply", "somebody") if find(store, word)} == found


@pytest.mark.parametrize(("no_store", "found"), [("all", set()), ("request", {"reply"}), ("response", {"question"})])
def test_what_the_caller_asked_not_to_store_is_not_found(store: SqliteStore, no_store: str, found: set[str]) -> None:
    store.write([chat("a", prompt("question"), answer("reply"), no_store=no_store)], {})
    assert {word for word in ("question", "reply") if find(store, word)} == found


def test_a_record_that_is_written_twice_is_indexed_once(store: SqliteStore) -> None:
    record = chat("a", prompt("delivery"))
    store.write([record], {})
    store.write([record, chat("b", prompt("else"))], {})
    assert store._connection.execute("SELECT rowid FROM texts WHERE texts MATCH 'delivery'").fetchall() == [(1,)]
    assert store._connection.execute("SELECT count(*) FROM texts_docsize").get == 2


LONG = "Instructions that are sent with every request, because nobody remembers them otherwise: be kind and brief. "


def turns(*said: str) -> bytes:
    return prompt(*said, system=LONG)


def test_a_conversation_that_is_sent_again_is_found_where_each_of_its_texts_was_new(store: SqliteStore) -> None:
    first, second = (
        LONG + " What is a zebra?",
        LONG + " And what is a quagga, which nobody has seen for a hundred years?",
    )
    store.write([chat("a", turns(first), session="s"), chat("b", turns(first, "An animal.", second), session="s")], {})
    store.write([chat("c", turns(first, second), session="another")], {})
    assert find(store, "zebra") == ["a", "c"]
    assert find(store, "quagga") == ["b", "c"]
    assert find(store, '"kind and brief"') == ["a", "b", "c"]
    assert find(store, '"brief what is a zebra"') == ["a", "c"]


def test_each_caller_is_found_with_what_was_said_also_when_another_said_the_same(store: SqliteStore) -> None:
    store.write([chat(user, prompt(LONG), user=user) for user in ("ann", "bob")], {})
    store.write([chat("next day", prompt(LONG), user="ann", started_at_ms=START_MS + 86_400_000)], {})
    assert find(store, "instructions") == ["ann", "bob", "next day"]
    while any(store.deletion.erase(Selection(user="ann"), Names(user=("ann",)))):
        pass
    assert find(store, "instructions") == ["bob"]


def test_what_a_failed_batch_said_is_indexed_with_the_next(store: SqliteStore) -> None:
    failing = msgspec.structs.replace(chat("b", prompt("x")), bills=([],))  # what no database takes
    with pytest.raises(TypeError):
        store.write([chat("a", prompt(LONG)), failing], {})
    store.write([chat("a", prompt(LONG))], {})
    assert find(store, "instructions") == ["a"]


def test_a_long_text_is_found_by_its_beginning() -> None:
    text = text_of(prompt("first " + "word " * MOST_LETTERS, "last"))
    assert "first" in text
    assert "last" not in text


@pytest.mark.parametrize(
    "data", [b"", b'\xff\xd8\xff\xe0JFIF"said"', b"\x00\x01", b'{"messages": [{"content": "cut he']
)
def test_what_is_no_text_is_not_taken_for_one(data: bytes) -> None:
    assert text_of(data) == ""


@pytest.mark.parametrize("ending", [b"", b'"}', b"\xe6\x9d", b', "role": "user", "content": "unfinished'])
def test_a_body_that_was_cut_is_found_by_what_is_left(ending: bytes) -> None:
    whole = prompt("the first", 'a "second"\none')
    assert text_of(whole[:-3] + ending) == text_of(whole) == 'the first\na "second"\none'


def test_a_body_that_was_cut_inside_of_quoted_json_takes_no_longer_than_another() -> None:
    def seconds(ending: bytes) -> float:
        data = b'{"content": "first", "content": "' + rb"\"name\": " * 3000 + ending
        begin = time.process_time()
        assert text_of(data).startswith("first")
        return time.process_time() - begin

    assert seconds(b"") < 20 * max(seconds(b'"') for _ in range(3))


@pytest.mark.parametrize("depth", [400, 900, 100_000])
def test_no_nesting_is_too_deep(depth: int) -> None:
    assert text_of(b"[" * depth + b'"deep"' + b"]" * depth) == "deep"


def test_pictures_keys_and_words_of_the_protocol_are_not_indexed() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "iVBORw0KGgo" * 100}}
    body = json.dumps(
        {"model": "m", "messages": [{"role": "user", "content": [{"type": "text", "text": "look"}, picture]}]}
    )
    assert text_of(body.encode()) == "look"


@pytest.mark.parametrize("rows", [True, False])
def test_nothing_is_left_of_the_words_of_a_deleted_user(store: SqliteStore, rows: bool) -> None:
    for number in range(300):
        store.write([chat(f"b{number}", prompt(f"common talk {number}"), user="bob")], {})
    store.write([chat("a", prompt("canary common"), answer("parrot"), user="ann")], {})
    assert {"canary", "parrot"} <= vocabulary(store._connection)
    while any(store.deletion.erase(Selection(user="ann", rows=rows), Names(user=("ann",)))):
        pass
    assert find(store, "canary") == []
    assert find(store, "talk") == sorted(f"b{number}" for number in range(300))
    assert store.deletion.compact(is_bounded=True) == []
    assert b"anary" not in blobs(store)
    assert b"arrot" not in blobs(store)
    assert not {"canary", "parrot"} & vocabulary(store._connection)
    store._connection.execute("INSERT INTO texts (texts) VALUES ('integrity-check')")
    assert b"anary" not in store.path.read_bytes()


def test_words_stay_in_the_index_until_it_is_swept(store: SqliteStore) -> None:
    store.write([chat("a", prompt("canary")), chat("b", prompt("else"))], {})
    store.words.remove([1])
    before = blobs(store)
    assert b"anary" in before
    while store.deletion.sweep():
        pass
    assert b"anary" not in blobs(store)


def test_what_a_writer_that_died_had_removed_is_swept_by_the_next(store: SqliteStore) -> None:
    store.write([chat("a", prompt("canary")), chat("b", prompt("else"))], {})
    store.words.remove([1])
    store.close()
    with closing(SqliteStore(store.path)) as again:
        assert b"anary" in blobs(again)
        while again.retention.purge(Config().retention, 0).is_more:
            pass
        assert b"anary" not in blobs(again)
        assert not again.words.must_sweep()


def blobs(store: SqliteStore) -> bytes:
    return b"".join(bytes(block) for (block,) in store._connection.execute("SELECT block FROM texts_data"))


def test_a_sweep_comes_to_its_end_beside_traffic_and_deletions(store: SqliteStore) -> None:
    def put(number: int) -> None:
        store.words.add([(number, " ".join(f"w{number}x{place}" for place in range(600)), "")])

    for number in range(1, 600):
        put(number)
    store.words.remove([1])
    store.words.begin_sweep()
    steps = 0
    while store.words.sweep():
        steps += 1
        store.words.remove([1 + steps])
        put(1000 + steps)
        assert steps < 50, "it begins again and again"
    assert steps > 1, "there is too little to sweep to tell"
    assert b"w1x" not in blobs(store)


def test_a_purge_takes_the_words_with_the_bodies(store: SqliteStore) -> None:
    class Policy:
        bodies, records, max_size_gb = 86_400.0, 864_000.0, 20.0

    old = [chat(f"o{n}", prompt("canary talk")) for n in range(20)]
    new = [chat(f"n{n}", prompt("fresh talk"), started_at_ms=START_MS + 86_400_000) for n in range(20)]
    store.write([*old, *new], {})
    while store.retention.purge(Policy(), START_MS + 2 * 86_400_000 - 1).is_more:
        pass
    assert find(store, "canary") == []
    assert len(find(store, "talk")) == 20
    assert b"anary" not in blobs(store)


def test_a_copy_loses_the_words_too(store: SqliteStore, tmp_path: Path) -> None:
    store.write([chat("a", prompt("canary"), user="ann"), chat("b", prompt("else"), user="bob")], {})
    store._connection.execute("VACUUM INTO ?", (str(tmp_path / "copy.db"),))
    with closing(apsw.Connection(str(tmp_path / "copy.db"))) as copy:
        assert erase_copy(copy, Selection(user="ann"), Names(user=("ann",))) == 1
        assert vocabulary(copy) == {"else", "hello"}
        assert copy.execute("SELECT DISTINCT value FROM rollups WHERE dimension = 'user' ORDER BY 1").fetchall() == [
            ("",),
            ("bob",),
        ]
    assert b"anary" not in (tmp_path / "copy.db").read_bytes()


def test_what_was_there_before_the_index_is_indexed_once_whoever_dies_in_between(tmp_path: Path) -> None:
    path = tmp_path / "records.db"
    with closing(SqliteStore(path)) as store:
        for number in range(120):
            store.write([chat(f"{number:03d}", prompt(f"talk number{number}"), answer("reply"))], {})
        store._connection.execute("INSERT INTO texts (texts) VALUES ('delete-all')")
        store._connection.execute("UPDATE folds SET done_seq = 0, last_seq = 120")
        store._connection.execute("DELETE FROM rollups")
        store.write([chat("new", prompt("talk"))], {})
    for _ in range(3):
        with closing(SqliteStore(path)) as store:  # each of them dies after some steps
            backfill = make_backfill(store)
            for _ in range(2):
                backfill.step()
    with closing(SqliteStore(path)) as store:
        backfill = make_backfill(store)
        while backfill.is_busy:
            backfill.step()
        assert len(find(store, "talk")) == 121
        assert len(find(store, "reply")) == 120
        assert find(store, "number77") == ["077"]
        store._connection.execute("INSERT INTO texts (texts) VALUES ('integrity-check')")
        counted = "SELECT sum(requests) FROM rollups WHERE dimension = 'all' AND span = 'day'"
        assert store._connection.execute(counted).get == 121


def make_backfill(store: SqliteStore) -> Backfill:
    book, config = interpreter()._book, Config()
    return Backfill(store, Reviser(book, config, Interpreter(book, config, Bills(store.bills))))


def test_one_record_that_cannot_be_read_does_not_hold_up_the_others(tmp_path: Path) -> None:
    with closing(SqliteStore(tmp_path / "records.db")) as store:
        store.write([chat("a", prompt("talk")), chat("b", prompt("talk")), chat("c", prompt("talk"))], {})
        store._connection.execute("INSERT INTO texts (texts) VALUES ('delete-all')")
        store._connection.execute("UPDATE folds SET done_seq = 0, last_seq = 3")
        store._connection.execute("UPDATE exchanges SET outcome = 7, started_at = 'never' WHERE id = 'b'")
        backfill = make_backfill(store)
        while backfill.is_busy:
            backfill.step()
        assert {"a", "c"} <= set(find(store, "talk"))
