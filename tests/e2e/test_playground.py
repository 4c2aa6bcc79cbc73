"""The playground end to end: a stored request is sent again through the data port of a running Glassline."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import StartGlassline
from tests.e2e.test_lifecycle import make_certificate
from tests.harness import Glassline, Simulator
from tests.harness.process import wait_until
from tests.harness.upstream import STREAM_HEAD, Connection, ScriptedUpstream, event

CHAT = {
    "model": "gpt-4o-mini",
    "temperature": 0.5,
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is a heron?"}],
    "max_tokens": 40,
}
MESSAGES = {"model": "claude-haiku-4-5", "max_tokens": 30, "messages": [{"role": "user", "content": "Hi"}]}
GENERATE = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}


def admin(glassline: Glassline, **options: Any) -> httpx.Client:
    return httpx.Client(base_url=glassline.admin_url, timeout=30, trust_env=False, **options)


def ask(glassline: Glassline, path: str = "/v1/chat/completions", **changes: Any) -> str:
    """Send a request as an application does; return its id once it is recorded."""
    body = {**CHAT, **changes}
    answer = httpx.post(
        glassline.url + path, json=body, headers={"authorization": "Bearer sk-application-1234567890abcdef"}, timeout=30
    )
    assert answer.status_code == 200, answer.text
    id_ = answer.headers["x-glassline-request-id"]
    glassline.wait_for_rows(1, f"id = '{id_}'")
    return str(id_)


def run(client: httpx.Client, **wanted: Any) -> list[dict[str, Any]]:
    """Run a request of the playground; return its lines."""
    answer = client.post("/api/playground/runs", json=wanted)
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def last(lines: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    return next(line for line in reversed(lines) if line["type"] == kind)


def refusal(client: httpx.Client, **wanted: Any) -> str:
    answer = client.post("/api/playground/runs", json=wanted)
    assert answer.status_code == 400, answer.text
    return str(answer.json()["error"]["message"])


@pytest.fixture
def scripted() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream() as upstream:
        yield upstream


def test_a_replay_sends_the_same_bytes_and_its_record_names_the_original(
    start_glassline: StartGlassline, scripted: ScriptedUpstream
) -> None:
    glassline = start_glassline(scripted.url, {"upstreams": {"openai": {"api_key": "sk-the-operators-own"}}})
    original = ask(glassline)
    with admin(glassline) as client:
        lines = run(client, **{"from": original})
    first, second = scripted.requests
    assert first.partition(b"\r\n\r\n")[2] == second.partition(b"\r\n\r\n")[2]
    assert b"sk-the-operators-own" in second
    assert b"sk-application" not in second, "what the application sent is not ours to send again"
    assert b"glassline" not in second.replace(b"glassline-dashboard", b""), "neither ticket nor tag leaves"
    assert last(lines, "done")["said"]["text"] == "Hello."
    made = last(lines, "record")["request"]
    assert made["tags"] == {"replay_of": original}
    assert made["key"] == "playground.anyone"
    assert made["cost_nano_usd"] > 0
    assert "glassline_ticket" not in json.dumps(glassline.rows("SELECT * FROM requests"))
    with admin(glassline) as client:
        found = client.get("/api/requests", params={"q": f"meta.replay_of:{original}"}).json()["requests"]
    assert [row["id"] for row in found] == [made["id"]]


def test_edits_are_made_to_the_stored_body(start_glassline: StartGlassline, scripted: ScriptedUpstream) -> None:
    glassline = start_glassline(scripted.url)
    original = ask(glassline)
    changes = [
        {"at": ["temperature"], "value": 0},
        {"at": ["messages", 1, "content"], "value": "What is a crane?"},
        {"at": ["messages"], "from": 1, "count": 0, "value": [{"role": "user", "content": "Hello"}]},
        {"at": ["max_tokens"], "remove": True},
    ]
    with admin(glassline) as client:
        run(client, **{"from": original}, changes=changes, model="gpt-4o")
        sent = json.loads(scripted.requests[-1].partition(b"\r\n\r\n")[2])
        assert sent == {
            "model": "gpt-4o",
            "temperature": 0,
            "messages": [
                CHAT["messages"][0],  # type: ignore[index]
                {"role": "user", "content": "Hello"},
                {"role": "user", "content": "What is a crane?"},
            ],
        }
        nowhere = [{"at": ["messages", 9, "content"], "value": ""}]
        assert "changes[0]: there is no such place" in refusal(client, **{"from": original}, changes=nowhere)


def test_a_stream_is_told_as_it_comes(start_glassline: StartGlassline, scripted: ScriptedUpstream) -> None:
    go_on = threading.Event()

    def stream(connection: Connection) -> None:
        connection.send(STREAM_HEAD + event("one "))
        go_on.wait(20)
        connection.send(event("two") + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")

    scripted.script = stream
    glassline = start_glassline(scripted.url)
    with admin(glassline) as client:
        wanted = {"path": "/chat/completions", "body": json.dumps({**CHAT, "stream": True})}
        with client.stream("POST", "/api/playground/runs", json=wanted) as answer:
            lines = answer.iter_lines()
            assert json.loads(next(lines))["type"] == "started"
            assert json.loads(next(lines))["more"] == "one ", "before the answer is over"
            go_on.set()
            rest = [json.loads(line) for line in lines]
    assert "".join(line["more"] for line in rest if line["type"] == "text") == "two"
    done = last(rest, "done")
    assert (done["said"]["text"], done["said"]["is_whole"]) == ("one two", True)
    assert last(rest, "record")["request"]["tags"] == {"playground": "new"}


def test_who_hangs_up_cancels_the_request_at_the_provider(
    start_glassline: StartGlassline, scripted: ScriptedUpstream
) -> None:
    was_closed: list[bool] = []

    def stream(connection: Connection) -> None:
        connection.send(STREAM_HEAD + event("one "))
        was_closed.append(connection.wait_closed())

    scripted.script = stream
    glassline = start_glassline(scripted.url)
    with admin(glassline) as client:
        wanted = {"path": "/chat/completions", "body": json.dumps({**CHAT, "stream": True})}
        with client.stream("POST", "/api/playground/runs", json=wanted) as answer:
            lines = answer.iter_lines()
            assert json.loads(next(lines))["type"] == "started"
            assert json.loads(next(lines))["more"] == "one "
    wait_until(lambda: was_closed == [True], "the provider to be left")
    (row,) = glassline.wait_for_rows(1, "outcome = 'client_closed'")
    assert row["key"] == "playground.anyone"


def test_all_four_apis_can_be_sent_again(start_glassline: StartGlassline, simulator: Simulator) -> None:
    root = simulator.url.removesuffix("/v1")
    upstreams = {
        "anthropic": {"base_url": root, "wire": "anthropic", "provider": "anthropic", "allow_private": True},
        "gemini": {"base_url": root, "wire": "gemini", "provider": "google", "allow_private": True},
    }
    glassline = start_glassline(simulator.url, {"upstreams": upstreams})
    with admin(glassline) as client:
        for upstream, path, body, model in (
            ("openai", "/chat/completions", CHAT, None),
            ("openai", "/chat/completions", {**CHAT, "stream": True}, None),
            ("openai", "/responses", {"model": "gpt-4o-mini", "input": "Hi", "stream": True}, None),
            ("anthropic", "/v1/messages", {**MESSAGES, "stream": True}, None),
            ("gemini", "/v1beta/models/gemini-2.5-flash:generateContent", GENERATE, None),
            ("gemini", "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse", GENERATE, "gemini-2.5-pro"),
        ):
            chosen = {"model": model} if model else {}
            lines = run(client, upstream=upstream, path=path, body=json.dumps(body), **chosen)
            said = last(lines, "done")["said"]
            assert said["text"], (path, lines)
            assert said["error"] is None
            made = last(lines, "record")["request"]
            assert made["upstream"] == upstream
            if model:
                assert made["model_requested"] == model
            again = run(client, **{"from": made["id"]})
            assert last(again, "record")["request"]["tags"] == {"replay_of": made["id"]}


def test_what_was_changed_or_is_gone_is_not_sent_again(
    start_glassline: StartGlassline, scripted: ScriptedUpstream
) -> None:
    glassline = start_glassline(scripted.url, {"record": {"redact": ["email"]}})
    hidden = ask(glassline, messages=[{"role": "user", "content": "I am ada@example.com"}])
    withheld = httpx.post(
        f"{glassline.url}/v1/chat/completions", json=CHAT, headers={"x-glassline-no-store": "request"}, timeout=30
    ).headers["x-glassline-request-id"]
    listed = httpx.get(f"{glassline.url}/v1/models", timeout=30).headers["x-glassline-request-id"]
    glassline.wait_for_rows(3)
    sent = len(scripted.requests)
    with admin(glassline) as client:
        assert "redacted before it was stored" in refusal(client, **{"from": hidden})
        assert "never kept" in refusal(client, **{"from": withheld})
        assert "Only requests that ask a model" in refusal(client, **{"from": listed})
        assert client.get("/api/playground", params={"from": hidden}).json()["original"]["problem"]
        assert client.post("/api/playground/runs", json={"from": "0000-nothing"}).status_code == 404
    assert len(scripted.requests) == sent


def test_only_upstreams_that_are_known_and_understand_it_are_asked(
    start_glassline: StartGlassline, scripted: ScriptedUpstream
) -> None:
    claude = {"base_url": "http://127.0.0.1:9", "wire": "anthropic", "allow_private": True}
    glassline = start_glassline(scripted.url, {"upstreams": {"claude": claude}})
    original = ask(glassline)
    with admin(glassline) as client:
        assert "none is called evil" in refusal(client, **{"from": original}, upstream="evil")
        for path in ("//evil.example/x", "/chat/completions#x", "http://evil.example/", "@evil.example/x", "/x y"):
            assert refusal(client, **{"from": original}, path=path)
        assert "api_key" in refusal(client, **{"from": original}, upstream="groq"), "nothing pays for it"
        offered = {
            each["name"]: each for each in client.get("/api/playground", params={"from": original}).json()["upstreams"]
        }
        assert offered["openai"]["understands"]
        assert offered["claude"]["hindrance"] is None
    assert len(scripted.requests) == 1


def test_a_playground_key_has_its_budget_like_any_other(start_glassline: StartGlassline, simulator: Simulator) -> None:
    glassline = start_glassline(simulator.url)
    original = ask(glassline)
    with admin(glassline) as client:
        first = last(run(client, **{"from": original}), "record")["request"]
        assert first["cost_nano_usd"] > 0
        budget = {"limit_usd": "0.0000001", "window": "day"}
        changed = client.patch("/api/keys/playground.anyone", json={"budgets": [budget]})
        assert changed.status_code == 200, changed.text
        lines = run(client, **{"from": original})
        assert last(lines, "started")["status"] == 429
        assert last(lines, "started")["error_code"] == "budget_exceeded"
        assert "playground.anyone" in last(lines, "done")["said"]["error"]


def test_many_requests_at_once_make_one_key(start_glassline: StartGlassline, scripted: ScriptedUpstream) -> None:
    glassline = start_glassline(scripted.url)
    original = ask(glassline)
    with admin(glassline) as client, ThreadPoolExecutor(4) as threads:
        runs = list(threads.map(lambda _: run(client, **{"from": original}), range(4)))
        assert [last(lines, "done")["said"]["text"] for lines in runs] == ["Hello."] * 4
        assert [key["name"] for key in client.get("/api/keys").json()["keys"]] == ["playground.anyone"]


def test_an_estimate_is_never_below_what_it_costs(start_glassline: StartGlassline, simulator: Simulator) -> None:
    glassline = start_glassline(simulator.url)
    original = ask(glassline)
    with admin(glassline) as client:
        told = client.post("/api/playground/estimate", json={"from": original}).json()
        cost = last(run(client, **{"from": original}), "record")["request"]["cost_nano_usd"]
        assert told["typical_nano_usd"] > 0
        assert cost <= told["most_nano_usd"]
        assert told["basis"] == "original"
        assert told["most_output_tokens"] == CHAT["max_tokens"]
        unknown = client.post("/api/playground/estimate", json={"from": original, "model": "nobody-knows-me"}).json()
        assert unknown["most_nano_usd"] is None
        assert unknown["problem"]


def test_a_viewer_sends_nothing(start_glassline: StartGlassline, scripted: ScriptedUpstream, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("correct horse")
    glassline = start_glassline(scripted.url, {"admin": {"password_file": str(password)}})
    original = ask(glassline)
    with admin(glassline, auth=("admin", "correct horse")) as client:
        token = client.post("/api/tokens", json={"name": "looker", "role": "viewer"}).json()["token"]
    with admin(glassline, headers={"authorization": f"Bearer {token}"}) as client:
        assert client.get("/api/playground", params={"from": original}).status_code == 403
        assert client.post("/api/playground/runs", json={"from": original}).status_code == 403
        assert client.post("/api/playground/estimate", json={"from": original}).status_code == 403
    assert len(scripted.requests) == 1


def test_a_data_port_that_is_gone_is_told(start_glassline: StartGlassline, scripted: ScriptedUpstream) -> None:
    glassline = start_glassline(scripted.url)
    original = ask(glassline)
    with admin(glassline) as client:
        run(client, **{"from": original})
        ports = glassline.data_dir / "run" / "ports.json"
        told = json.loads(ports.read_text())
        ports.write_text(json.dumps(told | {"data": 1}))
        (line,) = run(client, **{"from": original})
    assert line["type"] == "failed"
    assert "does not answer" in line["message"]


def test_a_data_port_with_tls_is_asked_by_a_name_of_its_certificate(
    start_glassline: StartGlassline, scripted: ScriptedUpstream, tmp_path: Path
) -> None:
    cert, key = make_certificate(tmp_path)
    glassline = start_glassline(scripted.url, {"listen": {"tls": {"cert": str(cert), "key": str(key)}}})
    with admin(glassline) as client:
        lines = run(client, path="/chat/completions", body=json.dumps(CHAT))
        tried = client.post("/api/test_request", json={}).json()
    assert last(lines, "done")["said"]["text"] == "Hello."
    (row,) = glassline.wait_for_rows(1, f"id = '{tried['id']}'")
    assert (row["status"], row["outcome"], row["key"]) == (tried["status"], "completed", None)
