"""Connections in unusual states: clients that pipeline, stall or leave; pools that are full or were reconfigured."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from tests.conftest import StartGlassline
from tests.harness.client import RawClient, exchange, post
from tests.harness.kernel import established
from tests.harness.process import wait_until
from tests.harness.upstream import CHAT, STREAM_HEAD, Connection, ScriptedUpstream, answer_chat, event, with_length

BODY = json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}).encode()
PROBE = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
LAST_PROBE = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / 1e6


def test_a_client_that_pipelines_and_never_reads_holds_up_nobody(start_glassline: StartGlassline) -> None:
    glassline = start_glassline(f"http://127.0.0.1:{closed_port()}/v1", {"timeouts": {"write_stall": 2}})
    [gateway] = glassline.pids_of("gateway")
    before = resident_mb(gateway)
    with contextlib.ExitStack() as stack:
        rude = [stack.enter_context(RawClient(glassline.port, timeout_s=0.5)) for _ in range(4)]
        for client in rude:
            with contextlib.suppress(TimeoutError):
                client.send(PROBE * 200_000)
        for _ in range(20):
            assert exchange(glassline.port, LAST_PROBE, timeout_s=5).status == 200
        assert resident_mb(gateway) - before < 20
        wait_until(lambda: established(glassline.port) == 0, "the end of the rude connections", timeout_s=30)


def test_pipelined_requests_beyond_the_buffer_are_all_answered(start_glassline: StartGlassline) -> None:
    glassline = start_glassline(f"http://127.0.0.1:{closed_port()}/v1")
    count = 20_000
    with RawClient(glassline.port, timeout_s=30) as client:
        sender = threading.Thread(target=client.send, args=(PROBE * (count - 1) + LAST_PROBE,))
        sender.start()
        answer = client.read_all()
        sender.join()
    assert answer.raw.count(b"HTTP/1.1 200 OK") == count


def test_a_failed_connection_frees_its_place_in_the_pool(start_glassline: StartGlassline) -> None:
    config = {"limits": {"connections_per_upstream": 1}}
    glassline = start_glassline(f"http://127.0.0.1:{closed_port()}/v1", config)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(RawClient(glassline.port)) for _ in range(8)]
        for client in clients:
            client.send(post("/v1/chat/completions", BODY))
        answers = [client.read_all() for client in clients]
    assert [answer.status for answer in answers] == [502] * 8
    assert all(b"it refuses connections" in answer.body for answer in answers)


def test_a_reload_changes_how_many_connections_an_upstream_gets(start_glassline: StartGlassline) -> None:
    together, most, lock = 0, 0, threading.Lock()

    def script(connection: Connection) -> None:
        nonlocal together, most
        with lock:
            together += 1
            most = max(most, together)
        time.sleep(0.2)
        with lock:
            together -= 1
        answer_chat(connection)

    with ScriptedUpstream(script) as upstream:
        config = {"upstreams": {"openai": {"base_url": upstream.url, "allow_private": True}}}
        glassline = start_glassline(None, {**config, "limits": {"connections_per_upstream": 1}})
        assert ask_at_once(glassline.port, 3) == [200] * 3
        assert most == 1
        glassline.write_config({**config, "limits": {"connections_per_upstream": 3}})
        glassline.reload()
        wait_until(lambda: ask_at_once(glassline.port, 3) == [200] * 3 and most == 3, "three connections")


def ask_at_once(port: int, count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(RawClient(port)) for _ in range(count)]
        for client in clients:
            client.send(post("/v1/chat/completions", BODY))
        return [client.read_all().status for client in clients]


def test_an_answer_goes_on_when_the_client_left_while_it_was_held_back(start_glassline: StartGlassline) -> None:
    total = 30_000_000

    def script(connection: Connection) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % total)
        connection.send(b"x" * total)

    with ScriptedUpstream(script) as upstream:
        config = {"upstreams": {"openai": {"on_disconnect": "drain"}}, "timeouts": {"write_stall": 1}}
        glassline = start_glassline(upstream.url, config)
        with RawClient(glassline.port) as client:
            client.send(post("/v1/chat/completions", BODY))
            client.socket.recv(1024)
            time.sleep(0.5)  # the buffers fill up, and reading from the upstream stops
        [row] = glassline.wait_for_rows(1)
    assert row["response_bytes"] == total


def test_an_upload_that_the_upstream_does_not_take_is_the_upstreams_fault(start_glassline: StartGlassline) -> None:
    may_read = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def accept_and_ignore() -> None:
        connection, _ = listener.accept()
        with connection:
            may_read.wait(20)

    thread = threading.Thread(target=accept_and_ignore)
    thread.start()
    try:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        glassline = start_glassline(url, {"timeouts": {"body_idle": 1, "idle": 2, "first_byte": 2}})
        body = b"x" * 40_000_000
        answer = exchange(glassline.port, post("/v1/files", body), timeout_s=20)
        [row] = glassline.wait_for_rows(1)
    finally:
        may_read.set()
        thread.join()
        listener.close()
    assert (answer.status, row["outcome"], row["error_code"]) == (504, "timeout", "upstream_timeout")


def test_keys_that_cannot_be_read_leave_deadlines_and_the_last_keys_in_force(start_glassline: StartGlassline) -> None:
    with ScriptedUpstream() as upstream:
        glassline = start_glassline(upstream.url, {"timeouts": {"header": 1}})
        keys = glassline.data_dir / "run" / "keys.json"
        bad = {"name": "bad", "digest": "ab" * 32, "created_ms": 0, "budgets": [{"limit_usd": 1}]}
        keys.write_text(json.dumps({"version": 1, "keys": [bad]}))
        wait_until(lambda: "the keys in force stay" in glassline.stderr, "the complaint")
        with RawClient(glassline.port) as client:
            client.send(b"GET /v1/mod")
            assert client.read_all().status == 408
        assert exchange(glassline.port, post("/v1/chat/completions", BODY)).body == CHAT


def test_an_answer_that_is_never_read_does_not_keep_its_connection(start_glassline: StartGlassline) -> None:
    """The exchange is over and the connection closing, but its last bytes find no taker."""
    size = 12_000_000

    def script(connection: Connection) -> None:
        connection.send(with_length(b"x" * size))

    with ScriptedUpstream(script) as upstream:
        glassline = start_glassline(upstream.url, {"timeouts": {"write_stall": 1, "idle": 60}})
        with RawClient(glassline.port, timeout_s=20) as client:
            client.send(post("/v1/chat/completions", BODY))
            client.socket.recv(1)
            wait_until(lambda: established(glassline.port) == 1, "the connection")
            glassline.wait_for_rows(1)
            wait_until(lambda: established(glassline.port) == 0, "the end of the connection")


def test_what_every_stream_sent_is_in_the_journal_after_a_moment_however_many_there_are(
    start_glassline: StartGlassline,
) -> None:
    count, may_end = 80, threading.Event()

    def script(connection: Connection) -> None:
        connection.send(STREAM_HEAD + event("so-far"))
        may_end.wait(30)

    def journaled() -> bool:
        segments = (glassline.data_dir / "journal").glob("*.journal")
        return sum(segment.read_bytes().count(b"so-far") for segment in segments) >= count

    with ScriptedUpstream(script) as upstream, contextlib.ExitStack() as clients:
        glassline = start_glassline(upstream.url)
        for _ in range(count):
            client = clients.enter_context(RawClient(glassline.port))
            client.send(post("/v1/chat/completions", BODY))
            client.read_until(b"so-far")
        wait_until(journaled, "every stream in the journal")
        [gateway] = glassline.pids_of("gateway")
        os.kill(gateway, signal.SIGKILL)
        rows = glassline.wait_for_rows(count)
        may_end.set()
    assert {row["outcome"] for row in rows} == {"interrupted"}
    assert all(row["response_bytes"] > len("so-far") for row in rows)


@pytest.mark.parametrize("point", ["gateway.after_begin", "gateway.after_end"])
def test_an_error_of_ours_between_journal_and_socket_leaves_nobody_waiting(
    start_glassline: StartGlassline, point: str
) -> None:
    with ScriptedUpstream() as upstream:
        glassline = start_glassline(upstream.url, env={"GLASSLINE_FAILPOINTS": f"{point}:raise:1"})
        failed = exchange(glassline.port, post("/v1/chat/completions", BODY))
        assert failed.raw == b""
        assert exchange(glassline.port, post("/v1/chat/completions", BODY)).body == CHAT
        glassline.wait_for_rows(2)
