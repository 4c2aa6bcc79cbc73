"""Everything about one request, from a real store through a real admin process."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from proxy.admin.advice import OUR_CODES, read_advice
from proxy.admin.blobs import shown_as
from proxy.admin.detail import beside
from proxy.store import AsyncStoreReader, SqliteStore, StoreReader, query
from proxy.store import detail as ask
from proxy.store.filter import parse_filter
from proxy.store.listing import Sort
from proxy.store.query import RequestRow
from tests.admin.conftest import Admin
from tests.recorder.builders import (
    ANSWER,
    ANSWER_NANO_USD,
    DONE_EVENT,
    EVENTS,
    SSE_HEADERS,
    START_MS,
    STREAM_PROMPT,
    USAGE_EVENT,
    interpreter,
    make_begin,
    make_end,
    make_exchange,
    make_record,
    times_of,
)
from tests.store.rows import write_rows

StartAdmin = Callable[..., Admin]
PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" onload="canary()"/>'


def url(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


PICTURES = [
    {"type": "image_url", "image_url": {"url": url(PNG, "image/png")}},
    {"type": "image_url", "image_url": {"url": url(SVG, "image/svg+xml")}},
    {"type": "image_url", "image_url": {"url": url(b"<html><script>canary()</script>", "text/html")}},
    {"type": "file", "file": {"filename": '../a\r\nx: y;"ü.pdf', "file_data": url(b"%PDF-1.7", "application/pdf")}},
]
LONG = "w" * 100_000


def chat(messages: list[dict[str, Any]], **more: Any) -> bytes:
    return json.dumps({"model": "gpt-4o-mini", "messages": messages, **more}).encode()


def records() -> Iterator[Any]:
    first = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "One?"}]
    second = [*first, {"role": "assistant", "content": "Hello!"}, {"role": "user", "content": "Two?"}]
    for number, messages in enumerate((first, second)):
        request = chat(messages)
        begin = make_begin(id=f"talk-{number}", started_at_ms=START_MS + number, session="s", user="ann", trace_id="t")
        yield make_record(begin, make_end(ANSWER, request), request=request, response=ANSWER)
    pieces = [*EVENTS, USAGE_EVENT, DONE_EVENT]
    body = b"".join(pieces)
    end = make_end(body, STREAM_PROMPT, headers=SSE_HEADERS, times=times_of(pieces), connect_us=100)
    yield interpreter().record(
        make_exchange(make_begin(id="streamed", started_at_ms=START_MS + 5), end, STREAM_PROMPT, body)
    )
    request = chat([{"role": "user", "content": [*PICTURES, {"type": "text", "text": LONG}]}])
    begin = make_begin(id="pictures", started_at_ms=START_MS + 6)
    yield make_record(begin, make_end(ANSWER, request), request=request, response=ANSWER)
    request = chat([{"role": "user" if n % 2 else "assistant", "content": f"{n}"} for n in range(900)])
    begin = make_begin(id="long", started_at_ms=START_MS + 7)
    yield make_record(begin, make_end(ANSWER, request), request=request, response=ANSWER)
    wrong = b'{"error":{"message":"Too fast.","type":"requests","code":"rate_limit_exceeded"}}'
    begin = make_begin(id="failed", started_at_ms=START_MS + 8)
    yield make_record(begin, make_end(wrong, status=429), response=wrong)
    again = make_begin(id="again", started_at_ms=START_MS + 9, attempt=2, retry_of="failed")
    yield make_record(again)
    silent = make_begin(id="silent", started_at_ms=START_MS + 10, no_store="request")
    yield make_record(silent)


@pytest.fixture(scope="module")
def _stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data_dir = tmp_path_factory.mktemp("detail") / "data"
    data_dir.mkdir()
    with closing(SqliteStore(data_dir / "records.db")) as store:
        store.write(list(records()), {})
    return data_dir


@pytest.fixture
def admin(_stored: Path, start_admin: StartAdmin) -> Admin:
    return start_admin(_stored)


def test_a_request_tells_where_its_time_and_its_money_went(admin: Admin) -> None:
    told = admin.get("/api/requests/talk-0").json()
    assert [(step["name"], step["start_ms"], step["end_ms"]) for step in told["timing"]["steps"]] == [
        ("receive", 0, 0.09),
        ("admit", 0.09, 0.15),
        ("wait", 0.15, 400),
        ("stream", 400, 500),
    ]
    assert (told["timing"]["is_reused"], told["timing"]["overhead_ms"]) == (True, 0.25)
    lines = {line["bucket"]: line for line in told["receipt"]["lines"]}
    assert sum(line["nano_usd"] for line in lines.values()) == told["receipt"]["nano_usd"] == ANSWER_NANO_USD
    assert lines["input_uncached"]["count"] == 1000
    assert (lines["input_uncached"]["price_usd"], lines["input_uncached"]["per"]) == (0.15, 1_000_000)
    assert (told["receipt"]["source"], told["receipt"]["reason"]) == ("table", None)
    assert told["rank"] is None, "of a handful a percentile says nothing"
    assert told["kept"]["request"]["state"] == "whole"


def test_a_request_knows_its_place_among_others(admin: Admin) -> None:
    first, second = (admin.get(f"/api/requests/talk-{number}").json() for number in (0, 1))
    assert first["turn"] == {"turn": 1, "turns": 2, "previous": None, "next": "talk-1"}
    assert second["turn"] == {"turn": 2, "turns": 2, "previous": "talk-0", "next": None}
    assert [each["id"] for each in first["trace"]] == ["talk-0", "talk-1"]
    assert [each["id"] for each in admin.get("/api/requests/again").json()["attempts"]] == ["failed", "again"]
    assert first["attempts"] == []


def test_a_failure_says_what_to_do_and_finds_all_like_it(admin: Admin) -> None:
    advice = admin.get("/api/requests/failed").json()["advice"]
    assert (advice["code"], advice["message"], advice["retry"]) == ("rate_limit_exceeded", "Too fast.", "later")
    found = admin.get("/api/requests", q=advice["filter"]).json()["requests"]
    assert [row["id"] for row in found] == ["failed"]
    assert admin.get("/api/requests/talk-0").json()["advice"] is None


def test_a_turn_is_open_and_what_was_there_before_is_known(admin: Admin) -> None:
    told = admin.get("/api/requests/talk-1/conversation").json()
    assert [message["index"] for message in told["messages"]] == [0, 3]
    assert told["history"] == {"system": 1, "folded": 3, "known": 3}
    assert (told["total"], told["first"], told["earlier"]) == (4, 3, "talk-0")
    assert told["answers"][0]["message"]["parts"] == [{"kind": "text", "text": "Hello!"}]
    earlier = admin.get("/api/requests/talk-1/conversation", **{"from": "1", "to": "3"}).json()
    assert [message["parts"][0]["text"] for message in earlier["messages"]] == ["One?", "Hello!"]


def test_of_many_messages_some_are_sent_and_all_can_be_had(admin: Admin) -> None:
    told = admin.get("/api/requests/long/conversation").json()
    assert told["total"] == 900
    assert told["messages"][-1]["parts"][0]["text"] == "899"
    seen: list[str] = []
    while len(seen) < 900:
        page = admin.get("/api/requests/long/conversation", **{"from": str(len(seen))}).json()["messages"]
        assert 0 < len(page) <= 200
        seen += [message["parts"][0]["text"] for message in page]
    assert seen == [str(number) for number in range(900)]


def test_a_long_text_is_cut_unless_all_of_it_is_asked_for(admin: Admin) -> None:
    (message,) = admin.get("/api/requests/pictures/conversation").json()["messages"]
    assert message["cut"] == {"4": len(LONG)}
    assert message["parts"][4]["text"] == LONG[:50_000]
    (message,) = admin.get("/api/requests/pictures/conversation", full="1").json()["messages"]
    assert (message["cut"], message["parts"][4]["text"]) == ({}, LONG)
    assert admin.get("/api/requests/pictures/conversation", full="yes").status_code == 400


def test_blobs_are_pictures_or_downloads_and_never_documents(admin: Admin) -> None:
    (message,) = admin.get("/api/requests/pictures/conversation").json()["messages"]
    assert [part["blob"] for part in message["parts"][:4]] == [0, 1, 2, 3]
    answers = [admin.get(f"/api/requests/pictures/blobs/{number}") for number in range(4)]
    assert [answer.headers["content-type"] for answer in answers] == ["image/png", *["application/octet-stream"] * 3]
    assert [answer.headers["content-disposition"].split(";")[0] for answer in answers] == [
        "inline",
        *["attachment"] * 3,
    ]
    assert answers[0].content == PNG
    assert answers[1].content == SVG
    for answer in answers:
        assert "sandbox" in answer.headers["content-security-policy"]
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert re.fullmatch(r'(inline|attachment); filename="[A-Za-z0-9_. -]+"', answer.headers["content-disposition"])
    for number in ("4", "-1", "x", "9" * 9):
        assert admin.get(f"/api/requests/pictures/blobs/{number}").status_code == 404


@pytest.mark.parametrize("data", [SVG, b"<!doctype html>", b"%PDF", b"", b"RIFF1234AVI ", b"xxxxxxxxWEBP", b"{}"])
def test_nothing_is_shown_that_does_not_begin_like_a_picture_or_a_sound(data: bytes) -> None:
    assert shown_as(data) == "application/octet-stream"


def test_a_stream_is_told_event_by_event(admin: Admin) -> None:
    told = admin.get("/api/requests/streamed/events").json()
    assert (told["total"], told["pieces"], told["has_times"]) == (6, 6, True)
    assert [event["at_ms"] for event in told["events"]] == [400, 410, 420, 430, 440, 450]
    assert [(event["added"], event["text"]) for event in told["events"][:3]] == [
        ("other", ""),
        ("text", "Hel"),
        ("text", "lo!"),
    ]
    assert told["gaps"]["longest_ms"] == 10
    page = admin.get("/api/requests/streamed/events", **{"from": "2", "limit": "1"}).json()
    assert [event["text"] for event in page["events"]] == ["lo!"]
    assert admin.get("/api/requests/talk-0/events").json()["events"] == []
    assert admin.get("/api/requests/streamed").json()["timing"]["first_token_ms"] == 410


def test_a_body_is_text_that_no_browser_runs(admin: Admin) -> None:
    answer = admin.get("/api/requests/talk-0/text/request")
    assert answer.json()["messages"][1]["content"] == "One?"
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert admin.get("/api/requests/streamed/text/response").text.startswith("data: ")
    assert admin.get("/api/requests/silent/text/request").status_code == 404
    assert admin.get("/api/requests/talk-0/text/elsewhere").status_code == 404


def test_what_is_copied_is_the_request(admin: Admin) -> None:
    curl = admin.get("/api/requests/talk-0/code", **{"as": "curl"}).text
    assert "/openai/chat/completions" in curl
    assert '"content": "One?"' in curl
    assert "OpenAI(" in admin.get("/api/requests/talk-0/code", **{"as": "python"}).text
    assert "fetch(" in admin.get("/api/requests/talk-0/code", **{"as": "javascript"}).text
    assert "## System" in admin.get("/api/requests/talk-0/code", **{"as": "markdown"}).text
    document = admin.get("/api/requests/talk-0/code", **{"as": "json"}).json()
    assert document["request"]["messages"][1]["content"] == "One?"
    assert admin.get("/api/requests/talk-0/code", **{"as": "cobol"}).status_code == 400


def test_what_was_not_kept_is_said_so_and_cannot_be_sent_again(admin: Admin) -> None:
    told = admin.get("/api/requests/silent").json()["kept"]
    assert (told["request"]["state"], told["response"]["state"]) == ("none", "whole")
    assert "asked not to keep it" in told["request"]["reason"]
    assert admin.get("/api/requests/silent/conversation").json()["messages"] == []
    answer = admin.get("/api/requests/silent/code")
    assert (answer.status_code, "not kept whole" in answer.text) == (400, True)


def test_nobody_s_request_is_not_found(admin: Admin) -> None:
    for path in ("", "/conversation", "/events", "/blobs/0", "/text/request", "/code", "/neighbours"):
        assert admin.get(f"/api/requests/nobody{path}").status_code == 404


ORDERS = ["-time", "time", "-cost", "cost", "-latency", "-input", "-tokens"]


@pytest.mark.parametrize("sort", ORDERS)
@pytest.mark.parametrize("q", ["", "status:200", "model:gpt-4o* -user:ann"])
def test_next_and_previous_go_through_a_list_as_it_is_shown(admin: Admin, sort: str, q: str) -> None:
    page = admin.get("/api/requests", q=q, sort=sort).json()["requests"]
    name = {"cost": "cost_nano_usd", "latency": "duration_ms", "input": "input_tokens", "tokens": "input_tokens"}.get(
        sort.strip("-"), "id"
    )
    listed = [row["id"] for row in page if row[name] is not None]
    assert len(listed) > 2
    beside = {id_: admin.get(f"/api/requests/{id_}/neighbours", q=q, sort=sort).json() for id_ in listed}
    assert [beside[id_]["next"] for id_ in listed[:-1]] == listed[1:]
    assert [beside[id_]["previous"] for id_ in listed] == [None, *listed[:-1]]


def test_neighbours_that_would_take_too_long_to_find_are_not_known(tmp_path: Path) -> None:
    tags = json.dumps({f"tag-{number}": "value" for number in range(60)})
    slow = parse_filter(" OR ".join(f"meta.none-{number}:*x" for number in range(32)))
    with closing(SqliteStore(tmp_path / "records.db")) as store:
        write_rows(store, ({"id": f"id-{number}", "tags": tags} for number in range(16_000)))

    async def look() -> bool:
        reader = await AsyncStoreReader.open(tmp_path / "records.db", time_limit_s=0.1)
        try:
            row = await reader.run(query.request("id-8000"))
            assert row is not None
            return (await beside(reader, row, slow, Sort.parse("-latency"))).is_known
        finally:
            await reader.close()

    assert not asyncio.run(look())


def test_a_neighbour_is_asked_for_with_the_same_mistakes_as_a_list(admin: Admin) -> None:
    error = admin.get("/api/requests/talk-0/neighbours", q="colour:red").json()["error"]
    assert error["code"] == "bad_filter"


def test_how_long_it_took_among_others_comes_from_sums(tmp_path: Path) -> None:
    with closing(SqliteStore(tmp_path / "records.db")) as store:
        made = [
            msgspec.structs.replace(
                make_record(make_begin(id=f"r-{number}", started_at_ms=START_MS), make_end(ended_us=1000 * number))
            )
            for number in range(1, 101)
        ]
        store.write(made, {})
        with StoreReader(store.path) as reader:
            for number in (10, 50, 90):
                found = reader.run(ask.rank(row_of(reader, f"r-{number}")))
                assert found is not None
                assert found.requests == 100
                assert abs(found.percentile - number) < 5


def row_of(reader: StoreReader, id_: str) -> RequestRow:
    from proxy.store import query

    found = reader.run(query.request(id_))
    assert found is not None
    return found


def test_no_question_about_one_request_reads_all_of_them(tmp_path: Path) -> None:
    with closing(SqliteStore(tmp_path / "records.db")) as store:
        rows = (
            {"id": f"id-{n}", "session": f"s-{n % 9}", "trace_id": f"t-{n}", "started_at": START_MS + n}
            for n in range(3000)
        )
        write_rows(store, rows)
        with StoreReader(store.path) as reader:
            row = row_of(reader, "id-1500")
            questions = [ask.detail(row.seq), ask.turn_of(row), ask.attempts(row), ask.trace(row), ask.rank(row)]
            for question in questions:
                sql: str = question.sql  # type: ignore[attr-defined]  # all are queries
                parameters = question.parameters  # type: ignore[attr-defined]
                plan = reader._connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters).fetchall()
                assert not any(
                    str(step[3]).startswith("SCAN exchanges") and "USING INDEX" not in str(step[3]) for step in plan
                ), plan


def fields(**changes: Any) -> RequestRow:
    values: dict[str, Any] = dict.fromkeys(RequestRow.__struct_fields__)
    return RequestRow(**values | {"outcome": "completed", "status": 200, "upstream": "openai"} | changes)


def test_every_error_of_ours_has_advice() -> None:
    text = (Path(__file__).parents[2] / "docs" / "errors.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)` \| \d", text, re.MULTILINE)) == set(OUR_CODES)
    for code in OUR_CODES:
        advice = read_advice(fields(outcome="refused", status=429, error_code=code))
        assert advice is not None
        assert advice.by == "glassline"


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 418, 429, 451, 500, 503, 529, 599])
def test_every_status_of_a_provider_has_advice(status: int) -> None:
    advice = read_advice(fields(status=status, error_code='odd "one"', error_message="x"))
    assert advice is not None
    assert advice.title
    assert advice.by in ("client", "provider")


@pytest.mark.parametrize(
    "outcome", ["client_closed", "upstream_error", "upstream_reset", "truncated", "timeout", "interrupted"]
)
def test_every_outcome_has_advice(outcome: str) -> None:
    advice = read_advice(fields(outcome=outcome, status=None))
    assert advice is not None
    assert advice.title
