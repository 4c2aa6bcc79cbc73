from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pricing import Usage
from proxy.records import Charge, Reading, ToolCall
from proxy.websocket import Opcode
from proxy.wire import read
from tests.wire.sessions import GOODBYE, Said, make_session, wire_of

PATH = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent?key=***"
SETUP = {
    "setup": {"model": "models/gemini-live-2.5-flash-preview", "systemInstruction": {"parts": [{"text": "Be kind."}]}}
}
ASKED: list[Said] = [
    SETUP,
    {"client_content": {"turns": [{"role": "user", "parts": [{"text": "hi"}]}], "turnComplete": True}},
]


def part(text: str = "Hello", **more: Any) -> dict[str, Any]:
    return {"serverContent": {"modelTurn": {"parts": [{"text": text} | more]}}}


def usage(prompt: int, response: int, **more: Any) -> dict[str, Any]:
    counts = {"promptTokenCount": prompt, "responseTokenCount": response, "totalTokenCount": prompt + response}
    return {"usageMetadata": counts | more}


def complete(**more: Any) -> dict[str, Any]:
    return {"serverContent": {"turnComplete": True} | more}


def read_session(*said: Said, asked: list[Said] = ASKED, **more: Any) -> Reading:
    fields: dict[str, Any] = {"path": PATH, "wire": "gemini", "provider": "google", "opcode": Opcode.BINARY}
    return read(make_session(asked, [{"setupComplete": {}}, *said], **fields | more))


def charge(prompt: int, response: int) -> Charge:
    # A remainder rule: nobody said how much of it was cached or thought.
    usage = Usage(input_uncached=prompt, cache_read=None, output_text=response, output_reasoning=None)
    return Charge(usage=usage, model="gemini-live-2.5-flash-preview")


def test_each_turn_is_billed_at_the_model_of_the_setup() -> None:
    reading = read_session(part(), complete() | usage(10, 5), part(" again"), complete() | usage(30, 7), GOODBYE)
    assert reading.charges == (charge(10, 5), charge(30, 7))
    assert reading.usage == Usage.total([charge(10, 5).usage, charge(30, 7).usage])
    assert (reading.endpoint, reading.model_requested) == ("live_socket", "gemini-live-2.5-flash-preview")
    assert (reading.input_text, reading.output_text) == ("Be kind.\nhi", "Hello again")
    assert (reading.finish_reasons, reading.problems) == (("complete", "complete"), ())


def test_counts_that_grow_within_a_turn_count_once_by_the_largest() -> None:
    reading = read_session(part() | usage(10, 2), part() | usage(10, 6), complete() | usage(10, 4))
    assert reading.charges == (charge(10, 6),)


def test_a_count_that_comes_behind_its_turn_belongs_to_it() -> None:
    reading = read_session(part(), complete(), usage(10, 5), part(), complete(), usage(20, 6))
    assert reading.charges == (charge(10, 5), charge(20, 6))
    assert reading.problems == ()


def test_sound_is_counted_by_its_modality() -> None:
    details = {
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 4}, {"modality": "AUDIO", "tokenCount": 6}],
        "responseTokensDetails": [{"modality": "AUDIO", "tokenCount": 5}],
    }
    data = {
        "serverContent": {
            "modelTurn": {"parts": [{"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": "AA=="}}]}
        }
    }
    spoken = {"serverContent": {"outputTranscription": {"text": "Hello."}}}
    reading = read_session(data, spoken, complete() | usage(10, 5, **details))
    assert reading.usage is not None
    assert (reading.usage.input_uncached, reading.usage.input_audio, reading.usage.output_audio) == (4, 6, 5)
    assert reading.output_text == "Hello."
    assert reading.first_token_offset is not None


def test_calls_and_thoughts_are_read() -> None:
    call = {"toolCall": {"functionCalls": [{"id": "f1", "name": "weather", "args": {"city": "Oslo"}}]}}
    reading = read_session(part("Hm.", thought=True), call, complete() | usage(10, 5))
    assert reading.tool_calls == (ToolCall(choice=0, name="weather", arguments='{"city": "Oslo"}', id="f1"),)
    assert reading.reasoning_text == "Hm."
    assert reading.first_visible_offset is not None
    assert reading.first_token_offset is not None
    assert reading.first_token_offset < reading.first_visible_offset


def test_an_interrupted_turn_is_billed_and_says_so() -> None:
    reading = read_session(part(), {"serverContent": {"interrupted": True}}, complete() | usage(10, 5))
    assert (reading.charges, reading.finish_reasons) == ((charge(10, 5),), ("interrupted",))


def test_a_turn_that_was_never_counted_leaves_the_session_unaccounted() -> None:
    reading = read_session(part())
    assert (reading.usage, reading.problems) == (None, ("response_unfinished",))


def test_a_session_that_only_set_up_consumed_nothing() -> None:
    reading = read_session(asked=[SETUP])
    assert reading.usage is not None
    assert (reading.usage.input_tokens, reading.problems) == (0, ())


LONG: list[Said] = [message for n in range(9) for message in (part("word " * 500), complete() | usage(10 + n, 5))]


@given(st.integers(0, len(wire_of(LONG, opcode=Opcode.BINARY))))
def test_wherever_the_capture_ends_every_turn_is_billed(limit: int) -> None:
    reading = read_session(*LONG, limit=max(limit, len(wire_of(ASKED, mask=b"    "))))
    assert reading.charges == tuple(charge(10 + n, 5) for n in range(9))
