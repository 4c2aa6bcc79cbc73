"""Cases 21 to 28 and 36: usage that was asked for, was not, comes early, comes late, comes often."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from tests.cases.stage import KEY, Stage, plain, streamed
from tests.cases.test_streams import CHAT_PATH, FINISH, LAST, LINES, TEXTS, USAGE, delta, lay_out, piece
from tests.harness.client import RawClient, post
from tests.harness.tee import bodies
from tests.harness.upstream import CHAT, Connection, chunk

OPTION = b'"stream_options":{"include_usage":true},'


def asking(**more: Any) -> bytes:
    return json.dumps({"model": "gpt-4o-mini", "stream": True, "messages": [], **more}).encode()


@pytest.mark.case(21)
def test_usage_that_the_client_did_not_ask_for_is_read_and_kept_from_it(stage: Stage) -> None:
    played = stage.play(CHAT_PATH, asking(), streamed([lay_out(LINES)]))
    assert played.forwarded.replace(OPTION, b"") == asking() != played.forwarded
    assert played.received == lay_out([line for line in LINES if line != LAST])
    assert (played.row["input_tokens"], played.row["output_tokens"], played.row["usage_source"]) == (12, 7, "provider")


@pytest.mark.case(22)
def test_usage_that_the_client_asked_for_is_left_alone(stage: Stage) -> None:
    body = asking(stream_options={"include_usage": True})
    played = stage.play(CHAT_PATH, body, streamed([lay_out(LINES)]))
    played.assert_request_is(body)
    played.assert_response_is(lay_out(LINES))
    assert not played.row["mutated"]


OPTIONS: dict[str, tuple[Any, Any]] = {
    "said false": ({"include_usage": False}, {"include_usage": False}),
    "null": (None, {"include_usage": True}),
    "only obfuscation": ({"include_obfuscation": False}, {"include_usage": True, "include_obfuscation": False}),
}


@pytest.mark.case(23)
@pytest.mark.parametrize("kind", OPTIONS)
def test_the_clients_own_options_are_respected(stage: Stage, kind: str) -> None:
    given, wanted = OPTIONS[kind]
    body = asking(stream_options=given)
    lines = LINES if wanted["include_usage"] else [line for line in LINES if line != LAST]
    played = stage.play(CHAT_PATH, body, streamed([lay_out(lines)]))
    assert json.loads(played.forwarded)["stream_options"] == wanted
    assert (played.forwarded == body) == (given == wanted)
    assert played.received == lay_out([line for line in LINES if line != LAST])
    assert played.row["usage_source"] == ("provider" if wanted["include_usage"] else "estimated")


@pytest.mark.case(24)
def test_azures_first_chunk_has_no_choices_and_stays(stage: Stage) -> None:
    filters = piece([], prompt_filter_results=[{"prompt_index": 0, "content_filter_results": {}}])
    lines = [filters, *LINES]
    played = stage.play(CHAT_PATH, asking(), streamed([lay_out(lines)]))
    assert played.received == lay_out([line for line in lines if line != LAST])
    assert played.row["output_tokens"] == 7


@pytest.mark.case(25)
def test_usage_beside_choices_stays_and_the_last_one_counts_once(stage: Stage) -> None:
    lines = [
        piece(
            [{"index": 0, "delta": {"content": text}}],
            usage={"prompt_tokens": 12, "completion_tokens": number, "total_tokens": 12 + number},
        )
        for number, text in enumerate(TEXTS, 1)
    ]
    last = piece([{"index": 0, "delta": {}, "finish_reason": "stop"}], usage=USAGE)
    whole = lay_out([*lines, last, "[DONE]"])
    played = stage.play(CHAT_PATH, asking(), streamed([whole]))
    played.assert_response_is(whole)
    assert (played.row["input_tokens"], played.row["output_tokens"]) == (12, 7)


@pytest.mark.case(26)
def test_an_upstream_that_rejects_the_option_is_asked_again_without_it(stage: Stage) -> None:
    rejection = b'{"detail":[{"type":"extra_forbidden","loc":["body","stream_options","include_usage"],"input":true}]}'
    stream = streamed([lay_out([line for line in LINES if line != LAST])])

    def script(connection: Connection) -> None:
        refuses = b"stream_options" in connection.request
        connection.send(plain(rejection, status=b"422 Unprocessable Entity") if refuses else stream)

    before = len(stage.upstream.requests)
    body = asking(model="strict-model")
    first = stage.play("/strict/v1/chat/completions", body, script)
    second = stage.play("/strict/v1/chat/completions", body, script)
    sent = [bodies(asked)[0] for asked in stage.upstream.requests[before:]]
    assert [b"stream_options" in each for each in sent] == [True, False, False]
    assert sent[1] == sent[2] == body
    for played in (first, second):
        assert played.answer.status == 200
        played.assert_response_is(lay_out([line for line in LINES if line != LAST]))
    assert "include_usage_rejected" in first.row["mutated"]


@pytest.mark.case(27)
def test_three_choices_with_tool_calls_are_billed_once(stage: Stage) -> None:
    def call(index: int, arguments: str, **more: Any) -> str:
        tool = {"index": 0, "function": {"arguments": arguments}, **more}
        return piece([{"index": index, "delta": {"tool_calls": [tool]}}])

    lines = [piece([{"index": index, "delta": {"role": "assistant", "content": None}}]) for index in (2, 0, 1)]
    lines += [
        call(1, "", id="call_1", type="function", function={"name": "f", "arguments": ""}),
        piece([{"index": 0, "delta": {"content": "A"}}]),
        call(1, '{"x":'),
        piece([{"index": 2, "delta": {"content": "C"}}]),
        call(1, "1}"),
        piece([{"index": 0, "delta": {"content": "a"}}]),
    ]
    lines += [
        piece([{"index": index, "delta": {}, "finish_reason": reason}])
        for index, reason in ((0, "stop"), (1, "tool_calls"), (2, "length"))
    ]
    whole = lay_out([*lines, LAST, "[DONE]"])
    played = stage.play(CHAT_PATH, asking(n=3, stream_options={"include_usage": True}), streamed([whole]))
    played.assert_response_is(whole)
    assert (played.row["input_tokens"], played.row["output_tokens"]) == (12, 7)
    detail = stage.detail(played.row)
    assert detail["finish_reasons"] == ["stop", "tool_calls", "length"]
    assert [(call["choice"], call["name"], call["arguments"]) for call in detail["tool_calls"]] == [(1, "f", '{"x":1}')]


@pytest.mark.case(28)
def test_the_first_token_is_the_first_reasoning_and_not_the_role(stage: Stage) -> None:
    said = [
        piece([{"index": 0, "delta": {"role": "assistant", "content": ""}}]),
        piece([{"index": 0, "delta": {"content": ""}}]),
        piece([{"index": 0, "delta": {"reasoning_content": "Let me think."}}]),
        delta("Done."),
    ]

    def script(connection: Connection) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        connection.send(head + chunk(lay_out(said[:2])))
        connection.wait_closed(0.2)
        connection.send(chunk(lay_out(said[2:3])))
        connection.wait_closed(0.4)
        connection.send(chunk(lay_out([said[3], FINISH, LAST, "[DONE]"])) + b"0\r\n\r\n")

    played = stage.play(CHAT_PATH, asking(stream_options={"include_usage": True}), script)
    [times] = stage.glassline.rows(
        "SELECT first_token_us, first_visible_us, duration_us FROM exchanges WHERE id = ?", played.row["id"]
    )
    assert 200_000 <= times["first_token_us"] < times["first_visible_us"]
    assert times["first_visible_us"] - times["first_token_us"] >= 400_000 - 100_000


@pytest.mark.case(36)
def test_blank_lines_before_an_answer_are_passed_on_as_they_come(stage: Stage) -> None:
    blanks = b"\n\n\r\n"
    seen = threading.Event()

    def script(connection: Connection) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
        connection.send(head + chunk(blanks))
        assert seen.wait(10), "the blank lines were held back"
        connection.send(chunk(CHAT) + b"0\r\n\r\n")

    stage.upstream.script = script
    with RawClient(stage.glassline.port) as client:
        client.send(post(CHAT_PATH, b'{"model":"gpt-4o-mini"}', key=KEY, headers=("x-glassline-session: blank",)))
        received = client.read_until(chunk(blanks))
        seen.set()
        received += client.read_all().raw
    assert bodies(received) == [blanks + CHAT]
    row = stage.row("blank")
    assert (row["input_tokens"], row["output_tokens"], row["finish_reason"]) == (9, 2, "stop")
