"""Privacy end to end: real processes, real files, and a search through every file for what must not be there."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import tarfile
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import StartGlassline
from tests.harness import Glassline, Simulator
from tests.harness.process import ROOT, clean_environment, wait_until
from tests.harness.upstream import CHAT, STREAM_HEAD, Connection, ScriptedUpstream, event, with_length

PROMPT, ANSWER = "CANARY-PROMPT-7141", "CANARY-ANSWER-2718"
USER, SESSION, TAG = "CANARY-USER-1618", "CANARY-SESSION-5772", "CANARY-TAG-1414"
ERROR = "CANARY-ERROR-6931"
CANARIES = (PROMPT, ANSWER, USER, SESSION, TAG, ERROR)


_PACKED = "SELECT contents FROM payloads JOIN exchanges ON seq = exchange WHERE user = ?"
"""Bodies as they lie in the file: what is compressed cannot be found by its words."""


def hits(directory: Path, words: tuple[str, ...]) -> dict[str, list[str]]:
    """Search every file for the words; tar archives are not compressed, so their members are seen, too."""
    found: dict[str, list[str]] = {}
    for path in directory.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            if seen := [word for word in words if word.encode() in data or word.encode() in str(path).encode()]:
                found[str(path.relative_to(directory))] = seen
    return found


def command(glassline: Glassline, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    place = ["-c", str(glassline.config_file), "--data-dir", str(glassline.data_dir)]
    return subprocess.run(
        [sys.executable, "-m", "proxy", *arguments, *place],
        cwd=ROOT,
        env=clean_environment(),
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def answer(connection: Connection) -> None:
    if b"please fail" in connection.request:
        body = json.dumps({"error": {"message": ERROR, "type": "server_error"}}).encode()
        connection.send(with_length(body, status="500 Internal Server Error"))
    elif PROMPT.encode() in connection.request:
        connection.send(with_length(CHAT.replace(b"Hello.", ANSWER.encode())))
    else:
        connection.send(with_length(CHAT))


def chat(glassline: Glassline, text: str, **headers: str) -> httpx.Response:
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}]}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.post(f"{glassline.url}/v1/chat/completions", json=body, headers=named, timeout=20)


def personal(glassline: Glassline, text: str = PROMPT, user: str = USER) -> httpx.Response:
    return chat(
        glassline,
        text,
        x_glassline_user=user,
        x_glassline_session=SESSION if user == USER else "another",
        x_glassline_tags=f"topic={TAG}" if user == USER else "topic=weather",
    )


def stored(glassline: Glassline, side: int) -> list[bytes]:
    ids = [row["id"] for row in glassline.rows("SELECT id FROM exchanges ORDER BY started_at")]
    return [glassline.body(id_, "response" if side else "request").head or b"" for id_ in ids]


@pytest.mark.parametrize("is_serving", [True, False], ids=["while serving", "while nothing runs"])
def test_after_a_deletion_nothing_of_the_person_is_in_any_file_and_the_money_is_all_there(
    start_glassline: StartGlassline, tmp_path: Path, is_serving: bool
) -> None:
    with ScriptedUpstream(answer) as upstream:
        glassline = start_glassline(upstream.url)
        for _ in range(5):
            personal(glassline)
        personal(glassline, f"please fail {PROMPT}")
        personal(glassline, "how is the weather", user="somebody else")
        glassline.wait_for_rows(7)
        backup = tmp_path / "elsewhere.tar"
        assert command(glassline, "backup", str(backup)).returncode == 0
        (glassline.data_dir / "journal" / "bad").mkdir(exist_ok=True)
        (glassline.data_dir / "journal" / "bad" / "piece.1").write_text(PROMPT)
        cost = glassline.rows("SELECT sum(cost_nano_usd) AS cost, sum(input_tokens) AS tokens FROM exchanges")
        counters = glassline.rows("SELECT * FROM counters ORDER BY name, labels")
        assert {word for words in hits(glassline.data_dir, CANARIES).values() for word in words} >= set(CANARIES)
        packed = [row["contents"] for row in glassline.rows(_PACKED, USER)]
        assert len(packed) == 6
        if not is_serving:
            glassline.kill_group()
            wait_until(lambda: not glassline.pids(), "the end of all processes")

        dry = command(glassline, "prune", "--user", USER, "--dry-run", "--json")
        assert json.loads(dry.stdout) == {"dry_run": True, "requests": 6}
        done = command(glassline, "prune", "--user", USER, "--yes", "--json")

        assert done.returncode == 0, done.stderr
        report = json.loads(done.stdout)
        assert (report["emptied"], report["deleted"], report["not_reached"]) == (6, 0, [])
        assert report["backups"] == {str(backup): 6}
        assert report["quarantined_files"] == 1
        assert hits(glassline.data_dir, CANARIES) == {}
        for path in (*glassline.data_dir.rglob("*"), backup):
            data = path.read_bytes() if path.is_file() else b""
            assert not any(word.encode() in data for word in CANARIES), path
            assert not any(body in data for body in packed), path
        assert "somebody else" in str(glassline.rows("SELECT user FROM exchanges"))
        assert glassline.rows("SELECT sum(cost_nano_usd) AS cost, sum(input_tokens) AS tokens FROM exchanges") == cost
        assert glassline.rows("SELECT * FROM counters ORDER BY name, labels") == counters
        with tarfile.open(backup) as archive:
            assert {"records.db", "ledger.db"} <= set(archive.getnames())
        if is_serving:
            assert personal(glassline, user="somebody else").status_code == 200
            glassline.wait_for_rows(8)


def test_with_rows_the_rows_go_and_a_session_is_enough_to_name(start_glassline: StartGlassline) -> None:
    with ScriptedUpstream(answer) as upstream:
        glassline = start_glassline(upstream.url)
        for _ in range(3):
            personal(glassline)
        personal(glassline, "other", user="somebody else")
        glassline.wait_for_rows(4)
        refused = command(glassline, "prune", "--session", SESSION)
        assert (refused.returncode, "--yes" in refused.stderr) == (1, True)
        done = command(glassline, "prune", "--session", SESSION, "--rows", "--yes", "--json")
        assert json.loads(done.stdout)["deleted"] == 3
        assert len(glassline.rows("SELECT 1 FROM exchanges")) == 1
        assert hits(glassline.data_dir, CANARIES) == {}


def test_a_request_that_is_running_is_waited_for_and_deleted_as_well(start_glassline: StartGlassline) -> None:
    may_end = threading.Event()

    def slow(connection: Connection) -> None:
        may_end.wait(20)
        answer(connection)

    with ScriptedUpstream(slow) as upstream:
        glassline = start_glassline(upstream.url)
        caller = threading.Thread(target=personal, args=(glassline,))
        caller.start()
        wait_until(lambda: upstream.requests, "the request")
        prune: dict[str, Any] = {}
        worker = threading.Thread(
            target=lambda: prune.update(
                json.loads(command(glassline, "prune", "--user", USER, "--yes", "--json").stdout)
            )
        )
        worker.start()
        wait_until(lambda: list((glassline.data_dir / "jobs").glob("*.deletion")), "the job")
        may_end.set()
        caller.join()
        worker.join()
        assert (prune["emptied"], prune["not_reached"]) == (1, [])
        assert hits(glassline.data_dir, CANARIES) == {}


SECRETS = {
    "EMAIL": "alice.smith@example.co.uk",
    "PHONE": "+49 30 1234567",
    "CREDIT_CARD": "4111 1111 1111 1111",
    "IBAN": "DE89 3704 0044 0532 0130 00",
    "IP": "192.168.10.20",
    "KEY": "sk-ant-api03-abcdefghijklmnopqrstuvwxyz012345",
    "EMPLOYEE": "E123456",
}
RULES = ["email", "phone", "credit_card", "iban", "ip", "keys", {"name": "employee", "pattern": r"E\d{6}"}]


def leaks(glassline: Glassline) -> dict[str, list[str]]:
    return hits(glassline.data_dir, tuple(SECRETS.values()))


def test_what_is_redacted_is_in_no_file_and_what_is_relayed_is_untouched(start_glassline: StartGlassline) -> None:
    said = " and ".join(SECRETS.values())
    body = gzip.compress(CHAT.replace(b"Hello.", said.encode()))

    def script(connection: Connection) -> None:
        if b'"stream"' in connection.request:
            connection.send(STREAM_HEAD)
            for letter in said:
                connection.send(event(letter))
            connection.send(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
        else:
            connection.send(with_length(body, headers=b"content-encoding: gzip\r\n"))

    with ScriptedUpstream(script) as upstream:
        glassline = start_glassline(upstream.url, {"record": {"redact": RULES}})
        chatted = chat(glassline, said, x_glassline_user="alice.smith@example.co.uk", x_note=said)
        assert chatted.json()["choices"][0]["message"]["content"] == said
        assert said.encode() in upstream.requests[0]
        query = {"q": said}
        streamed = {"model": "gpt-4o-mini", "stream": True, "messages": [{"role": "user", "content": said}]}
        httpx.post(f"{glassline.url}/v1/chat/completions", params=query, json=streamed, timeout=20)
        rows = glassline.wait_for_rows(2)
        expected = " and ".join(f"[{label}]" for label in SECRETS)
        first, second = stored(glassline, 1)
        assert json.loads(first)["choices"][0]["message"]["content"] == expected
        texts = [json.loads(line[6:]) for line in second.decode().split("\n\n") if line.startswith("data: {")]
        assert "".join(text["choices"][0]["delta"]["content"] for text in texts) == expected
        assert rows[0]["user"].startswith("[EMAIL:")
        assert rows[0]["input_tokens"] == 9
        wait_until(lambda: not leaks(glassline), "a journal without them")
        pruned = command(glassline, "prune", "--user", "alice.smith@example.co.uk", "--yes", "--json")
        assert json.loads(pruned.stdout)["emptied"] == 1
        shown = command(glassline, "reread", "--json")
        assert shown.returncode == 0, shown.stderr


def test_a_caller_who_forbids_to_store_is_nowhere_stored_but_counted(start_glassline: StartGlassline) -> None:
    with ScriptedUpstream(answer) as upstream:
        glassline = start_glassline(upstream.url)
        for part in ("request", "response", "all"):
            chat(glassline, f"please fail {PROMPT}", x_glassline_no_store=part)
            chat(glassline, PROMPT, x_glassline_no_store=part)
        rows = glassline.wait_for_rows(6)
        assert [row["cost_usd"] for row in rows if row["status"] == 200] == [pytest.approx(2.55e-06)] * 3
        kept = [
            (bool(request), bool(response))
            for request, response in zip(stored(glassline, 0), stored(glassline, 1), strict=True)
        ]
        assert kept == [(False, True), (False, True), (True, False), (True, False), (False, False), (False, False)]
        assert all(row["error_message"] is None for row in rows)
        wait_until(
            lambda: not any(name.startswith("journal") for name in hits(glassline.data_dir, CANARIES)),
            "an empty journal",
        )


def test_sampling_leaves_out_bodies_and_keeps_rows_costs_and_errors(start_glassline: StartGlassline) -> None:
    with ScriptedUpstream(answer) as upstream:
        glassline = start_glassline(upstream.url, {"record": {"sample": {"rate": 0.0, "always": ["errors"]}}})
        personal(glassline)
        personal(glassline, f"please fail {PROMPT}")
        rows = glassline.wait_for_rows(2)
        assert rows[0]["cost_usd"] is not None
        assert [bool(body) for body in stored(glassline, 0)] == [False, True]
        assert glassline.rows("SELECT privacy FROM exchanges ORDER BY started_at")[0]["privacy"] == "sampled_out"
        assert "glassline_sampled_out_total 1.0" in httpx.get(f"{glassline.admin_url}/metrics").text


def test_prune_without_a_name_does_what_retention_demands_now(start_glassline: StartGlassline) -> None:
    with ScriptedUpstream(answer) as upstream:
        glassline = start_glassline(upstream.url, {"retention": {"bodies": "1ms", "records": "1h"}})
        personal(glassline)
        glassline.wait_for_rows(1)
        done = command(glassline, "prune", "--json")
        assert json.loads(done.stdout)["emptied"] <= 1
        assert glassline.rows("SELECT bodies_kept FROM exchanges") == [{"bodies_kept": 0}]


def test_redact_shows_what_would_be_stored(start_glassline: StartGlassline) -> None:
    glassline = start_glassline("http://127.0.0.1:9", {"record": {"redact": ["email"]}}, start=False)
    shown = command(glassline, "redact", text='{"to": "alice\\u0040example.com", "n": 1}')
    assert shown.stdout == '{"to": "[EMAIL]", "n": 1}'
    assert command(glassline, "redact", "--rules", "nonsense", text="x").returncode == 1


def test_pseudonyms_can_be_looked_up_only_where_that_is_switched_on(start_glassline: StartGlassline) -> None:
    with ScriptedUpstream(answer) as upstream:
        glassline = start_glassline(upstream.url, {"record": {"redact": ["email"], "reidentify": True}})
        chat(glassline, "write to alice@example.com and to Alice@Example.com")
        (row,) = glassline.wait_for_rows(1)
        content = json.loads(stored(glassline, 0)[0])["messages"][0]["content"]
        name = content.removeprefix("write to ").partition(" ")[0]
        assert content == f"write to {name} and to {name}"
        plain = command(glassline, "requests", "show", row["id"], "--request", "--raw")
        assert "alice@example.com" not in plain.stdout
        shown = command(glassline, "requests", "show", row["id"], "--request", "--raw", "--reidentify")
        assert "alice@example.com" in shown.stdout.lower()


def test_the_admin_port_deletes_and_tells_what_became_of_it(start_glassline: StartGlassline) -> None:
    with ScriptedUpstream(answer) as upstream:
        glassline = start_glassline(upstream.url)
        personal(glassline)
        glassline.wait_for_rows(1)
        records = f"{glassline.admin_url}/api/records"
        headers = {"content-type": "application/json"}
        assert httpx.delete(records, headers=headers).status_code == 400
        assert httpx.delete(records, params={"usr": USER}, headers=headers).status_code == 400
        deleted = httpx.delete(records, params={"user": USER}, headers=headers, timeout=30)
        assert deleted.status_code == 200, deleted.text
        assert deleted.json()["report"]["emptied"] == 1
        again = httpx.get(f"{glassline.admin_url}/api/deletions/{deleted.json()['id']}")
        assert again.json() == deleted.json()
        assert httpx.get(f"{glassline.admin_url}/api/deletions/nonsense").status_code == 404
        assert hits(glassline.data_dir, CANARIES) == {}


def test_a_recorder_that_is_killed_in_the_middle_of_a_deletion_does_it_when_it_is_back(
    start_glassline: StartGlassline, tmp_path: Path
) -> None:
    once = tmp_path / "once"
    once.mkdir()
    env = {"GLASSLINE_FAILPOINTS": "deletion.before_finish:kill", "GLASSLINE_FAILPOINTS_ONCE": str(once)}
    with ScriptedUpstream(answer) as upstream:
        glassline = start_glassline(upstream.url, env=env)
        personal(glassline)
        glassline.wait_for_rows(1)
        (recorder,) = glassline.pids_of("recorder")
        done = command(glassline, "prune", "--user", USER, "--yes", "--json")
        assert done.returncode == 0, done.stderr
        assert list(once.iterdir())
        wait_until(lambda: glassline.pids_of("recorder") not in ([], [recorder]), "another recorder")
        assert hits(glassline.data_dir, CANARIES) == {}
        personal(glassline, user="somebody else")
        glassline.wait_for_rows(2)


def test_a_socket_whose_caller_forbids_to_store_is_priced_and_not_kept(
    start_glassline: StartGlassline, simulator: Simulator
) -> None:
    from websockets.sync.client import connect

    glassline = start_glassline(simulator.url)
    address = glassline.url.replace("http", "ws", 1) + "/v1/realtime?model=gpt-realtime"
    headers = {"authorization": "Bearer sk-test", "x-glassline-no-store": "all", "x-glassline-user": "carol"}
    with connect(address, additional_headers=headers) as socket:
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": PROMPT}]}
        socket.send(json.dumps({"type": "conversation.item.create", "item": item}))
        socket.send(json.dumps({"type": "response.create", "response": {"output_modalities": ["text"]}}))
        while json.loads(socket.recv(timeout=20))["type"] != "response.done":
            pass
    (row,) = glassline.wait_for_rows(1)
    assert row["cost_usd"] is not None
    assert row["user"] == "carol"
    assert stored(glassline, 0) == stored(glassline, 1) == [b""]
    wait_until(lambda: hits(glassline.data_dir, CANARIES) == {}, "an empty journal")
