from __future__ import annotations

import hashlib
import socket
import ssl
import threading
from pathlib import Path

import httpx
import pytest
import yaml

from proxy.admin.settings import duration_text, shown_config
from proxy.config import Config, parse_config
from tests.admin.conftest import UNPRICED_ID
from tests.admin.test_server import StartAdmin
from tests.conftest import StartGlassline
from tests.e2e.test_lifecycle import make_certificate
from tests.harness import Simulator

SECRET = "sk-never-to-be-shown-0123456789"
CONFIG = f"""
upstreams:
  openai: {{base_url: "https://api.openai.com/v1", api_key: {SECRET}}}
keys: [{{name: team, key: {SECRET}2, budgets: [{{limit_usd: 5, rolling: 24h}}]}}]
retention: {{bodies: 14d}}
record: {{redact: [email, {{name: employee, pattern: 'E\\d{{6}}'}}]}}
pricing: {{overrides: [{{model: "gpt-4o-mini", multiplier: 0.5}}]}}
"""


def test_upstreams_are_those_that_are_configured_or_were_used(recorded: Path, start_admin: StartAdmin) -> None:
    config = "upstreams: {local: {base_url: 'http://127.0.0.1:1/v1', free: true}, groq: {api_key: k}}"
    admin = start_admin(recorded, config)
    found = {each["name"]: each for each in admin.get("/api/upstreams").json()["upstreams"]}
    assert set(found) == {"groq", "local", "openai"}
    assert found["openai"]["is_default"]
    assert found["openai"]["requests_7d"] == 30
    assert found["openai"]["last_answer_ms"] is not None
    assert "api_key" in found["openai"]["hindrance"]
    assert found["groq"]["credential"] == "key"
    assert found["groq"]["hindrance"] is None
    assert "'k'" not in str(found)


def test_a_look_opens_a_connection_and_sends_nothing(tmp_path: Path, start_admin: StartAdmin) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        upstreams = f"up: {{base_url: 'http://127.0.0.1:{port}/v1', allow_private: true}}"
        admin = start_admin(tmp_path / "data", f"upstreams: {{{upstreams}}}")
        heard: list[bytes] = []

        def listen() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(5)
                heard.append(connection.recv(100))

        thread = threading.Thread(target=listen)
        thread.start()
        look = admin.client.post("/api/upstreams/up/look", json={}).json()
        thread.join(10)
        assert (look["is_reachable"], look["problem"], look["tls_ms"]) == (True, None, None)
        assert look["connect_ms"] > 0
        assert heard == [b""]
        assert admin.client.post("/api/upstreams/up/look", json={}).json() == look, (
            "asked again at once: not looked again"
        )


def test_an_upstream_that_cannot_be_reached_says_why(tmp_path: Path, start_admin: StartAdmin) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    place = f"http://127.0.0.1:{port}/v1"
    config = f"""
    upstreams:
      dead: {{base_url: '{place}', allow_private: true}}
      private: {{base_url: '{place}'}}
      lost: {{base_url: 'https://no-such-host.invalid/v1'}}
    """
    admin = start_admin(tmp_path / "data", config)
    problems = {
        name: admin.client.post(f"/api/upstreams/{name}/look", json={}).json()["problem"]
        for name in ("dead", "private", "lost")
    }
    assert "refused the connection" in problems["dead"]
    assert "allow_private" in problems["private"]
    assert "name is not known" in problems["lost"] or "seconds" in problems["lost"]
    assert admin.client.post("/api/upstreams/nobody/look", json={}).status_code == 404


def test_a_certificate_that_is_not_accepted_is_said(tmp_path: Path, start_admin: StartAdmin) -> None:
    certificate = make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def listen() -> None:
            for _ in range(2):
                connection, _ = listener.accept()
                try:
                    context.wrap_socket(connection, server_side=True).close()
                except OSError:
                    connection.close()

        threading.Thread(target=listen, daemon=True).start()
        config = f"""
        upstreams:
          known: {{base_url: 'https://localhost:{port}/v1', allow_private: true, ca_file: {certificate[0]}}}
          strange: {{base_url: 'https://localhost:{port}/v1', allow_private: true}}
        """
        admin = start_admin(tmp_path / "data", config)
        known = admin.client.post("/api/upstreams/known/look", json={}).json()
        assert (known["problem"], known["tls_ms"] is not None) == (None, True)
        strange = admin.client.post("/api/upstreams/strange/look", json={}).json()
        assert "certificate is not accepted" in strange["problem"]


