from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

import brotli
import msgspec
import pytest
import zstandard

from pricing import PriceBook
from proxy.config import Config, parse_config
from proxy.recorder.bills import Bills
from proxy.recorder.echoes import Echoes
from proxy.recorder.interpret import Interpreter
from proxy.records import Body, Exchange, Timeline
from proxy.store import Record, SqliteStore
from tests.recorder.builders import make_begin, make_end

LENT = "sk-lent-canary-0123456789"
CALLER = "gl-caller-canary-0123456789"


def config() -> Config:
    return parse_config(
        f"upstreams: {{openai: {{api_key: {LENT}}}}}\nkeys: [{{name: team, key: {CALLER}}}]\nauth: virtual\n"
    )


def error_body(text: str) -> bytes:
    return json.dumps({"error": {"message": text, "type": "invalid_request_error", "code": "invalid_api_key"}}).encode()


def exchange(answer: bytes, *headers: tuple[bytes, bytes], status: int = 401, **end: Any) -> Exchange:
    pairs = ((b"content-type", b"application/json"), *headers)
    request = b'{"model": "gpt-4o-mini", "messages": []}'
    return Exchange(
        begin=make_begin(key="team"),
        end=make_end(answer, request, status=status, headers=pairs, **end),
        request=Body(request, len(request), b"r" * 32),
        response=Body(answer, len(answer), b"s" * 32),
        timeline=Timeline(),
    )


@pytest.fixture
def record(tmp_path: Any) -> Any:
    """Interpret an exchange as the recorder does."""
    store = SqliteStore(tmp_path / "records.db")
    interpreter = Interpreter(PriceBook(), config(), Bills(store.bills))
    yield interpreter.record
    store.close()


def shown(record: Record) -> bytes:
    return repr(msgspec.to_builtins(record, builtin_types=(bytes,))).encode()


@pytest.mark.parametrize("secret", [LENT, CALLER])
def test_a_key_that_a_provider_repeats_is_in_no_part_of_the_record(record: Any, secret: str) -> None:
    answer = error_body(f"Incorrect API key provided: {secret}.")
    made = record(exchange(answer, (b"x-echo", b"Bearer " + secret.encode()), error_message=f"it said {secret}"))
    assert made.reading.error_message == "Incorrect API key provided: ***."
    assert made.exchange.end.error_message == "it said ***"
    assert len(made.response.head) == len(answer)
    assert json.loads(made.response.head)["error"]["code"] == "invalid_api_key"
    assert secret.encode() not in shown(made)


CODINGS = {
    b"gzip": gzip.compress,
    b"deflate": zlib.compress,
    b"br": brotli.compress,
    b"zstd": zstandard.compress,
}


@pytest.mark.parametrize("coding", CODINGS)
def test_a_key_inside_a_compressed_answer_is_found_and_the_answer_is_not_stored(record: Any, coding: bytes) -> None:
    answer = CODINGS[coding](error_body(f"Incorrect API key provided: {LENT}."))
    made = record(exchange(answer, (b"content-encoding", coding)))
    assert LENT not in str(made.reading)
    assert "Incorrect API key provided" in made.reading.error_message
    assert not made.response.head
    assert made.response.size == len(answer)
    assert LENT.encode() not in shown(made)


def test_an_answer_without_an_echo_is_left_alone_and_costs_no_copy() -> None:
    plain = exchange(error_body("Incorrect API key provided: sk-…9."))
    assert Echoes(config()).without(plain) is plain
    assert Echoes(Config()).without(plain) is plain


def test_secrets_too_short_to_be_told_from_words_are_left_alone() -> None:
    short = parse_config("upstreams: {openai: {api_key: invalid}}")
    plain = exchange(error_body("invalid"))
    assert Echoes(short).without(plain) is plain
