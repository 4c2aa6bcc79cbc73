from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy import logs
from proxy.logs import MAX_EVENT_BYTES, LogFormat, hide, scrub, set_up
from proxy.secrets import Secret

FORGERIES = (
    "\r\n2026-11-21 info forged",
    "\x1b[2J\x1b[1;1Hforged",
    "\u2028forged\u2029",
    "\u202eforged\u2066",
    "\x00\x07\x08\x7f\x9b",
    "\ud800 alone",
    "\u200b\ufeff\u00ad",
    '"}\n{"level": "info", "message": "forged"',
    "x" * 1_000_000,
    "\x1b" * 1_000_000,
    "é" * 1_000_000,
    "\U0001f680" * 300_000,
)
"""What a stranger may put into a model, a user, a path or a header."""


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers[:], root.level, sys.excepthook
    yield
    root.handlers[:], root.level, sys.excepthook = before
    logging.captureWarnings(capture=False)
    hide(())


def told(
    capsys: pytest.CaptureFixture[str], log_format: LogFormat, message: str, *values: object, fails: bool = False
) -> str:
    """Return what one event writes."""
    set_up(log_format)
    log = logging.getLogger("glassline.test")
    if fails:
        try:
            raise ValueError(message % values if values else message)
        except ValueError:
            log.exception("it failed")
    else:
        log.warning(message, *values)
    return capsys.readouterr().err


@pytest.mark.parametrize("fails", [False, True], ids=["message", "traceback"])
@pytest.mark.parametrize("text", FORGERIES, ids=range(len(FORGERIES)))
def test_an_event_is_one_line_of_json_whatever_stands_in_it(
    capsys: pytest.CaptureFixture[str], text: str, fails: bool
) -> None:
    written = told(capsys, "json", "model %s", text, fails=fails)
    assert written.count("\n") == 1
    assert len(written) <= MAX_EVENT_BYTES
    assert written[:-1].isascii()
    assert written[:-1].isprintable()
    assert json.loads(written)["level"] in ("warning", "error")


@pytest.mark.parametrize("fails", [False, True], ids=["message", "traceback"])
@pytest.mark.parametrize("text", FORGERIES, ids=range(len(FORGERIES)))
def test_in_text_no_stranger_begins_a_line_or_moves_the_cursor(
    capsys: pytest.CaptureFixture[str], text: str, fails: bool
) -> None:
    written = told(capsys, "text", "model %s", text, fails=fails)
    first, *rest = written[:-1].split("\n")
    assert all(line.startswith("  ") for line in rest)
    assert fails or not rest
    assert all(line.isprintable() for line in (first, *rest))
    assert len(written.encode()) <= MAX_EVENT_BYTES


@given(st.text(max_size=300), st.sampled_from(["text", "json"]))
def test_any_text_is_one_event(text: str, log_format: LogFormat) -> None:
    formatter = logs._JsonFormatter() if log_format == "json" else logs._TextFormatter()
    line = formatter.format(logging.LogRecord("x", logging.INFO, "", 0, "path %s", (text,), None))
    assert line.isprintable()


SECRETS = {
    "plain": b"canary-0123456789",
    "quoted": b'with "quotes" and \\ in it',
    "umlaut": "schl\u00fcssel-geheim".encode(),
    "url": b"needs/escaping+in=urls&so",
}


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_known_secret_is_replaced_in_messages_tracebacks_and_other_spellings(
    capsys: pytest.CaptureFixture[str], secret: bytes, log_format: LogFormat
) -> None:
    hide([Secret(secret), Secret(b"another-one")])
    text = secret.decode()
    for message in (text, json.dumps({"key": text}), repr({"key": text})):
        for fails in (False, True):
            written = told(capsys, log_format, "using %s now", message, fails=fails)
            assert "***" in written
            parts = [part for part in text.replace("\\", " ").replace('"', " ").split() if len(part) > 5]
            assert not [part for part in parts if part in written and log_format == "text"]
            assert text not in written


@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-abcdefghijklmnopqrstuvwxyz012345",
        "sk-ant-api03-abcdefghijklmnop",
        "sk-0123456789abcdef0123",
        "gl-abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ",
        "glt-abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ",
        "AIzaSyA-0123456789abcdefghijklmnopqrstu",
        "AKIAIOSFODNN7EXAMPLE",
        "ghp_0123456789abcdefghijklmnop",
        "xoxb-0123456789-abcdef",
        "hf_abcdefghijklmnopqrstuvwx",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N",
        "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\n-----END PRIVATE KEY-----",
    ],
)
def test_what_looks_like_a_secret_is_replaced(secret: str) -> None:
    shown = scrub(f"it answered: invalid key {secret}, try another")
    assert shown == "it answered: invalid key ***, try another"


def test_a_credential_in_a_header_is_replaced_and_its_scheme_stays() -> None:
    assert scrub("authorization: Bearer dGhpcyBpcyBh0123 x") == "authorization: Bearer *** x"
    assert scrub("authorization: basic dXNlcjpwYXNz") == "authorization: basic ***"


@pytest.mark.parametrize(
    "text",
    [
        "ready: proxy http://localhost:8080  dashboard http://localhost:8081  data glassline-data",
        "exchange 01933e0a-7b3c-7d2e-9a1f-0123456789ab cannot be interpreted",
        "records.db: unable to open database file",
        "basic authentication is required, or bearer credentials",
        "journal: 1764000000000-gateway-0-abcd-12345678.00000000.journal: No space left on device",
        "the list of dynamic keys has version 9: use a newer Glassline",
    ],
)
def test_ordinary_words_stay(text: str) -> None:
    assert scrub(text) == text


@pytest.mark.parametrize("piece", ["ey.ey-", "sk-", "Bearer ", "-----BEGIN A PRIVATE KEY-----", "eyJ0eXAi.", "gl-a"])
def test_no_text_keeps_the_search_for_secrets_busy(piece: str) -> None:
    start = time.process_time()
    scrub(piece * (1_000_000 // len(piece)))
    assert time.process_time() - start < 2


def test_requests_of_our_own_are_no_events_and_what_goes_wrong_with_them_is(capsys: pytest.CaptureFixture[str]) -> None:
    set_up()
    logging.getLogger("httpx").info("HTTP Request: GET http://127.0.0.1:8080/v1/models")
    logging.getLogger("httpx").warning("something is wrong")
    told = capsys.readouterr().err
    assert "HTTP Request" not in told
    assert "something is wrong" in told


def test_what_nobody_caught_is_told_like_any_event() -> None:
    script = (
        "import sys, threading, warnings; from proxy.logs import set_up, hide; from proxy.secrets import Secret;"
        "set_up('json'); hide([Secret(b'canary-0123456789')]);"
        "warnings.warn('canary-0123456789');"
        "t = threading.Thread(target=lambda: int('canary-0123456789')); t.start(); t.join();"
        "open('canary-0123456789')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "canary" not in done.stderr
    assert [json.loads(line)["level"] for line in done.stderr.splitlines()] == ["warning", "critical", "critical"]
