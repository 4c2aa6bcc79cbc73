from __future__ import annotations

from typing import Any

from pricing import Usage
from proxy.records import Charge
from proxy.wire import read
from tests.wire.openai.test_responses_socket import answer, buckets
from tests.wire.sessions import GOODBYE, Said, make_session, wire_of

PATH = "/live/sessions"


def started() -> dict[str, Any]:
    return {"type": "session.started", "event_id": "e", "session": {"id": "live_1", "model": "gpt-live"}}


def used(seconds: float, kind: str = "session.usage.updated") -> dict[str, Any]:
    return {"type": kind, "event_id": "e", "usage": {"seconds": seconds}}


def spoken(delta: str, kind: str = "session.output_transcript.delta") -> dict[str, Any]:
    return {"type": kind, "delta": delta, "start_ms": 0, "end_ms": 1}


def test_a_session_is_billed_by_its_last_total_of_seconds_once_under_its_id() -> None:
    said: list[Said] = [
        started(),
        spoken("Hel"),
        used(1.5),
        spoken("lo"),
        used(12.25),
        used(12.5, "session.closed"),
        GOODBYE,
    ]
    reading = read(make_session([], said, path=PATH))
    assert reading.charges == (Charge(usage=Usage(audio_ms=12_500), model="gpt-live", id="live_1"),)
    assert (reading.model, reading.response_id, reading.output_text) == ("gpt-live", "live_1", "Hello")
    assert (reading.endpoint, reading.problems) == ("live_socket", ())
    assert reading.first_token_offset == len(wire_of(said[:2]))


def test_the_responses_that_a_session_delegates_are_billed_by_themselves() -> None:
    nested: list[Said] = [{"type": "response.event", "delegation_id": "d1", "event": event} for event in answer(3)]
    reading = read(make_session([], [started(), *nested, used(2)], path=PATH))
    assert reading.charges == (
        Charge(usage=Usage(audio_ms=2000), model="gpt-live", id="live_1"),
        Charge(usage=buckets(3), model="gpt-3-2026", id="resp_3"),
    )
    assert reading.model == "gpt-live"


def test_seconds_that_go_back_are_not_believed() -> None:
    reading = read(make_session([], [started(), used(9), used(3), used(-1)], path=PATH))
    assert [charge.usage.audio_ms for charge in reading.charges] == [9000]


def test_a_session_that_never_said_how_long_it_was_is_unaccounted() -> None:
    reading = read(make_session([], [started(), spoken("Hi")], path=PATH))
    assert (reading.usage, reading.problems) == (None, ("response_unfinished",))


def test_what_was_heard_is_the_input() -> None:
    said = [
        started(),
        spoken("Are you ", "session.input_transcript.delta"),
        spoken("there?", "session.input_transcript.delta"),
        used(1),
    ]
    assert read(make_session([], said, path=PATH)).input_text == "Are you there?"


def test_beyond_the_capture_limit_the_last_total_still_counts() -> None:
    said: list[Said] = [started(), *[message for n in range(50) for message in (spoken("word " * 100), used(n))]]
    reading = read(make_session([], said, path=PATH, limit=500))
    assert [charge.usage.audio_ms for charge in reading.charges] == [49_000]