def test_prices_can_be_searched_and_overrides_stand_beside_them(tmp_path: Path, start_admin: StartAdmin) -> None:
    admin = start_admin(tmp_path / "data", CONFIG)
    whole = admin.get("/api/prices").json()
    assert whole["total"] > 500
    assert len(whole["prices"]) == 100
    assert "openai" in whole["providers"]
    found = admin.get("/api/prices", q="4o-mini", provider="openai").json()
    mini = next(row for row in found["prices"] if row["model"] == "gpt-4o-mini")
    assert (mini["input"], mini["output"], mini["override"]) == ("0.15", "0.6", 0)
    assert all("4o-mini" in row["model"] and row["provider"] == "openai" for row in found["prices"])
    assert whole["overrides"] == [{"model": "gpt-4o-mini", "multiplier": "0.5"}]
    assert admin.get("/api/prices", q="no such model at all").json()["total"] == 0
    lines = admin.get("/api/prices.csv", q="4o-mini", provider="openai").text.splitlines()
    assert len(lines) == found["total"] + 1
    assert lines[0].startswith("provider,model,input,output")
    rest = admin.get("/api/prices", limit="1", offset=str(whole["total"] - 1)).json()["prices"]
    assert len(rest) == 1


def test_a_model_without_a_price_comes_with_the_line_to_write(recorded: Path, start_admin: StartAdmin) -> None:
    admin = start_admin(recorded)
    answer = admin.get("/api/prices/unpriced").json()
    (row,) = answer["models"]
    assert (row["model"], row["requests"], row["example"]) == ("nobody-knows-me", 1, UNPRICED_ID)
    assert row["reason"]
    assert answer["total"] == 1
    text = "pricing:\n  overrides:\n    " + row["override"]
    assert parse_config(text).pricing.overrides[0].model == "nobody-knows-me"


def test_a_reprice_is_tried_out_with_the_file_as_it_stands(
    start_glassline: StartGlassline, simulator: Simulator
) -> None:
    glassline = start_glassline(simulator.url)
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}
    httpx.post(f"{glassline.url}/v1/chat/completions", json=body, timeout=30)
    glassline.wait_for_rows(1)
    with httpx.Client(base_url=glassline.admin_url, timeout=60, trust_env=False) as client:
        same = client.get("/api/prices/reprice", params={"from": "now-1d"})
        assert same.status_code == 200, same.text
        assert (same.json()["total"]["requests"], same.json()["total"]["changed"]) == (1, 0)
        text = glassline.config_file.read_text()
        glassline.config_file.write_text(text + "pricing: {overrides: [{model: gpt-4o-mini, multiplier: 3}]}\n")
        dearer = client.get("/api/prices/reprice", params={"from": "now-1d"}).json()
        (change,) = dearer["changes"]
        assert (change["model"], change["changed"]) == ("gpt-4o-mini-2024-07-18", 1)
        assert change["after_nano_usd"] == 3 * change["before_nano_usd"]
        glassline.config_file.write_text("nonsense: [")
        broken = client.get("/api/prices/reprice")
        assert broken.status_code == 503
        assert "config.yaml" in broken.json()["error"]["message"]


def test_another_retention_says_what_it_would_delete(recorded: Path, start_admin: StartAdmin) -> None:
    admin = start_admin(recorded, CONFIG)
    now = admin.get("/api/retention").json()
    assert now["policy"] == {"bodies_s": 14 * 86400.0, "records_s": 365 * 86400.0, "max_size_gb": 50.0}
    assert now["kept"]["records"] == 30
    assert now["would_delete"] is None
    longer = admin.get("/api/retention", bodies="90d").json()["would_delete"]
    assert (longer["records"], longer["bodies"]) == (0, 0)
    shorter = admin.get("/api/retention", bodies="1s", records="365d").json()["would_delete"]
    assert (shorter["records"], shorter["bodies"]) == (0, 30)
    assert shorter["payload_bytes"] == shorter["all_payload_bytes"] > 0
    nothing = admin.get("/api/retention", bodies="1s", records="1s").json()["would_delete"]
    assert nothing["records"] == 30
    assert admin.get("/api/retention", bodies="soon").status_code == 400


