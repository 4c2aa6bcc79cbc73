"""Where bodies are cut: nothing is lost, and what is said again is found again."""

from __future__ import annotations

import base64
import json
import random
import time
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.store.pieces import Part, cut_request, look_inside, split_response


def digest(data: bytes) -> bytes:
    return sha256(data).digest()[:16]


def split(request: bytes) -> list[Part]:
    return cut_request(request, digest).parts


def whole(parts: list[Part]) -> bytes:
    return b"".join(look_inside(part, digest).bytes for part in parts)


def shared(parts: list[Part]) -> set[bytes]:
    """Return the names of everything that can be found again."""
    names: set[bytes] = set()
    for part in parts:
        if not part.is_inline:
            names |= {part.digest, *shared(list(part.parts))}
    return names


def words(number: int, size: int = 300) -> str:
    return random.Random(number).randbytes(size // 2).hex()


def conversation(count: int) -> list[dict[str, Any]]:
    roles = ("user", "assistant")
    return [
        {"role": "system", "content": words(-1, 3000)},
        *({"role": roles[at % 2], "content": words(at)} for at in range(count)),
    ]


SHAPES = ("messages", "input", "contents")
LAYOUTS: tuple[dict[str, Any], ...] = ({}, {"separators": (",", ":")}, {"indent": 2})

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=12) | st.dictionaries(st.text(max_size=8), inner, max_size=5),
    max_leaves=40,
)
objects = st.dictionaries(
    st.sampled_from(("messages", "input", "contents", "system", "tools", "model", "instructions", "x")),
    json_values
    | st.lists(st.fixed_dictionaries({"role": st.just("user"), "content": st.text(max_size=400)}), max_size=40),
    max_size=6,
)


@given(objects, st.sampled_from(LAYOUTS), st.booleans())
def test_any_object_in_any_layout_is_put_together_again(body: Any, layout: dict[str, Any], is_ascii: bool) -> None:
    data = json.dumps(body, ensure_ascii=is_ascii, **layout).encode("utf-8", "surrogatepass")
    assert whole(split(data)) == data
    assert whole(split_response(data, digest)) == data


@given(st.binary(max_size=3000) | st.text(alphabet='{}[]",:\\ abmesg', max_size=600).map(str.encode))
def test_whatever_is_no_object_is_put_together_again(data: bytes) -> None:
    assert whole(split(data)) == data
    assert whole(split_response(data, digest)) == data


@pytest.mark.parametrize("end", [0.3, 0.9, 0.999])
def test_a_body_that_was_cut_is_one_part(end: float) -> None:
    data = json.dumps({"model": "m", "messages": conversation(20)}).encode()
    data = data[: int(len(data) * end)]
    parts = split(data)
    assert [len(part.data) for part in parts] == [len(data)]
    assert whole(parts) == data


@pytest.mark.parametrize(
    "data",
    [
        b'{"messages":[{"a":"' + b"x" * 300 + b'"}],"messages":[{"b":"' + b"y" * 300 + b'"},{"c":1}]}',
        b'{"system":"'
        + b"s" * 300
        + b'","messages":[{"content":"'
        + b"s" * 300
        + b'"}],"system":"'
        + b"s" * 300
        + b'"}',
        b' \n{ "messages" : [ {"a":"' + b"x" * 300 + b'"} , {"a":"' + b"x" * 300 + b'"}\n,{} ] } \n',
        b'{"messages":[{"a":"' + b"x" * 300 + b'"},"a string",{"b":' + b"1" * 200 + b"}]}",
        b'{"messages":"' + b"x" * 3000 + b'"}',
        b'{"messages":[' + b",".join([b"{}"] * 500) + b"]}",
        b'{"messages":[],"tools":[]' + b" " * 300 + b"}",
        b'{"\xff\xfe":"' + b"x" * 300 + b'"}',
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"messages":[{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}]}",
    ],
)
def test_odd_bodies_are_put_together_again(data: bytes) -> None:
    assert whole(split(data)) == data
    assert whole(split_response(data, digest)) == data


messages = st.integers(0, 700).map(lambda size: b'{"role":"user","content":"%b"}' % (b"a" * size))
values = st.lists(messages, max_size=9).map(lambda some: b"[%b]" % b",".join(some)) | messages.map(
    b'{"q":[%b]}'.__mod__
)
members = st.tuples(st.sampled_from((b"messages", b"input", b"tools", b"x")), values).map(b'"%b":%b'.__mod__)


