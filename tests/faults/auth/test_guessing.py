from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.admin.exposed import parse_text
from tests.conftest import StartGlassline
from tests.faults.auth.scene import PASSWORD, admin_client, basic, guarded_config, hand_out
from tests.harness import Glassline
from tests.harness.client import Answer, exchange
from tests.harness.upstream import ScriptedUpstream

LIMIT = 5


def asked(port: int, path: str, authorization: str) -> Answer:
    lines = (f"GET {path} HTTP/1.1", "Host: localhost", f"Authorization: {authorization}", "Connection: close")
    return exchange(port, "\r\n".join(lines).encode() + b"\r\n\r\n")


def anonymous(answer: Answer) -> bytes:
    """Return an answer without what differs between any two: ids, the date, the time it took."""
    return re.sub(
        rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?<=date: )[^\r]*|(?<=overhead-ms: )[\d.]+", b"", answer.raw
    )


@pytest.fixture
def strict(start_glassline: StartGlassline, tmp_path: Path) -> Glassline:
    return start_glassline("http://127.0.0.1:9", guarded_config(tmp_path / "secrets", limit=LIMIT))


def test_an_address_that_guesses_keys_is_told_to_wait_and_a_right_key_still_passes(
    start_glassline: StartGlassline, tmp_path: Path
) -> None:
    with ScriptedUpstream() as upstream:
        glassline = start_glassline(upstream.url, guarded_config(tmp_path / "secrets", limit=LIMIT))
        known = hand_out(glassline)
        statuses = [asked(glassline.port, "/v1/models", f"Bearer sk-guess-{number:020}").status for number in range(9)]
        assert statuses == [401] * LIMIT + [429] * 4
        limited = asked(glassline.port, "/-/me", "Bearer sk-guess")
        assert limited.status == 429
        assert b"x-glassline-error: too_many_failures" in limited.head
        assert b"x-should-retry: false" in limited.head
        assert 1 <= int(re.findall(rb"retry-after: (\d+)", limited.head)[0]) <= 60
        assert asked(glassline.port, "/v1/models", f"Bearer {known.key}").status == 200
        assert asked(glassline.port, "/-/me", f"Bearer {known.key}").status == 200
        assert len(upstream.requests) == 1
        assert {row["error_code"] for row in glassline.wait_for_rows(9, "status = 429 OR status = 401")} == {
            "invalid_key",
            "too_many_failures",
        }


def test_a_request_without_any_key_is_no_guess(strict: Glassline) -> None:
    bare = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    assert {exchange(strict.port, bare).status for _ in range(LIMIT + 3)} == {401}


def test_keys_are_the_providers_business_where_they_pass_through(
    start_glassline: StartGlassline, tmp_path: Path
) -> None:
    with ScriptedUpstream() as upstream:
        config = guarded_config(tmp_path / "secrets", limit=LIMIT) | {"auth": "passthrough"}
        glassline = start_glassline(upstream.url, config)
        answers = [asked(glassline.port, "/v1/models", f"Bearer sk-own-{number}").status for number in range(LIMIT + 3)]
        assert answers == [200] * (LIMIT + 3)


def test_an_address_that_guesses_tokens_is_told_to_wait_and_a_right_token_still_passes(strict: Glassline) -> None:
    known = hand_out(strict)
    with admin_client(strict) as client:
        assert client.get("/status", headers={"authorization": basic("the-viewer", f"viewer {PASSWORD}")}).is_success
        guesses = [client.get("/status", headers={"authorization": f"Bearer glt-{n:043}"}) for n in range(9)]
        assert [guess.status_code for guess in guesses] == [401] * LIMIT + [429] * 4
        assert 1 <= int(guesses[-1].headers["retry-after"]) <= 60
        for right in (f"Bearer {known.viewer}", basic("the-viewer", f"viewer {PASSWORD}")):
            assert client.get("/status", headers={"authorization": right}).status_code == 200
        unseen = client.get("/status", headers={"authorization": basic("the-editor", f"editor {PASSWORD}")})
        assert unseen.status_code == 429, "a password that is sent for the first time could be a guess"
        text = client.get("/metrics", headers={"authorization": f"Bearer {known.viewer}"}).text
    samples = {
        sample.labels["result"]: sample.value
        for family in parse_text(text)
        for sample in family.samples
        if sample.name == "glassline_admin_auth_failures_total"
    }
    assert samples == {"refused": LIMIT, "limited": 5}


def test_guesses_that_come_at_once_are_not_all_checked(strict: Glassline) -> None:
    with ThreadPoolExecutor(12) as threads:
        answers = list(
            threads.map(
                lambda n: asked(strict.admin_port, "/status", basic("admin", f"guess {n:08}")).status, range(40)
            )
        )
    assert answers.count(401) <= LIMIT
    assert set(answers) <= {401, 429, 503}


def test_every_wrong_credential_gets_the_same_answer(start_glassline: StartGlassline, tmp_path: Path) -> None:
    glassline = start_glassline("http://127.0.0.1:9", guarded_config(tmp_path / "secrets"))
    known = hand_out(glassline)
    tokens = (
        known.revoked,
        known.expired,
        known.viewer[:-1] + "?",
        known.viewer + "x",
        known.key,
        "x",
        "glt-" + "A" * 43,
    )
    answers = {anonymous(asked(glassline.admin_port, "/status", f"Bearer {token}")) for token in tokens}
    answers |= {
        anonymous(asked(glassline.admin_port, "/status", basic(name, "some wrong password")))
        for name in ("admin", "the-viewer", "nobody")
    }
    assert len(answers) == 1
    keys = (known.revoked_key, known.key[:-1] + "?", known.key + "x", "sk-unknown", "gl-" + "A" * 43, known.viewer)
    for path in ("/v1/models", "/v1beta/models", "/-/me"):
        told = {anonymous(asked(glassline.port, path, f"Bearer {key}")) for key in keys}
        assert len(told) == 1, path


def test_scraping_with_a_password_costs_one_check(strict: Glassline) -> None:
    """The second request would be told to wait if it were checked like a first: the limit is used up in between."""
    headers = {"authorization": basic("prometheus", PASSWORD)}
    with admin_client(strict) as client:
        assert client.get("/metrics", headers=headers).status_code == 200
        for number in range(LIMIT + 1):
            client.get("/metrics", headers={"authorization": basic("x", f"wrong password {number}")})
        assert {client.get("/metrics", headers=headers).status_code for _ in range(20)} == {200}


def test_another_password_file_ends_what_the_old_one_opened(start_glassline: StartGlassline, tmp_path: Path) -> None:
    config = guarded_config(tmp_path / "secrets")
    glassline = start_glassline("http://127.0.0.1:9", config)
    headers = {"authorization": basic("admin", PASSWORD)}
    assert httpx.get(f"{glassline.admin_url}/status", headers=headers).status_code == 200
    glassline.stop()
    Path(config["admin"]["password_file"]).write_text("quite another password")
    glassline.start()
    assert httpx.get(f"{glassline.admin_url}/status", headers=headers).status_code == 401
