from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from proxy.conversation import Message, Text, read_conversation
from proxy.conversation.history import estimated_tokens, read_history
from tests.wire.exchanges import make_exchange


def talk(*roles: str) -> list[Message]:
    return [Message(role, (Text(f"{role} {number}"),)) for number, role in enumerate(roles)]


def test_a_turn_begins_with_what_a_person_said_last() -> None:
    history = read_history(talk("system", "user", "assistant", "user", "assistant", "tool"))
    assert (history.system, history.folded, history.known) == (1, 3, None)


def test_a_request_of_one_turn_folds_nothing_but_its_instructions() -> None:
    history = read_history(talk("system", "developer", "user"))
    assert (history.system, history.folded) == (2, 2)


def test_a_long_turn_of_an_agent_folds_what_was_known_before() -> None:
    history = read_history(talk("system", "user", *["assistant", "tool"] * 40))
    assert history.folded == 82 - 12


def test_a_request_without_messages_has_no_history() -> None:
    assert read_history([]).folded == 0


def chat(messages: list[dict[str, Any]], answer: str) -> Any:
    reply = {"choices": [{"message": {"role": "assistant", "content": answer}, "finish_reason": "stop"}]}
    return read_conversation(make_exchange({"messages": messages}, reply))


def test_what_stood_in_the_earlier_request_and_its_answer_is_known() -> None:
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "1"}]
    earlier = chat(messages, "one")
    later = chat([*messages, {"role": "assistant", "content": "one"}, {"role": "user", "content": "2"}], "two")
    assert read_history(later.messages, earlier).known == 3


def test_another_conversation_makes_nothing_known_but_what_they_share() -> None:
    earlier = chat([{"role": "system", "content": "s"}, {"role": "user", "content": "1"}], "one")
    later = chat([{"role": "system", "content": "s"}, {"role": "user", "content": "other"}], "two")
    assert read_history(later.messages, earlier).known == 1


roles = st.lists(st.sampled_from(["system", "developer", "user", "assistant", "tool", "x"]), max_size=60)


@given(roles, st.none() | st.integers(0, 10**6))
def test_what_is_folded_and_what_is_open_are_all_there_is(said: list[str], total: int | None) -> None:
    messages = talk(*said)
    history = read_history(messages)
    assert 0 <= history.system <= history.folded <= len(messages)
    assert not messages or history.folded < len(messages) or history.system == len(messages)
    tokens = estimated_tokens(messages, total)
    assert len(tokens) == len(messages)
    if total is not None and messages:
        assert abs(sum(tokens) - total) <= len(messages)
