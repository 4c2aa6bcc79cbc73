"""The truth log tells what was received, sent and billed, also when it ended badly."""

from __future__ import annotations

import hashlib
import json
import signal
import socket
from typing import Any

from proxy.simulator.truth import headers_of_interest, mask
from tests.conftest import StartSimulator
from tests.harness import Simulator, wait_until
from tests.simulator.raw import CHAT, STREAM, Exchange, connect, exchange


def marked(body: dict[str, Any], mark: str) -> dict[str, Any]:
    """Return the request made unlike any other, so that its lines can be told from those of other tests."""
    return body | {"user": mark}


def lines_of(provider: Simulator, body: dict[str, Any], event: str) -> list[dict[str, Any]]:
    digest = hashlib.sha256(json.dumps(body).encode()).hexdigest()
    provider.wait_for_truth(1, event)
    return [line for line in provider.truth(event) if line["request_sha256"] == digest]


def only_line_of(provider: Simulator, body: dict[str, Any], event: str = "done") -> dict[str, Any]:
    (line,) = wait_until(lambda: lines_of(provider, body, event), "the line of the request")
    return line


def test_a_finished_request_has_both_lines_with_digests_of_what_went_over_the_wire(provider: Simulator) -> None:
    body = marked(STREAM, "finished")
    sent = exchange(provider.port, body, "/v1/chat/completions?a=b", authorization="Bearer sk-secret-0123456789abcdef")
    received, done = only_line_of(provider, body, "received"), only_line_of(provider, body)
    assert received["n"] == done["n"]
    assert received["at_ms"] <= done["at_ms"]
    assert done["path"] == "/v1/chat/completions?a=b"
    assert done["method"] == "POST"
    assert done["request_bytes"] == len(json.dumps(body))
    assert done["response_sha256"] == hashlib.sha256(sent.body).hexdigest()
    assert done["response_bytes"] == len(sent.body)
    assert (done["status"], done["finished"], done["events"]) == (200, True, len(sent.events))
    assert done["x_request"]["authorization"] == "Bearer …cdef"
    assert done["usage"]["output_tokens"] == len(sent.events) - 3
    assert "secret" not in json.dumps(done)


def test_the_digest_is_of_the_encoded_body(provider: Simulator) -> None:
    body = marked(CHAT, "encoded")
    sent = exchange(provider.port, body, x_simulate="gzip; chunk=50")
    done = only_line_of(provider, body)
    assert done["response_sha256"] == hashlib.sha256(sent.body).hexdigest()


def test_a_client_that_leaves_is_billed_what_was_generated_until_then(provider: Simulator) -> None:
    body = marked(STREAM, "leaves")
    with connect(provider.port) as opened:
        opened.post(body, x_simulate="pace=50; tokens=2000")
        opened.read_until(b'{"content":')
    done = only_line_of(provider, body)
    assert not done["finished"]
    assert 0 < done["usage"]["output_tokens"] < 2000
    assert done["events"] == done["usage"]["output_tokens"] + 1
    assert done["response_bytes"] >= len(opened.body)


def test_a_client_that_leaves_while_the_model_thinks_pays_for_the_prompt(provider: Simulator) -> None:
    for mark, request in (("thinks", CHAT), ("thinks aloud", STREAM)):
        body = marked(request, mark)
        with connect(provider.port) as opened:
            opened.post(body, x_simulate="ttft=100")
            opened.read_for(0.1)
        done = only_line_of(provider, body)
        assert (done["finished"], done["status"], done["response_bytes"]) == (False, 0, 0)


def test_a_plain_answer_abandoned_half_way_is_billed_in_part(provider: Simulator) -> None:
    body = marked(CHAT, "abandoned")
    with connect(provider.port) as opened:
        opened.post(body, x_simulate="pace=100; tokens=5000")
        opened.read_for(0.3)
    done = only_line_of(provider, body)
    assert 0 < done["usage"]["output_tokens"] < 5000
    assert done["response_bytes"] == 0


