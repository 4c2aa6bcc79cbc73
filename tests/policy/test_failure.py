"""When redaction fails: nothing is stored that can hold a secret, and nothing is lost that says what it cost."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.policy.detectors import BUILT_IN
from proxy.store import Record
from tests.recorder.builders import ANSWER, JSON_HEADERS, make_begin, make_end, make_exchange
from tests.recorder.builders import interpreter as interpreter_of
from tests.recorder.test_redact import everything

CANARY = "canary7e5d"
SLOW = {"record": {"redact": ["email", {"name": "slow", "pattern": "(a|aa)+$"}]}}
"""A pattern that takes too long for what the body says."""
BEGIN: dict[str, Any] = {
    "method": f"X{CANARY}",
    "path": f"/{CANARY}?to={CANARY}",
    "headers": (*JSON_HEADERS, (b"x-note", CANARY.encode())),
    "user": CANARY,
    "session": CANARY,
    "tags": {CANARY: CANARY},
    "environment": CANARY,
    "prompt_name": CANARY,
    "prompt_version": CANARY,
    "trace_id": CANARY,
    "parent_id": CANARY,
    "no_store": CANARY,
}


def made(begin: dict[str, Any], answer: dict[str, Any], model: str = CANARY) -> Record:
    messages = [{"role": "user", "content": "a" * 100 + f"! {CANARY}"}]
    request = json.dumps({"model": model, "messages": messages, "user": CANARY}).encode()
    response = json.dumps(answer).encode()
    end = make_end(response, request, headers=(*JSON_HEADERS, (b"x-to", CANARY.encode())), error_message=CANARY)
    return interpreter_of(json.dumps(SLOW)).record(make_exchange(make_begin(**begin), end, request, response))


def answer_with(**members: Any) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(ANSWER)
    answer["choices"][0] |= {"finish_reason": CANARY}
    call = {"id": CANARY, "type": "function", "function": {"name": CANARY, "arguments": CANARY}}
    answer["choices"][0]["message"] |= {"content": CANARY, "tool_calls": [call]}
    return answer | {"id": CANARY, "service_tier": CANARY, "system_fingerprint": CANARY} | members


@pytest.mark.parametrize("begin", [BEGIN, {name: BEGIN[name] for name in ("user", "headers", "tags")}])
def test_no_word_of_a_stranger_is_kept(begin: dict[str, Any]) -> None:
    for answer in (answer_with(model=CANARY), answer_with(), {"error": {"type": CANARY, "message": CANARY}}):
        record = made(begin, answer)
        assert record.privacy == ("redaction_failed",)
        assert CANARY not in everything(record)


def test_the_model_is_kept_under_the_name_that_the_price_table_has_for_it() -> None:
    plain = made({}, json.loads(ANSWER), model="gpt-4o-mini")
    assert (plain.reading.model, plain.reading.model_requested) == ("gpt-4o-mini", None)
    assert plain.cost.nano_usd == 1000 * 150 + 100 * 600
    assert plain.reading.finish_reasons == ("stop",)
    assert (plain.exchange.method, plain.exchange.begin.key) == ("POST", make_begin().key)


def test_a_detector_that_breaks_keeps_the_texts_out_of_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(text: str) -> Any:
        raise ValueError(text)

    monkeypatch.setitem(BUILT_IN, "email", ("EMAIL", broken))
    record = made(BEGIN, answer_with())
    assert record.privacy == ("redaction_failed",)
    assert CANARY not in everything(record)


def test_the_reason_for_which_there_is_no_price_does_not_say_what_was_redacted() -> None:
    mail = "alice.smith@example.com"
    request = json.dumps({"model": mail, "messages": []}).encode()
    answer = json.dumps(json.loads(ANSWER) | {"model": mail}).encode()
    exchange = make_exchange(make_begin(), make_end(answer, request), request, answer)
    record = interpreter_of(json.dumps({"record": {"redact": ["email"]}})).record(exchange)
    assert record.privacy == ("redacted",)
    assert record.cost.reason is not None
    assert mail not in everything(record)
