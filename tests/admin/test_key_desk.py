from __future__ import annotations

import contextlib
import json
from pathlib import Path

import httpx
import pytest

from tests.admin.conftest import Admin
from tests.admin.test_server import StartAdmin
from tests.conftest import StartGlassline
from tests.harness import Simulator
from tests.harness.upstream import Connection, ScriptedUpstream, chunk
from tests.recorder.builders import ANSWER_NANO_USD

CONFIG = """
upstreams: {openai: {base_url: "https://api.openai.com/v1"}}
keys:
  - {name: search-team, key: sk-0123456789abcdefghijklmnop, models: ["gpt-4o*"], budgets: [{limit_usd: 5, window: day}]}
"""


def by_name(admin: Admin) -> dict[str, dict[str, object]]:
    return {key["name"]: key for key in admin.get("/api/keys").json()["keys"]}


def test_keys_are_listed_with_what_they_spent_and_when_they_were_used(recorded: Path, start_admin: StartAdmin) -> None:
    admin = start_admin(recorded, CONFIG)
    admin.client.post("/api/keys", json={"name": "fresh"}).raise_for_status()
    found = by_name(admin)
    used = found["search-team"]
    assert used["origin"] == "config"
    assert used["last_four"] == "mnop"
    use = used["use"]
    assert isinstance(use, dict)
    assert use["requests_30d"] == 16
    assert use["cost_30d_nano_usd"] == 14 * ANSWER_NANO_USD
    newest = admin.get("/api/requests", q="key:search-team", limit="1").json()["requests"][0]
    assert use["last_used_ms"] == newest["started_at"]
    assert used["identities"] == ["search-team/day"]
    assert found["fresh"]["origin"] == "dynamic"
    assert found["fresh"]["use"] == {
        "requests_30d": 0,
        "cost_30d_nano_usd": 0,
        "cost_month_nano_usd": 0,
        "last_used_ms": None,
    }
    told = [json.loads(line) for line in admin.get("/api/keys.jsonl").text.splitlines()]
    assert [(row["name"], row["requests_30d"]) for row in told] == [("search-team", 16), ("fresh", 0)]
    assert "sk-0123456789" not in admin.get("/api/keys.csv").text
    assert "sk-0123456789" not in json.dumps(found), "a secret is never told"


def test_a_key_is_given_other_limits_and_the_change_is_written_down(tmp_path: Path, start_admin: StartAdmin) -> None:
    admin = start_admin(tmp_path / "data", CONFIG)
    made = admin.client.post("/api/keys", json={"name": "bob", "models": ["gpt-4o*"], "tags": {"team": "a"}}).json()
    wanted = {"budgets": [{"limit_usd": "5", "window": "day"}], "rate_limits": {"requests_per_minute": 3}}
    changed = admin.client.patch("/api/keys/bob", json=wanted)
    assert changed.status_code == 200, changed.text
    key = admin.get("/api/keys/bob").json()
    assert key["budgets"][0]["limit_usd"] == "5"
    assert key["rate_limits"]["requests_per_minute"] == 3
    assert key["models"] == ["gpt-4o*"], "what was not named stays"
    assert key["last_four"] == made["last_four"]
    actions = [(line["action"], line["subject"]) for line in admin.get("/api/audit").json()["audit"]]
    assert ("key.change", "bob (budgets, rate_limits)") in actions
    assert admin.client.patch("/api/keys/bob", json={"models": []}).json()["models"] == []


@pytest.mark.parametrize(
    ("name", "change", "status"),
    [
        ("nobody", {"models": ["x"]}, 404),
        ("search-team", {"models": ["x"]}, 400),
        ("bob", {}, 400),
        ("bob", {"budgets": [{"limit_usd": "-1", "window": "day"}]}, 400),
        ("bob", {"budgets": [{"limit_usd": "1", "window": "day", "per": "key"}]}, 400),
        ("bob", {"upstreams": ["nowhere"]}, 400),
        ("bob", {"name": "alice"}, 400),
    ],
)
def test_a_change_that_makes_no_sense_changes_nothing(
    tmp_path: Path, start_admin: StartAdmin, name: str, change: dict[str, object], status: int
) -> None:
    admin = start_admin(tmp_path / "data", CONFIG)
    admin.client.post("/api/keys", json={"name": "bob"}).raise_for_status()
    before = by_name(admin)
    assert admin.client.patch(f"/api/keys/{name}", json=change).status_code == status
    assert by_name(admin) == before