def test_hidden_reasoning_abandoned_half_way_is_billed_as_reasoning(provider: Simulator) -> None:
    body = marked(STREAM, "abandoned reasoning")
    with connect(provider.port) as opened:
        opened.post(body, x_simulate="pace=100; hidden-reasoning=5000")
        opened.read_until(b'"role"')
        opened.read_for(0.3)
    usage = only_line_of(provider, body)["usage"]
    assert 0 < usage["reasoning_tokens"] == usage["output_tokens"] < 5000


def test_a_client_that_does_not_read_holds_the_stream_up(provider: Simulator) -> None:
    body = marked(STREAM, "does not read")
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(10)
        connection.connect(("127.0.0.1", provider.port))
        opened = Exchange(connection)
        opened.post(body, x_simulate="tokens=200000")
        opened.read_until(b'{"content":')
    done = only_line_of(provider, body)
    assert not done["finished"]
    # Some 330 bytes per event: the buffers of both sides hold far fewer than all of them.
    assert done["usage"]["output_tokens"] < 100_000


def test_every_fault_is_on_the_record_as_unfinished(provider: Simulator) -> None:
    for fault in ("cut=4", "fin=4", "eof=4"):
        body = marked(STREAM, fault)
        sent = exchange(provider.port, body, x_simulate=fault)
        done = only_line_of(provider, body)
        assert (done["finished"], done["events"]) == (False, 4)
        assert done["usage"]["output_tokens"] == 3
        assert done["response_sha256"] == hashlib.sha256(sent.body).hexdigest()


def test_a_refused_request_bills_nothing(provider: Simulator) -> None:
    body = marked(CHAT, "refused")
    exchange(provider.port, body, x_simulate="status=500")
    done = only_line_of(provider, body)
    assert (done["usage"], done["status"], done["finished"]) == (None, 500, True)


def test_usage_that_is_not_reported_is_billed_all_the_same(provider: Simulator) -> None:
    body = marked(CHAT, "not reported")
    exchange(provider.port, body, x_simulate="no-usage; tokens=12")
    assert only_line_of(provider, body)["usage"]["output_tokens"] == 12


def test_a_killed_simulator_leaves_the_line_of_what_it_received(start_simulator: StartSimulator) -> None:
    simulator = start_simulator()
    with connect(simulator.port) as opened:
        opened.post(CHAT, x_simulate="header-stall")
        (line,) = simulator.wait_for_truth(1, "received")
        simulator.kill_group(signal.SIGKILL)
    assert line["request_sha256"] == hashlib.sha256(json.dumps(CHAT).encode()).hexdigest()
    assert simulator.truth("done") == []


def test_sigterm_stops_at_once_and_notes_what_it_broke_off(start_simulator: StartSimulator) -> None:
    simulator = start_simulator()
    with connect(simulator.port) as streaming, connect(simulator.port) as idle:
        streaming.post(STREAM, x_simulate="pace=1; tokens=1000")
        streaming.read_until(b'"role"')
        idle.post(CHAT)
        idle.read_to_end()
        simulator.send_signal(signal.SIGTERM)
        assert simulator.wait(timeout_s=5) == 0
        streaming.read_to_end()
        assert streaming.ending != "open"
    assert [line["finished"] for line in simulator.truth("done")] == [True, False]
    assert simulator.stderr.read_text() == ""


def test_credentials_are_masked_and_the_proxy_id_is_left_out() -> None:
    headers = {
        "authorization": "Bearer sk-0123456789",
        "x-api-key": "short",
        "x-glassline-request-id": "1",
        "x-glassline-user": "ada",
        "priority": "u=1",
    }
    assert headers_of_interest(headers) == {
        "authorization": "Bearer …6789",
        "x-api-key": "****",
        "x-glassline-user": "ada",
    }
    assert mask("Bearer abc") == "Bearer ****"
