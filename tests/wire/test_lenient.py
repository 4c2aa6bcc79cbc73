from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.lenient import LenientDecoder, last_member, loose_text, members


class Leaf(msgspec.Struct):
    text: str | None = None
    number: int | None = None


class Tree(msgspec.Struct):
    name: str | None = None
    leaf: Leaf | None = None
    leaves: list[Leaf | str] | None = None
    raw: msgspec.Raw = msgspec.Raw()


DECODER = LenientDecoder(Tree)


def read(text: bytes) -> tuple[Tree, set[str]]:
    lost: set[str] = set()
    return DECODER.decode(text, lost), lost


def test_an_odd_field_does_not_lose_the_others() -> None:
    tree, lost = read(
        b'{"name": 7, "leaf": {"text": ["x"], "number": 3}, "leaves": [{"text": "a", "number": "?"}, 5, "b"]}'
    )
    assert tree == Tree(leaf=Leaf(number=3), leaves=[Leaf(text="a"), "b"])
    assert lost == {"name", "leaf.text", "leaves.number", "leaves"}


def test_an_object_where_none_is_expected_is_lost_alone() -> None:
    tree, lost = read(b'{"name": {"a": 1}, "leaf": [1], "leaves": {"text": 1}, "raw": {"a" : 1 }}')
    assert bytes(tree.raw) == b'{"a" : 1 }'
    assert (tree.name, tree.leaf, tree.leaves) == (None, None, None)
    assert lost == {"name", "leaf", "leaves"}


@pytest.mark.parametrize("cut", range(1, 60))
def test_a_text_cut_anywhere_gives_what_stands_before_the_cut(cut: int) -> None:
    text = b'{"name":"abcdefgh","leaf":{"number":12345},"leaves":["x\\u00e9y"]}'
    tree, lost = read(text[:cut])
    assert "json" in lost
    assert "abcdefgh".startswith(tree.name or "")
    assert tree.leaf is None or tree.leaf.number in (None, 12345)
    assert all(isinstance(leaf, str) and "xéy".startswith(leaf) for leaf in tree.leaves or [])
    assert tree.name == "abcdefgh" if cut >= 18 else tree.leaf is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b'{"name": "\\ud800"}', "\ud800"),
        (b'{"name": "\\ud83d\\ude00"}', "\N{GRINNING FACE}"),
        (b'{"name": "a\xffb"}', "a\ufffdb"),
        (b'{"name": "a\x00\nb"}', "a\0\nb"),
        (b'\xef\xbb\xbf\n {"name": "x"}', "x"),
        (b'{"name": "x", "other": NaN}', "x"),
        (b'{"other": ' + b"[" * 100_000 + b"]" * 100_000 + b', "name": "x"}', "x"),
        (b'{"other": ' + b"9" * 5_000 + b', "name": "x"}', "x"),
        (b'{"name": "first", "name": "x"}', "x"),
        (b'{"name": "first", "bad": "\\ud800", "name": "x"}', "x"),
        (b'{"n\\u0061me": "x", "bad": "\\ud800"}', "x"),
    ],
)
def test_what_a_strict_reader_refuses_is_read(text: bytes, expected: str) -> None:
    tree, lost = read(text)
    assert (tree.name, lost) == (expected, set())


def test_raw_text_is_kept_byte_for_byte_also_when_it_is_odd() -> None:
    assert (
        bytes(read(b'{"raw" :  {"a": "\\ud800" , "b":[1, 2]}  ,"name":"x"}')[0].raw) == b'{"a": "\\ud800" , "b":[1, 2]}'
    )
    assert bytes(read(b'{"name":"x","raw":{"a":1')[0].raw) == b""


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), VALUES, max_size=6), st.sampled_from([None, 2]), st.booleans())
def test_cutting_at_members_and_parsing_each_is_parsing_the_whole(
    value: dict[str, Any], indent: int | None, is_ascii: bool
) -> None:
    found, is_complete = members(
        json.dumps(value, indent=indent, ensure_ascii=is_ascii).encode("utf-8", "surrogatepass")
    )
    assert is_complete
    if is_ascii or not any("\ud800" <= char <= "\udfff" for char in json.dumps(value, ensure_ascii=False)):
        assert {member.key: json.loads(member.text) for member in found} == value


@given(st.binary(max_size=80) | st.text('{}[]",:\\u0 ab1', max_size=80).map(str.encode))
def test_arbitrary_bytes_never_raise(text: bytes) -> None:
    read(text)
    loose_text(text)
    last_member(text, b"a")


def test_the_last_member_is_found_in_a_tail() -> None:
    tail = b' text \\"usage\\": {1} "}],"usage":{"a":[1,{}]},"x":{"usage":"later"},"service_tier":"flex"}'
    assert last_member(tail, b"service_tier") == ("service_tier", b'"flex"', True)
    assert last_member(b'..."usage" : {"a":[1,{}]} ,"x":1}', b"usage") == ("usage", b'{"a":[1,{}]}', True)
    assert last_member(b'"usage":{"a":', b"usage") is None
    assert last_member(b'"usage"', b"usage") is None
