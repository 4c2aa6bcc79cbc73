"""Whatever a session does, what its meter wants covered is never less than what the provider bills."""

from __future__ import annotations

import base64
import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.gateway.socket.meter import Needed, SocketMeter, meter_for
from proxy.operations import WEBSOCKET, find_operation
from proxy.simulator.counting import TokenCounter
from proxy.simulator.directives import Directives
from proxy.simulator.openai import OpenAIDesk
from proxy.simulator.settings import Settings
from proxy.simulator.sockets.gemini import GeminiSession
from proxy.simulator.sockets.realtime import RealtimeSession
from proxy.simulator.sockets.responses import ResponsesSession
from proxy.simulator.sockets.session import Bill, Opened, Session
from proxy.simulator.truth import Request, digest

COUNTER = TokenCounter()
DESK = OpenAIDesk(Settings(), COUNTER)
INPUT = ("input_uncached", "cache_read", "cache_read_audio", "cache_read_image", "input_audio", "input_image")


def opened(path: str, seed: int) -> Opened:
    request = Request(1, "GET", path, path.lstrip("/"), {}, b"", digest(b""), 0)
    return Opened(request, Directives(tokens=seed % 30 + 1), digest(str(seed).encode()), COUNTER, DESK)


def covered(needed: Needed) -> tuple[int, float]:
    """Return the input and output tokens that `needed` covers; without a limit of output it is endless."""
    known_in = sum(count for *_, buckets in needed.known for name, count in buckets if name in INPUT)
    known_out = sum(count for *_, buckets in needed.known for name, count in buckets if name not in INPUT)
    endless = float("inf") if needed.unlimited else 0
    return known_in + needed.input_tokens, known_out + needed.output_tokens + needed.unseen_tokens + endless


def play(session: Session, meter: SocketMeter, asked: list[dict[str, Any]]) -> list[tuple[int, int]]:
    """Let a session run; return what was billed after each message, in sum, checked against what was covered."""
    billed_in = billed_out = 0
    sums = []
    for said in session.greet():
        if isinstance(said, dict):
            tell(meter.said, said)
    for message in asked:
        tell(meter.asked, message)
        room_in, room_out = covered(meter.needed())
        for said in session.hear(message):
            if isinstance(said, dict):
                tell(meter.said, said)
                now_in, now_out = covered(meter.needed())
                # Nothing that a provider says may make less covered than is billed by then.
                assert now_in >= billed_in
                assert now_out >= billed_out
            elif isinstance(said, Bill) and "transcribe" not in said.model:
                billed_in += int(said.usage["input_tokens"])
                billed_out += int(said.usage["output_tokens"])
                assert room_in >= billed_in, "covered before it was sent"
                assert room_out >= billed_out
        sums.append((billed_in, billed_out))
    return sums


def tell(take: Callable[[bytes, int], None], message: dict[str, Any]) -> None:
    text = msgspec.json.encode(message)
    take(text, len(text))


def realtime_messages(chance: random.Random) -> list[dict[str, Any]]:
    sound = base64.b64encode(bytes(chance.randrange(1, 60_000))).decode()
    item = {
        "type": "message",
        "role": "user",
        "content": [{"type": "input_text", "text": "tell me " * chance.randrange(40)}],
    }
    kinds: list[list[dict[str, Any]]] = [
        [{"type": "input_audio_buffer.append", "audio": sound}, {"type": "input_audio_buffer.commit"}],
        [{"type": "conversation.item.create", "item": item}],
        [{"type": "session.update", "session": {"instructions": "Be brief.", "output_modalities": ["text"]}}],
        [
            {
                "type": "session.update",
                "session": {"audio": {"input": {"transcription": {"model": "gpt-4o-transcribe"}}}},
            }
        ],
        [{"type": "response.create"}],
        [{"type": "response.create", "response": {"max_output_tokens": 50}}],
    ]
    return [message for _ in range(chance.randrange(1, 25)) for message in chance.choice(kinds)]


@given(st.integers(0, 2**32))
def test_realtime_sessions_are_bounded_from_above(seed: int) -> None:
    chance = random.Random(seed)
    meter = meter_for(find_operation("openai", WEBSOCKET, "/realtime"), "gpt-realtime")
    assert meter is not None
    play(RealtimeSession(opened("/v1/realtime?model=gpt-realtime", seed)), meter, realtime_messages(chance))


