from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.admin.identity import Identity, Kind
from proxy.admin.keys import KeyRequest
from proxy.admin.playground import key_name
from proxy.admin.replay import ReplayError, clean_path, edited, read_answer, with_model
from proxy.operations import find_operation

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


def places(tree: Any, at: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Return every place in a document but its root."""
    steps = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [place for step, inner in steps for place in ((*at, step), *places(inner, (*at, step)))]


@given(st.dictionaries(st.text(max_size=4), PLAIN, max_size=5), PLAIN, st.data())
def test_a_change_makes_one_place_what_it_says_and_leaves_all_others(
    tree: dict[str, Any], value: Any, data: st.DataObject
) -> None:
    if not (found := places(tree)):
        return
    at = data.draw(st.sampled_from(found))
    changed = json.loads(edited(json.dumps(tree).encode(), [{"at": at, "value": value}]))
    inner = changed
    for step in at:
        inner = inner[step]
    assert inner == value
    before: Any = tree
    after: Any = changed
    for step in at:
        if isinstance(before, dict):
            assert {**before, step: None} == {**after, step: None}
        else:
            assert [*before[: int(step)], *before[int(step) + 1 :]] == [*after[: int(step)], *after[int(step) + 1 :]]
        before, after = before[step], after[step]


@given(st.lists(st.integers()), st.lists(st.integers()), st.data())
def test_a_stretch_is_replaced_as_a_slice_is(items: list[int], value: list[int], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(items)))
    count = data.draw(st.integers(0, len(items) - start))
    changed = edited(json.dumps({"x": items}).encode(), [{"at": ["x"], "from": start, "count": count, "value": value}])
    assert json.loads(changed)["x"] == [*items[:start], *value, *items[start + count :]]


def test_nothing_changed_is_the_same_bytes() -> None:
    body = b'{ "model" : "x", "big": 123456789012345678901234567890, "f": 1.10 }'
    assert edited(body, []) is body


@pytest.mark.parametrize(
    "change",
    [
        {"at": ["nowhere", "x"], "value": 1},
        {"at": ["list", 2], "value": 1},
        {"at": ["list", -1], "value": 1},
        {"at": ["gone"], "remove": True},
        {"at": ["list"], "from": 1, "count": 5, "value": []},
        {"at": ["model"], "from": 0, "count": 0, "value": []},
        {"at": ["list", "x"], "value": 1},
        {"at": [], "value": 1},
    ],
)
def test_a_place_that_is_not_there_is_an_error(change: dict[str, Any]) -> None:
    with pytest.raises(ReplayError, match=r"changes\[0\]"):
        edited(b'{"model": "x", "list": [1, 2]}', [change])


@pytest.mark.parametrize(
    ("path", "cleaned"),
    [
        ("/chat/completions", "/chat/completions"),
        ("/v1beta/models/x:generateContent?key=***abcd&alt=sse", "/v1beta/models/x:generateContent?alt=sse"),
        ("/v1/messages?beta=true", "/v1/messages?beta=true"),
        ("/x?api_key=***", "/x"),
        ("", ""),
    ],
)
def test_a_path_loses_its_credentials(path: str, cleaned: str) -> None:
    assert clean_path(path) == cleaned


@pytest.mark.parametrize("path", ["x", "http://evil/", "/a b", "/a#b", "/a\r\nhost: evil", "/ä", "@evil/"])
def test_a_path_that_could_lead_elsewhere_is_refused(path: str) -> None:
    with pytest.raises(ReplayError):
        clean_path(path)


@pytest.mark.parametrize(
    ("wire", "path", "model", "wanted"),
    [
        ("gemini", "/v1beta/models/a:generateContent", "b", "/v1beta/models/b:generateContent"),
        ("azure", "/openai/deployments/a/chat/completions?x=1", "b", "/openai/deployments/b/chat/completions?x=1"),
        ("bedrock", "/model/a/converse", "b", "/model/b/converse"),
    ],
)
def test_a_model_is_changed_where_the_api_names_it(wire: str, path: str, model: str, wanted: str) -> None:
    operation = find_operation(wire, "POST", path)
    assert operation is not None
    assert with_model(path, b"{}", operation, model) == (wanted, b"{}")
    with pytest.raises(ReplayError):
        with_model(path, b"{}", operation, "../../admin")


def test_an_answer_is_read_as_far_as_it_came() -> None:
    head = ((b"content-type", b"text/event-stream"),)
    body = b'data: {"choices":[{"index":0,"delta":{"content":"one "}}]}\n\ndata: {"choices":[{"index":0,"delta":{"con'
    said = read_answer("openai", "/chat/completions", b'{"stream":true}', 200, head, body)
    assert (said.text, said.is_whole, said.error) == ("one ", False, None)


def test_everybody_has_a_key_of_their_own_whose_name_is_one() -> None:
    people = [
        Identity(name, "editor", kind)
        for name in ("bob", "bob@example.com", "bob-example.com", "token-bob", "b" * 64, "b" * 60)
        for kind in get_args(Kind)
        if kind in ("user", "token")
    ]
    names = [key_name(who) for who in people]
    assert len(set(names)) == len(people)
    assert names[0] == "playground.bob"
    for name in names:
        assert KeyRequest(name=name).name == name