def test_redaction_is_tried_out_and_nothing_is_kept(tmp_path: Path, start_admin: StartAdmin) -> None:
    admin = start_admin(tmp_path / "data", CONFIG)
    text = "Ask ada@example.com (E123456), card 4111 1111 1111 1111."
    shown = admin.client.post("/api/redaction/preview", json={"text": text}).json()
    assert shown["text"] == "Ask [EMAIL] ([EMPLOYEE]), card 4111 1111 1111 1111."
    other = admin.client.post("/api/redaction/preview", json={"text": text, "rules": ["credit_card"]}).json()
    assert other["text"] == "Ask ada@example.com (E123456), card [CREDIT_CARD]."
    none = admin.client.post("/api/redaction/preview", json={"text": text, "rules": []}).json()
    assert (none["text"], none["is_on"]) == (text, False)
    assert admin.client.post("/api/redaction/preview", json={"text": "x", "rules": ["nothing"]}).status_code == 400
    rules = admin.get("/api/redaction").json()
    assert (rules["rules"], rules["patterns"]) == (["email", "employee"], [{"name": "employee", "pattern": r"E\d{6}"}])
    for path in (tmp_path / "data").rglob("*"):
        assert not path.is_file() or b"ada@example.com" not in path.read_bytes()


def test_the_system_says_what_runs_and_which_file_is_in_force(
    start_glassline: StartGlassline, simulator: Simulator
) -> None:
    glassline = start_glassline(simulator.url)
    with httpx.Client(base_url=glassline.admin_url, timeout=60, trust_env=False) as client:
        told = client.get("/api/settings/system").json()
        assert {each["name"] for each in told["processes"]} >= {"gateway-0", "recorder", "ledger", "admin"}
        assert all(each["memory_bytes"] for each in told["processes"])
        assert [each["state"] for each in told["gateways"]] == ["ready"]
        assert told["config"]["file"] == str(glassline.config_file)
        assert told["config"]["sha256"] == hashlib.sha256(glassline.config_file.read_bytes()).hexdigest()
        assert told["config"]["generation"] == 1
        assert told["config"]["loaded_ms"] > 0
        assert {each["name"] for each in told["files"]} >= {"records.db", "app.db", "journal/"}
        findings = client.get("/api/settings/doctor").json()["findings"]
        assert {"python", "sqlite", "configuration", "verdict"} <= {each["subject"] for each in findings}
        tables = client.get("/api/settings/tables").json()["tables"]
        assert {"exchanges", "payloads", "rollups"} <= {each["name"] for each in tables}
        assert all(each["bytes"] > 0 for each in tables)


def test_a_report_is_not_asked_for_by_other_pages_and_not_about_what_no_command_can_take(
    tmp_path: Path, start_admin: StartAdmin
) -> None:
    admin = start_admin(tmp_path / "data", CONFIG)
    assert admin.get("/api/prices/reprice", model="\0").status_code == 400
    other = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}
    assert admin.client.get("/api/settings/doctor", headers=other).status_code == 403


def test_the_configuration_is_shown_without_its_secrets(tmp_path: Path, start_admin: StartAdmin) -> None:
    admin = start_admin(tmp_path / "data", CONFIG)
    for all_ in ("false", "true"):
        text = admin.get("/api/settings/config", all=all_).json()["yaml"]
        assert SECRET not in text
        assert "(hidden)" in text
        assert "bodies: 14d" in text
        assert ("journal_max_gb" in text) == (all_ == "true")


def test_a_shown_configuration_reads_back_as_the_same() -> None:
    config = parse_config("retention: {bodies: 90s, records: 12h}\ntimeouts: {connect: 0.5}\nworkers: 2\n")
    assert parse_config(yaml.safe_dump(shown_config(config, is_all=False))) == config
    assert parse_config(yaml.safe_dump(shown_config(Config(), is_all=True))) == Config()


@pytest.mark.parametrize(
    ("seconds", "text"), [(86400.0, "1d"), (604800.0, "7d"), (90.0, "90s"), (0.5, "500ms"), (5400.0, "90m")]
)
def test_durations_are_written_as_the_configuration_takes_them(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text