@given(st.integers(0, 2**32))
def test_responses_over_a_socket_are_bounded_from_above(seed: int) -> None:
    chance = random.Random(seed)
    meter = meter_for(find_operation("openai", WEBSOCKET, "/responses"), None)
    assert meter is not None
    asked = [
        {
            "type": "response.create",
            "model": chance.choice(["gpt-4o-mini", "gpt-4o"]),
            "input": "why " * chance.randrange(60),
            "stream_id": chance.choice(["a", "b"]),
            **({"max_output_tokens": chance.randrange(16, 99)} if chance.random() < 0.5 else {}),
        }
        for _ in range(chance.randrange(1, 12))
    ]
    play(ResponsesSession(opened("/v1/responses", seed)), meter, asked)


@given(st.integers(0, 2**32))
def test_gemini_sessions_are_bounded_from_above(seed: int) -> None:
    chance = random.Random(seed)
    path = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
    meter = meter_for(find_operation("gemini", WEBSOCKET, path), None)
    assert meter is not None
    modality = chance.choice(["TEXT", "AUDIO"])
    asked: list[dict[str, Any]] = [
        {"setup": {"model": "models/gemini-live", "generationConfig": {"responseModalities": [modality]}}}
    ]
    for _ in range(chance.randrange(1, 12)):
        sound = base64.b64encode(bytes(chance.randrange(1, 40_000))).decode()
        turn = {"role": "user", "parts": [{"text": "tell me " * chance.randrange(40)}]}
        asked.append(
            chance.choice(
                [
                    {"realtimeInput": {"audio": {"mimeType": "audio/pcm;rate=16000", "data": sound}}},
                    {"realtimeInput": {"audioStreamEnd": True}},
                    {"client_content": {"turns": [turn], "turnComplete": True}},
                ]
            )
        )
    play(GeminiSession(opened(path, seed)), meter, asked)


@pytest.mark.parametrize("path", ["/realtime", "/responses"])
@given(
    st.lists(
        st.binary(max_size=60)
        | st.sampled_from(
            [
                b'{"type":"response.create"}',
                b'{"type":"response.done","response":{}}',
                b'{"type":"error"}',
                b"[]",
                b"{}",
            ]
        ),
        max_size=8,
    )
)
def test_no_message_makes_a_meter_raise(path: str, messages: list[bytes]) -> None:
    meter = meter_for(find_operation("openai", WEBSOCKET, path), "m")
    assert meter is not None
    for message in messages:
        meter.asked(message, len(message))
        meter.said(message, len(message))
        assert min(covered(meter.needed())) >= 0


def test_what_a_session_said_is_priced_as_it_was_and_only_the_rest_by_its_bound() -> None:
    meter = meter_for(find_operation("openai", WEBSOCKET, "/realtime"), "gpt-realtime")
    assert meter is not None
    tell(meter.asked, {"type": "response.create"})
    tell(meter.said, {"type": "response.created", "response": {"id": "r", "max_output_tokens": 100}})
    under_way = meter.needed()
    assert (under_way.known, under_way.unseen_tokens, under_way.unlimited) == ((), 100, 0)
    details = {
        "audio_tokens": 50,
        "cached_tokens": 40,
        "cached_tokens_details": {"audio_tokens": 30, "text_tokens": 10},
    }
    usage = {
        "input_tokens": 80,
        "output_tokens": 9,
        "input_token_details": details,
        "output_token_details": {"audio_tokens": 6},
    }
    tell(meter.said, {"type": "response.done", "response": {"id": "r", "usage": usage}})
    (known,) = meter.needed().known
    assert known[:2] == ("gpt-realtime", None)
    assert dict(known[2]) == {
        "input_uncached": 20, "cache_read": 10, "cache_read_audio": 30, "input_audio": 20, "output_text": 3, "output_audio": 6,
    }  # fmt: skip


def test_a_response_that_continues_one_of_this_session_is_bounded_by_its_length() -> None:
    def meter_after(previous: str) -> int:
        meter = meter_for(find_operation("openai", WEBSOCKET, "/responses"), None)
        assert meter is not None
        tell(meter.asked, {"type": "response.create", "model": "gpt-4o", "input": "hi"})
        response = {"id": "resp_1", "usage": {"input_tokens": 700, "output_tokens": 300}}
        tell(meter.said, {"type": "response.completed", "response": response})
        tell(
            meter.asked,
            {"type": "response.create", "model": "gpt-4o", "input": "go on", "previous_response_id": previous},
        )
        return meter.needed().input_tokens

    assert 1000 < meter_after("resp_1") < 1400
    assert meter_after("resp_of_another_day") > 1_000_000
