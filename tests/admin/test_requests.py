"""The list of requests on the admin port: pages, files, counts, values, previews, live, saved views."""

from __future__ import annotations

import csv
import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from proxy.admin import live
from proxy.admin.database import AppDatabase
from proxy.admin.requests import COLUMNS, FILE_ROWS
from proxy.admin.twins import MOST_FILES
from proxy.admin.users import UserRequest, UserStore
from proxy.store import SqliteStore
from tests.admin.conftest import HOSTILE, Admin
from tests.harness.process import wait_until
from tests.recorder.builders import ANSWER_NANO_USD, make_begin, make_end, make_record
from tests.store.rows import change, write_rows

StartAdmin = Callable[..., Admin]
FIRST_ID = "0198f2b1-7c3e-7abc-8000-000000000000"


def lines(answer: httpx.Response) -> list[dict[str, Any]]:
    return [json.loads(line) for line in answer.raise_for_status().text.splitlines()]


def test_the_twins_hold_what_the_list_shows_in_its_order(recorded: Path, start_admin: StartAdmin) -> None:
    admin = start_admin(recorded)
    since = {"from": str(time.time_ns() // 1_000_000 - 20_000)}
    for parameters in ({}, {"q": "key:search-team", "sort": "-cost"}, {"q": "status:500"}, since):
        page = admin.get("/api/requests", limit="1000", **parameters).json()["requests"]
        rows = lines(admin.get("/api/requests.jsonl", **parameters))
        table = list(csv.DictReader(io.StringIO(admin.get("/api/requests.csv", **parameters).text, newline="")))
        shown = [row["id"] for row in page]
        assert [row["id"] for row in rows] == shown == [row["id"] for row in table]
        assert [row | {"seq": None} for row in rows] == [row | {"seq": None} for row in page]


def test_a_file_has_the_columns_that_are_asked_for(recorded: Path, start_admin: StartAdmin) -> None:
    admin = start_admin(recorded)
    answer = admin.get("/api/requests.csv", cols="model,time,message,latency,meta.team,model", q="status:200")
    assert answer.headers["content-disposition"] == 'attachment; filename="requests.csv"'
    title, first, *_ = csv.reader(io.StringIO(answer.text, newline=""))
    assert title == [
        *("model", "model_requested", "started_at", "message", "answer", "duration_ms", "ttft_ms", "meta.team")
    ]
    assert first[0] == "gpt-4o-mini-2024-07-18"
    assert first[3:5] == ["Say hello in one word, please.", "Hello!"]
    assert list(lines(admin.get("/api/requests.jsonl", cols="id,cost"))[0]) == ["id", "cost_usd"]


@pytest.mark.parametrize(
    ("path", "parameters"),
    [
        ("/api/requests.csv", {"cols": "colour"}),
        ("/api/requests.csv", {"q": "colour:red"}),
        ("/api/requests.csv", {"bodies": "1"}),
        ("/api/requests.jsonl", {"bodies": "yes"}),
        ("/api/requests.jsonl", {"before": "x"}),
        ("/api/requests.jsonl", {"as": "poem"}),
        ("/api/requests.csv", {"as": "finetune"}),
        ("/api/requests/count", {"q": "("}),
        ("/api/requests/histogram", {"from": "now", "to": "now-1h"}),
        ("/api/requests/histogram", {"buckets": "1000"}),
        ("/api/requests/values", {"field": "colour"}),
        ("/api/requests/values", {}),
        ("/api/requests/previews", {}),
        ("/api/requests/previews", {"ids": "a b"}),
        ("/api/requests", {"ids": "x" * 200}),
        ("/api/requests/stream", {"q": "colour:red"}),
    ],
)
def test_a_mistake_is_answered_as_one_and_not_in_a_file(
    recorded: Path, start_admin: StartAdmin, path: str, parameters: dict[str, str]
) -> None:
    answer = start_admin(recorded).get(path, **parameters)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]


def test_no_cell_of_a_file_is_a_formula(recorded: Path, start_admin: StartAdmin) -> None:
    tricks = {
        "key": "=1+1",
        "user": "+x",
        "session": "@SUM(A1)",
        "environment": "-2",
        "prompt_name": "\t=x",
        "path": "a\r=b",
    }
    columns = ", ".join(f"{name} = ?" for name in tricks)
    change(recorded / "records.db", f"UPDATE exchanges SET {columns} WHERE seq = 1", *tricks.values())  # noqa: S608
    (row,) = csv.DictReader(io.StringIO(start_admin(recorded).get("/api/requests.csv", ids=FIRST_ID).text, newline=""))
    for name, value in tricks.items():
        assert row[name] == (value if name == "path" else f"'{value}")


def test_the_texts_come_with_a_file_when_they_are_asked_for(recorded: Path, start_admin: StartAdmin) -> None:
    admin = start_admin(recorded)
    (row,) = lines(admin.get("/api/requests.jsonl", ids=FIRST_ID, bodies="1", cols="id"))
    assert json.loads(row["request_body"])["messages"][0]["content"] == "Say hello in one word, please."
    assert json.loads(row["response_body"])["choices"][0]["message"]["content"] == "Hello!"


def test_conversations_become_examples_to_learn_from(recorded: Path, start_admin: StartAdmin) -> None:
    examples = lines(start_admin(recorded).get("/api/requests.jsonl", **{"as": "finetune"}))
    said = [
        {"role": "user", "content": "Say hello in one word, please."},
        {"role": "assistant", "content": "Hello!"},
    ]
    assert examples == [{"messages": said}] * 28, "one failed, and one says nothing"


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """A data directory with a few thousand requests."""
    (tmp_path / "data").mkdir()
    with closing(SqliteStore(tmp_path / "data" / "records.db")) as store:
        write_rows(store, ({"id": f"id-{number:05}", "path": "/" + "x" * 5000} for number in range(5 * FILE_ROWS + 7)))
    return tmp_path / "data"


def test_a_file_is_as_long_as_the_list(many: Path, start_admin: StartAdmin) -> None:
    admin = start_admin(many)
    ids = [row["id"] for row in lines(admin.get("/api/requests.jsonl", cols="id", sort="-time"))]
    assert ids == [f"id-{number:05}" for number in reversed(range(5 * FILE_ROWS + 7))]


def test_a_file_that_cannot_be_finished_breaks_off(many: Path, start_admin: StartAdmin) -> None:
    admin = start_admin(many)
    with admin.client.stream("GET", "/api/requests.jsonl") as answer:
        pieces = answer.iter_raw(1000)
        assert next(pieces)
        change(many / "records.db", "ALTER TABLE exchanges RENAME TO gone")
        with pytest.raises(httpx.RemoteProtocolError):
            list(pieces)


def test_too_many_files_at_a_time_are_refused_and_leave_room_when_they_end(many: Path, start_admin: StartAdmin) -> None:
    admin = start_admin(many)
    open_: list[Any] = []
    for _ in range(MOST_FILES):
        stream = admin.client.stream("GET", "/api/requests.jsonl")
        stream.__enter__()
        open_.append(stream)
    answer = admin.get("/api/requests.csv")
    assert (answer.status_code, answer.json()["error"]["code"], answer.headers["retry-after"]) == (503, "busy", "1")
    for stream in open_:
        stream.__exit__(None, None, None)
    wait_until(lambda: admin.get("/api/requests.csv", limit="1").status_code == 200, "room for a file")


def test_files_that_are_asked_for_at_once_are_not_more_than_may_be_written(many: Path, start_admin: StartAdmin) -> None:
    admin, most = start_admin(many), 3 * MOST_FILES
    together, left = threading.Barrier(most), threading.Event()

    def ask() -> int:
        with httpx.Client(base_url=admin.client.base_url, timeout=30, trust_env=False) as client:
            together.wait(30)
            with client.stream("GET", "/api/requests.jsonl") as answer:
                answered.release()
                left.wait(30)
                return answer.status_code

    answered = threading.Semaphore(0)
    with ThreadPoolExecutor(most) as threads:
        asked = [threads.submit(ask) for _ in range(most)]
        for _ in range(most):
            assert answered.acquire(timeout=30)
        left.set()
        statuses = [each.result() for each in asked]
    assert sorted(statuses) == [200] * MOST_FILES + [503] * (most - MOST_FILES)
    wait_until(lambda: admin.get("/api/requests.csv", limit="1").status_code == 200, "room for a file")


def test_it_is_said_how_much_is_meant(recorded: Path, start_admin: StartAdmin) -> None:
    admin = start_admin(recorded)
    found = admin.get("/api/requests/count").json()
    assert (found["requests"], found["is_exact"], found["failed"], found["unpriced"]) == (30, True, 1, 1)
    assert found["cost_nano_usd"] == 28 * ANSWER_NANO_USD
    assert admin.get("/api/requests/count", q="failed:true").json()["requests"] == 1
    assert admin.get("/api/requests/count", q='"say hello" key:search-team').json()["requests"] > 10
    assert admin.get("/api/requests/count", q=found["slow_filter"]).json()["requests"] == found["slow"]


def test_bars_say_when_it_was(recorded: Path, start_admin: StartAdmin) -> None:
    found = start_admin(recorded).get("/api/requests/histogram", **{"from": "now-6h"}).json()
    assert sum(found["requests"]) == 30
    assert sum(found["failed"]) == 1
    assert found["to"] - found["from"] == 6 * 3_600_000


def test_values_previews_and_fields_are_told(recorded: Path, start_admin: StartAdmin) -> None:
    admin = start_admin(recorded)
    keys = admin.get("/api/requests/values", field="key").json()["values"]
    assert {value["value"] for value in keys} == {"search-team", "support-team"}
    previews = admin.get("/api/requests/previews", ids=f"{FIRST_ID},nobody").json()["previews"]
    assert previews[FIRST_ID]["answer"] == "Hello!"
    assert list(previews) == [FIRST_ID]
    fields = {field["name"]: field for field in admin.get("/api/filters").json()["fields"]}
    assert fields["latency"]["kind"] == "duration"
    assert fields["model"]["has_values"]


def test_lists_answer_before_there_is_a_store(tmp_path: Path, start_admin: StartAdmin) -> None:
    admin = start_admin(tmp_path / "data")
    assert admin.get("/api/requests/count").json()["requests"] == 0
    assert admin.get("/api/requests/histogram").json()["requests"] == []
    assert admin.get("/api/requests/values", field="key").json() == {"values": [], "newest": None}
    assert admin.get("/api/requests/previews", ids="a").json() == {"previews": {}}
    assert admin.get("/api/requests.jsonl").text == ""
    assert admin.get("/api/requests.csv").text.startswith("id,started_at,")


PASSWORD = "correct horse"


class Tail:
    """A client of the live tail."""

    def __init__(self, admin: Admin, last: str = "", who: str = "", **parameters: str) -> None:
        headers = {"last-event-id": last} if last else {}
        auth = (who, PASSWORD) if who else None
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{admin.port}", timeout=20, trust_env=False, auth=auth)
        self._stream = self.client.stream("GET", "/api/requests/stream", params=parameters, headers=headers)
        self.answer = self._stream.__enter__()
        self.status = self.answer.status_code
        self._lines = self.answer.iter_lines()

    def event(self) -> tuple[str, str, Any]:
        """Wait for the next event: its name, its id and what it says."""
        fields: dict[str, str] = {}
        for line in self._lines:
            name, _, value = line.partition(": ")
            if line and name:
                fields[name] = value
            elif "event" in fields:
                return fields["event"], fields["id"], json.loads(fields["data"])
        raise EOFError

    def close(self) -> None:
        self._stream.__exit__(None, None, None)
        self.client.close()


@pytest.fixture
def tail(many: Path, start_admin: StartAdmin) -> Iterator[Callable[..., Tail]]:
    """Follow the requests of one store."""
    admins, open_ = list[Admin](), list[Tail]()

    def follow(**parameters: str) -> Tail:
        if not admins:
            admins.append(start_admin(many))
        open_.append(Tail(admins[0], **parameters))
        return open_[-1]

    yield follow
    for each in open_:
        each.close()


def record(data_dir: Path, *ids: str, key: str = "live") -> None:
    with closing(SqliteStore(data_dir / "records.db")) as store:
        store.write([make_record(make_begin(id=id_, key=key), make_end()) for id_ in ids], {})


def test_what_is_recorded_is_told_to_those_who_asked_for_it(many: Path, tail: Callable[..., Tail]) -> None:
    everything, some = tail(), tail(q="key:mine")
    record(many, "a", "b")
    record(many, "c", key="mine")
    seen: list[str] = []
    while len(seen) < 3:
        name, _, data = everything.event()
        assert name == "rows"
        seen += [row["id"] for row in data["rows"]]
    assert seen == ["a", "b", "c"]
    assert [row["id"] for row in some.event()[2]["rows"]] == ["c"]


def test_a_client_that_comes_back_is_told_what_it_missed(many: Path, tail: Callable[..., Tail]) -> None:
    first = tail()
    record(many, "a")
    _, place, _ = first.event()
    first.close()
    record(many, "b")
    record(many, "c")
    assert [row["id"] for row in tail(last=place).event()[2]["rows"]] == ["b", "c"]
    assert tail(last="1").event()[0] == "gap"


def test_nothing_is_missed_between_a_list_and_its_stream(many: Path, tail: Callable[..., Tail]) -> None:
    newest = tail().client.get("/api/requests", params={"limit": 1}).json()["newest"]
    record(many, "between")
    assert [row["id"] for row in tail(after=str(newest)).event()[2]["rows"]] == ["between"]


def test_of_too_many_a_sample_is_told_and_how_many_there_were(many: Path, tail: Callable[..., Tail]) -> None:
    follower = tail()
    record(many, *(f"n{number}" for number in range(300)))
    rows: list[str] = []
    of = 0
    while of < 300:
        _, _, data = follower.event()
        assert len(data["rows"]) <= live.MOST_ROWS
        rows += [row["id"] for row in data["rows"]]
        of += data["of"]
    assert of == 300
    assert len(rows) < 300
    assert rows == sorted(rows, key=lambda id_: int(id_[1:]))


def test_messages_come_five_times_a_second_at_most(many: Path, tail: Callable[..., Tail]) -> None:
    follower, stop = tail(), threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            record(many, f"w{number}")
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    follower.event()
    started = time.monotonic()
    messages = 0
    while time.monotonic() - started < 2:
        follower.event()
        messages += 1
    stop.set()
    writer.join()
    assert 2 <= messages <= 12


def test_who_asks_what_cannot_be_answered_holds_up_nobody(many: Path, tail: Callable[..., Tail]) -> None:
    # What takes too long fails in the same way; to read a broken tag fails at once.
    broken, others = [tail(q=f"meta.x:{number}") for number in range(8)], [tail(q="key:live") for _ in range(2)]
    with closing(SqliteStore(many / "records.db")) as store:
        write_rows(store, [{"id": "broken", "key": "live"}])
        change(store.path, "UPDATE exchanges SET tags = '{' WHERE id = 'broken'")
    for each in broken:
        name, _, data = each.event()
        assert (name, data) == ("gap", {})
    for each in others:
        assert [row["id"] for row in each.event()[2]["rows"]] == ["broken"]
    record(many, "later")
    for each in others:
        assert [row["id"] for row in each.event()[2]["rows"]] == ["later"]


def test_there_is_an_end_to_how_many_may_listen_and_one_person_leaves_room_for_others(
    many: Path, tail: Callable[..., Tail]
) -> None:
    with AppDatabase(many) as database:
        for name in ("ada", "eve", "val"):
            wanted = {"name": name, "role": "admin", "password": PASSWORD}
            UserStore(database, has_built_in=False).add(UserRequest.model_validate(wanted))
    followers = [tail(who="eve") for _ in range(live.MOST_OF_ONE)]
    assert {each.status for each in followers} == {200}
    assert tail(who="eve").status == 503, "this is enough for one"
    assert {tail(who="val").status for _ in range(live.MOST_STREAMS - live.MOST_OF_ONE)} == {200}
    refused = tail(who="ada")
    assert refused.status == 503
    assert refused.answer.headers["retry-after"] == "1"
    followers[0].close()

    def is_free() -> bool:
        return tail(who="ada").status == 200

    wait_until(is_free, "room for one more")


def test_the_admin_process_ends_soon_though_somebody_listens(many: Path, start_admin: StartAdmin) -> None:
    admin = start_admin(many)
    follower = Tail(admin)
    started = time.monotonic()
    assert admin.stop() == 0
    assert time.monotonic() - started < 8
    follower.close()


def test_hostile_texts_are_only_text(recorded: Path, start_admin: StartAdmin) -> None:
    answer = start_admin(recorded).get("/api/requests", q=f'user:"{HOSTILE}"')
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert [row["user"] for row in answer.json()["requests"]] == [HOSTILE]


def test_every_column_of_the_dashboard_can_be_written_to_a_file(recorded: Path, start_admin: StartAdmin) -> None:
    admin = start_admin(recorded)
    for column, fields in COLUMNS.items():
        assert list(lines(admin.get("/api/requests.jsonl", cols=column, ids=FIRST_ID))[0]) == list(fields)
