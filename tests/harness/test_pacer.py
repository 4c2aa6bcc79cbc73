from __future__ import annotations

import threading

from tests.harness.client import post
from tests.harness.pacer import NUMBER, Pacer, between, p99
from tests.harness.process import wait_until
from tests.harness.upstream import CHAT, STREAM_HEAD, Connection, ScriptedUpstream, chunk, event, with_length

REQUEST = post("/v1/chat/completions", b"{}", headers=(f"x-number: {NUMBER.decode()}",), close=False)


def test_a_slow_answer_neither_delays_what_is_asked_next_nor_hides_how_long_it_took() -> None:
    may_answer = threading.Event()

    def script(connection: Connection) -> None:
        assert may_answer.wait(30)
        connection.send(with_length(CHAT))

    with ScriptedUpstream(script) as server, Pacer(server.port, REQUEST, 50, connections=2) as pacer:
        wait_until(lambda: len(server.requests) >= 10, "ten requests of which none is answered")
        may_answer.set()
        asked = pacer.stop()
    assert not [each.problem for each in asked if each.problem]
    assert [each.number for each in asked] == list(range(len(asked)))
    assert asked[0].whole_ms > asked[9].whole_ms, "both were answered at once, and one was due 180 ms later"
    assert asked[0].whole_ms >= 180
    assert between(asked, asked[3].at, asked[5].at) == asked[3:5]


def test_each_request_carries_its_number_and_connections_are_kept() -> None:
    with ScriptedUpstream() as server, Pacer(server.port, REQUEST, 100, connections=3) as pacer:
        wait_until(lambda: len(server.requests) >= 20, "requests")
        asked = pacer.stop()
        numbers = sorted(request.partition(b"x-number: ")[2][:9] for request in server.requests)
        assert numbers == [b"%09d" % each.number for each in asked]
        assert server.connections <= 10 < len(asked)


def test_the_first_byte_of_a_stream_is_told_from_its_end() -> None:
    may_end = threading.Event()

    def script(connection: Connection) -> None:
        connection.send(STREAM_HEAD + event("one"))
        assert may_end.wait(30)
        connection.send(event("two") + chunk(b""))

    with ScriptedUpstream(script) as server, Pacer(server.port, REQUEST, 20) as pacer:
        wait_until(lambda: len(server.requests) >= 10, "requests")
        may_end.set()
        asked = pacer.stop()
    assert not [each.problem for each in asked if each.problem]
    assert asked[0].whole_ms - asked[0].first_ms > 100


def test_errors_and_broken_answers_are_problems() -> None:
    answers = iter([with_length(CHAT), with_length(b"no", status="503 No"), with_length(CHAT)[:-5]])

    def script(connection: Connection) -> None:
        connection.send(next(answers, b""))
        if len(server.requests) > 2:
            connection.reset()

    with ScriptedUpstream(script) as server, Pacer(server.port, REQUEST, 10, connections=1) as pacer:
        wait_until(lambda: len(server.requests) >= 4, "requests")
        asked = pacer.stop()
    assert [not each.problem for each in asked[:4]] == [True, False, False, False]
    assert asked[1].problem.startswith("HTTP/1.1 503")


def test_the_ninety_ninth_of_a_hundred() -> None:
    assert p99([float(number) for number in range(100, 0, -1)]) == 99
    assert p99([1.0]) == 1
