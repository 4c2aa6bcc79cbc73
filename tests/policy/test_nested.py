"""JSON inside the strings of JSON, said by streams in pieces: it stays what it was, without what was found in it."""

from __future__ import annotations

import json
import os
import random
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from proxy.config import Pattern, Record
from proxy.policy.redaction import Redactor
from tests.policy.test_redaction import DIALECTS, REDACTOR, SECRETS, arguments, chat, sse

STREAMS = 20_000 if os.environ.get("GLASSLINE_LONG") else 600
BETWEEN = (
    " ",
    "\n",
    '"',
    "\\",
    "\t",
    "“",
    "\U0001f600",
    '\\"',
    " \\\\ ",
    "/",
    "\u2028",
    "[",
    "', ",
    " {",
    "} ",
    "\x01",
)


@dataclass(frozen=True, slots=True)
class Nested:
    """What a string of JSON says that is JSON itself."""

    value: Any


def text_and_rest(chance: random.Random) -> tuple[str, str]:
    """Return a text and what is to be left of it."""
    said = left = ""
    for number in range(chance.randint(0, 4)):
        label = chance.choice(list(SECRETS))
        before, after = chance.choice(BETWEEN), chance.choice(BETWEEN)
        word = " and " if number else ""
        said += f"{word}{before}{SECRETS[label]}{after}"
        left += f"{word}{before}[{label}]{after}"
    return said, left


def value_and_rest(chance: random.Random, depth: int) -> tuple[Any, Any]:
    kind = chance.random()
    if depth and kind < 0.35:
        value, left = members_and_rest(chance, depth - 1)
        indent = chance.choice([None, 1])
        return json.dumps(value, ensure_ascii=chance.random() < 0.6, indent=indent), Nested(left)
    if depth and kind < 0.5:
        return members_and_rest(chance, depth - 1)
    if depth and kind < 0.6:
        pairs = [value_and_rest(chance, depth - 1) for _ in range(chance.randint(0, 2))]
        return [value for value, _ in pairs], [left for _, left in pairs]
    if kind < 0.7:
        return chance.choice(
            [(1, 1), (None, None), (True, True), (-1.5e3, -1.5e3), (4242424242424242, "[CREDIT_CARD]")]
        )
    return text_and_rest(chance)


def members_and_rest(chance: random.Random, depth: int) -> tuple[dict[str, Any], dict[str, Any]]:
    pairs = {f"k{number}": value_and_rest(chance, depth) for number in range(chance.randint(1, 3))}
    return {name: value for name, (value, _) in pairs.items()}, {name: left for name, (_, left) in pairs.items()}


def document_and_rest(chance: random.Random) -> tuple[str, Any]:
    value, left = members_and_rest(chance, 2)
    return json.dumps(value, ensure_ascii=chance.random() < 0.6), Nested(left)


def is_left(found: Any, left: Any) -> bool:
    if isinstance(left, Nested):
        return isinstance(found, str) and is_left(json.loads(found), left.value)
    if isinstance(left, dict):
        return found.keys() == left.keys() and all(is_left(found[name], left[name]) for name in left)
    if isinstance(left, list):
        return len(found) == len(left) and all(map(is_left, found, left))
    return bool(found == left)


def pieces_of(chance: random.Random, text: str) -> list[str]:
    how = chance.random()
    if how < 0.3:
        return list(text)
    if how < 0.6:
        cuts = sorted(chance.sample(range(len(text) + 1), min(len(text), chance.randint(1, 8))))
    else:
        cuts = list(range(chance.randint(1, 3), len(text), chance.randint(2, 7)))
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def said_by(stream: str, read: Callable[[dict[str, Any]], str]) -> str:
    """Return what the events say; unlike `splitlines`, at the line ends of the protocol alone."""
    lines = [line[5:].strip() for line in stream.split("\n") if line.startswith("data:")]
    return "".join(read(json.loads(line)) for line in lines if line != "[DONE]")


@pytest.mark.parametrize("part", range(4))
def test_whatever_is_nested_and_however_it_is_cut_only_what_was_found_changes(part: int) -> None:
    for seed in range(part, STREAMS, 4):
        chance = random.Random(seed)
        make, read = DIALECTS[chance.choice(list(DIALECTS))]
        text, left = text_and_rest(chance) if chance.random() < 0.2 else document_and_rest(chance)
        events = [make(piece) for piece in pieces_of(chance, text)]
        redacted = REDACTOR.redact(sse(events, is_ascii=chance.random() < 0.5), is_stream=True).text
        assert is_left(said_by(redacted, read), left), f"seed {seed}: {text}"


