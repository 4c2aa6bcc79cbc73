from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.config import Pattern, Record
from proxy.policy.redaction import RedactionError, Redactor

SECRETS = {
    "EMAIL": "alice.smith@example.co.uk",
    "PHONE": "+49 30 1234567",
    "CREDIT_CARD": "4242 4242 4242 4242",
    "IBAN": "DE89 3704 0044 0532 0130 00",
    "IP": "2001:db8::ff00:42:8329",
    "KEY": "sk-ant-api03-abcdefghijklmnopqrstuvwxyz012345",
    "EMPLOYEE": "E123456",
}
EVERYTHING = Record(
    redact=("email", "phone", "credit_card", "iban", "ip", "keys", Pattern(name="employee", pattern=r"E\d{6}"))
)
REDACTOR = Redactor(EVERYTHING, b"pepper")
ODD = 'say "hi"\\ to\n\tjosé 😀 '
"""Everything that JSON escapes."""


def chat(text: str) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "created": 1732182949, "choices": [{"index": 0, "delta": {"content": text}}]}


def chat_read(event: dict[str, Any]) -> str:
    return str(event["choices"][0]["delta"]["content"])


def messages(text: str) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": text}}


def responses(text: str) -> dict[str, Any]:
    return {
        "type": "response.output_text.delta",
        "item_id": "msg_1",
        "output_index": 0,
        "content_index": 0,
        "delta": text,
    }


def gemini(text: str) -> dict[str, Any]:
    return {
        "candidates": [{"content": {"role": "model", "parts": [{"text": text}]}}],
        "usageMetadata": {"totalTokenCount": 9},
    }


