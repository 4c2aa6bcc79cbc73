"""Sessions are inferred exactly: what goes on from an answer belongs together, and nothing else does."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.config import parse_config
from proxy.databases import open_database
from proxy.journal import JournalWriter
from proxy.recorder import run as record
from proxy.store import JournalPosition, Record, SqliteStore
from proxy.store.deletion import Names, Selection, erase_copy
from proxy.store.lineage import LONGEST_PAUSE_MS
from proxy.store.row import EXCHANGE_COLUMNS, exchange_row
from tests.recorder.builders import START_MS, interpreter, make_begin, make_end, make_exchange, make_record
from tests.store.rows import read_rows
from tests.store.versions import at_version, newest_of

MINUTE_MS = 60_000
DAYS_MS = 15 * 86_400_000
Said = tuple[str, str]
"""Role and text."""


@dataclass
class Asked:
    """A request of a made-up client, and what it was answered."""

    id: str
    key: str
    at_ms: int
    messages: tuple[Said, ...]
    answer: str
    session: str | None = None


class Oracle:
    """Finds sessions as somebody would who reads the conversations."""

    def __init__(self) -> None:
        self._asked: list[Asked] = []

    def add(self, asked: Asked) -> None:
        earlier = self._continued(asked)
        if earlier is not None:
            earlier.session = earlier.session or f"auto:{earlier.id}"
            asked.session = earlier.session
        self._asked.append(asked)

    def _continued(self, asked: Asked) -> Asked | None:
        answers = [at for at, (role, _) in enumerate(asked.messages) if role == "assistant"]
        for at in reversed(answers[-4:]):
            same = [
                each
                for each in reversed(self._asked)
                if each.key == asked.key
                and (*each.messages, ("assistant", each.answer)) == asked.messages[: at + 1]
                and asked.at_ms - each.at_ms <= LONGEST_PAUSE_MS
            ]
            if same:
                return next((each for each in same if each.session is None), same[0])
        return None


@dataclass
class Client:
    """Sends conversations in one of the dialects, wrapped now in this and now in that way."""

    dialect: str
    turn: int = field(default=0)

    def body(self, messages: Sequence[Said]) -> bytes:
        self.turn += 1
        said = [
            self._message(role, text, is_last=number == len(messages))
            for number, (role, text) in enumerate(messages, 1)
        ]
        if self.dialect == "openai":
            instructions = {"role": "system", "content": f"Be brief. It is {self.turn} o'clock."}
            return _json({"model": "gpt-4o-mini", "messages": [instructions, *said]})
        if self.dialect == "anthropic":
            return _json(
                {"model": "claude-haiku-4-5", "max_tokens": 9, "system": f"Turn {self.turn}", "messages": said}
            )
        if self.dialect == "gemini":
            return _json({"contents": said, "systemInstruction": {"parts": [{"text": "Be brief."}]}})
        return _json({"model": "gpt-4o-mini", "instructions": "Be brief.", "input": said})

    def _message(self, role: str, text: str, *, is_last: bool) -> dict[str, Any]:
        if self.dialect == "gemini":
            return {"role": "model" if role == "assistant" else role, "parts": [{"text": text}]}
        if self.dialect == "responses":
            kind = "output_text" if role == "assistant" else "input_text"
            return {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}
        if self.dialect == "anthropic" and is_last:
            return {"role": role, "content": [{"type": "text", "text": text, "cache_control": {"type": "ephemeral"}}]}
        if self.dialect == "anthropic" and self.turn % 2:
            return {"role": role, "content": [{"type": "text", "text": text}]}
        return {"content": text, "role": role} | ({"refusal": None} if self.dialect == "openai" else {})

    def answer(self, text: str) -> bytes:
        if self.dialect == "openai":
            message = {"role": "assistant", "content": text, "annotations": []}
            return _json(
                {
                    "id": "chatcmpl-1",
                    "model": "m",
                    "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                }
            )
        if self.dialect == "anthropic":
            content = [{"type": "text", "text": text}]
            return _json(
                {"id": "msg_1", "type": "message", "model": "m", "content": content, "stop_reason": "end_turn"}
            )
        if self.dialect == "gemini":
            return _json(
                {"candidates": [{"content": {"role": "model", "parts": [{"text": text}]}, "finishReason": "STOP"}]}
            )
        content = [{"type": "output_text", "text": text}]
        item = {"type": "message", "role": "assistant", "content": content}
        return _json({"id": str(uuid.uuid4()), "model": "m", "status": "completed", "output": [item]})

    @property
    def begin(self) -> dict[str, Any]:
        path = {
            "openai": "/chat/completions",
            "anthropic": "/messages",
            "gemini": "/models/gemini-2.5-flash:generateContent",
            "responses": "/responses",
        }[self.dialect]
        wire = "openai" if self.dialect == "responses" else self.dialect
        return {"wire": wire, "upstream": wire, "provider": None, "path": path}


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


@dataclass(frozen=True)
class Step:
    """The next request: which one it continues, what is said, and how it is answered."""

    key: str
    parent: int | None
    """Among the requests of the key, counted back; None: a new conversation."""
    text: str
    answer: str
    minutes: int


STEPS = st.lists(
    st.builds(
        Step,
        key=st.sampled_from(["search", "chat"]),
        parent=st.none() | st.integers(0, 4),
        text=st.sampled_from(["hello", "more", 'schön \\ "quoted"\n', "x" * 3000]),
        answer=st.sampled_from(["Hi!", "As you\n\nwish. ", "y" * 3000, ""]),
        minutes=st.sampled_from([0, 1, 14, 1430, 1441]),
    ),
    max_size=14,
)


@settings(max_examples=60, deadline=None)
@given(steps=STEPS, dialect=st.sampled_from(["openai", "anthropic", "gemini", "responses"]), restart=st.integers(0, 14))
def test_conversations_of_any_shape_become_the_sessions_that_a_reader_finds(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Step], dialect: str, restart: int
) -> None:
    data_dir = tmp_path_factory.mktemp("conversations")
    client, oracle = Client(dialect), Oracle()
    asked: list[Asked] = []
    at_ms = time.time_ns() // 1_000_000 - DAYS_MS  # not so long ago that retention deletes what was said
    portions = [steps[:restart], steps[restart:]]
    for number, portion in enumerate(portions):
        writer = JournalWriter(data_dir / "journal", f"gateway-{number}")
        for step in portion:
            at_ms += step.minutes * MINUTE_MS
            same = [each for each in asked if each.key == step.key and each.answer]
            parent = same[-1 - step.parent % len(same)] if same and step.parent is not None else None
            history = (*parent.messages, ("assistant", parent.answer)) if parent else ()
            one = Asked(str(uuid.uuid4()), step.key, at_ms, (*history, ("user", step.text)), step.answer)
            asked.append(one)
            if one.answer:
                oracle.add(one)
            else:
                find_only(oracle, one)
            body, answer = client.body(one.messages), client.answer(one.answer)
            begin = make_begin(id=one.id, key=one.key, started_at_ms=at_ms, **client.begin)
            writer.end(writer.begin(begin, body), make_end(answer, body), answer)
        writer.close()
        stop = threading.Event()
        stop.set()
        record(data_dir, parse_config("{}"), data_dir / "run" / "ledger.sock", stop=stop)
    rows = {row["id"]: row["session"] for row in read_rows(data_dir / "records.db")}
    assert rows == {each.id: each.session for each in asked}


def find_only(oracle: Oracle, asked: Asked) -> None:
    """Add a request that nothing can go on from, because it was not answered."""
    oracle.add(asked)
    oracle._asked.pop()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    with closing(SqliteStore(tmp_path / "records.db")) as made:
        yield made


def write(store: SqliteStore, id_: str, messages: Any, answer: Any, *, policy: str = "{}", **fields: Any) -> None:
    """Store a chat; `answer` is its message or text."""
    store.write([make_chat(id_, messages, answer, policy=policy, **fields)], {})


def make_chat(id_: str, messages: Any, answer: Any, *, policy: str = "{}", **fields: Any) -> Record:
    message = answer if isinstance(answer, dict) else {"role": "assistant", "content": answer}
    body = _json({"model": "gpt-4o-mini", "messages": messages})
    said = _json({"model": "gpt-4o-mini", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})
    exchange = make_exchange(make_begin(id=id_, **fields), request=body, response=said)
    return interpreter(policy).record(exchange)


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def sessions(store: SqliteStore) -> dict[str, str | None]:
    return {row["id"]: row["session"] for row in read_rows(store.path)}


def test_the_same_question_asked_again_and_again_is_no_session(store: SqliteStore) -> None:
    for number in range(5):
        write(store, f"cron-{number}", [{"role": "system", "content": "Summarise."}, user("the news")], "Nothing new.")
    assert set(sessions(store).values()) == {None}


def test_two_who_say_the_same_and_are_answered_the_same_have_two_sessions(store: SqliteStore) -> None:
    for number in range(2):
        write(store, f"first-{number}", [user("hi")], "Hello!")
    for number in range(2):
        write(
            store, f"second-{number}", [user("hi"), assistant("Hello!"), user(f"question {number}")], f"Answer {number}"
        )
    found = sessions(store)
    assert found["second-0"] != found["second-1"]
    assert {found["first-0"], found["first-1"]} == {found["second-0"], found["second-1"]}


@pytest.mark.parametrize("are_together", [False, True])
def test_however_many_begin_alike_each_has_a_session_of_its_own(store: SqliteStore, are_together: bool) -> None:
    firsts = [make_chat(f"first-{number}", [user("hi")], "Hello!") for number in range(20)]
    seconds = [
        make_chat(f"second-{number}", [user("hi"), assistant("Hello!"), user(f"question {number}")], "Answer")
        for number in range(20)
    ]
    for batch in [firsts, seconds] if are_together else [[each] for each in (*firsts, *seconds)]:
        store.write(batch, {})
    found = sessions(store)
    assert {found[f"second-{number}"] for number in range(20)} == {f"auto:first-{number}" for number in range(20)}


def test_a_conversation_goes_on_through_calls_of_tools(store: SqliteStore) -> None:
    call = {"id": "call_7", "type": "function", "function": {"name": "get_stock", "arguments": '{"sku": 7}'}}
    asked: list[Any] = [user("is it there?")]
    write(store, "a", asked, {"role": "assistant", "content": None, "tool_calls": [call]})
    asked += [{"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": "call_7", "content": "3"}]
    write(store, "b", asked, "Three are left.")
    assert sessions(store) == {"a": "auto:a", "b": "auto:a"}


def test_a_failed_turn_belongs_to_the_session_and_the_next_one_goes_on(store: SqliteStore) -> None:
    write(store, "a", [user("1")], "one")
    asked = [user("1"), assistant("one"), user("2")]
    body = _json({"model": "gpt-4o-mini", "messages": asked})
    failure = b'{"error": {"message": "overloaded", "type": "server_error"}}'
    store.write(
        [make_record(make_begin(id="b"), make_end(failure, body, status=503), request=body, response=failure)], {}
    )
    write(store, "c", asked, "two")
    write(store, "d", [*asked, assistant("two"), user("3")], "three")
    assert set(sessions(store).values()) == {"auto:a"}


def test_an_answer_that_did_not_pass_here_does_not_break_the_conversation(store: SqliteStore) -> None:
    write(store, "a", [user("1")], "one")
    said = [user("1"), assistant("one"), user("2"), assistant("elsewhere"), user("3")]
    write(store, "b", said, "three")
    assert sessions(store) == {"a": "auto:a", "b": "auto:a"}


def test_what_the_caller_names_is_never_overruled(store: SqliteStore) -> None:
    write(store, "a", [user("1")], "one", session="mine")
    write(store, "b", [user("1"), assistant("one"), user("2")], "two", session="other")
    write(store, "c", [user("1"), assistant("one"), user("2"), assistant("two"), user("3")], "three")
    assert sessions(store) == {"a": "mine", "b": "other", "c": None}


@pytest.mark.parametrize("who", ["key", "user"])
def test_others_who_say_the_same_are_others(store: SqliteStore, who: str) -> None:
    write(store, "a", [user("1")], "one", **{who: "ann"})
    write(store, "b", [user("1"), assistant("one"), user("2")], "two", **{who: "bob"})
    assert sessions(store) == {"a": None, "b": None}


def test_all_attempts_at_the_first_request_are_in_its_session(store: SqliteStore) -> None:
    body = _json({"model": "gpt-4o-mini", "messages": [user("1")]})
    failed = make_end(b"", body, status=503, outcome="upstream_error")
    store.write([make_record(make_begin(id="a1"), failed, request=body, response=b"")], {})
    write(store, "a2", [user("1")], "one", retry_of="a1", attempt=2)
    write(store, "b", [user("1"), assistant("one"), user("2")], "two")
    assert set(sessions(store).values()) == {"auto:a2"}


def test_responses_that_the_provider_remembers_are_one_session(store: SqliteStore) -> None:
    def respond(id_: str, response: str, **said: Any) -> None:
        body = _json({"model": "gpt-4o-mini", "input": "go on", **said})
        item = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "ok"}]}
        answer = _json({"id": response, "model": "gpt-4o-mini", "status": "completed", "output": [item]})
        store.write([make_record(make_begin(id=id_, path="/responses"), request=body, response=answer)], {})

    respond("a", "resp_1")
    respond("b", "resp_2", previous_response_id="resp_1")
    respond("c", "resp_3", previous_response_id="resp_2")
    respond("alone", "resp_4")
    respond("d", "resp_5", conversation="conv_1")
    respond("e", "resp_6", conversation={"id": "conv_1"})
    respond("f", "resp_7", conversation={"id": "conv_1"})
    expected = {"a": "auto:a", "b": "auto:a", "c": "auto:a", "alone": None, "d": "auto:d", "e": "auto:d", "f": "auto:d"}
    assert sessions(store) == expected


@pytest.mark.parametrize("policy", ['{"record": {"bodies": "none"}}', '{"record": {"redact": ["email"]}}'])
def test_a_text_that_is_not_kept_leaves_no_mark(store: SqliteStore, policy: str) -> None:
    write(store, "a", [user("write to ann@example.com")], "done", policy=policy, no_store="response")
    write(store, "b", [user("write to ann@example.com"), assistant("done"), user("again")], "done", policy=policy)
    assert set(sessions(store).values()) == {None}


def test_a_redacted_conversation_is_found_by_what_is_left(store: SqliteStore) -> None:
    policy = '{"record": {"redact": ["email"]}}'
    write(store, "a", [user("write to ann@example.com")], "I wrote to ann@example.com.", policy=policy)
    said = [user("write to ann@example.com"), assistant("I wrote to ann@example.com."), user("again")]
    write(store, "b", said, "done", policy=policy)
    assert sessions(store) == {"a": "auto:a", "b": "auto:a"}


def test_nothing_is_left_of_an_inferred_session_that_is_deleted(store: SqliteStore) -> None:
    write(store, "a", [user("1")], "one")
    write(store, "b", [user("1"), assistant("one"), user("2")], "two")
    store.deletion.erase(Selection(session="auto:a"), Names(session=("auto:a",)))
    assert sessions(store) == {"a": None, "b": None}
    for table in ("marks", "marked", "sessions"):
        assert store._connection.execute(f"SELECT count(*) FROM {table}").get == 0  # noqa: S608 (constants)
    write(store, "c", [user("1"), assistant("one"), user("2"), assistant("two"), user("3")], "three")
    assert sessions(store)["c"] is None


@pytest.mark.parametrize("version", [9, newest_of("records.db")])
def test_a_session_is_taken_out_of_copies_of_earlier_versions_too(tmp_path: Path, version: int) -> None:
    path = tmp_path / "records.db"
    at_version(path, version)
    with closing(open_database(path, "write")) as copy:
        known = {str(name) for (name,) in copy.execute("SELECT name FROM pragma_table_info('exchanges')")}
        made = zip(EXCHANGE_COLUMNS, exchange_row(make_record(make_begin(id="old", session="auto:a"))), strict=True)
        row = {name: value for name, value in made if name in known}
        marks = ", ".join("?" * len(row))
        copy.execute(f"INSERT INTO exchanges ({', '.join(row)}) VALUES ({marks})", tuple(row.values()))  # noqa: S608 (ours)
        assert erase_copy(copy, Selection(session="auto:a"), Names(session=("auto:a",))) == 1
        assert copy.execute("SELECT session FROM exchanges WHERE id = 'old'").fetchall() == [(None,)]


def test_marks_go_with_the_bodies_and_after_a_day(store: SqliteStore) -> None:
    write(store, "a", [user("1")], "one")
    store.retention.purge_bodies(START_MS + 1, 10)
    assert store._connection.execute("SELECT count(*) FROM marked").get == 0
    write(store, "b", [user("2")], "two")
    write(store, "c", [user("3")], "three", started_at_ms=START_MS + LONGEST_PAUSE_MS + 1)
    store.put_status({})
    left = store._connection.execute("SELECT id FROM marks JOIN exchanges USING (seq)").fetchall()
    assert left == [("c",)]


def test_a_clock_that_was_wrong_once_ends_no_conversation(store: SqliteStore) -> None:
    write(store, "ahead", [user("0")], "zero", started_at_ms=START_MS + 30 * LONGEST_PAUSE_MS)
    write(store, "a", [user("1")], "one")
    store.put_status({})
    write(store, "b", [user("1"), assistant("one"), user("2")], "two")
    assert sessions(store) == {"ahead": None, "a": "auto:a", "b": "auto:a"}


def test_a_batch_that_is_rolled_back_leaves_no_mark(store: SqliteStore) -> None:
    broken = make_record(make_begin(id="broken"))
    with pytest.raises(OverflowError):
        store.write([make_record(), broken], {"segment": JournalPosition(2**70, 0)})
    assert store._connection.execute("SELECT count(*) FROM marked").get == 0
    write(store, "a", [user("1")], "one")
    write(store, "b", [user("1"), assistant("one"), user("2")], "two")
    assert sessions(store) == {"a": "auto:a", "b": "auto:a"}


@pytest.mark.parametrize(
    "body",
    [
        b'{"messages": 7}',
        b'{"messages": [7]}',
        b'{"messages": [{"role": 7}]}',
        b'{"messages": [{"role": "assistant", "content": {"a": 1}}, {"role": "user", "content": [1]}]}',
        b'{"messages": [{"role": "assistant", "content": "\\ud83d"}]}',
        b'{"messages": ' + b"[" * 5000,
        b'[{"role": "user"}]',
        b"\xff{",
    ],
)
def test_a_request_that_is_no_conversation_is_stored_all_the_same(store: SqliteStore, body: bytes) -> None:
    store.write([make_record(make_begin(id="a"), make_end(request=body), request=body)], {})
    assert sessions(store) == {"a": None}
