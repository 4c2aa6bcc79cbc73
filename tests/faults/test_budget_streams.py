"""Upstreams whose streams would carry a hard cap past itself: all at once, compressed, or as no stream at all."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import struct
import zlib
from collections.abc import Callable

import pytest

from proxy.framing import ChunkDecoder
from tests.conftest import StartGlassline
from tests.harness import Glassline
from tests.harness.client import Answer, exchange, post
from tests.harness.process import wait_until
from tests.harness.upstream import STREAM_HEAD, Connection, ScriptedUpstream, chunk

KEY = "sk-capped-0123456789abc"
ENOUGH = "1"
LITTLE = "0.003"
"""USD: room for some 3,000 tokens of output at the dearest price of gpt-4o-mini, and not for the 16,384 it may make."""
BODY = json.dumps({"model": "gpt-4o-mini", "stream": True, "messages": [{"role": "user", "content": "hi"}]}).encode()


def event(text: str) -> bytes:
    return b"data: " + json.dumps({"choices": [{"index": 0, "delta": {"content": text}}]}).encode() + b"\n\n"


WORDS = [f"word {number} of a long answer; " for number in range(4_000)]
"""108 KB of text: far more than any slice."""
STREAM = b"".join(map(event, WORDS)) + b"data: [DONE]\n\n"
LONG_JSON = json.dumps({"choices": [{"message": {"content": "".join(WORDS)}}], "usage": None}).encode()


def chunked(pieces: list[bytes]) -> bytes:
    return STREAM_HEAD + b"".join(map(chunk, pieces)) + chunk(b"")


def with_length(body: bytes, *lines: bytes) -> bytes:
    return b"\r\n".join((b"HTTP/1.1 200 OK", *lines, b"content-length: %d" % len(body), b"", b"")) + body


BURSTS: dict[str, bytes] = {
    "one chunk": chunked([STREAM]),
    "many chunks": chunked([STREAM[start : start + 1000] for start in range(0, len(STREAM), 1000)]),
    "a length": with_length(STREAM, b"content-type: text/event-stream"),
    "until the connection ends": b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
    + STREAM,
    "no line end at the end": with_length(STREAM.rstrip(), b"content-type: text/event-stream"),
    "one event": with_length(event("".join(WORDS)) + b"data: [DONE]\n\n", b"content-type: text/event-stream"),
}
UNREADABLE: dict[str, bytes] = {
    "JSON": with_length(LONG_JSON, b"content-type: application/json"),
    "gzip": with_length(gzip.compress(STREAM), b"content-type: text/event-stream", b"content-encoding: gzip"),
    "no type": with_length(LONG_JSON),
}


def serve(start: StartGlassline, upstream: ScriptedUpstream, limit_usd: str) -> Glassline:
    budgets = [{"limit_usd": limit_usd, "window": "total", "streams": "sliced"}]
    return start(upstream.url, {"keys": [{"name": "capped", "key": KEY, "budgets": budgets}]})


def burst(data: bytes) -> Callable[[Connection], None]:
    def script(connection: Connection) -> None:
        connection.send(data)
        if b"connection: close" in data:
            connection.socket.close()

    return script


def text_of(answer: Answer) -> str:
    texts = re.findall(rb'"content": ?"((?:[^"\\]|\\.)*)"', answer.body)
    return "".join(json.loads(b'"' + text + b'"') for text in texts)


def plain(answer: Answer) -> bytes:
    """Return the body without the chunked coding."""
    if b"transfer-encoding: chunked" not in answer.head:
        return answer.body
    decoder = ChunkDecoder()
    body = b"".join(decoder.feed(answer.body))
    assert decoder.is_done
    return body


def amounts(glassline: Glassline) -> tuple[int, int, int]:
    sql = (
        "SELECT sum(spent_nano_usd) AS spent, sum(reserved_nano_usd) AS held, sum(overrun_nano_usd) AS o FROM accounts"
    )
    [row] = glassline.rows(sql, database="ledger.db")
    return row["spent"], row["held"], row["o"]


def settled(glassline: Glassline) -> tuple[int, int]:
    """Wait for settlement; return what is spent and what was billed beyond the cap, nano-USD."""
    wait_until(lambda: amounts(glassline)[1] == 0, "settlement")
    spent, _, overrun = amounts(glassline)
    return spent, overrun


@pytest.mark.parametrize("case", BURSTS)
def test_a_burst_larger_than_its_budget_is_cut_at_what_is_covered(start_glassline: StartGlassline, case: str) -> None:
    with ScriptedUpstream(burst(BURSTS[case])) as upstream:
        glassline = serve(start_glassline, upstream, LITTLE)
        answer = exchange(glassline.port, post("/v1/chat/completions", BODY, key=KEY))
        [row] = glassline.wait_for_rows(1)
        assert answer.status == 200
        assert (row["outcome"], row["error_code"]) == ("refused", "budget_exceeded")
        # A token has at least a byte, so the cap pays for at most this much text: $0.003 at $1 per million tokens.
        assert len(text_of(answer)) <= 3_000
        assert b"[DONE]" not in answer.body
        assert "".join(WORDS).startswith(text_of(answer))
        settled(glassline)


@pytest.mark.parametrize("case", BURSTS)
def test_a_burst_within_its_budget_arrives_byte_for_byte(start_glassline: StartGlassline, case: str) -> None:
    with ScriptedUpstream(burst(BURSTS[case])) as upstream:
        glassline = serve(start_glassline, upstream, ENOUGH)
        answer = exchange(glassline.port, post("/v1/chat/completions", BODY, key=KEY))
        [row] = glassline.wait_for_rows(1)
        assert (answer.status, row["outcome"]) == (200, "completed")
        assert (
            hashlib.sha256(plain(answer)).digest()
            == hashlib.sha256(plain(Answer(BURSTS[case], is_reset=False))).digest()
        )
        spent, overrun = settled(glassline)
        assert overrun == 0
        assert 0 < spent <= 10**9


@pytest.mark.parametrize("case", UNREADABLE)
def test_an_answer_that_cannot_be_metered_is_refused_where_the_budget_cannot_cover_all_of_it(
    start_glassline: StartGlassline, case: str
) -> None:
    with ScriptedUpstream(burst(UNREADABLE[case])) as upstream:
        glassline = serve(start_glassline, upstream, LITTLE)
        answer = exchange(glassline.port, post("/v1/chat/completions", BODY, key=KEY))
        assert answer.status == 429
        assert b"x-glassline-error: budget_exceeded" in answer.head
        assert b"word 0" not in answer.raw
        [row] = glassline.wait_for_rows(1)
        assert (row["outcome"], row["error_code"]) == ("refused", "budget_exceeded")
        spent, overrun = settled(glassline)
        assert spent > 0, "the provider has answered, so what was reserved is spent"
        assert overrun == 0


@pytest.mark.parametrize("case", UNREADABLE)
def test_an_answer_that_cannot_be_metered_passes_where_the_budget_covers_all_of_it(
    start_glassline: StartGlassline, case: str
) -> None:
    with ScriptedUpstream(burst(UNREADABLE[case])) as upstream:
        glassline = serve(start_glassline, upstream, ENOUGH)
        answer = exchange(glassline.port, post("/v1/chat/completions", BODY, key=KEY))
        assert answer.status == 200
        sent = UNREADABLE[case].partition(b"\r\n\r\n")[2]
        assert hashlib.sha256(plain(answer)).digest() == hashlib.sha256(sent).digest()
        [row] = glassline.wait_for_rows(1)
        assert row["outcome"] == "completed"
        _, overrun = settled(glassline)
        assert overrun == 0


@pytest.mark.parametrize("status", [b"503 Busy", b"400 Bad", b"422 Odd"])
def test_an_error_of_the_provider_passes_a_spent_slice_and_costs_nothing(
    start_glassline: StartGlassline, status: bytes
) -> None:
    error = json.dumps({"error": {"message": "x" * 5_000}}).encode()
    script = burst(with_length(error, b"content-type: application/json").replace(b"200 OK", status))
    with ScriptedUpstream(script) as upstream:
        glassline = serve(start_glassline, upstream, LITTLE)
        answer = exchange(glassline.port, post("/v1/chat/completions", BODY, key=KEY))
        assert (answer.status, answer.body) == (int(status[:3]), error)
        assert settled(glassline) == (0, 0)


# Every dialect. The model is priced like one of which nothing is hidden, so its streams are metered.


def converse_frame(text: str) -> bytes:
    payload = json.dumps({"contentBlockIndex": 0, "delta": {"text": text}, "p": "abcdefghijklm"}).encode()
    prelude = struct.pack(">II", 16 + len(payload), 0)
    head = prelude + struct.pack(">I", zlib.crc32(prelude))
    return head + payload + struct.pack(">I", zlib.crc32(head + payload))


def json_lines(text: str) -> bytes:
    return (
        json.dumps({"model": "house", "message": {"role": "assistant", "content": text}, "done": False}).encode()
        + b"\n"
    )


def named(name: str, value: object) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + json.dumps(value).encode() + b"\n\n"


def claude(text: str) -> bytes:
    delta = {"type": "text_delta", "text": text}
    return named("content_block_delta", {"type": "content_block_delta", "index": 0, "delta": delta})


def responses(text: str) -> bytes:
    kind = "response.output_text.delta"
    return named(kind, {"type": kind, "item_id": "m", "output_index": 0, "delta": text})


def gemini(text: str) -> bytes:
    return b"data: " + json.dumps({"candidates": [{"content": {"parts": [{"text": text}]}}]}).encode() + b"\r\n\r\n"


DIALECTS: dict[str, tuple[str, str, str, Callable[[str], bytes]]] = {
    "anthropic": ("anthropic", "/v1/messages", "text/event-stream; charset=utf-8", claude),
    "responses": ("openai", "/v1/responses", "text/event-stream", responses),
    "gemini": ("gemini", "/v1beta/models/house:streamGenerateContent?alt=sse", "text/event-stream", gemini),
    "ollama": ("ollama", "/api/chat", "application/x-ndjson", json_lines),
    "bedrock": ("bedrock", "/model/house/converse-stream", "application/vnd.amazon.eventstream", converse_frame),
}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("limit_usd", [ENOUGH, LITTLE])
def test_a_burst_in_any_dialect_is_covered_or_cut(
    start_glassline: StartGlassline, dialect: str, limit_usd: str
) -> None:
    wire, path, content_type, spell = DIALECTS[dialect]
    body = b"".join(map(spell, WORDS))
    with ScriptedUpstream(burst(with_length(body, b"content-type: " + content_type.encode()))) as upstream:
        config = {
            "upstreams": {
                "house": {"base_url": f"http://127.0.0.1:{upstream.port}", "wire": wire, "allow_private": True}
            },
            "keys": [
                {
                    "name": "capped",
                    "key": KEY,
                    "budgets": [{"limit_usd": limit_usd, "window": "total", "streams": "sliced"}],
                }
            ],
            "pricing": {"overrides": [{"model": "house", "alias_of": "openai/gpt-4o-mini"}]},
        }
        glassline = start_glassline(None, config)
        asked = json.dumps({"model": "house", "stream": True, "max_tokens": 16_384, "messages": []}).encode()
        answer = exchange(glassline.port, post("/house" + path, asked, key=KEY))
        assert answer.status == 200
        if limit_usd == ENOUGH:
            assert hashlib.sha256(plain(answer)).digest() == hashlib.sha256(body).digest()
        else:
            passed = re.findall(rb"word \d+ of a long answer; ", answer.body)
            assert passed == [word.encode() for word in WORDS[: len(passed)]]
            assert 0 < sum(map(len, passed)) <= 3_000
        glassline.wait_for_rows(1)
        settled(glassline)


def test_an_array_of_gemini_is_held_until_everything_is_covered(start_glassline: StartGlassline) -> None:
    body = json.dumps([{"candidates": [{"content": {"parts": [{"text": word}]}}]} for word in WORDS]).encode()
    with ScriptedUpstream(burst(with_length(body, b"content-type: application/json"))) as upstream:
        config = {
            "upstreams": {
                "house": {"base_url": f"http://127.0.0.1:{upstream.port}", "wire": "gemini", "allow_private": True}
            },
            "keys": [
                {
                    "name": "capped",
                    "key": KEY,
                    "budgets": [{"limit_usd": LITTLE, "window": "total", "streams": "sliced"}],
                },
                {
                    "name": "rich",
                    "key": "sk-rich-0123456789abc",
                    "budgets": [{"limit_usd": 1, "window": "total", "streams": "sliced"}],
                },
            ],
            "pricing": {"overrides": [{"model": "house", "alias_of": "openai/gpt-4o-mini"}]},
        }
        glassline = start_glassline(None, config)
        path = "/house/v1beta/models/house:streamGenerateContent"
        refused = exchange(glassline.port, post(path, b'{"contents":[]}', key=KEY))
        assert (refused.status, b"word 0" in refused.raw) == (429, False)
        passed = exchange(glassline.port, post(path, b'{"contents":[]}', key="sk-rich-0123456789abc"))
        assert (passed.status, plain(passed)) == (200, body)
