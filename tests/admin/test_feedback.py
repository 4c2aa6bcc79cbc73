"""Feedback over the admin port: who may send it, what is refused, and that it is on the disk before the answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from proxy import failpoints
from proxy.admin.database import AppDatabase
from proxy.admin.feedback import FeedbackJournal
from proxy.admin.measures import measures
from proxy.admin.tokens import StoredToken, TokenConflictError, TokenRequest, TokenStore
from proxy.admin.users import UserRequest, UserStore
from proxy.config import parse_config
from proxy.databases import open_database
from proxy.errors import JournalUnavailable
from proxy.gates.keys import digest_of
from proxy.pepper import load_pepper
from proxy.recorder import run as record
from proxy.records import Feedback
from proxy.store import StoreReader
from proxy.store.feedback import FeedbackDay, feedback_on
from proxy.store.quality import Counted
from proxy.store.rollups import DAY_MS
from tests.admin.conftest import Admin
from tests.store.versions import at_version

StartAdmin = Callable[..., Admin]
PASSWORD = "correct horse"
RATED = "0198f2b1-7c3e-7abc-8000-000000000003"
NEVER = "0198f2b1-7c3e-7abc-8000-00000000abcd"


def give(admin: Admin, auth: Any = None, **body: Any) -> httpx.Response:
    headers = {"content-type": "application/json"}
    if isinstance(auth, str):
        headers["authorization"], auth = f"Bearer {auth}", None
    return admin.client.post("/api/feedback", json={"request": RATED, "value": True} | body, auth=auth, headers=headers)


def fold(data_dir: Path) -> None:
    """Record what is in the journals, as the recorder beside it would."""
    stop = threading.Event()
    stop.set()
    record(data_dir, parse_config(""), data_dir / "run" / "ledger.sock", stop=stop)


def shown(admin: Admin, request: str = RATED) -> list[dict[str, Any]]:
    fold(admin.data_dir)
    found: list[dict[str, Any]] = admin.get(f"/api/requests/{request}").json()["feedback"]
    return found


def test_what_was_said_stands_on_the_request_in_filters_and_in_the_row_of_quality(
    recorded: Path, start_admin: StartAdmin
) -> None:
    admin = start_admin(recorded)
    before = time.time_ns() // 1_000_000
    answer = give(admin, comment="  It helped.  ")
    assert answer.status_code == 201
    said = answer.json()
    assert said == {
        "request": RATED,
        "name": "user",
        "value": 1.0,
        "comment": "It helped.",
        "source": "anyone",
        "at": said["at"],
        "is_own": True,
    }
    assert before <= said["at"] <= time.time_ns() // 1_000_000
    assert give(admin, name="tone", value=0.25).status_code == 201
    assert shown(admin) == [said, shown(admin)[1]]
    assert [row["id"] for row in admin.get("/api/requests", q="feedback:positive").json()["requests"]] == [RATED]
    assert admin.get("/api/requests/count", q="feedback:negative").json()["requests"] == 1
    measured = {each["name"]: each for each in admin.get("/api/quality").json()["measures"]}
    feedback = measured["feedback"]
    assert (feedback["label"], feedback["counted"], feedback["of"]) == ("Positive feedback", 1, 2)
    assert feedback["parts"] == [["positive", 1], ["negative", 1]]
    assert admin.get("/api/requests", q=feedback["q"]).status_code == 200


def test_saying_it_again_says_it_instead_and_null_takes_it_back(recorded: Path, start_admin: StartAdmin) -> None:
    admin = start_admin(recorded)
    give(admin, comment="Hm.")
    give(admin, value=False)
    assert [(each["value"], each["comment"]) for each in shown(admin)] == [(0.0, None)]
    assert give(admin, value=None).json()["value"] is None
    assert shown(admin) == []


def test_a_request_that_is_not_recorded_yet_is_waited_for(recorded: Path, start_admin: StartAdmin) -> None:
    admin = start_admin(recorded)
    assert give(admin, request=NEVER.upper()).json()["request"] == NEVER
    fold(recorded)
    with StoreReader(recorded / "records.db") as reader:
        assert [each.value for each in reader.run(feedback_on(NEVER))] == [1.0]
    assert admin.get(f"/api/requests/{NEVER}").status_code == 404


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"request": "chatcmpl-123"}, "request"),
        ({"request": None}, "request"),
        ({"value": -1}, "value"),
        ({"value": 1.01}, "value"),
        ({"value": "great"}, "value"),
        ({"value": [1]}, "value"),
        ({"comment": "x" * 2001}, "comment"),
        ({"comment": 7}, "comment"),
        ({"name": ""}, "name"),
        ({"name": "Two words"}, "name"),
        ({"name": "x" * 65}, "name"),
        ({"user": "ann"}, "user"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(tmp_path: Path, start_admin: StartAdmin, body: Any, place: str) -> None:
    admin = start_admin(tmp_path / "data")
    answer = give(admin, **body)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "bad_question"
    assert answer.json()["error"]["message"].startswith(f"{place}: ")
    missing = admin.client.post("/api/feedback", json={"request": RATED})
    assert missing.json()["error"]["message"] == "value: Field required"
    assert not (tmp_path / "data" / "journal").exists(), "nothing was written"


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e999"])
def test_a_value_that_is_no_number_is_refused(tmp_path: Path, start_admin: StartAdmin, value: str) -> None:
    admin = start_admin(tmp_path / "data")
    body = f'{{"request": "{RATED}", "value": {value}}}'
    headers = {"content-type": "application/json"}
    assert admin.client.post("/api/feedback", content=body, headers=headers).status_code == 400


def test_a_token_of_an_application_sends_feedback_and_sees_nothing(recorded: Path, start_admin: StartAdmin) -> None:
    with AppDatabase(recorded) as database:
        users, tokens = UserStore(database, has_built_in=False), TokenStore(database)
        for name in ("admin", "editor", "viewer"):
            request = {"name": f"the-{name}", "role": name, "password": PASSWORD}
            users.add(UserRequest.model_validate(request))
        shop = tokens.create(TokenRequest(name="shop", role="feedback")).token
        wall = tokens.create(TokenRequest(name="wall", role="viewer")).token
    admin = start_admin(recorded)
    assert give(admin).status_code == 401
    assert give(admin, wall).status_code == 403
    assert give(admin, ("the-viewer", PASSWORD)).status_code == 403
    assert give(admin, shop, value=False).status_code == 201
    assert give(admin, ("the-editor", PASSWORD), value=0.5).status_code == 201
    fold(recorded)
    bearer = {"authorization": f"Bearer {shop}"}
    for path in ("/api/requests", f"/api/requests/{RATED}", "/metrics", "/", "/api/me", "/api/views", "/status"):
        assert admin.client.get(path, headers=bearer).status_code == 403, path
    found = admin.client.get(f"/api/requests/{RATED}", auth=("the-editor", PASSWORD)).json()["feedback"]
    told = [(each["source"], each["value"], each["is_own"]) for each in found]
    assert told == [("token:shop", 0.0, False), ("the-editor", 0.5, True)]


def test_a_page_of_somebody_else_cannot_send_it(tmp_path: Path, start_admin: StartAdmin) -> None:
    admin = start_admin(tmp_path / "data")
    body = {"request": RATED, "value": 1}
    elsewhere = admin.client.post("/api/feedback", json=body, headers={"origin": "https://evil.example"})
    form = admin.client.post("/api/feedback", data=body)
    assert (elsewhere.status_code, form.status_code) == (403, 415)


def test_a_journal_that_is_full_takes_no_more_and_says_so(recorded: Path, start_admin: StartAdmin) -> None:
    admin = start_admin(recorded, "record: {journal_max_gb: 0.00000001}")
    assert give(admin).json() == {
        "error": {
            "code": "unavailable",
            "message": "the journal has grown to `record.journal_max_gb`: the recorder is behind",
        }
    }
    assert shown(admin) == []


def test_all_that_was_answered_is_in_the_journal_when_the_process_is_killed(
    recorded: Path, start_admin: StartAdmin
) -> None:
    admin = start_admin(recorded)
    for number in range(20):
        assert give(admin, name=f"check-{number}", value=number / 20).status_code == 201
    admin.close()
    again = start_admin(recorded)
    assert sorted(each["value"] for each in shown(again)) == [number / 20 for number in range(20)]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[FeedbackJournal]:
    made = FeedbackJournal(tmp_path, 1.0)
    yield made
    made.close()


@pytest.mark.parametrize("point", ["journal.write", "journal.sync"])
async def test_a_disk_that_fails_is_said_so_and_the_next_word_is_kept(
    journal: FeedbackJournal, tmp_path: Path, point: str
) -> None:
    def said(value: float) -> Feedback:
        return Feedback(RATED, "user", "ann", time.time_ns() // 1_000_000, value)

    await journal.keep(said(0.1))
    failpoints.arm({failpoints.VARIABLE: f"{point}:eio:1"})
    try:
        with pytest.raises(JournalUnavailable):
            await journal.keep(said(0.2))
    finally:
        failpoints.arm({})
    if point == "journal.sync":
        (mark,) = (tmp_path / "journal").glob("*.unsafe")
        with pytest.raises(JournalUnavailable, match="not written anew yet"):
            await journal.keep(said(0.25))
        mark.unlink()  # as when the recorder has written the segment anew
    await journal.keep(said(0.3))
    journal.close()
    fold(tmp_path)
    with StoreReader(tmp_path / "records.db") as reader:
        assert [each.value for each in reader.run(feedback_on(RATED))] == [0.3]


def test_shares_of_feedback_are_told_for_each_day_and_both_weeks() -> None:
    days = [FeedbackDay(0, 4, 1, 2), FeedbackDay(7 * DAY_MS, 10, 9, 1), FeedbackDay(13 * DAY_MS, 10, 6, 4)]
    feedback = measures(Counted([], 0, 0), days, 0)[-1]
    assert (feedback.share, feedback.before, feedback.counted, feedback.of) == (0.75, 0.25, 15, 20)
    assert feedback.days == [0.9, None, None, None, None, None, 0.6]
    assert feedback.days_before == [0.25, None, None, None, None, None, None]
    assert feedback.starts[0] == 7 * DAY_MS


def test_tokens_that_were_made_before_the_role_still_open_what_they_opened(tmp_path: Path) -> None:
    at_version(tmp_path / "app.db", 3)
    digest = digest_of(b"token\0glt-earlier", load_pepper(tmp_path))
    connection = open_database(tmp_path / "app.db", "write")
    connection.execute(
        "INSERT INTO tokens (name, role, digest, last_four, created_by, created_ms) VALUES ('wall', 'viewer', ?, 'lier', 'ada', 1)",
        (digest,),
    )
    connection.close()
    with AppDatabase(tmp_path) as database:
        tokens = TokenStore(database)
        found = tokens.find(b"glt-earlier")
        assert found is not None
        assert (found.name, found.role, found.created_by) == ("wall", "viewer", "ada")
        with pytest.raises(TokenConflictError):
            tokens.create(TokenRequest(name="wall", role="feedback"))
        made = tokens.create(TokenRequest(name="shop", role="feedback"))
        assert tokens.find(made.token.encode()) == StoredToken(**made.model_dump(exclude={"token"}))
