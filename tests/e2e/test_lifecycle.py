"""Start, stop, reload, restart, several gateways, TLS: the processes as an operator meets them."""

from __future__ import annotations

import datetime
import ipaddress
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.conftest import StartGlassline
from tests.harness import Glassline, Simulator
from tests.harness.client import RawClient, exchange, post
from tests.harness.process import ROOT, wait_until
from tests.harness.upstream import STREAM_HEAD, Connection, ScriptedUpstream, event

pytestmark = pytest.mark.cold
BODY = json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}).encode()


def ask(glassline: Glassline, **kwargs: Any) -> int:
    return exchange(glassline.port, post("/v1/chat/completions", BODY, **kwargs)).status


def refuses_connections(port: int) -> bool:
    try:
        exchange(port, b"GET /healthz HTTP/1.0\r\n\r\n")
    except ConnectionError:
        return True
    return False


@pytest.mark.parametrize("role", ["gateway", "recorder", "ledger", "admin"])
def test_a_dead_child_is_started_again(glassline: Glassline, role: str) -> None:
    [before] = glassline.pids_of(role)
    os.kill(before, signal.SIGKILL)
    started = time.monotonic()
    wait_until(lambda: [pid for pid in glassline.pids_of(role) if pid != before], f"a new {role}", timeout_s=5)
    print(f"{role} is back after {time.monotonic() - started:.3f} s")
    assert f"(pid {before}) died: signal 9; it is started again in 0.0 s" in glassline.stderr
    wait_until(lambda: ask(glassline) == 200, "service", timeout_s=10)
    glassline.wait_for_rows(1)
    wait_until(lambda: httpx.get(f"{glassline.admin_url}/healthz").status_code == 200, "the admin port", timeout_s=10)


