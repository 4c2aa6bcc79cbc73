"""Sessions and users, asked of a real admin process over real records."""

from __future__ import annotations

import csv
import io
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from proxy.config import parse_config
from proxy.journal import JournalWriter
from proxy.recorder import run as record
from tests.admin.conftest import Admin
from tests.recorder.builders import make_begin, make_end

HOUR_MS = 3_600_000
ODD = "a/b ü%~ <b>"


def _id(number: int) -> str:
    return f"0198f2b1-7c3e-7abc-8000-{number:012d}"


class Scribe:
    """Writes chats into the journal of a data directory."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._writer = JournalWriter(data_dir / "journal", "gateway-0")
        self._count = 0
        self.now = time.time_ns() // 1_000_000

    def chat(
        self, messages: list[dict[str, str]], answer: str, *, ago_ms: int = 0, tokens: int = 1000, **fields: Any
    ) -> str:
        self._count += 1
        status, model = fields.pop("status", 200), fields.pop("model", "gpt-4o-mini")
        body = json.dumps({"model": model, "messages": messages}).encode()
        choice = {"index": 0, "message": {"role": "assistant", "content": answer}, "finish_reason": "stop"}
        usage = {"prompt_tokens": tokens, "completion_tokens": 100, "total_tokens": tokens + 100}
        said = json.dumps({"id": "c", "model": model, "choices": [choice], "usage": usage}).encode()
        if status >= 400:
            said = b'{"error": {"message": "overloaded", "type": "server_error"}}'
        begin = make_begin(id=_id(self._count), started_at_ms=self.now - ago_ms, **fields)
        self._writer.end(self._writer.begin(begin, body), make_end(said, body, status=status), said)
        return begin.id

    def store(self) -> None:
        self._writer.close()
        stop = threading.Event()
        stop.set()
        record(self._data_dir, parse_config("{}"), self._data_dir / "run" / "ledger.sock", stop=stop)


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


@pytest.fixture
def told(tmp_path: Path, start_admin: Callable[..., Admin]) -> Admin:
    """An admin process over two named sessions, an inferred one, and requests in none."""
    scribe = Scribe(tmp_path / "data")
    scribe.chat([user("one")], "1", ago_ms=50_000, session="dear", user="ann", tokens=900_000)
    scribe.chat([user("two")], "2", ago_ms=40_000, session="dear", user="ann", status=503)
    scribe.chat([user("odd")], "o", ago_ms=30 * HOUR_MS, session=ODD, user=ODD, key="other")
    scribe.chat([user("hello")], "Hello, how can I help?", ago_ms=20_000, user="bob")
    said = [user("hello"), assistant("Hello, how can I help?")]
    scribe.chat([*said, user("go on")], "I did.", ago_ms=10_000, user="bob")
    scribe.chat([*said, user("go on"), assistant("I did."), user("thanks")], "You are welcome.", user="bob")
    for _ in range(3):
        scribe.chat([user("cron")], "done")
    scribe.store()
    return start_admin(tmp_path / "data")


INFERRED = f"auto:{_id(4)}"


def test_sessions_are_listed_with_their_sums_the_newest_first(told: Admin) -> None:
    answer = told.get("/api/sessions").json()
    assert [row["id"] for row in answer["sessions"]] == [INFERRED, "dear", ODD]
    inferred, dear, odd = answer["sessions"]
    assert (inferred["turns"], inferred["is_inferred"], inferred["user"]) == (3, True, "bob")
    assert (inferred["first_request"], inferred["last_request"]) == (_id(4), _id(6))
    assert (dear["turns"], dear["errors"], dear["is_inferred"], dear["key"]) == (2, 1, False, "search-team")
    assert dear["models"] == ["gpt-4o-mini"]
    assert odd["key"] == "other"
    assert (answer["count"], answer["is_count_exact"], answer["next_before"]) == (3, True, None)


@pytest.mark.parametrize(
    ("sort", "first"),
    [
        ("-cost", "dear"),
        ("-turns", INFERRED),
        ("-errors", "dear"),
        ("last", ODD),
        ("-duration", INFERRED),
        ("first", ODD),
    ],
)
def test_sessions_are_sorted_and_paged_without_a_gap(told: Admin, sort: str, first: str) -> None:
    whole = [row["id"] for row in told.get("/api/sessions", sort=sort).json()["sessions"]]
    assert whole[0] == first
    paged: list[str] = []
    before = ""
    while True:
        page = told.get("/api/sessions", sort=sort, limit="1", **({"before": before} if before else {})).json()
        paged += [row["id"] for row in page["sessions"]]
        before = page["next_before"]
        if before is None:
            break
    assert paged == whole


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"q": "user:ann"}, ["dear"]),
        ({"q": "status:>=500"}, ["dear"]),
        ({"q": "-user:ann"}, [INFERRED, ODD]),
        ({"q": "thanks"}, [INFERRED]),
        ({"q": "model:gpt-4o*"}, [INFERRED, "dear", ODD]),
        ({"q": "user:nobody"}, []),
        ({"from": "now-1h"}, [INFERRED, "dear"]),
        ({"to": "now-24h"}, [ODD]),
    ],
)
def test_a_filter_means_the_sessions_in_which_a_request_fulfils_it(
    told: Admin, asked: dict[str, str], expected: list[str]
) -> None:
    answer = told.get("/api/sessions", **asked).json()
    assert [row["id"] for row in answer["sessions"]] == expected
    assert all(row["turns"] == {"dear": 2, ODD: 1, INFERRED: 3}[row["id"]] for row in answer["sessions"])


@pytest.mark.parametrize(
    ("path", "asked", "code", "about"),
    [
        ("/api/sessions", {"q": "colour:red"}, "bad_filter", "colour"),
        ("/api/sessions", {"sort": "colour"}, "bad_question", "duration"),
        ("/api/users", {"sort": "turns"}, "bad_question", "errors"),
        ("/api/sessions", {"before": "x"}, "bad_question", "next_before"),
        ("/api/users", {"from": "now", "to": "now-1d"}, "bad_question", "first"),
        (f"/api/sessions/{INFERRED}", {"said": "yes"}, "bad_question", "said"),
        ("/api/sessions.csv", {"cols": "colour"}, "bad_question", "colour"),
    ],
)
def test_what_cannot_be_understood_is_said(
    told: Admin, path: str, asked: dict[str, str], code: str, about: str
) -> None:
    answer = told.get(path, **asked)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["code"] == code
    assert about in error["message"]


def test_a_session_tells_of_each_turn_what_is_new_in_it(told: Admin) -> None:
    answer = told.get(f"/api/sessions/{INFERRED}", said="1").json()
    turns = answer["turns"]
    assert [turn["number"] for turn in turns] == [1, 2, 3]
    assert [turn["gap_ms"] for turn in turns] == [None, 9500, 9500]
    new = [[part["text"] for message in turn["said"]["messages"] for part in message["parts"]] for turn in turns]
    assert new == [["hello"], ["go on"], ["thanks"]]
    answers = [turn["said"]["answers"][0]["message"]["parts"][0]["text"] for turn in turns]
    assert answers == ["Hello, how can I help?", "I did.", "You are welcome."]
    cost = turns[0]["cost_nano_usd"]
    assert [turn["cost_so_far_nano_usd"] for turn in turns] == [cost, 2 * cost, 3 * cost]
    assert answer["session"]["cost_nano_usd"] == 3 * cost


def test_later_turns_know_what_came_before_them(told: Admin) -> None:
    whole = told.get(f"/api/sessions/{INFERRED}", said="1").json()["turns"]
    late = told.get(f"/api/sessions/{INFERRED}", said="1", **{"from": "2", "limit": "5"}).json()
    assert late["turns"] == whole[2:]
    assert told.get(f"/api/sessions/{INFERRED}", **{"from": "9"}).json()["turns"] == []


def test_any_name_has_an_address(told: Admin) -> None:
    written = "a~2Fb~20~C3~BC~25~7E~20~3Cb~3E"
    assert told.get(f"/api/sessions/{written}").json()["session"]["id"] == ODD
    assert told.get(f"/api/users/{written}").json()["id"] == ODD
    assert told.get("/api/sessions/nobody").status_code == 404
    assert told.get("/api/users/nobody").status_code == 404


def test_users_are_listed_with_what_they_cost(told: Admin) -> None:
    answer = told.get("/api/users").json()
    assert [row["id"] for row in answer["users"]] == ["ann", "bob", ODD]
    assert [row["requests"] for row in answer["users"]] == [2, 3, 1]
    assert answer["users"][0]["errors"] == 1
    assert (answer["count"], answer["nameless"]["requests"]) == (3, 3)
    assert [row["id"] for row in told.get("/api/users", sort="-last").json()["users"]] == ["bob", "ann", ODD]
    assert [row["id"] for row in told.get("/api/users", sort="-requests", limit="1").json()["users"]] == ["bob"]


@pytest.mark.parametrize("sort", ["-cost", "requests", "-errors", "-tokens", "-last", "last"])
def test_users_are_the_same_from_sums_as_from_rows(told: Admin, sort: str) -> None:
    summed = told.get("/api/users", sort=sort).json()
    counted = told.get("/api/users", sort=sort, q="key:(search-team OR other)").json()
    same = ("users", "count", "nameless")
    assert {name: summed[name] for name in same} == {name: counted[name] for name in same}
    paged: list[Any] = []
    before = ""
    while True:
        page = told.get("/api/users", sort=sort, limit="2", **({"before": before} if before else {})).json()
        paged += page["users"]
        before = page["next_before"]
        if before is None:
            break
    assert paged == summed["users"]


def test_a_user_has_sums_models_sessions_and_failures(told: Admin) -> None:
    answer = told.get("/api/users/ann", **{"from": "now-24h"}).json()
    assert (answer["total"]["requests"], answer["total"]["errors"]) == (2, 1)
    assert answer["step_ms"] == HOUR_MS
    assert sum(point["requests"] for point in answer["points"]) == 2
    assert [model["model"] for model in answer["models"]] == ["gpt-4o-mini"]
    assert [row["id"] for row in answer["failed"]] == [_id(2)]
    assert [row["id"] for row in answer["sessions"]] == ["dear"]
    longer = told.get("/api/users/ann").json()
    assert longer["step_ms"] == 24 * HOUR_MS
    assert longer["total"] | {"start": 0} == answer["total"] | {"start": 0}


def test_files_hold_what_is_on_the_screen(told: Admin) -> None:
    text = told.get("/api/sessions.csv", cols="id,turns,first_message,last_answer", sort="-turns").text
    rows = list(csv.reader(io.StringIO(text)))
    assert rows[0] == ["id", "turns", "first_message", "last_answer"]
    assert rows[1] == [INFERRED, "3", "hello", "You are welcome."]
    lines = [json.loads(line) for line in told.get("/api/users.jsonl", cols="id,requests").text.splitlines()]
    assert lines == [{"id": "ann", "requests": 2}, {"id": "bob", "requests": 3}, {"id": ODD, "requests": 1}]


@pytest.mark.parametrize("path", ["/api/users", "/api/sessions"])
def test_a_cost_that_nobody_knows_is_no_zero_in_a_file(
    tmp_path: Path, start_admin: Callable[..., Admin], path: str
) -> None:
    scribe = Scribe(tmp_path / "data")
    scribe.chat([user("hello")], "hello", user="eve", session="evening", model="nobody-knows-me")
    scribe.store()
    line = start_admin(tmp_path / "data").get(f"{path}.jsonl").json()
    assert (line["unpriced"], line["cost_usd"]) == (1, None)


def test_without_records_there_is_nobody(tmp_path: Path, start_admin: Callable[..., Admin]) -> None:
    admin = start_admin(tmp_path / "data")
    assert admin.get("/api/sessions").json()["sessions"] == []
    assert admin.get("/api/users").json()["users"] == []
    assert admin.get("/api/sessions/x").status_code == 404
