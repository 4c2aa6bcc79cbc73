from __future__ import annotations

import hashlib
import json
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import apsw
import httpx
import msgspec
import pytest

from proxy.admin.app import build_house, build_pages, declared_routes
from proxy.admin.database import AppDatabase
from proxy.admin.declared import DeclaredRoute
from proxy.admin.guard import load_access
from proxy.admin.instruments import Instruments
from proxy.admin.openapi import document
from proxy.admin.watch import Watch
from proxy.config import Config
from proxy.stats import StatsBoard
from proxy.store import SqliteStore
from tests.admin.conftest import HOSTILE, UNPRICED_ID, Admin
from tests.admin.exposed import parse_text
from tests.harness.process import wait_until
from tests.recorder.builders import ANSWER, ANSWER_NANO_USD, PROMPT, START_MS, make_begin, make_record

StartAdmin = Callable[..., Admin]


def all_routes(data_dir: Path) -> list[DeclaredRoute]:
    """Return every route of the admin port."""
    with AppDatabase(data_dir) as database:
        house = build_house(Config(), load_access(Config().admin), database)
        house.door.close()
        instruments = Instruments(data_dir, StatsBoard(1))
        watch = Watch(instruments)
        return declared_routes(instruments, house, watch, build_pages(instruments, house, watch))


def metrics(admin: Admin) -> dict[str, float]:
    """Return the sum of each metric's samples by name."""
    found: dict[str, float] = {}
    for family in parse_text(admin.get("/metrics").raise_for_status().text):
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, 0) + sample.value
    return found


@pytest.mark.parametrize(
    "before",
    ["-time." + "9" * 30 + ".1", "-time.1." + "9" * 19, "1", ".", "-time.1.1.1", "-time.²1.1", "time.1.1", "-cost.1.1"],
)
def test_a_place_that_no_list_has_is_told_and_breaks_nothing(
    recorded: Path, start_admin: StartAdmin, before: str
) -> None:
    admin = start_admin(recorded)
    assert admin.get("/api/requests", before=before, sort="-time").status_code == 400


def test_everything_answers_before_there_is_a_store(tmp_path: Path, start_admin: StartAdmin) -> None:
    admin = start_admin(tmp_path / "data")
    assert admin.get("/healthz").text == "ok\n"
    assert admin.get("/status").text == "ok\n"
    assert admin.get("/api/status").json()["verdict"] == "ok"
    assert admin.get("/api/requests").json() == {"requests": [], "next_before": None, "searched_to": None, "newest": 0}
    assert admin.get("/api/requests/abc").status_code == 404
    assert admin.get("/api/cost").json()["rows"] == []
    assert admin.get("/api/budgets").json() == {"budgets": [], "count": 0, "pressing": 0}
    assert admin.get("/").status_code == 200
    for name in ("requests", "sessions", "users", "cost", "budgets"):
        assert admin.get(f"/api/{name}.csv").text.count("\n") == 1, "nothing but the titles"
        assert admin.get(f"/api/{name}.jsonl").text == ""
    assert metrics(admin)["glassline_records_written_total"] == 0
    assert metrics(admin)["glassline_in_flight_requests"] == 3


def test_metrics_are_the_store_s_own_counts(recorded: Path, start_admin: StartAdmin) -> None:
    shown = metrics(start_admin(recorded))
    assert shown["glassline_requests_total"] == 30
    assert shown["glassline_records_written_total"] == 30
    assert shown["glassline_unpriced_requests_total"] == 1
    assert shown["glassline_cost_usd_total"] == pytest.approx(28 * ANSWER_NANO_USD / 1e9), "an error costs nothing"
    assert shown["gen_ai_client_operation_duration_seconds_count"] == 29, "one was no operation of a model"
    assert shown["glassline_overhead_seconds_count"] == 30