def test_every_place_to_cut_gives_the_same() -> None:
    inner = json.dumps({"to": f"\u00e9\n{SECRETS['EMAIL']}\U0001f600", "card": 4242424242424242, "q": '\\"'})
    text = json.dumps({"body": json.dumps({"in": inner, "phone": SECRETS["PHONE"]}), "n": 1})
    wanted = {"to": "\u00e9\n[EMAIL]\U0001f600", "card": "[CREDIT_CARD]", "q": '\\"'}
    for cut in range(len(text) + 1):
        stream = sse([arguments(text[:cut]), arguments(text[cut:])])
        found = json.loads(said_by(REDACTOR.redact(stream, is_stream=True).text, DIALECTS["arguments"][1]))
        body = json.loads(found["body"])
        assert (json.loads(body["in"]), body["phone"]) == (wanted, "[PHONE]"), cut


def test_a_key_whose_end_is_missing_does_not_take_the_end_of_the_document_with_it() -> None:
    inner = json.dumps({"pem": "-----BEGIN RSA PRIVATE KEY-----\nMIIEow", "n": 1})
    redacted = json.loads(REDACTOR.redact(json.dumps({"arguments": inner})).text)
    assert json.loads(redacted["arguments"]) == {"pem": "[KEY]", "n": 1}


@pytest.mark.parametrize("text", ["[4242 4242 4242 4242]", '["a" 4242 4242 4242 4242]', '{"a":1} 4242 4242 4242 4242'])
def test_what_only_begins_like_json_is_looked_at_as_the_text_it_is(text: str) -> None:
    for document in (json.dumps({"a": text}), text):
        assert "4242" not in REDACTOR.redact(document).text


def test_unrelated_strings_at_the_same_place_are_looked_at_one_by_one() -> None:
    stream = sse([chat("x"), chat(SECRETS["KEY"]), chat(SECRETS["EMAIL"]), chat("m")])
    redacted = REDACTOR.redact(stream, is_stream=True).text
    assert not any(secret in redacted for secret in SECRETS.values())
    assert "sk-ant" not in said_by(redacted, DIALECTS["chat"][1])


def test_token_probabilities_go_whole_when_a_long_find_is_said_in_them() -> None:
    pem = "-----BEGIN RSA PRIVATE KEY-----\n" + "MIIEow" * 100 + "\n-----END RSA PRIVATE KEY-----"
    events = []
    for letter in pem:
        event = chat(letter)
        event["choices"][0]["logprobs"] = {"content": [{"token": letter}]}
        events.append(event)
    redacted = REDACTOR.redact(sse(events), is_stream=True).text
    assert said_by(redacted, DIALECTS["chat"][1]) == "[KEY]"


def test_half_a_letter_in_a_find_has_a_pseudonym_that_can_be_stored() -> None:
    redactor = Redactor(Record(redact=("keys",), reidentify=True), b"pepper")
    redacted = redactor.redact(json.dumps({"a": "password=hunter2\ud83dhunter2"}))
    assert [original.encode() for _, original in redacted.pseudonyms] == [b"hunter2?hunter2"]


def test_a_name_that_is_quoted_stands_in_quotes_of_its_depth() -> None:
    redactor = Redactor(Record(redact=("credit_card", Pattern(name="id", pattern="7{9}"))), b"")
    text = json.dumps({"a": json.dumps({"b": json.dumps({"card": 4242424242424242, "id": 777777777})})})
    redacted = json.loads(json.loads(json.loads(redactor.redact(text).text)["a"])["b"])
    assert redacted == {"card": "[CREDIT_CARD]", "id": "[ID]"}


def test_a_long_stream_takes_less_than_ten_times_its_size() -> None:
    words = ["hello ", " the", " of\n", "world", " and", " alice@", "example", ".com "]
    events = [chat(words[number % len(words)]) | {"obfuscation": f"{number:x}"} for number in range(4_000)]
    stream = sse(events)
    tracemalloc.start()
    try:
        redacted = REDACTOR.redact(stream, is_stream=True)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert redacted.text.count("[EMAIL]") == 500
    assert peak < 10 * len(stream)
