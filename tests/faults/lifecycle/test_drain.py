"""Stopping: what is open ends or is cut, and is recorded and settled either way."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.conftest import StartGlassline
from tests.faults.lifecycle.drain import Tap, ask, drain
from tests.harness.client import RawClient, exchange, post
from tests.harness.process import wait_until
from tests.harness.upstream import ScriptedUpstream
from tests.harness.websocket import Server, SocketClient, upgrade

IS_LONG = bool(os.environ.get("GLASSLINE_LONG"))
STREAMS = 100
BUDGET = {"budgets": [{"name": "everything", "limit_usd": 1000, "window": "day"}]}


@pytest.mark.parametrize("workers", [1, 3])
def test_a_hundred_streams_survive_a_stop_that_gives_them_time(start_glassline: StartGlassline, workers: int) -> None:
    tap = Tap()
    with ScriptedUpstream(tap) as upstream:
        config = BUDGET | {"timeouts": {"drain": "20s"}}
        glassline = start_glassline(upstream.url, config, args=("--workers", str(workers)))
        found = drain(glassline, tap, STREAMS, 20)
    print(found)
    assert (found["exit_code"], found["lost"], found["unsettled"]) == (0, 0, 0)
    assert found["whole"] == found["recorded_completed"] == STREAMS
    assert found["readiness"] in (503, 0)
    assert found["seconds"] < 20


def test_streams_beyond_the_grace_are_cut_with_an_error_recorded_and_settled(start_glassline: StartGlassline) -> None:
    tap = Tap()
    with ScriptedUpstream(tap) as upstream:
        glassline = start_glassline(upstream.url, BUDGET | {"timeouts": {"drain": "2s"}})
        found = drain(glassline, tap, STREAMS, 2, endless=60)
    print(found)
    assert (found["exit_code"], found["lost"], found["unsettled"]) == (0, 0, 0)
    assert (found["whole"], found["cut_with_error"], found["recorded_cut"]) == (40, 60, 60)
    assert found["beyond_grace_s"] < 3


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_cuts_at_once_and_still_records(
    start_glassline: StartGlassline, second: signal.Signals
) -> None:
    tap = Tap()
    with ScriptedUpstream(tap) as upstream:
        glassline = start_glassline(upstream.url, {"timeouts": {"drain": "60s"}})
        with RawClient(glassline.port) as client:
            client.send(ask("endless"))
            client.read_until(b"one")
            glassline.process.send_signal(signal.SIGTERM)
            wait_until(lambda: _refuses(glassline.port), "draining")
            assert "stopping: what runs has 60 s; once more ends it now" in glassline.stderr
            started = time.monotonic()
            glassline.process.send_signal(second)
            assert b'"code":"draining"' in client.read_all().raw
        assert glassline.process.wait(timeout_s=20) == 0
        assert time.monotonic() - started < 4, "three seconds, and what a busy machine takes to notice"
        glassline.start()  # where three seconds were not enough to fold it, it is in the journal
        [row] = glassline.wait_for_rows(1)
        assert (row["outcome"], row["error_code"]) == ("refused", "draining")


def test_the_port_stays_open_for_as_long_as_pre_stop_says(start_glassline: StartGlassline) -> None:
    with ScriptedUpstream() as upstream:
        glassline = start_glassline(upstream.url, {"timeouts": {"pre_stop": "1500ms"}})
        started = time.monotonic()
        glassline.process.send_signal(signal.SIGTERM)
        wait_until(
            lambda: exchange(glassline.port, b"GET /readyz HTTP/1.0\r\n\r\n").status == 503, "not ready", timeout_s=1
        )
        assert exchange(glassline.port, post("/v1/chat/completions", b'{"model":"m"}')).status == 200
        wait_until(lambda: _refuses(glassline.port), "the end of listening")
        assert time.monotonic() - started >= 1.5
        assert glassline.process.wait(timeout_s=10) == 0


def test_a_websocket_is_closed_with_its_own_words(start_glassline: StartGlassline) -> None:
    server = Server([b"\x81\x02hi"])
    with ScriptedUpstream(server.script) as upstream:
        glassline = start_glassline(upstream.url, {"timeouts": {"drain": "1s"}})
        client = SocketClient(glassline.port, upgrade("/v1/realtime?model=gpt-realtime"))
        assert client.status == 101
        client.listen()
        assert client.ear.wait_for(4)
        started = time.monotonic()
        glassline.process.send_signal(signal.SIGTERM)
        assert client.ear.is_over.wait(20)
        assert bytes(client.ear.data[4:5]) == b"\x88"
        assert int.from_bytes(client.ear.data[6:8]) == 1012
        client.hang_up()
        client.socket.close()
        assert glassline.process.wait(timeout_s=10) == 0
        assert time.monotonic() - started < 4.5
        assert [row["outcome"] for row in glassline.rows("SELECT outcome FROM requests")] == ["refused"]


def test_an_idle_connection_may_send_one_more_request_and_is_told_that_it_was_the_last(
    start_glassline: StartGlassline,
) -> None:
    with ScriptedUpstream() as upstream:
        glassline = start_glassline(upstream.url)
        with RawClient(glassline.port) as client:
            client.send(post("/v1/chat/completions", b'{"model":"m"}', close=False))
            assert b"connection: close" not in client.read_until(b"}}")
            glassline.process.send_signal(signal.SIGTERM)
            wait_until(lambda: _refuses(glassline.port), "the end of listening")
            client.send(post("/v1/chat/completions", b'{"model":"m"}', close=False))
            answer = client.read_all()
        assert (answer.status, answer.is_reset) == (200, False)
        assert b"connection: close" in answer.head
        assert glassline.process.wait(timeout_s=10) == 0
        assert len(glassline.rows("SELECT 1 FROM requests WHERE outcome = 'completed'")) == 2


@pytest.mark.cold
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("after_ms", [0, 150, 400, 700] if IS_LONG else [0, 300])
def test_a_signal_during_the_start_ends_it_in_good_order(
    start_glassline: StartGlassline, number: signal.Signals, after_ms: int
) -> None:
    with ScriptedUpstream() as upstream:
        glassline = start_glassline(upstream.url, start=False)
        glassline.launch()
        time.sleep(after_ms / 1000)  # any moment will do: each must end well
        glassline.process.send_signal(number)
        code = glassline.process.wait(timeout_s=10)
        assert code in (0, -number, 130), "stopped, or not yet begun"
        wait_until(lambda: not glassline.pids(), "the end of every process")
        glassline.start()
        assert exchange(glassline.port, post("/v1/chat/completions", b'{"model":"m"}')).status == 200
        glassline.wait_for_rows(1)
        glassline.stop()


def test_a_stop_in_the_middle_of_a_reload_loses_nothing(start_glassline: StartGlassline) -> None:
    with ScriptedUpstream() as upstream:
        glassline = start_glassline(upstream.url)
        assert exchange(glassline.port, post("/v1/chat/completions", b'{"model":"m"}')).status == 200
        glassline.write_config(glassline.config_file.read_text() + "\nrecord: {bodies: none}\n")
        glassline.reload()
        glassline.process.send_signal(signal.SIGTERM)
        assert glassline.process.wait(timeout_s=10) == 0
        assert len(glassline.rows("SELECT 1 FROM requests")) == 1


def test_whoever_kills_the_supervisor_ends_the_rest_in_good_order(start_glassline: StartGlassline) -> None:
    with ScriptedUpstream() as upstream:
        glassline = start_glassline(upstream.url)
        assert exchange(glassline.port, post("/v1/chat/completions", b'{"model":"m"}')).status == 200
        os.kill(glassline.process.pid, signal.SIGKILL)
        wait_until(lambda: not glassline.pids(), "the end of every process", timeout_s=15)
        assert len(glassline.rows("SELECT 1 FROM requests")) == 1


def test_a_session_that_is_asked_for_while_draining_is_refused_and_recorded(start_glassline: StartGlassline) -> None:
    tap = Tap()
    with ScriptedUpstream(tap) as upstream:
        glassline = start_glassline(upstream.url, {"timeouts": {"drain": "60s"}})
        with RawClient(glassline.port) as busy, RawClient(glassline.port) as late:
            busy.send(ask("endless"))
            busy.read_until(b"one")
            glassline.process.send_signal(signal.SIGTERM)
            wait_until(lambda: _refuses(glassline.port), "draining")
            late.send(upgrade("/v1/realtime?model=gpt-realtime", "x-glassline-session: late"))
            answer = late.read_all()
            assert (answer.status, b"x-glassline-error: draining" in answer.head) == (503, True)
            glassline.process.send_signal(signal.SIGTERM)
        assert glassline.process.wait(timeout_s=20) == 0
        glassline.start()
        [row] = glassline.wait_for_rows(1, "session = 'late'")
        assert (row["outcome"], row["error_code"], row["status"]) == ("refused", "draining", 503)


def _refuses(port: int) -> bool:
    try:
        exchange(port, b"GET /healthz HTTP/1.0\r\n\r\n")
    except ConnectionError:
        return True
    return False