def arguments(text: str) -> dict[str, Any]:
    call = {"index": 0, "function": {"arguments": text}}
    return {"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]}


def ollama(text: str) -> dict[str, Any]:
    return {"model": "llama3", "message": {"role": "assistant", "content": text}, "done": False}


def converse(text: str) -> dict[str, Any]:
    return {"contentBlockIndex": 0, "delta": {"text": text}, "p": "abcdefgh"}


Dialect = tuple[Callable[[str], dict[str, Any]], Callable[[dict[str, Any]], str]]
DIALECTS: dict[str, Dialect] = {
    "chat": (chat, chat_read),
    "arguments": (arguments, lambda e: str(e["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"])),
    "messages": (messages, lambda e: str(e["delta"]["text"])),
    "responses": (responses, lambda e: str(e["delta"])),
    "gemini": (gemini, lambda e: str(e["candidates"][0]["content"]["parts"][0]["text"])),
    "ollama": (ollama, lambda e: str(e["message"]["content"])),
    "converse": (converse, lambda e: str(e["delta"]["text"])),
}


def sse(events: Sequence[dict[str, Any]], *, is_ascii: bool = True, end: str = "\n") -> str:
    data = (json.dumps(event, ensure_ascii=is_ascii) for event in events)
    return "".join(f"event: e{end}data: {text}{end}{end}" for text in data) + f"data: [DONE]{end}{end}"


def said(text: str, read: Callable[[dict[str, Any]], str]) -> str:
    lines = [line.removeprefix("data:").strip() for line in text.splitlines() if line.startswith("data:")]
    return "".join(read(json.loads(line)) for line in lines if line != "[DONE]")


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("label", SECRETS)
def test_a_secret_that_a_stream_says_in_two_pieces_is_taken_out_of_both_wherever_it_is_split(
    dialect: str, label: str
) -> None:
    make, read = DIALECTS[dialect]
    text = f"please write {SECRETS[label]} down"
    for split in range(len(text) + 1):
        redacted = REDACTOR.redact(sse([make(text[:split]), make(text[split:])]), is_stream=True)
        assert said(redacted.text, read) == f"please write [{label}] down", split


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_letter_by_letter_nothing_is_left_and_nothing_else_is_lost(dialect: str, end: str) -> None:
    make, read = DIALECTS[dialect]
    text = ODD + " and ".join(SECRETS.values()) + ODD
    for is_ascii in (True, False):
        redacted = REDACTOR.redact(sse([make(letter) for letter in text], is_ascii=is_ascii, end=end), is_stream=True)
        assert said(redacted.text, read) == ODD + " and ".join(f"[{label}]" for label in SECRETS) + ODD


def test_choices_that_speak_at_the_same_time_are_not_mixed_up() -> None:
    mail = SECRETS["EMAIL"]
    events = []
    for letter in mail:
        events += [{"choices": [{"index": n, "delta": {"content": letter}}]} for n in (0, 1)]
        events.append({"choices": [{"delta": {"content": letter}, "index": 2}]})
    redacted = REDACTOR.redact(sse(events), is_stream=True).text
    found = [json.loads(line[6:])["choices"][0] for line in redacted.splitlines() if line.startswith("data: {")]
    for index in range(3):
        assert "".join(each["delta"]["content"] for each in found if each["index"] == index) == "[EMAIL]"


def test_lines_of_json_and_a_list_of_events_are_streams_as_well() -> None:
    pieces = [ollama(letter) for letter in SECRETS["EMAIL"]]
    lines = REDACTOR.redact("".join(json.dumps(piece) + "\n" for piece in pieces)).text
    assert "".join(json.loads(line)["message"]["content"] for line in lines.splitlines()) == "[EMAIL]"
    listed = REDACTOR.redact(json.dumps([gemini(letter) for letter in SECRETS["EMAIL"]])).text
    assert "".join(DIALECTS["gemini"][1](event) for event in json.loads(listed)) == "[EMAIL]"


def test_data_that_is_no_json_is_read_as_one_text() -> None:
    stream = "".join(f"data: {letter}\n\n" for letter in "xalice@example.comx")
    assert "alice" not in REDACTOR.redact(stream, is_stream=True).text.replace("data: ", "").replace("\n", "")


def test_the_same_words_in_other_clothes_go_too() -> None:
    event = chat(SECRETS["EMAIL"])
    event["choices"][0]["logprobs"] = {"content": [{"token": "alice", "bytes": [97, 108]}]}
    redacted = json.loads(REDACTOR.redact(json.dumps(event)).text)
    assert redacted["choices"][0]["logprobs"] is None
    untouched = chat("nothing")
    untouched["choices"][0]["logprobs"] = {"content": []}
    assert REDACTOR.redact(json.dumps(untouched)).text == json.dumps(untouched)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (r'{"a":"alice\u0040example.com"}', '{"a":"[EMAIL]"}'),
        (r'{"a":"{\"to\":\"alice\\u0040example.com\\n\"}"}', r'{"a":"{\"to\":\"[EMAIL]\\n\"}"}'),
        (
            r'{"a":"{\"b\":\"{\\\"c\\\":\\\"alice@example.com\\\"}\"}"}',
            r'{"a":"{\"b\":\"{\\\"c\\\":\\\"[EMAIL]\\\"}\"}"}',
        ),
        (r'{"a":"line\nalice@example.com\tend"}', r'{"a":"line\n[EMAIL]\tend"}'),
        ('{"alice@example.com":1}', '{"[EMAIL]":1}'),
        ('{"n":4242424242424242,"at":1732182949123}', '{"n":"[CREDIT_CARD]","at":1732182949123}'),
        ('{"a":"x","b":"cut alice@example.com', '{"a":"x","b":"cut [EMAIL]'),
        ('{"a":"x","b":"cut \\', '{"a":"x","b":"cut \\'),
        ("a=1&mail=alice%40example.com&b=2", "a=1&mail=[EMAIL]&b=2"),
        ("<p>alice&#64;example.com</p>", "<p>[EMAIL]</p>"),
        ("[note] alice@example.com", "[note] [EMAIL]"),
        ("{alice@example.com", "{[EMAIL]"),
        ('{"url":"data:image/png;base64,' + "A+1234567890" * 200 + '"}', None),
        ("", None),
        ('{"choices":[]}', None),
    ],
)
def test_what_is_found_goes_and_everything_else_stays_as_it_stands(document: str, expected: str | None) -> None:
    redacted = REDACTOR.redact(document)
    assert redacted.text == (document if expected is None else expected)
    assert redacted.is_changed is (expected is not None and expected != document)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9999) | st.text(max_size=8) | st.sampled_from(list(SECRETS.values())),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3),
    max_leaves=12,
)


