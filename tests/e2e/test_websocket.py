"""Sessions over WebSockets with the SDKs, against the simulated provider: records, prices, budgets, endings."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import signal
import ssl
import subprocess
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import openai
import pytest
from openai.types.realtime import ResponseDoneEvent
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Close
from websockets.sync.client import ClientConnection, connect

from tests.conftest import StartGlassline, StartSimulator
from tests.e2e.test_lifecycle import make_certificate
from tests.harness import Glassline, Simulator, wait_until
from tests.harness.process import ROOT

APP: Final = "sk-app-0123456789abcdef"
SOUND: Final = base64.b64encode(bytes(48_000)).decode()
"""A second of silence: ten tokens."""
REALTIME: Final = {
    # USD per million tokens of gpt-realtime: OpenAI's price list as of 2026-11 in genai-prices 0.2.3.
    "text": Decimal(4), "cached_text": Decimal("0.4"), "audio": Decimal(32), "cached_audio": Decimal("0.4"),
    "output": Decimal(16), "spoken": Decimal(64),
}  # fmt: skip
pytestmark = pytest.mark.filterwarnings(
    # openai 3.52 still calls `connect` of websockets 17 the old way.
    "ignore:connect\\(\\) must be used as a context manager:DeprecationWarning"
)
MINI: Final = {"fresh": Decimal("0.15"), "cached": Decimal("0.075"), "output": Decimal("0.6")}


def realtime_nano_usd(usage: dict[str, Any]) -> int:
    """Return what OpenAI bills for one response of the truth log, worked out here."""
    heard, cached_heard = usage["input_audio"], usage["cached_audio"]
    written = usage["input_tokens"] - heard
    cached_written = usage["cached_tokens"] - cached_heard
    millionths = (
        REALTIME["text"] * (written - cached_written)
        + REALTIME["cached_text"] * cached_written
        + REALTIME["audio"] * (heard - cached_heard)
        + REALTIME["cached_audio"] * cached_heard
        + REALTIME["output"] * (usage["output_tokens"] - usage["output_audio"])
        + REALTIME["spoken"] * usage["output_audio"]
    )
    return int(millionths * 1000)


def mini_nano_usd(usage: dict[str, Any]) -> int:
    fresh = usage["input_tokens"] - usage["cached_tokens"]
    millionths = (
        MINI["fresh"] * fresh + MINI["cached"] * usage["cached_tokens"] + MINI["output"] * usage["output_tokens"]
    )
    return int(millionths * 1000)


def client_of(glassline: Glassline, key: str = APP) -> openai.OpenAI:
    return openai.OpenAI(api_key=key, base_url=f"{glassline.url}/v1", max_retries=0)


def socket_to(glassline: Glassline, path: str, *, key: str | None = APP, **more: Any) -> ClientConnection:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    headers |= more.pop("headers", {})
    opened: ClientConnection = connect(
        f"ws://127.0.0.1:{glassline.port}{path}", additional_headers=headers, max_size=None, proxy=None, **more
    )
    return opened


def say(connection: ClientConnection, **message: Any) -> None:
    connection.send(json.dumps(message))


def hear(connection: ClientConnection, kind: str) -> dict[str, Any]:
    """Read up to the next message of that type."""
    while True:
        message: dict[str, Any] = json.loads(connection.recv(timeout=20))
        if message["type"] == kind:
            return message


def until_closed(connection: ClientConnection) -> Close:
    """Read to the end; return its close frame, or one with 1006 when there was none."""
    try:
        while True:
            connection.recv(timeout=20)
    except ConnectionClosed as closed:
        return closed.rcvd or Close(1006, "")


def cost(glassline: Glassline, count: int = 1) -> list[int | None]:
    rows = glassline.wait_for_rows(count)
    return [None if row["cost_usd"] is None else round(row["cost_usd"] * 1e9) for row in rows]


def consumed(simulator: Simulator) -> list[dict[str, Any]]:
    return [line["usage"] for line in simulator.truth("consumed")]


def test_a_session_of_speech_is_recorded_and_priced_to_the_cent(glassline: Glassline, simulator: Simulator) -> None:
    with client_of(glassline).realtime.connect(model="gpt-realtime") as session:
        session.session.update(
            session={
                "type": "realtime",
                "instructions": "Be brief.",
                "audio": {"input": {"transcription": {"model": "gpt-4o-mini-transcribe"}}},
            }
        )
        for _ in range(3):
            session.input_audio_buffer.append(audio=SOUND)
            session.input_audio_buffer.commit()
            session.response.create()
            done = next(event for event in session if isinstance(event, ResponseDoneEvent))
            assert done.response.status == "completed"
    (row,) = glassline.wait_for_rows(1)
    truth = simulator.truth("consumed")
    speech = [line["usage"] for line in truth if line["model"] == "gpt-realtime"]
    heard = [line["usage"] for line in truth if line["model"] == "gpt-4o-mini-transcribe"]
    assert (len(speech), len(heard)) == (3, 3)
    assert row["input_tokens"] == sum(usage["input_tokens"] for usage in speech + heard)
    assert row["output_tokens"] == sum(usage["output_tokens"] for usage in speech + heard)
    # gpt-4o-mini-transcribe: sound in at 3, text out at 5 USD per million tokens.
    transcribed = sum(3000 * usage["input_audio"] + 5000 * usage["output_tokens"] for usage in heard)
    assert cost(glassline) == [sum(map(realtime_nano_usd, speech)) + transcribed]
    assert (row["endpoint"], row["streaming"], row["outcome"], row["status"]) == (
        "realtime_socket",
        1,
        "completed",
        101,
    )
    assert (row["model"], row["usage_source"]) == ("gpt-realtime", "provider")
    assert 0 < row["ttft_ms"] < row["duration_ms"]


def test_the_price_of_speech_alone_is_exact(glassline: Glassline, simulator: Simulator) -> None:
    with socket_to(glassline, "/v1/realtime?model=gpt-realtime") as connection:
        for _ in range(8):
            say(connection, type="input_audio_buffer.append", audio=SOUND)
            say(connection, type="input_audio_buffer.commit")
            say(connection, type="response.create")
            hear(connection, "response.done")
    assert cost(glassline) == [sum(map(realtime_nano_usd, consumed(simulator)))]
    assert any(usage["cached_audio"] for usage in consumed(simulator)), "the cache must have been used"


async def test_the_asynchronous_client_gets_the_same(glassline: Glassline, simulator: Simulator) -> None:
    client = openai.AsyncOpenAI(api_key=APP, base_url=f"{glassline.url}/v1")
    async with client.realtime.connect(model="gpt-realtime") as session:
        await session.session.update(session={"type": "realtime", "output_modalities": ["text"]})
        await session.response.create()
        async for event in session:
            if event.type == "response.done":
                break
    await client.close()
    found = await asyncio.to_thread(cost, glassline)
    assert found == [sum(map(realtime_nano_usd, consumed(simulator)))]


def test_responses_over_one_socket_are_billed_one_by_one(glassline: Glassline, simulator: Simulator) -> None:
    with client_of(glassline).responses.connect() as session:
        for number in range(3):
            session.response.create(model="gpt-4o-mini", input=f"question {number}")
            texts = []
            for event in session:
                texts += [event.delta] if event.type == "response.output_text.delta" else []
                if event.type == "response.completed":
                    assert event.response.output_text == "".join(texts)
                    break
    assert cost(glassline) == [sum(map(mini_nano_usd, consumed(simulator)))]
    (row,) = glassline.wait_for_rows(1)
    assert (row["endpoint"], row["model"]) == ("responses_socket", "gpt-4o-mini-2024-07-18")


@pytest.mark.case(33)
def test_lanes_that_run_at_the_same_time_are_told_apart(glassline: Glassline, simulator: Simulator) -> None:
    with socket_to(glassline, "/v1/responses") as connection:
        for lane, model in (("a", "gpt-4o-mini"), ("b", "gpt-4o"), ("a", "gpt-4o-mini")):
            say(connection, type="response.create", model=model, input="hi", stream_id=lane)
        ended = [hear(connection, "response.completed")["stream_id"] for _ in range(3)]
        assert sorted(ended) == ["a", "a", "b"]
    (row,) = glassline.wait_for_rows(1)
    truth = simulator.truth("consumed")
    assert len({line["id"] for line in truth}) == 3
    mini = sum(mini_nano_usd(line["usage"]) for line in truth if "mini" in line["model"])
    # gpt-4o: 2.50 in, 10 out for a million tokens; nothing was cached.
    (large,) = [line["usage"] for line in truth if "mini" not in line["model"]]
    assert round(row["cost_usd"] * 1e9) == mini + 2500 * large["input_tokens"] + 10_000 * large["output_tokens"]


def test_a_session_longer_than_what_is_kept_is_still_priced_exactly(
    start_glassline: StartGlassline, simulator: Simulator
) -> None:
    glassline = start_glassline(simulator.url, {"record": {"max_body_mb": 0.1}})
    with socket_to(glassline, "/v1/realtime?model=gpt-realtime", compression=None) as connection:
        for _ in range(12):
            say(connection, type="input_audio_buffer.append", audio=SOUND)
            say(connection, type="input_audio_buffer.commit")
            say(connection, type="response.create")
            hear(connection, "response.done")
    assert cost(glassline) == [sum(map(realtime_nano_usd, consumed(simulator)))]
    (row,) = glassline.wait_for_rows(1)
    assert row["response_bytes"] > 1_000_000
    assert len(glassline.body(row["id"], "response").tail) < 64 * 1024


def test_a_long_session_is_priced_exactly_even_when_the_gateway_is_killed(
    start_glassline: StartGlassline, simulator: Simulator
) -> None:
    glassline = start_glassline(simulator.url, {"record": {"max_body_mb": 0.1}})
    with socket_to(glassline, "/v1/realtime?model=gpt-realtime") as connection:
        for _ in range(6):
            say(connection, type="input_audio_buffer.append", audio=SOUND)
            say(connection, type="input_audio_buffer.commit")
            say(connection, type="response.create")
            hear(connection, "response.done")
        simulator.wait_for_truth(6, "consumed")
        billed = [usage["input_tokens"] for usage in consumed(simulator)]
        glassline.kill_group(signal.SIGKILL)
        assert until_closed(connection).code == 1006
    glassline.process.close()
    glassline.start()
    assert cost(glassline) == [sum(map(realtime_nano_usd, consumed(simulator)))]
    (row,) = glassline.wait_for_rows(1)
    assert (row["outcome"], row["endpoint"], row["usage_source"]) == ("interrupted", "realtime_socket", "provider")
    assert row["input_tokens"] == sum(billed)


@pytest.mark.case(33)
def test_compression_agreed_between_the_ends_is_read_as_well(glassline: Glassline, simulator: Simulator) -> None:
    with socket_to(glassline, "/v1/responses") as connection:
        assert connection.response is not None
        assert connection.response.headers["sec-websocket-extensions"] == "permessage-deflate"
        assert [extension.name for extension in connection.protocol.extensions] == ["permessage-deflate"]
        for _ in range(2):
            say(connection, type="response.create", model="gpt-4o-mini", input="hi " * 100)
            hear(connection, "response.completed")
    assert cost(glassline) == [sum(map(mini_nano_usd, consumed(simulator)))]


@pytest.mark.case(34)
def test_a_key_in_the_subprotocol_is_ours_and_the_chosen_protocol_is_echoed(
    start_glassline: StartGlassline, start_simulator: StartSimulator
) -> None:
    provider_key = "sk-of-the-provider-0123456789"
    simulator = start_simulator("--require-key", provider_key)
    config = {
        "auth": "virtual",
        "keys": [{"name": "app", "key": APP}],
        "upstreams": {"openai": {"api_key": provider_key}},
    }
    glassline = start_glassline(simulator.url, config)
    offered = ["realtime", f"openai-insecure-api-key.{APP}"]
    with socket_to(glassline, "/v1/realtime?model=gpt-realtime", key=None, subprotocols=offered) as connection:
        assert connection.subprotocol == "realtime"
        say(connection, type="response.create", response={"output_modalities": ["text"]})
        hear(connection, "response.done")
    (row,) = glassline.wait_for_rows(1)
    assert row["key"] == "app"
    assert APP not in simulator._truth.read_text()


# --- limits ----------------------------------------------------------------------------------------------------


def limited(start_glassline: StartGlassline, simulator: Simulator, *, usd: str = "0.02", **key: Any) -> Glassline:
    budget = {"name": "cap", "limit_usd": usd, "window": "total"}
    return start_glassline(simulator.url, {"keys": [{"name": "app", "key": APP, "budgets": [budget], **key}]})


def account(glassline: Glassline) -> dict[str, int]:
    (row,) = glassline.rows(
        "SELECT spent_nano_usd, reserved_nano_usd, limit_nano_usd FROM accounts", database="ledger.db"
    )
    return {name: int(value) for name, value in row.items()}


def settled(glassline: Glassline) -> dict[str, int]:
    """Wait until nothing is reserved any more."""
    wait_until(lambda: account(glassline)["reserved_nano_usd"] == 0, "settlement")
    return account(glassline)


@pytest.mark.case(34)
def test_a_used_up_budget_refuses_before_the_upgrade_with_plain_json(
    start_glassline: StartGlassline, simulator: Simulator
) -> None:
    glassline = limited(start_glassline, simulator, usd="0")
    for path in ("/v1/realtime?model=gpt-realtime", "/v1/responses"):
        with pytest.raises(InvalidStatus) as refused:
            socket_to(glassline, path)
        answer = refused.value.response
        assert answer.status_code == 429
        assert answer.headers["x-glassline-error"] == "budget_exceeded"
        assert json.loads(answer.body or b"")["error"]["type"] == "insufficient_quota"
    assert simulator.truth() == []


def speak(connection: ClientConnection) -> dict[str, Any]:
    """Say something for a second, ask for an answer and return how it ended."""
    with contextlib.suppress(ConnectionClosed):  # What came before the end can still be read.
        say(connection, type="input_audio_buffer.append", audio=SOUND)
        say(connection, type="input_audio_buffer.commit")
        say(connection, type="response.create", response={"max_output_tokens": 60})
    while True:
        message: dict[str, Any] = json.loads(connection.recv(timeout=20))
        if message["type"] in ("response.done", "error"):
            return message


def test_a_budget_that_runs_out_ends_the_session_with_an_error_and_1008(
    start_glassline: StartGlassline, simulator: Simulator
) -> None:
    glassline = limited(start_glassline, simulator, usd="0.30")
    answers, worst = 0, 0
    with socket_to(glassline, "/v1/realtime?model=gpt-realtime") as connection:
        hear(connection, "session.created")
        while (message := speak(connection))["type"] == "response.done":
            answers += 1
            held = account(glassline)
            worst = max(worst, held["spent_nano_usd"] + held["reserved_nano_usd"])
        assert (message["type"], message["status"]) == ("error", 429)
        assert message["error"]["type"] == "insufficient_quota"
        assert until_closed(connection).code == 1008
    assert answers >= 3, "most of the budget could be used"
    (row,) = glassline.wait_for_rows(1)
    assert (row["outcome"], row["error_code"]) == ("refused", "budget_exceeded")
    after = settled(glassline)
    billed = sum(map(realtime_nano_usd, consumed(simulator)))
    assert billed <= after["spent_nano_usd"] <= after["limit_nano_usd"] == 300_000_000
    assert worst <= after["limit_nano_usd"]


def test_a_session_within_its_budget_settles_at_what_it_cost(
    start_glassline: StartGlassline, simulator: Simulator
) -> None:
    glassline = limited(start_glassline, simulator, usd="5")
    with socket_to(glassline, "/v1/responses") as connection:
        for _ in range(5):
            say(connection, type="response.create", model="gpt-4o-mini", input="hi", max_output_tokens=100)
            hear(connection, "response.completed")
    glassline.wait_for_rows(1)
    after = settled(glassline)
    assert after["spent_nano_usd"] == sum(map(mini_nano_usd, consumed(simulator)))


def test_a_response_that_wants_more_than_is_left_is_refused_before_it_begins(
    start_glassline: StartGlassline, simulator: Simulator
) -> None:
    glassline = limited(start_glassline, simulator, usd="0.02")
    with socket_to(glassline, "/v1/responses") as connection:
        say(connection, type="response.create", model="gpt-4o-mini", input="hi", max_output_tokens=100)
        hear(connection, "response.completed")
        say(connection, type="response.create", model="gpt-4o-mini", input="hi", max_output_tokens=100_000)
        assert hear(connection, "error")["error"]["code"] == "project_spend_limit_exceeded"
        assert until_closed(connection).code == 1008
    assert len(simulator.truth("consumed")) == 1
    settled(glassline)


def test_the_models_of_a_key_hold_for_what_messages_name(start_glassline: StartGlassline, simulator: Simulator) -> None:
    glassline = limited(start_glassline, simulator, usd="5", models=["gpt-4o-mini", "gpt-realtime"])
    with pytest.raises(InvalidStatus) as refused:
        socket_to(glassline, "/v1/realtime?model=gpt-realtime-dear")
    assert refused.value.response.status_code == 403
    with socket_to(glassline, "/v1/responses") as connection:
        say(connection, type="response.create", model="gpt-4o-mini", input="hi", max_output_tokens=9)
        hear(connection, "response.incomplete")
        say(connection, type="response.create", model="gpt-4o", input="hi")
        error = hear(connection, "error")
        assert (error["status"], error["error"]["code"]) == (403, "model_not_allowed")
        assert until_closed(connection).code == 1008
    assert [line["model"] for line in simulator.truth("consumed")] == ["gpt-4o-mini-2024-07-18"]


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/responses?model=gpt-4o-mini"])
def test_a_budget_of_one_model_holds_whatever_was_named_before(
    start_glassline: StartGlassline, simulator: Simulator, path: str
) -> None:
    budget = {"name": "dear", "limit_usd": "0.0001", "window": "total", "models": ["gpt-4o"]}
    glassline = start_glassline(simulator.url, {"keys": [{"name": "app", "key": APP, "budgets": [budget]}]})
    with socket_to(glassline, path) as connection:
        if "?" not in path:
            say(connection, type="response.create", model="gpt-4o-mini", input="hi", max_output_tokens=9)
            hear(connection, "response.incomplete")
        say(connection, type="response.create", model="gpt-4o", input="hi", max_output_tokens=1000)
        assert hear(connection, "error")["error"]["code"] == "project_spend_limit_exceeded"
        assert until_closed(connection).code == 1008
    assert "gpt-4o-2024-08-06" not in [line["model"] for line in simulator.truth("consumed")]


@pytest.mark.parametrize("query", ["model=gpt-realtime-mini&model=gpt-realtime", "model=&model=gpt-realtime"])
def test_a_query_that_names_two_models_is_refused_under_limits(
    start_glassline: StartGlassline, simulator: Simulator, query: str
) -> None:
    glassline = limited(start_glassline, simulator, usd="5")
    with pytest.raises(InvalidStatus) as refused:
        socket_to(glassline, f"/v1/realtime?{query}")
    assert refused.value.response.status_code == 400
    assert simulator.truth() == []


@pytest.mark.parametrize(
    "text",
    [
        '{"type":"response.create","model":"gpt-4o-mini","model":"gpt-4o","input":"hi"}',
        '{"type":"session.update","type":"response.create","model":"gpt-4o","input":"hi"}',
        '{"type":"response.create","Model":"gpt-4o","model":"gpt-4o-mini","input":"hi"}',
    ],
)
def test_a_message_that_can_be_read_in_two_ways_is_refused(
    start_glassline: StartGlassline, simulator: Simulator, text: str
) -> None:
    glassline = limited(start_glassline, simulator, usd="5", models=["gpt-4o-mini"])
    with socket_to(glassline, "/v1/responses") as connection:
        connection.send(text)
        assert hear(connection, "error")["error"]["code"] == "bad_request"
    assert simulator.truth("consumed") == []


def test_a_limit_of_concurrent_sessions_refuses_one_more(start_glassline: StartGlassline, simulator: Simulator) -> None:
    keys = [{"name": "app", "key": APP, "rate_limits": {"concurrent": 2}}]
    glassline = start_glassline(simulator.url, {"keys": keys})
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(socket_to(glassline, "/v1/responses"))
        stack.enter_context(socket_to(glassline, "/v1/responses"))
        with pytest.raises(InvalidStatus) as refused:
            socket_to(glassline, "/v1/responses")
        assert refused.value.response.status_code == 429
        assert refused.value.response.headers["x-glassline-error"] == "rate_limited"
        first.close()

        def again() -> bool:
            with contextlib.suppress(InvalidStatus), socket_to(glassline, "/v1/responses"):
                return True
            return False

        assert wait_until(again, "a place to be free")


def test_without_a_key_a_virtual_gateway_refuses_with_401(
    start_glassline: StartGlassline, simulator: Simulator
) -> None:
    glassline = start_glassline(simulator.url, {"auth": "virtual", "keys": [{"name": "app", "key": APP}]})
    with pytest.raises(InvalidStatus) as refused:
        socket_to(glassline, "/v1/realtime?model=gpt-realtime", key="sk-nobody-0123456789abcdef")
    assert refused.value.response.status_code == 401


# --- endings ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [1000, 1008, 1011])
def test_the_close_code_of_the_provider_reaches_the_sdk(glassline: Glassline, code: int) -> None:
    headers = {"x-simulate": f"hang-up={code}"}
    with socket_to(glassline, "/v1/realtime?model=gpt-realtime", headers=headers) as connection:
        hear(connection, "session.created")
        say(connection, type="response.create")
        assert until_closed(connection) == Close(code, "as told")
    assert glassline.wait_for_rows(1)[0]["outcome"] == "completed"


def test_a_provider_that_breaks_off_in_a_response_leaves_it_unpriced(
    start_glassline: StartGlassline, simulator: Simulator
) -> None:
    glassline = limited(start_glassline, simulator, usd="5")
    headers = {"x-simulate": "cut=6"}
    with socket_to(glassline, "/v1/realtime?model=gpt-realtime", headers=headers) as connection:
        say(connection, type="response.create")
        assert until_closed(connection).code == 1006, "no close frame was invented"
    (row,) = glassline.wait_for_rows(1)
    assert (row["outcome"], row["cost_usd"]) == ("upstream_reset", None)
    after = settled(glassline)
    assert after["spent_nano_usd"] > 0, "what may have been billed is spent"


@pytest.mark.case(33)
def test_a_provider_that_is_killed_breaks_the_session_and_what_it_counted_before_is_billed(
    glassline: Glassline, simulator: Simulator
) -> None:
    with socket_to(glassline, "/v1/realtime?model=gpt-realtime") as connection:
        hear(connection, "session.created")
        say(connection, type="response.create")
        hear(connection, "response.done")
        simulator.wait_for_truth(1, "consumed")
        simulator.kill_group(signal.SIGKILL)
        assert until_closed(connection).code == 1006, "no close frame was invented"
    (row,) = glassline.wait_for_rows(1)
    assert row["outcome"] in ("upstream_reset", "truncated")
    assert row["output_tokens"] == consumed(simulator)[0]["output_tokens"]
    assert row["cost_usd"] > 0


def test_a_refusal_of_the_provider_comes_through_as_it_is(glassline: Glassline) -> None:
    with pytest.raises(InvalidStatus) as refused:
        socket_to(glassline, "/v1/realtime?model=gpt-realtime", headers={"x-simulate": "status=429"})
    assert refused.value.response.status_code == 429
    assert "x-glassline-error" not in refused.value.response.headers
    assert glassline.wait_for_rows(1)[0]["status"] == 429


def test_live_sessions_are_recorded_by_the_second(glassline: Glassline, simulator: Simulator) -> None:
    with socket_to(glassline, "/v1/live/sessions") as connection:
        say(connection, type="session.start", session={"model": "gpt-live"})
        hear(connection, "session.started")
        for _ in range(3):
            say(connection, type="session.input_audio.append", audio=SOUND)
            hear(connection, "session.usage.updated")
        say(connection, type="session.close")
        hear(connection, "session.closed")
        assert until_closed(connection).code == 1000
    (row,) = glassline.wait_for_rows(1)
    assert (row["endpoint"], row["model"], row["outcome"]) == ("live_socket", "gpt-live", "completed")
    (used,) = consumed(simulator)
    assert json.loads(row["usage"]) == {"seconds": used["audio_ms"] / 1000}
    assert row["cost_usd"] is None or row["cost_usd"] > 0, "never free because nobody knows its price"


# --- wss -------------------------------------------------------------------------------------------------------


@pytest.fixture
def secure(start_glassline: StartGlassline, simulator: Simulator, tmp_path: Path) -> tuple[Glassline, Path]:
    """A Glassline behind TLS, and its certificate."""
    cert, key = make_certificate(tmp_path)
    root = simulator.url.removesuffix("/v1")
    private = {"allow_private": True}
    upstreams = {
        "gemini": {"base_url": root, "wire": "gemini", "provider": "google", **private},
        "azure": {"base_url": root, "wire": "azure", "provider": "azure", "auth": "api-key", **private},
    }
    tls = {"tls": {"cert": str(cert), "key": str(key)}}
    return start_glassline(simulator.url, {"listen": tls, "upstreams": upstreams}), cert


def test_azure_realtime_insists_on_wss_and_gets_it(
    secure: tuple[Glassline, Path], simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    glassline, cert = secure
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    client = openai.AzureOpenAI(
        api_key=APP, api_version="2025-04-01-preview", azure_endpoint=f"https://127.0.0.1:{glassline.port}/azure"
    )
    context = ssl.create_default_context(cafile=cert)
    options: Any = {"ssl": context}
    with client.realtime.connect(model="gpt-realtime", websocket_connection_options=options) as session:
        session.session.update(session={"type": "realtime", "output_modalities": ["text"]})
        session.response.create()
        done = next(event for event in session if isinstance(event, ResponseDoneEvent))
    assert done.response.usage is not None
    (row,) = glassline.wait_for_rows(1)
    assert (row["upstream"], row["model"]) == ("azure", "gpt-realtime")
    assert row["output_tokens"] == done.response.usage.output_tokens
    assert len(consumed(simulator)) == 1


def test_gemini_live_with_googles_sdk(secure: tuple[Glassline, Path], simulator: Simulator, tmp_path: Path) -> None:
    python = ROOT / ".cache" / "sdks" / "core" / "bin" / "python"
    if not python.exists():
        missing = "the SDKs are missing: run tests/sdks/prepare.sh core"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    glassline, cert = secure
    said = []
    for root in (f"https://127.0.0.1:{glassline.port}", f"https://127.0.0.1:{glassline.port}/gemini"):
        environment = {"BASE_URL": root, "SSL_CERT_FILE": str(cert), "PATH": os.environ["PATH"]}
        program = ROOT / "tests" / "sdks" / "python" / "live_google_genai.py"
        run = subprocess.run(
            [python, program], env=environment, capture_output=True, timeout=60, check=False, cwd=tmp_path
        )
        assert run.returncode == 0, run.stderr.decode()
        said.append(json.loads(run.stdout))
    rows = glassline.wait_for_rows(2)
    for row, turns in zip(rows, said, strict=True):
        assert [turn["usage"]["response_token_count"] for turn in turns] == [12, 12]
        assert (row["endpoint"], row["model_requested"]) == ("live_socket", "gemini-live-2.5-flash-preview")
        assert row["input_tokens"] == sum(turn["usage"]["prompt_token_count"] for turn in turns)
        assert row["output_tokens"] == 24
        # Gemini Live 2.5 Flash: text in at 0.50, text out at 2.00 USD per million tokens.
        assert round(row["cost_usd"] * 1e9) == 500 * row["input_tokens"] + 2000 * row["output_tokens"]
    assert sum(usage["output_tokens"] for usage in consumed(simulator)) == 48