def test_no_metric_carries_a_user_a_path_or_a_key_nobody_configured(recorded: Path, start_admin: StartAdmin) -> None:
    text = start_admin(recorded).get("/metrics").text
    assert "script" not in text
    assert "nobody-knows-me" not in text


def test_promtool_accepts_what_a_running_store_shows(
    recorded: Path, start_admin: StartAdmin, system_tool: Callable[[str], str]
) -> None:
    text = start_admin(recorded, "budgets: [{name: all, limit_usd: 5, window: month}]").get("/metrics").content
    command = [system_tool("promtool"), "check", "metrics"]
    result = subprocess.run(command, input=text, capture_output=True, timeout=30, check=False)
    assert (result.returncode, result.stdout + result.stderr) == (0, b"")


def test_a_configured_budget_is_shown_before_anybody_uses_it(recorded: Path, start_admin: StartAdmin) -> None:
    config = "budgets: [{name: all, limit_usd: 5, window: month}, {name: each, limit_usd: 1, window: day, per: user}]"
    admin = start_admin(recorded, config)
    (budget,) = admin.get("/api/budgets").json()["budgets"]
    assert (budget["budget"], budget["limit_nano_usd"], budget["spent_nano_usd"]) == ("all", 5 * 10**9, 0)
    assert metrics(admin)["glassline_budget_limit_usd"] == 5


def test_pages_follow_each_other_without_gap_or_overlap(recorded: Path, start_admin: StartAdmin) -> None:
    admin, seen, before = start_admin(recorded), list[str](), ""
    for _ in range(10):
        page = admin.get("/api/requests", limit="7", **({"before": before} if before else {})).json()
        seen += [row["id"] for row in page["requests"]]
        before = page["next_before"]
        if before is None:
            break
    assert len(seen) == len(set(seen)) == 30
    times = [row["started_at"] for row in admin.get("/api/requests", limit="1000").json()["requests"]]
    assert times == sorted(times, reverse=True)


def test_filters_select_and_mistakes_are_explained(recorded: Path, start_admin: StartAdmin) -> None:
    admin = start_admin(recorded)
    found = admin.get("/api/requests", q="key:search-team status:200").json()["requests"]
    assert {row["key"] for row in found} == {"search-team"}
    for path, parameter, value in [
        ("/api/requests", "q", "colour:red"),
        ("/api/requests", "sort", "colour"),
        ("/api/requests", "from", "yesterday"),
        ("/api/requests", "limit", "0"),
        ("/api/requests", "limit", "²"),
        ("/api/requests", "before", "yesterday"),
        ("/api/cost", "from", "yesterday"),
        ("/api/cost", "by", "colour"),
    ]:
        answer = admin.get(path, **{parameter: value})
        assert answer.status_code == 400, (path, parameter)
        assert answer.json()["error"]["message"]


def test_a_mistake_in_a_filter_says_where_it_is(recorded: Path, start_admin: StartAdmin) -> None:
    error = start_admin(recorded).get("/api/requests", q="key:a status:abc").json()["error"]
    assert (error["code"], error["position"]) == ("bad_filter", 13)


def test_requests_come_in_the_order_and_from_the_time_that_is_asked_for(
    recorded: Path, start_admin: StartAdmin
) -> None:
    admin, seen, before = start_admin(recorded), list[dict[str, Any]](), ""
    for _ in range(10):
        page = admin.get("/api/requests", sort="cost", limit="11", **({"before": before} if before else {})).json()
        seen += page["requests"]
        before = page["next_before"]
        if before is None:
            break
    costs = [row["cost_nano_usd"] for row in seen if row["cost_nano_usd"] is not None]
    assert len(seen) == 30
    assert costs == sorted(costs)
    middle = sorted(row["started_at"] for row in seen)[15]
    later = admin.get("/api/requests", limit="1000", **{"from": str(middle)}).json()["requests"]
    assert {row["id"] for row in later} == {row["id"] for row in seen if row["started_at"] >= middle}