@given(_JSON, st.booleans(), st.sampled_from([None, 2]))
@settings(max_examples=200)
def test_json_stays_json_without_any_secret(value: Any, is_ascii: bool, indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=is_ascii, indent=indent)
    redacted = json.loads(REDACTOR.redact(text).text)
    shown = json.dumps(redacted, ensure_ascii=False)
    assert not any(secret in shown for secret in SECRETS.values())


@given(st.text(max_size=200))
@settings(max_examples=200)
def test_no_text_is_too_odd(text: str) -> None:
    for is_stream in (False, True):
        once = REDACTOR.redact(text, is_stream=is_stream).text
        assert len(once) <= len(text) + 300


def test_a_pattern_that_takes_for_ever_is_given_up_and_nothing_comes_back() -> None:
    redactor = Redactor(Record(redact=(Pattern(name="slow", pattern=r"(a|aa)+$"),)), b"")
    started = time.monotonic()
    with pytest.raises(RedactionError, match="slow"):
        redactor.redact(json.dumps({"a": "a" * 200 + "!"}))
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("pattern", ["(", "a*", "", "[z-a]", "x" * 501])
def test_a_pattern_that_cannot_be_used_is_refused_when_it_is_read(pattern: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        Pattern(name="mine", pattern=pattern)


def test_pseudonyms_are_the_same_for_the_same_thing_and_say_nothing_without_the_secret() -> None:
    policy = Record(redact=("email",), reidentify=True)
    redacted = Redactor(policy, b"one").redact('{"a":"Bob@example.com","b":"bob@example.com","c":"eve@example.com"}')
    first, second, third = json.loads(redacted.text).values()
    assert first == second != third
    assert dict(redacted.pseudonyms)[third] == "eve@example.com"
    other = Redactor(policy, b"two").redact('{"a":"bob@example.com"}')
    assert json.loads(other.text)["a"] != first


def test_users_can_be_told_apart_and_not_named_unless_that_is_switched_on() -> None:
    redactor = Redactor(Record(redact=("email",)), b"pepper")
    alice, bob = (redactor.redact_identity(f"{name}@example.com") for name in ("alice", "bob"))
    assert alice.text != bob.text
    assert alice.text.startswith("[EMAIL:")
    assert alice.pseudonyms == ()
    assert redactor.redact_text("alice@example.com").text == "[EMAIL]"


def test_a_piece_with_an_escape_is_cut_out_where_it_stands() -> None:
    events = [{"delta": {"text": text}} for text in ("Call\n+49 30 123", "4567\tnow", "\u20ac5")]
    stream = "".join(f"data: {json.dumps(event)}\n\n" for event in events)
    redacted = REDACTOR.redact(stream, is_stream=True).text
    said = [json.loads(line[6:])["delta"]["text"] for line in redacted.splitlines() if line]
    assert said == ["Call\n[PHONE]", "\tnow", "\u20ac5"]


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ('{"password": "hunter2hunter2"}', '{"password": "[KEY]"}'),
        ('{"x-api-key": "0123456789abcdef"}', '{"x-api-key": "[KEY]"}'),
        ('{"phone_number": "0171 1234567", "order": "0171 1234567"}', None),
        ('{"phone": 4155552671, "id": 4155552671}', '{"phone": "[PHONE]", "id": 4155552671}'),
        ('{"password": {"type": "string"}, "phone": null}', '{"password": {"type": "string"}, "phone": null}'),
    ],
)
def test_the_name_of_a_member_announces_its_value(document: str, expected: str | None) -> None:
    wanted = expected or '{"phone_number": "[PHONE]", "order": "0171 1234567"}'
    assert REDACTOR.redact(document).text == wanted