def test_a_stream_survives_the_stop_and_new_connections_are_refused(start_glassline: StartGlassline) -> None:
    go_on = threading.Event()

    def script(connection: Connection) -> None:
        connection.send(STREAM_HEAD + event("one"))
        go_on.wait(10)
        connection.send(event("two") + b"0\r\n\r\n")

    with ScriptedUpstream(script) as upstream:
        glassline = start_glassline(upstream.url)
        with RawClient(glassline.port) as client, RawClient(glassline.port) as idle:
            idle.send(b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n")
            assert idle.read_until(b"ok\n").startswith(b"HTTP/1.1 200")
            client.send(post("/v1/chat/completions", BODY, headers=("x-glassline-session: stays",)))
            client.read_until(b"one")
            glassline.process.send_signal(signal.SIGTERM)
            wait_until(lambda: refuses_connections(glassline.port), "the end of listening")
            idle.send(b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n")
            assert idle.read_until(b"ready\n").startswith(b"HTTP/1.1 503")
            go_on.set()
            assert client.read_all().raw.endswith(b"0\r\n\r\n")
        assert glassline.process.wait(timeout_s=20) == 0
        [row] = glassline.rows("SELECT * FROM requests WHERE session = 'stays'")
        assert (row["outcome"], row["status"]) == ("truncated", 200), "complete, though the script sent no [DONE]"


def test_a_stream_that_never_ends_is_cut_after_the_grace_and_recorded(start_glassline: StartGlassline) -> None:
    def script(connection: Connection) -> None:
        connection.send(STREAM_HEAD + event("one"))
        connection.wait_closed()

    with ScriptedUpstream(script) as upstream:
        glassline = start_glassline(upstream.url, {"timeouts": {"drain": 1}})
        with RawClient(glassline.port) as client:
            client.send(post("/v1/chat/completions", BODY))
            client.read_until(b"one")
            started = time.monotonic()
            glassline.process.send_signal(signal.SIGTERM)
            assert b'"code":"draining"' in client.read_all().raw
        assert glassline.process.wait(timeout_s=20) == 0
        assert time.monotonic() - started < 6
        [row] = glassline.rows("SELECT * FROM requests")
        assert (row["outcome"], row["error_code"]) == ("refused", "draining")


def test_a_reload_changes_keys_and_a_bad_file_changes_nothing(
    start_glassline: StartGlassline, simulator: Simulator
) -> None:
    glassline = start_glassline(simulator.url, {"auth": "virtual", "keys": [{"name": "a", "key": "sk-first-key-1"}]})
    assert ask(glassline, key="sk-first-key-1") == 200
    assert ask(glassline, key="sk-second-key") == 401
    good = glassline.config_file.read_text()

    glassline.write_config("keys: [{name: a, key: short, budgts: []}]")
    glassline.reload()
    hint = "the last good one stays: config.yaml: keys[0].budgts: unknown key; did you mean `budgets`?"
    wait_until(lambda: hint in glassline.stderr, "the report of a bad file")
    assert ask(glassline, key="sk-first-key-1") == 200

    glassline.write_config(good.replace("sk-first-key-1", "sk-second-key"))
    glassline.reload()
    wait_until(lambda: ask(glassline, key="sk-second-key") == 200, "the new key")
    assert ask(glassline, key="sk-first-key-1") == 401


def test_every_wrong_key_gets_the_same_401(start_glassline: StartGlassline, simulator: Simulator) -> None:
    config = {"auth": "virtual", "keys": [{"name": "a", "key": "sk-right-key-0123456789"}]}
    glassline = start_glassline(simulator.url, config)
    wrong = ["", "sk-right-key-012345678", "sk-right-key-01234567890", "' OR 1=1", "x" * 7000]
    answers = [exchange(glassline.port, post("/v1/chat/completions", BODY, key=key)) for key in wrong]
    assert {(answer.status, answer.body) for answer in answers} == {(401, answers[0].body)}
    assert json.loads(answers[0].body)["error"]["code"] == "invalid_api_key"
    assert not simulator.truth("received")


def test_a_virtual_key_never_reaches_the_provider_and_the_upstreams_key_does(
    start_glassline: StartGlassline,
) -> None:
    with ScriptedUpstream() as upstream:
        config = {
            "auth": "virtual",
            "upstreams": {"openai": {"api_key": "sk-provider-secret-xyz"}},
            "keys": [{"name": "a", "key": "sk-virtual-0123456789"}],
        }
        glassline = start_glassline(upstream.url, config)
        assert ask(glassline, key="sk-virtual-0123456789") == 200
        [request] = upstream.requests
        assert b"sk-virtual" not in request
        assert b"authorization: Bearer sk-provider-secret-xyz\r\n" in request
        glassline.wait_for_rows(1)
        glassline.stop()
    for path in glassline.data_dir.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert b"sk-provider-secret" not in data, path
            assert b"sk-virtual-0123456789" not in data, path
    assert "sk-provider" not in glassline.stderr


def test_in_passthrough_an_upstreams_key_is_lent_to_nobody(start_glassline: StartGlassline) -> None:
    with ScriptedUpstream() as upstream:
        glassline = start_glassline(upstream.url, {"upstreams": {"openai": {"api_key": "sk-provider-secret-xyz"}}})
        assert ask(glassline, key="sk-callers-own") == 200
        assert b"sk-provider-secret" not in upstream.requests[0]
        assert b"Bearer sk-callers-own" in upstream.requests[0]


def test_model_and_upstream_lists_are_enforced(start_glassline: StartGlassline, simulator: Simulator) -> None:
    key = {"name": "a", "key": "sk-narrow-0123456789", "models": ["gpt-5*"], "upstreams": ["openai"]}
    glassline = start_glassline(simulator.url, {"keys": [key]})
    answer = exchange(glassline.port, post("/v1/chat/completions", BODY, key="sk-narrow-0123456789"))
    assert answer.status == 403
    assert b"x-glassline-error: model_not_allowed" in answer.head
    assert exchange(glassline.port, post("/groq/chat/completions", BODY, key="sk-narrow-0123456789")).status == 403


def test_a_limited_key_cannot_hide_behind_another_credential_method_or_spelling(
    start_glassline: StartGlassline, simulator: Simulator
) -> None:
    key = "sk-narrow-0123456789"
    glassline = start_glassline(simulator.url, {"keys": [{"name": "a", "key": key, "models": ["gpt-5*"]}]})
    hidden = post("/v1/chat/completions", BODY, key="sk-junk-0123456789", headers=(f"x-api-key: {key}",))
    other_method = post("/v1/chat/completions", BODY, key=key).replace(b"POST", b"PUT", 1)
    spelling = post("/v1/ch%61t/completions/", BODY, key=key)
    for request in (hidden, other_method, spelling):
        assert exchange(glassline.port, request).status == 403
    assert not simulator.truth("received")


def test_rate_limits_refuse_with_a_short_retry_after(start_glassline: StartGlassline, simulator: Simulator) -> None:
    key = {"name": "a", "key": "sk-limited-0123456789", "rate_limits": {"requests_per_minute": 3}}
    glassline = start_glassline(simulator.url, {"keys": [key]}, args=("--workers", "2"))
    answers = [
        exchange(glassline.port, post("/v1/chat/completions", BODY, key="sk-limited-0123456789")) for _ in range(6)
    ]
    assert sorted(answer.status for answer in answers) == [200] * 3 + [429] * 3
    refused = next(answer for answer in answers if answer.status == 429)
    assert b"x-glassline-error: rate_limited" in refused.head
    assert b"retry-after: " in refused.head
    assert b"x-should-retry" not in refused.head


def test_concurrency_is_limited_and_freed(start_glassline: StartGlassline, simulator: Simulator) -> None:
    key = {"name": "a", "key": "sk-limited-0123456789", "rate_limits": {"concurrent": 1}}
    glassline = start_glassline(simulator.url, {"keys": [key]})
    slow = post("/v1/chat/completions", BODY, key="sk-limited-0123456789", headers=("x-simulate: ttft=2",))
    with RawClient(glassline.port) as client:
        client.send(slow)
        simulator.wait_for_truth(1, "received")
        assert ask(glassline, key="sk-limited-0123456789") == 429
        assert client.read_all().status == 200
    wait_until(lambda: ask(glassline, key="sk-limited-0123456789") == 200, "a free place")


def test_tags_from_the_path_and_headers_are_recorded_and_not_forwarded(start_glassline: StartGlassline) -> None:
    with ScriptedUpstream() as upstream:
        glassline = start_glassline(upstream.url)
        headers = ("x-glassline-user: ann", "x-glassline-tags: a=b", "x-glassline-prompt: greet@3")
        answer = exchange(
            glassline.port, post("/t/feature:search/t/env:prod/v1/chat/completions", BODY, headers=headers)
        )
        assert answer.status == 200
        assert b"x-glassline" not in upstream.requests[0].lower()
        assert upstream.requests[0].startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")
        [row] = glassline.wait_for_rows(1)
    assert json.loads(row["tags"]) == {"a": "b", "feature": "search", "env": "prod"}
    assert (row["user"], row["prompt_name"], row["prompt_version"]) == ("ann", "greet", "3")


def test_strict_durability_serves_and_records(start_glassline: StartGlassline, simulator: Simulator) -> None:
    glassline = start_glassline(simulator.url, {"durability": "strict"})
    for _ in range(5):
        assert ask(glassline) == 200
    assert len(glassline.wait_for_rows(5)) == 5


def test_a_second_instance_on_the_same_directory_ends_with_78(glassline: Glassline) -> None:
    command = [sys.executable, "-m", "proxy", "serve", "--port", "0", "--admin-port", "0"]
    command += ["--data-dir", str(glassline.data_dir)]
    done = subprocess.run(command, capture_output=True, timeout=30, check=False, cwd=ROOT)
    assert done.returncode == 78
    assert b"another Glassline uses it" in done.stderr
    assert ask(glassline) == 200


def test_a_taken_port_ends_with_78(glassline: Glassline, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "proxy", "serve", "--port", str(glassline.port), "--admin-port", "0"]
    done = subprocess.run(
        [*command, "--data-dir", str(tmp_path / "other")], capture_output=True, timeout=30, check=False, cwd=ROOT
    )
    assert done.returncode == 78
    assert b"cannot listen on 127.0.0.1" in done.stderr


def make_certificate(directory: Path) -> tuple[Path, Path]:
    """Write a self-signed certificate for 127.0.0.1 and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = directory / "cert.pem", directory / "key.pem"
    cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return cert_file, key_file


def test_a_renewed_certificate_is_taken_up_and_a_broken_one_is_not(
    start_glassline: StartGlassline, simulator: Simulator, tmp_path: Path
) -> None:
    cert, key = make_certificate(tmp_path)
    secure = start_glassline(simulator.url, {"listen": {"tls": {"cert": str(cert), "key": str(key)}}})

    def shown() -> str:
        return ssl.get_server_certificate(("127.0.0.1", secure.port), timeout=10).strip()

    first = cert.read_text().strip()
    assert shown() == first
    make_certificate(tmp_path)
    second = cert.read_text().strip()
    secure.reload()
    wait_until(lambda: shown() == second != first, "the new certificate")
    cert.write_text("nonsense")
    secure.reload()
    wait_until(lambda: "the certificate in force stays" in secure.stderr, "the report")
    assert shown() == second


def test_tls_on_both_sides(start_glassline: StartGlassline, simulator: Simulator, tmp_path: Path) -> None:
    cert, key = make_certificate(tmp_path)
    secure = start_glassline(simulator.url, {"listen": {"tls": {"cert": str(cert), "key": str(key)}}})
    context = ssl.create_default_context(cafile=cert)
    url = f"https://127.0.0.1:{secure.port}/v1"
    assert httpx.get(f"{url}/models", verify=context).status_code == 200
    upstreams = {
        "trusted": {"base_url": url, "allow_private": True, "ca_file": str(cert)},
        "distrusted": {"base_url": url, "allow_private": True},
    }
    front = start_glassline(None, {"upstreams": upstreams})
    assert httpx.get(f"{front.url}/trusted/models").status_code == 200
    refused = httpx.get(f"{front.url}/distrusted/models")
    assert refused.status_code == 502
    assert "certificate" in refused.json()["error"]["message"]