@settings(max_examples=400)
@given(st.lists(members, max_size=5))
def test_members_of_one_name_that_begin_alike_are_put_together_again(said: list[bytes]) -> None:
    data = b"{%b}" % b",".join(said)
    assert whole(split(data)) == data
    assert whole(split_response(data, digest)) == data


def test_what_a_body_costs_grows_with_its_size_and_no_faster() -> None:
    def seconds(count: int) -> float:
        data = b'{"a":1%b}' % b"".join(b',"k%d":"%b"' % (at, b"x" * 130) for at in range(count))
        begin = time.process_time()
        split(data)
        return time.process_time() - begin

    assert min(seconds(40_000) for _ in range(2)) < 20 * min(seconds(5_000) for _ in range(3))


@pytest.mark.parametrize("member", SHAPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_next_turn_finds_all_that_was_said_before(member: str, layout: dict[str, Any]) -> None:
    def body(count: int) -> bytes:
        return json.dumps({"model": "m", member: conversation(count), "tools": [{"name": words(7)}]}, **layout).encode()

    before, after = (split(body(count)) for count in (41, 43))
    new = shared(after) - shared(before)
    # The last message of before, which stayed with its request, and the one after it; now and then a run of them.
    assert len(new) <= 2 + 3
    assert whole(after) == body(43)


@pytest.mark.parametrize("count", [40, 400, 4000])
def test_a_request_names_few_parts_however_long_its_history_is(count: int) -> None:
    parts = split(json.dumps({"messages": conversation(count)}).encode())
    assert len(parts) < 45


def test_a_message_in_the_middle_that_changes_costs_itself_and_its_runs() -> None:
    messages = conversation(400)
    before = shared(split(json.dumps({"messages": messages}).encode()))
    messages[200] = {"role": "user", "content": "another"}
    after = shared(split(json.dumps({"messages": messages}).encode()))
    assert len(after - before) < 12


def test_instructions_and_tools_are_found_whatever_else_a_request_or_an_answer_says() -> None:
    standing = {"instructions": words(1, 2000), "tools": [{"type": "function", "name": words(2, 600)}]}
    request = split(json.dumps({"input": words(3), "seed": 1, **standing}).encode())
    response = split_response(json.dumps({"id": words(4), **standing, "output": words(5, 4000)}).encode(), digest)
    assert len(shared(request) & shared(response)) == 2
    assert len(shared(response)) == 2


def test_a_short_question_stays_with_its_request_and_a_long_one_does_not() -> None:
    system = {"role": "system", "content": words(1)}
    short, long = (
        split(json.dumps({"messages": [system, {"role": "user", "content": words(2, size)}]}).encode())
        for size in (1000, 3000)
    )
    assert (len(shared(short)), len(shared(long))) == (1, 2)


def test_pictures_are_bytes_inside() -> None:
    picture = random.Random(1).randbytes(9000)
    text = base64.b64encode(picture).decode()
    part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{text}"}}
    data = json.dumps({"messages": [{"role": "user", "content": [part, {"type": "text", "text": "?"}]}]}).encode()
    inside = [inner for part in split(data) for inner in look_inside(part, digest).parts]
    assert [inner.data for inner in inside if inner.is_base64] == [picture]
    assert whole(split(data)) == data


@pytest.mark.parametrize(
    "spoil", [lambda text: text[:-1] + "=", lambda text: text[:-3] + "B==", lambda text: text + "="]
)
def test_base64_that_would_be_written_in_another_way_stays_as_it_is(spoil: Any) -> None:
    text = spoil(base64.b64encode(bytes(9001)).decode())
    data = json.dumps({"messages": [{"role": "user", "data": text}]}).encode()
    assert whole(split(data)) == data


def test_a_document_is_found_in_another_question() -> None:
    documents = [words(at, 1200) for at in range(6)]

    def inside(chosen: list[str]) -> set[bytes]:
        asked = "Context:\n\n" + "\n\n".join(chosen) + "\n\nQuestion?"
        parts = split(json.dumps({"contents": [{"parts": [{"text": asked}]}]}).encode())
        return shared([look_inside(part, digest) for part in parts])

    assert len(inside(documents[:4]) & inside([documents[5], *documents[:3]])) == 3