def test_half_an_escape_is_never_cut_out() -> None:
    inner = json.dumps({"said": 'he said "password=hunter2hunter2"', "pin": "\u2019\u2020"})
    policy = Record(redact=("keys", Pattern(name="pin", pattern=r"\d{4}")))
    redacted = json.loads(Redactor(policy, b"").redact(json.dumps({"a": inner})).text)
    assert json.loads(redacted["a"]) == {"said": 'he said "password=[KEY]"', "pin": "\u2019\u2020"}


def test_letters_beside_a_find_that_are_written_the_same_way_stay() -> None:
    assert REDACTOR.redact("q=%E4%BD%A0%20%61lice%40example.com%20b").text == "q=%E4%BD%A0%20[EMAIL]%20b"


def test_a_letter_beyond_the_first_plane_is_one_letter_in_whatever_way_it_is_written() -> None:
    redactor = Redactor(Record(redact=(Pattern(name="badge", pattern="\U0001f600{2}"),)), b"")
    for is_ascii in (True, False):
        assert redactor.redact(json.dumps({"a": "x\U0001f600\U0001f600"}, ensure_ascii=is_ascii)).text == (
            '{"a": "x[BADGE]"}'
        )


def test_the_ends_of_a_pattern_are_those_of_each_text() -> None:
    redactor = Redactor(Record(redact=(Pattern(name="staff", pattern=r"^E\d{6}$"),)), b"")
    assert redactor.redact('{"a":"E123456","b":"E123456x"}').text == '{"a":"[STAFF]","b":"E123456x"}'


def test_a_stream_of_bare_strings_is_one_text_and_the_names_of_members_may_be_escaped() -> None:
    assert REDACTOR.redact('data: "alice@exa"\n\ndata: "mple.com"\n\n').text == 'data: "[EMAIL]"\n\ndata: ""\n\n'
    events = r'data: {"delta":"alice@exa"}' + "\n\n" + r'data: {"d\u0065lta":"mple.com"}' + "\n\n"
    assert "mple.com" not in REDACTOR.redact(events, is_stream=True).text


def test_the_lines_of_a_file_of_requests_do_not_go_on_in_one_another() -> None:
    lines = '{"to":"alice@example.com"}\n{"to":"carol"}\n'
    expected = '{"to":"[EMAIL]"}\n{"to":"carol"}\n'
    assert REDACTOR.redact(lines, is_in_pieces=False).text == expected
    numbered = "".join(f'{{"custom_id":"{n}",{line[1:]}\n' for n, line in enumerate(lines.splitlines()))
    assert json.loads(REDACTOR.redact(numbered).text.splitlines()[1])["to"] == "carol"


@pytest.mark.parametrize(
    "hostile",
    ["[" * 450 + '"a",' * 100_000, "\\\\\\\\\\\\u0041 %25252541 &#38;#38;#38;#65; " * 10_000],
    ids=["deep", "every notation in every other"],
)
def test_no_text_takes_many_times_its_size(hostile: str) -> None:
    tracemalloc.start()
    try:
        REDACTOR.redact(hostile)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 200_000_000


@pytest.mark.parametrize("before", ["\n", "\u00e9\u2019 ", '"', "\\"])
def test_an_escape_that_a_stream_says_in_pieces_stays_whole_beside_a_find(before: str) -> None:
    said_inside = json.dumps({"to": f"{before}{SECRETS['EMAIL']}", "n": f"password=hunter2hunter2{before}"})
    for split in range(len(said_inside) + 1):
        pieces = [arguments(said_inside[:split]), arguments(said_inside[split:])]
        redacted = REDACTOR.redact(sse(pieces), is_stream=True).text
        found = json.loads(said(redacted, DIALECTS["arguments"][1]))
        assert found["to"] == f"{before}[EMAIL]", split
        assert found["n"].startswith("password=[KEY]"), split