def test_a_key_is_seen_to_work_and_to_refuse_without_its_secret(
    start_glassline: StartGlassline, simulator: Simulator
) -> None:
    config = {"auth": "virtual", "upstreams": {"openai": {"api_key": "sk-the-real-one"}}}
    glassline = start_glassline(simulator.url, config)
    with httpx.Client(base_url=glassline.admin_url, timeout=30, trust_env=False) as client:
        client.post("/api/keys", json={"name": "bob", "models": ["gpt-4o*"]}).raise_for_status()
        works = client.post("/api/keys/bob/test", json={"model": "gpt-4o-mini"}).json()
        assert (works["status"], works["error_code"], bool(works["text"])) == (200, None, True)
        glassline.wait_for_rows(1, f"id = '{works['id']}' AND key = 'bob'")
        forbidden = client.post("/api/keys/bob/test", json={"model": "o3"}).json()
        assert (forbidden["status"], forbidden["error_code"]) == (403, "model_not_allowed")
        poor = {"budgets": [{"limit_usd": "0.0000001", "window": "day"}]}
        client.patch("/api/keys/bob", json=poor).raise_for_status()
        refused = client.post("/api/keys/bob/test", json={"model": "gpt-4o-mini"}).json()
        assert (refused["status"], refused["error_code"]) == (429, "budget_exceeded")
        assert "bob/day" in refused["message"]
        client.delete("/api/keys/bob", headers={"content-type": "application/json"}).raise_for_status()
        assert client.post("/api/keys/bob/test", json={"model": "gpt-4o-mini"}).status_code == 404


def test_a_key_is_tried_with_a_model_and_not_with_a_path(tmp_path: Path, start_admin: StartAdmin) -> None:
    admin = start_admin(tmp_path / "data", "upstreams: {gemini: {api_key: sk-0123456789abcdef}}")
    admin.client.post("/api/keys", json={"name": "bob"}).raise_for_status()
    for model in ("x/../../../upload/v1beta/files?", "a\nb", "gemini-2.5-flash:batchGenerateContent?x="):
        answer = admin.client.post("/api/keys/bob/test", json={"model": model, "upstream": "gemini"})
        assert answer.status_code == 400, answer.text
        assert "letters, digits" in answer.json()["error"]["message"]


def test_an_endless_answer_to_a_try_is_not_listened_to(start_glassline: StartGlassline) -> None:
    def talk(connection: Connection) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
        with contextlib.suppress(OSError):  # it is hung up on
            for _ in range(20_000):  # 1.3 GB: more than anybody should hold
                connection.socket.sendall(chunk(bytes(65536)))

    with ScriptedUpstream(talk) as upstream:
        glassline = start_glassline(upstream.url)
        with httpx.Client(base_url=glassline.admin_url, timeout=15, trust_env=False) as client:
            client.post("/api/keys", json={"name": "bob"}).raise_for_status()
            answer = client.post("/api/keys/bob/test", json={"model": "gpt-4o"})
        assert answer.status_code == 200
        assert answer.json()["text"] == ""


def test_a_provider_s_key_that_applications_send_cannot_be_sent_for_them(
    tmp_path: Path, start_admin: StartAdmin
) -> None:
    admin = start_admin(tmp_path / "data", CONFIG)
    answer = admin.client.post("/api/keys/search-team/test", json={"model": "gpt-4o"})
    assert answer.status_code == 400
    assert "applications send themselves" in answer.json()["error"]["message"]
