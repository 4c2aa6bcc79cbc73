"""Previews: what was said last and what was answered, of every kind of body, large or broken."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.config import Retention as Policy
from proxy.store import SqliteStore, StoreReader
from proxy.store.packing import Packer, unpack, unpack_start
from proxy.store.payloads import read_contents
from proxy.store.previews import LETTERS, Preview, previews
from tests.recorder.builders import (
    ANSWER,
    EVENTS,
    JSON_HEADERS,
    PROMPT,
    SSE_HEADERS,
    START_MS,
    interpreter,
    make_begin,
    make_end,
    make_exchange,
    make_record,
    times_of,
)
from tests.store.rows import change

CHANCE = random.Random(5)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    with closing(SqliteStore(tmp_path / "records.db")) as made:
        yield made


def keep(store: SqliteStore, request: bytes = PROMPT, response: bytes = ANSWER, **begin: Any) -> str:
    made = make_begin(**begin)
    store.write([make_record(made, make_end(response, request), request=request, response=response)], {})
    return made.id


def look(store: SqliteStore, *ids: str) -> list[Preview]:
    with StoreReader(store.path) as reader:
        found = reader.run(previews(ids))
    return [found[id_] for id_ in ids]


def chat(*messages: Any, **members: Any) -> bytes:
    return json.dumps({"model": "gpt-4o-mini", "messages": list(messages), **members}).encode()


def user(text: Any) -> dict[str, Any]:
    return {"role": "user", "content": text}


def words(count: int) -> str:
    return " ".join(CHANCE.choice(["alpha", "beta", "gamma", "delta"]) + str(CHANCE.random()) for _ in range(count))


def test_the_last_message_and_the_answer_are_shown(store: SqliteStore) -> None:
    (found,) = look(store, keep(store))
    assert found == Preview("user", "Say hello in one word, please.", "Hello!")


TOOLS = [{"type": "function", "function": {"name": f"tool{n}", "description": words(30)}} for n in range(9)]
TURNS = [user(words(40)) if n % 2 else {"role": "assistant", "content": words(60)} for n in range(90)]


@pytest.mark.parametrize("last", ["short", words(100), words(9000), f"{words(40)}\n\n{words(900)}\n\n{words(2000)}"])
@pytest.mark.parametrize("turns", [0, 1, 3, 12, 90])
@pytest.mark.parametrize("members", [{}, {"tools": TOOLS, "stream": True}])
def test_however_long_the_conversation_is_its_end_is_found(
    store: SqliteStore, last: str, turns: int, members: dict[str, Any]
) -> None:
    body = chat({"role": "system", "content": words(300)}, *TURNS[:turns], user(last), **members)
    first, again = keep(store, body), keep(store, chat(*json.loads(body)["messages"], user("again"), **members))
    found, next_ = look(store, first, again)
    assert found.role == "user"
    assert found.message is not None
    assert found.message.removesuffix("…") == " ".join(last.split())[: LETTERS if len(last) <= LETTERS else LETTERS - 1]
    assert next_.message == "again"


@given(
    texts=st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=5000), min_size=1, max_size=40),
    is_spaced=st.booleans(),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_conversation_ends_with_its_last_message(store: SqliteStore, texts: list[str], is_spaced: bool) -> None:
    whole = {"model": "m", "messages": [{"role": "user", "name": "n", "content": text} for text in texts], "n": 1}
    body = json.dumps(whole, indent=2 if is_spaced else None, ensure_ascii=False).encode()
    (found,) = look(store, keep(store, body))
    expected = " ".join(texts[-1][: 4 * LETTERS].split())
    if len(texts[-1]) <= 256 or " " in texts[-1]:
        assert found.message is not None
        assert found.message.startswith(f"n {expected}"[: LETTERS - 1].rstrip()) or found.message.startswith(
            expected[: LETTERS - 1].rstrip()
        )


@pytest.mark.parametrize(
    ("path", "wire", "body", "expected"),
    [
        ("/responses", "openai", {"model": "m", "input": "hi there"}, (None, "hi there")),
        ("/responses", "openai", {"model": "m", "input": f"long {words(2000)}"}, (None, "long")),
        ("/responses", "openai", {"model": "m", "input": [{"role": "user", "content": "one"}]}, ("user", "one")),
        ("/completions", "openai", {"model": "m", "prompt": "once upon"}, (None, "once upon")),
        ("/embeddings", "openai", {"model": "m", "input": ["first", "second"]}, (None, "second")),
        (
            "/v1beta/models/gemini-2.5-flash:generateContent",
            "gemini",
            {"contents": [{"role": "user", "parts": [{"text": "bonjour"}]}], "systemInstruction": {"parts": []}},
            ("user", "bonjour"),
        ),
        ("/images/generations", "openai", {"model": "m", "prompt": "a cat"}, (None, "a cat")),
    ],
)
def test_every_way_to_ask_is_read(
    store: SqliteStore, path: str, wire: str, body: dict[str, Any], expected: tuple[str | None, str]
) -> None:
    (found,) = look(store, keep(store, json.dumps(body).encode(), path=path, wire=wire))
    assert found.role == expected[0]
    assert found.message is not None
    assert found.message.startswith(expected[1])


def test_a_picture_is_no_text(store: SqliteStore) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "iVBORw0KGgo" * 90_000}}
    (found,) = look(store, keep(store, chat(user([{"type": "text", "text": "what is this?"}, picture]))))
    assert found.message == "what is this?"


def test_a_tool_that_is_called_is_the_answer(store: SqliteStore) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "get_stock", "arguments": '{"sku":"NW-1"}'}}
    answer = {"choices": [{"index": 0, "message": {"role": "assistant", "content": None, "tool_calls": [call]}}]}
    (found,) = look(store, keep(store, response=json.dumps(answer).encode()))
    assert (found.answer, found.is_call) == ('get_stock({"sku":"NW-1"})', True)


def test_a_stream_is_read_from_its_beginning(store: SqliteStore) -> None:
    body = b"".join(EVENTS[:2]) + b"".join(EVENTS[1:2] * 100_000)
    end = make_end(body, PROMPT, headers=SSE_HEADERS, times=times_of([body]))
    made = make_begin(id="stream")
    store.write([make_record(made, end, request=PROMPT, response=body)], {})
    (found,) = look(store, "stream")
    assert found.answer is not None
    assert found.answer.startswith("HelHelHel")
    assert len(found.answer) == LETTERS


def test_an_answer_of_ten_megabytes_takes_nothing_from_its_request(store: SqliteStore) -> None:
    answer = {"data": [{"b64_json": CHANCE.randbytes(4_000_000).hex()}], "choices": []}
    (found,) = look(store, keep(store, chat(user("draw a cat")), response=json.dumps(answer).encode()))
    assert (found.message, found.answer) == ("draw a cat", "")


@pytest.mark.parametrize("side", ["request", "response", "both"])
def test_what_is_encoded_is_decoded(store: SqliteStore, side: str) -> None:
    request, response = chat(user(f"{words(300)} end")), ANSWER
    begin, end = make_begin(id="zip"), make_end(response, request)
    coded = (*JSON_HEADERS, (b"content-encoding", b"gzip"))
    if side != "response":
        request = gzip.compress(request)
        begin = make_begin(id="zip", headers=coded)
    if side != "request":
        response = gzip.compress(response)
    end = make_end(response, request, headers=coded if side != "request" else JSON_HEADERS)
    store.write([make_record(begin, end, request=request, response=response)], {})
    (found,) = look(store, "zip")
    assert found.message is not None
    assert found.message[:4] in ("alph", "beta", "gamm", "delt")
    assert found.answer == "Hello!"


@pytest.mark.parametrize(
    ("no_store", "policy", "expected"),
    [
        ("request", "{}", ("asked", "")),
        ("response", "{}", ("", "asked")),
        ("all", "{}", ("asked", "asked")),
        ("", '{"record": {"bodies": "none"}}', ("not_kept", "not_kept")),
    ],
)
def test_it_is_said_why_there_is_none(
    store: SqliteStore, no_store: str, policy: str, expected: tuple[str, str]
) -> None:
    begin = make_begin(id="x", no_store=no_store)
    store.write([interpreter(policy).record(make_exchange(begin))], {})
    (found,) = look(store, "x")
    assert (found.request_missing, found.response_missing) == expected
    assert (found.message is None, found.answer is None) == (bool(expected[0]), bool(expected[1]))


def test_what_retention_deleted_is_gone(store: SqliteStore) -> None:
    id_ = keep(store)
    store.retention.purge(Policy(bodies=1), START_MS + 10_000)
    (found,) = look(store, id_)
    assert (found.message, found.answer, found.request_missing) == (None, None, "not_kept")


def test_what_is_damaged_spoils_no_other(store: SqliteStore) -> None:
    ids = [keep(store), keep(store)]
    change(store.path, "UPDATE payloads SET contents = x'01ffffffff' WHERE exchange = 1")
    broken, good = look(store, *ids)
    assert broken.request_missing == "damaged"
    assert good.answer == "Hello!"


def test_requests_that_are_not_there_are_left_out(store: SqliteStore) -> None:
    id_ = keep(store)
    with StoreReader(store.path) as reader:
        found = reader.run(previews(["nobody", id_]))
    assert list(found) == [id_]


def test_a_page_takes_few_questions(store: SqliteStore) -> None:
    ids = [keep(store, chat(*TURNS[:40], user(f"{n}"), tools=TOOLS)) for n in range(50)]
    asked: list[str] = []

    def note(_: object, sql: str, __: object) -> bool:
        asked.append(sql)
        return True

    with StoreReader(store.path) as reader:
        reader._connection.set_exec_trace(note)
        assert [found.message for found in reader.run(previews(ids)).values()] == [f"{n}" for n in range(50)]
    assert len(asked) <= 4


@given(data=st.binary(max_size=200_000), size=st.integers(0, 250_000))
@settings(deadline=None, max_examples=50)
def test_the_start_of_what_was_packed_is_its_start(data: bytes, size: int) -> None:
    packed = Packer().pack(data)
    assert unpack_start(packed, size) == unpack(packed)[:size]


@given(request=st.binary(max_size=3000), response=st.binary(max_size=3000), cut=st.integers(1, 7000))
@settings(deadline=None, max_examples=200)
def test_contents_are_read_as_far_as_they_go(request: bytes, response: bytes, cut: int) -> None:
    items = [7, request, 3, -1, 70_000, -300, response]
    contents: Any
    for contents in (
        ([items], [[response]]),
        ([items, b"tail", "redacted", [1, -2, 3]], [[response], b"", "", [300] * 40]),
        (None, [items]),
    ):
        packed = msgspec.msgpack.encode(contents)
        whole = [each and each[0] for each in contents]
        assert list(read_contents(packed)) == whole
        for found, meant in zip(read_contents(packed[:cut]), whole, strict=True):
            if not found or not meant:
                continue
            *before, last = found
            assert before == meant[: len(before)]
            full = meant[len(before)]
            assert last == full or (isinstance(last, bytes) and isinstance(full, bytes) and full.startswith(last))