def test_one_request_tells_all_but_its_bytes(recorded: Path, start_admin: StartAdmin) -> None:
    admin = start_admin(recorded)
    newest = admin.get("/api/requests", limit="1").json()["requests"][0]
    whole = admin.get(f"/api/requests/{newest['id']}").json()
    assert whole["cost_nano_usd"] == ANSWER_NANO_USD
    assert whole["usage"] == {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
    assert whole["response"]["sha256"] == hashlib.sha256(ANSWER).hexdigest()
    assert whole["response"]["is_whole"] is True
    assert admin.get("/api/requests/0198f2b1").status_code == 400, "ambiguous"
    unpriced = admin.get(f"/api/requests/{UNPRICED_ID}").json()
    assert (unpriced["cost_usd"], unpriced["is_unpriced"]) == (None, True)


def test_bodies_come_back_byte_for_byte_and_as_nothing_a_browser_would_run(
    recorded: Path, start_admin: StartAdmin
) -> None:
    admin = start_admin(recorded)
    newest = admin.get("/api/requests", limit="1").json()["requests"][0]["id"]
    for side, expected in (("request", PROMPT), ("response", ANSWER)):
        answer = admin.get(f"/api/requests/{newest}/{side}_body")
        assert answer.content == expected
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-disposition"] == f'attachment; filename="{newest}-{side}"'


def test_a_body_that_was_not_kept_is_said_so(recorded: Path, start_admin: StartAdmin) -> None:
    store = SqliteStore(recorded / "records.db")
    made = make_record(make_begin(started_at_ms=2 * START_MS))
    request = msgspec.structs.replace(made.request, head=None)
    response = msgspec.structs.replace(made.response, size=len(ANSWER) + 10)
    store.write([msgspec.structs.replace(made, request=request, response=response)], {})
    store.close()
    admin = start_admin(recorded)
    newest = admin.get("/api/requests", limit="1").json()["requests"][0]["id"]
    assert "were not kept" in admin.get(f"/api/requests/{newest}/request_body").json()["error"]["message"]
    answer = admin.get(f"/api/requests/{newest}/response_body")
    assert answer.status_code == 404
    assert f"of {len(ANSWER) + 10} bytes" in answer.json()["error"]["message"]


def test_costs_are_grouped_and_exact(recorded: Path, start_admin: StartAdmin) -> None:
    answer = start_admin(recorded).get("/api/cost", by="key,model").json()
    rows = {tuple(row["group"]): row for row in answer["rows"]}
    assert rows["search-team", "gpt-4o-mini-2024-07-18"]["cost_nano_usd"] == 14 * ANSWER_NANO_USD
    assert rows["search-team", "nobody-knows-me"]["unpriced"] == 1
    assert answer["by"] == ["key", "model"]


def test_an_overview_adds_up_to_what_was_recorded(recorded: Path, start_admin: StartAdmin) -> None:
    admin = start_admin(recorded)
    for step in ("hour", "day"):
        answer = admin.get("/api/overview", step=step).json()["overview"]
        assert answer["total"]["requests"] == sum(point["requests"] for point in answer["points"]) > 0
        assert answer["total"]["cost_nano_usd"] == 28 * ANSWER_NANO_USD
        assert answer["total"]["latency_ms"]["p50"] == pytest.approx(500, rel=0.02)


@pytest.mark.parametrize("asked", [{"step": "minute"}, {"from": "now-9999d"}, {"from": "now", "to": "now-1h"}])
def test_an_overview_that_cannot_be_given_is_refused(
    recorded: Path, start_admin: StartAdmin, asked: dict[str, str]
) -> None:
    assert start_admin(recorded).get("/api/overview", **asked).status_code == 400


class Tags(HTMLParser):
    """Collects the tags of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def test_the_verdict_on_the_page_shows_hostile_text_as_text(recorded: Path, start_admin: StartAdmin) -> None:
    database = apsw.Connection(str(recorded / "records.db"))
    labels = json.dumps({"reason": f'"><img src=x onerror="{HOSTILE}">'})
    database.execute("INSERT INTO counters VALUES ('glassline_records_lost_total', ?, 2)", (labels,))
    database.close()
    answer = start_admin(recorded).get("/")
    tags = Tags()
    tags.feed(answer.text)
    assert "&lt;script&gt;" in answer.text
    assert not tags.tags & {"img", "iframe", "object", "form"}
    assert not any(name.startswith("on") for name in tags.attributes)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-frame-options"] == "DENY"


def test_the_verdict_names_what_is_wrong(recorded: Path, start_admin: StartAdmin) -> None:
    database = apsw.Connection(str(recorded / "records.db"))
    database.execute("INSERT INTO counters VALUES ('glassline_records_lost_total', '{\"reason\":\"store\"}', 2)")
    # They may have been recorded longer ago than the verdict looks back.
    database.execute("UPDATE exchanges SET started_at = ? WHERE is_unpriced", (time.time_ns() // 1_000_000,))
    database.close()
    admin = start_admin(recorded)
    lines = admin.get("/status").text.splitlines()
    assert lines[0] == "failing"
    assert "failing: 2 records lost: store" in lines
    status = admin.get("/api/status").json()
    assert {reason["code"] for reason in status["reasons"]} >= {"records_lost", "unpriced"}


def test_a_dead_recorder_shows_as_growing_lag(recorded: Path, start_admin: StartAdmin) -> None:
    database = apsw.Connection(str(recorded / "records.db"))
    database.execute("UPDATE status SET value = value - 100000 WHERE name = 'updated_at_ms'")
    database.close()
    admin = start_admin(recorded)
    assert metrics(admin)["glassline_recorder_lag_seconds"] > 99
    assert "recorder_lag" in {reason["code"] for reason in admin.get("/api/status").json()["reasons"]}


def test_a_damaged_store_is_an_error_and_never_an_empty_answer(tmp_path: Path, start_admin: StartAdmin) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "records.db").write_bytes(b"this is no database, " * 1000)
    admin = start_admin(tmp_path / "data")
    assert admin.get("/api/status").json()["reasons"][0]["code"] == "store_unreadable"
    assert admin.get("/").status_code == 200
    for path in ("/metrics", "/api/requests", "/api/cost", "/api/requests/x/request_body"):
        assert admin.get(path).status_code == 503, path


def test_a_store_that_appears_later_is_read(recorded: Path, tmp_path: Path, start_admin: StartAdmin) -> None:
    admin = start_admin(tmp_path / "later")
    assert admin.get("/api/requests").json()["requests"] == []
    for name in ("records.db", "records.db-wal"):
        if (recorded / name).exists():
            shutil.copy(recorded / name, tmp_path / "later" / name)
    assert len(admin.get("/api/requests").json()["requests"]) == 30


def test_a_rebound_host_name_reads_nothing(recorded: Path, start_admin: StartAdmin) -> None:
    admin = start_admin(recorded)
    for path in ("/", "/api/requests", "/metrics", "/api/keys"):
        answer = admin.client.get(path, headers={"host": "evil.example"})
        assert answer.status_code == 421
        assert "access-control-allow-origin" not in answer.headers


def test_a_password_is_asked_for_and_enough(recorded: Path, tmp_path: Path, start_admin: StartAdmin) -> None:
    (tmp_path / "password").write_text("correct horse\n")
    admin = start_admin(recorded, f"admin: {{password_file: {tmp_path / 'password'}}}")
    assert admin.get("/healthz").status_code == 200
    assert admin.get("/metrics").status_code == 401
    assert admin.client.get("/metrics", auth=("any", "wrong horse")).status_code == 401
    assert admin.client.get("/metrics", auth=("any", "correct horse")).status_code == 200


def test_reading_routes_change_nothing_and_unknown_ones_are_refused(recorded: Path, start_admin: StartAdmin) -> None:
    admin = start_admin(recorded)
    for path in ("/", "/api/requests", "/metrics", "/status"):
        assert admin.client.post(path, json={}).status_code == 405
    assert admin.get("/api/nothing").status_code == 404
    assert admin.get("/api/nothing").json()["error"]["code"] == "not_found"


def test_it_ends_cleanly_on_sigterm_even_with_an_idle_client(recorded: Path, start_admin: StartAdmin) -> None:
    admin = start_admin(recorded)
    with socket.create_connection(("127.0.0.1", admin.port)) as idle:
        idle.sendall(b"GET /status HTTP/1.1\r\nhost: localhost\r\n")
        admin.process.send_signal(signal.SIGHUP)
        admin.process.send_signal(signal.SIGINT)
        assert admin.get("/healthz").text == "ok\n", "neither hang-up nor Ctrl-C ends it"
        start = time.monotonic()
        assert admin.stop() == 0
        assert time.monotonic() - start < 8
    assert not (recorded / "run" / "admin.sock").exists()
    assert admin.process.stderr.read_text() == ""


def test_the_description_names_every_route_and_no_other(recorded: Path, start_admin: StartAdmin) -> None:
    routes = all_routes(recorded)
    served = {
        (route.path_format, method.lower()) for route in routes for method in (route.methods or ()) if method != "HEAD"
    }
    described = document()
    assert served == {(path, method) for path, methods in described["paths"].items() for method in methods}
    assert start_admin(recorded).get("/api/openapi.json").json() == json.loads(json.dumps(described))


def test_keys_are_made_and_ended_over_the_port(recorded: Path, start_admin: StartAdmin) -> None:
    admin = start_admin(recorded, "keys: [{name: taken, key: gl-configured}]")
    made = admin.client.post("/api/keys", json={"name": "bob", "budgets": [{"limit_usd": 5, "window": "day"}]})
    assert made.status_code == 201
    assert made.json()["key"].startswith("gl-")
    assert len(made.json()["key"]) == 46
    assert admin.client.post("/api/keys", json={"name": "bob"}).status_code == 409
    assert admin.client.post("/api/keys", json={"name": "taken"}).status_code == 409
    for broken in (
        {"name": ""},
        {"name": "x", "colour": 1},
        {"name": "x", "budgets": [{"limit_usd": -1, "window": "day"}]},
    ):
        answer = admin.client.post("/api/keys", json=broken)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_question")
    big = admin.client.post("/api/keys", json={"name": "x", "tags": {"a": "b" * 100_000}})
    assert big.status_code == 400
    assert made.json()["key"] not in admin.get("/api/keys").text
    ended = admin.client.request("DELETE", "/api/keys/bob", headers={"content-type": "application/json"})
    assert ended.json()["revoked_ms"]
    again = admin.client.request("DELETE", "/api/keys/bob", headers={"content-type": "application/json"})
    assert again.status_code == 404


def test_another_site_s_form_makes_no_key(recorded: Path, start_admin: StartAdmin) -> None:
    admin = start_admin(recorded)
    form = {"content-type": "text/plain", "origin": "http://evil.example"}
    assert admin.client.post("/api/keys", content=b'{"name":"x"}', headers=form).status_code == 415
    script = {"content-type": "application/json", "origin": "http://evil.example"}
    assert admin.client.post("/api/keys", content=b'{"name":"x"}', headers=script).status_code == 403
    preflight = admin.client.options("/api/keys", headers={"origin": "http://evil.example"})
    assert "access-control-allow-origin" not in preflight.headers
    assert admin.get("/api/keys").json()["keys"] == []


def test_the_socket_for_the_command_line_is_for_its_owner_alone(recorded: Path, start_admin: StartAdmin) -> None:
    start_admin(recorded)
    path = recorded / "run" / "admin.sock"
    wait_until(path.exists, "the socket")
    assert path.stat().st_mode & 0o777 == 0o600
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://localhost") as client:
        assert client.get("/healthz").text == "ok\n"
