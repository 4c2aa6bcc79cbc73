from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import pytest

from proxy.store import Record
from tests.recorder.builders import ANSWER, PROMPT, interpreter, make_begin, make_end, make_exchange

ERROR = b'{"error":{"message":"no"}}'


def keep(policy: dict[str, Any], *, no_store: str = "", response: bytes = ANSWER, **end: Any) -> Record:
    exchange = make_exchange(make_begin(no_store=no_store), make_end(response, **end), response=response)
    return interpreter(json.dumps({"record": policy})).record(exchange)


@pytest.mark.parametrize(
    ("bodies", "no_store", "status", "kept"),
    [
        ("all", "", 200, (True, True)),
        ("all", "request", 200, (False, True)),
        ("all", "response", 200, (True, False)),
        ("all", "all", 200, (False, False)),
        ("none", "", 200, (False, False)),
        ("none", "", 500, (False, False)),
        ("errors", "", 200, (False, False)),
        ("errors", "", 500, (True, True)),
        ("errors", "request", 500, (False, True)),
    ],
)
def test_bytes_are_kept_as_policy_and_caller_allow(
    bodies: str, no_store: str, status: int, kept: tuple[bool, bool]
) -> None:
    response = ANSWER if status == 200 else ERROR
    record = keep({"bodies": bodies}, no_store=no_store, response=response, status=status)
    assert (record.request.head is not None, record.response.head is not None) == kept
    assert (record.request.size, record.response.size) == (len(PROMPT), len(response))
    # A hash would prove a guess about what the caller asked not to keep.
    hashes = [
        b"" if no_store in (side, "all") else sha256(data).digest()
        for side, data in (("request", PROMPT), ("response", response))
    ]
    assert [record.request.sha256, record.response.sha256] == hashes


def test_usage_and_cost_are_known_also_of_what_is_not_kept() -> None:
    record = keep({"bodies": "none"}, no_store="all")
    assert record.cost.nano_usd is not None
    assert record.totals.input == 1000


def test_a_long_body_keeps_its_beginning_its_end_its_size_and_its_hash() -> None:
    long = ANSWER[:-1] + b" " * 300_000 + b"}"
    record = keep({"max_body_mb": 0.1}, response=long)
    body = record.response
    assert body.head == long[:104857]
    assert body.tail == long[-65536:]
    assert (body.size, body.sha256) == (len(long), sha256(long).digest())
    assert record.cost.nano_usd is not None


def test_a_body_that_the_gateway_cut_keeps_what_the_gateway_kept() -> None:
    record = keep({"max_body_mb": 1}, response=ANSWER, response_size=9_000_000, response_tail=b"the end")
    assert (record.response.head, record.response.tail, record.response.size) == (ANSWER, b"the end", 9_000_000)


def test_a_limit_of_nothing_keeps_only_the_end() -> None:
    record = keep({"max_body_mb": 0})
    assert record.response.head == b""
    assert record.response.tail == ANSWER
