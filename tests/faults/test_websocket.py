"""Sessions over WebSockets that go well, badly and slowly: every byte passes as it came, no ending is invented."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.websocket import FrameParser, Opcode, close_frame, encode_frame
from tests.conftest import StartGlassline
from tests.harness import Glassline, wait_until
from tests.harness.stage import with_upstream
from tests.harness.upstream import Connection, ScriptedUpstream, with_length
from tests.harness.websocket import Ear, Server, SocketClient, switching, upgrade

MASK: Final = b"\x37\xfa\x21\x3d"
MEGABYTE: Final = 1 << 20
PATH: Final = "/v1/realtime?model=gpt-realtime"
GOODBYE: Final = close_frame(1000, "")


class Stage:
    """One Glassline in front of an upstream whose script is exchanged from test to test."""

    def __init__(self, glassline: Glassline, upstream: ScriptedUpstream) -> None:
        self.glassline = glassline
        self.upstream = upstream
        self._seen = 0

    def play(self, server: Server) -> SocketClient:
        """Open a session with `server`."""
        self.upstream.script = server.script
        return self.connect()

    def connect(self, *headers: str, path: str = PATH) -> SocketClient:
        """Ask for a session."""
        self._seen += 1
        return SocketClient(self.glassline.port, upgrade(path, f"x-glassline-session: s{self._seen}", *headers))

    def row(self) -> dict[str, Any]:
        """Return the record of the last session."""
        return self.glassline.wait_for_rows(1, f"session = 's{self._seen}'")[0]

    def digests(self, row: dict[str, Any]) -> list[str]:
        """Return the recorded SHA-256 of the client's frames and of the server's."""
        query = (
            "SELECT lower(hex(sha256)) AS sha FROM bodies JOIN exchanges ON exchange = seq WHERE id = ? ORDER BY side"
        )
        return [found["sha"] for found in self.glassline.rows(query, row["id"])]


TIMEOUTS: Final = {"write_stall": 2, "socket_idle": 1.5, "connect": 2, "drain": 0.5}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with ExitStack() as stack:
        upstream = stack.enter_context(ScriptedUpstream())
        config = {"timeouts": {"write_stall": 5}, "record": {"max_body_mb": 40}}
        glassline = Glassline(tmp_path_factory.mktemp("sockets"), with_upstream(config, upstream.url))
        stack.enter_context(closing(glassline))
        yield Stage(glassline.start(), upstream)


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def both_ways(stage: Stage, sent: list[bytes], served: list[bytes]) -> dict[str, Any]:
    """Send these pieces both ways at once and compare the sums at the client, on the record and at the server."""
    server = Server(served)
    with stage.play(server) as client:
        assert client.status == 101
        client.listen()
        for piece in sent:
            client.send(piece)
        out, back = b"".join(sent), b"".join(served)
        assert client.ear.wait_for(len(back))
        assert server.ears[-1].wait_for(len(out))
        client.hang_up()
    row = stage.row()
    assert stage.digests(row) == [sha(out), sha(back)]
    assert (server.ears[-1].digest, client.ear.digest) == (sha(out), sha(back))
    assert (row["request_bytes"], row["response_bytes"]) == (len(out), len(back))
    return row


@pytest.mark.case(33)
def test_every_kind_of_frame_passes_both_ways_as_it_is(stage: Stage) -> None:
    def frames(mask: bytes | None) -> list[bytes]:
        return [
            encode_frame(Opcode.TEXT, b'{"type":"hello"}', mask=mask),
            encode_frame(Opcode.BINARY, os.urandom(70_000), mask=mask, is_final=False),
            encode_frame(Opcode.PING, b"are you there", mask=mask),
            encode_frame(Opcode.CONTINUATION, b"", mask=mask, is_final=False),
            encode_frame(Opcode.PONG, b"", mask=mask),
            encode_frame(Opcode.CONTINUATION, os.urandom(300), mask=mask),
            encode_frame(Opcode.TEXT, b"", mask=mask),
        ]

    row = both_ways(stage, [*frames(MASK), close_frame(1000, "bye", mask=MASK)], [*frames(None), GOODBYE])
    assert (row["status"], row["outcome"], row["streaming"]) == (101, "completed", 1)


def test_bytes_that_come_one_by_one_arrive_as_they_were(stage: Stage) -> None:
    def split(data: bytes) -> list[bytes]:
        return [data[i : i + 1] for i in range(len(data))]

    sent = encode_frame(Opcode.TEXT, "één".encode(), mask=MASK) + close_frame(1000, "", mask=MASK)
    both_ways(stage, split(sent), split(encode_frame(Opcode.BINARY, bytes(300), is_final=False) + GOODBYE))


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32))
def test_what_is_no_frame_at_all_passes_as_well(stage: Stage, seed: int) -> None:
    chance = random.Random(seed)
    both_ways(stage, [chance.randbytes(chance.randrange(1, 5000))], [chance.randbytes(chance.randrange(1, 5000))])


@pytest.mark.case(33)
def test_frames_of_sixteen_megabytes_pass_both_ways_in_bounded_memory(stage: Stage) -> None:
    before = memory_kb(stage)
    sent = encode_frame(Opcode.BINARY, os.urandom(16 * MEGABYTE), mask=MASK)
    served = encode_frame(Opcode.TEXT, b"x" * (16 * MEGABYTE))
    both_ways(stage, [sent, close_frame(1000, "", mask=MASK)], [served, GOODBYE])
    assert memory_kb(stage) - before < 12 * 1024, "the frames were not collected anywhere"


def memory_kb(stage: Stage) -> int:
    """Return the most memory that the gateway ever had."""
    (pid,) = stage.glassline.pids_of("gateway")
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


@pytest.mark.parametrize("code", [1000, 1008, 1011, 4000])
@pytest.mark.case(33)
def test_the_close_code_and_the_reason_of_the_server_reach_the_client(stage: Stage, code: int) -> None:
    def then(connection: Connection, ear: Ear) -> None:
        ear.wait_for(len(answer))
        connection.socket.shutdown(socket.SHUT_RDWR)

    frame = close_frame(code, "because")
    answer = close_frame(code, "", mask=MASK)
    with stage.play(Server([frame], then=then)) as client:
        client.listen()
        assert client.ear.wait_for(len(frame))
        client.send(answer)
        client.ear.is_over.wait(10)
        assert bytes(client.ear.data) == frame
        assert not client.ear.is_reset
    (message,) = FrameParser().feed(frame)
    assert (message.close_code, message.close_reason) == (code, "because")
    assert stage.row()["outcome"] == "completed"


def test_an_upstream_that_resets_breaks_the_client_and_no_close_frame_is_invented(stage: Stage) -> None:
    text = encode_frame(Opcode.TEXT, b'{"type":"response.created"}')

    def then(connection: Connection, ear: Ear) -> None:
        ear.wait_for(6)
        connection.socket.shutdown(socket.SHUT_RD)  # wakes the listener, which would keep the socket open
        ear.is_over.wait(10)
        connection.reset()

    with stage.play(Server([text], then=then)) as client:
        client.listen()
        assert client.ear.wait_for(len(text))
        client.send(encode_frame(Opcode.PING, b"", mask=MASK))
        assert client.ear.is_over.wait(10)
        assert bytes(client.ear.data) == text
    assert stage.row()["outcome"] == "upstream_reset"


def test_an_upstream_that_just_ends_is_a_truncated_session(stage: Stage) -> None:
    text = encode_frame(Opcode.TEXT, b"{}")

    def then(connection: Connection, ear: Ear) -> None:
        ear.wait_for(6)
        connection.socket.shutdown(socket.SHUT_RDWR)

    with stage.play(Server([text], then=then)) as client:
        client.listen()
        client.send(encode_frame(Opcode.PING, b"", mask=MASK))
        assert client.ear.is_over.wait(10)
        assert bytes(client.ear.data) == text
    assert stage.row()["outcome"] == "truncated"


def test_a_client_that_vanishes_ends_the_session_at_the_upstream(stage: Stage) -> None:
    server = Server()
    client = stage.play(server)
    client.send(encode_frame(Opcode.TEXT, b"{}", mask=MASK))
    wait_until(lambda: server.ears and server.ears[0].size, "the frame at the upstream")
    client.reset()
    assert server.ears[0].is_over.wait(10)
    assert stage.row()["outcome"] == "client_closed"


def test_a_client_that_reads_slowly_holds_the_upstream_back(stage: Stage) -> None:
    size, before = 64 * MEGABYTE, memory_kb(stage)
    progress = [0]

    def then(connection: Connection, _: Ear) -> None:
        connection.send(encode_frame(Opcode.BINARY, b"")[:1] + b"\x7f" + size.to_bytes(8, "big"))
        piece = os.urandom(MEGABYTE)
        for _piece in range(size // MEGABYTE):
            connection.send(piece)
            progress[0] += MEGABYTE
        connection.send(GOODBYE)

    with stage.play(Server(then=then)) as client:
        wait_until(lambda: progress[0] == settle(progress), "the upstream to be held back")
        assert progress[0] < size / 2, "it went on although nobody read"
        client.ear.keeps = False
        client.listen()
        assert client.ear.wait_for(10 + size + len(GOODBYE), timeout_s=60)
        client.hang_up()
    assert memory_kb(stage) - before < 16 * 1024
    assert stage.row()["response_bytes"] == 10 + size + len(GOODBYE)


def settle(progress: list[int]) -> int:
    """Return where `progress` stands after half a second."""
    time.sleep(0.5)
    return progress[0]


def test_a_hundred_sessions_at_once_stay_apart(stage: Stage) -> None:
    sessions = 100

    def then(connection: Connection, ear: Ear) -> None:
        ear.wait_for(22)  # a masked frame of sixteen bytes: sent back unmasked, so nobody gets another's
        (message,) = FrameParser().feed(bytes(ear.data[:22]))
        for _ in range(20):
            connection.send(encode_frame(Opcode.TEXT, message.head * 50))
        connection.send(GOODBYE)

    server = Server(then=then)
    stage.upstream.script = server.script
    with ExitStack() as stack:
        clients = [stack.enter_context(stage.connect("x-glassline-prompt: hundred@1")) for _ in range(sessions)]
        assert {client.status for client in clients} == {101}
        wait_until(lambda: len(server.ears) == sessions, "all sessions at the upstream")
        assert not any(ear.is_over.is_set() for ear in server.ears), "all are open at once"
        names = [os.urandom(8).hex().encode() for _ in clients]
        for client, name in zip(clients, names, strict=True):
            client.listen()
            client.send(encode_frame(Opcode.TEXT, name, mask=MASK))
        for client, name in zip(clients, names, strict=True):
            expected = encode_frame(Opcode.TEXT, name * 50) * 20 + GOODBYE
            assert client.ear.wait_for(len(expected))
            assert bytes(client.ear.data) == expected
        for client in clients:
            client.send(close_frame(1000, "", mask=MASK))
            client.hang_up()
    rows = stage.glassline.wait_for_rows(sessions, "prompt_name = 'hundred'")
    assert {row["outcome"] for row in rows} == {"completed"}


def test_frames_sent_before_the_upgrade_was_granted_are_not_lost(stage: Stage) -> None:
    server = Server([GOODBYE])
    stage.upstream.script = server.script
    early = encode_frame(Opcode.TEXT, b"already", mask=MASK)
    with SocketClient(stage.glassline.port, upgrade(PATH) + early) as client:
        assert client.status == 101
        assert server.ears[-1].wait_for(len(early))
        assert bytes(server.ears[-1].data) == early


@pytest.mark.case(33)
def test_the_handshake_passes_end_to_end_with_protocol_and_extensions(stage: Stage) -> None:
    offered = "permessage-deflate; client_max_window_bits"
    chosen = b"Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover"
    stage.upstream.script = Server([GOODBYE], headers=(chosen, b"Sec-WebSocket-Protocol: realtime")).script
    headers = (f"Sec-WebSocket-Extensions: {offered}", "Sec-WebSocket-Protocol: realtime, other")
    with stage.connect(*headers) as client:
        assert client.status == 101
        lines = client.head.split(b"\r\n")
        assert chosen in lines
        assert b"Sec-WebSocket-Protocol: realtime" in lines
        assert switching(upgrade(PATH)).split(b"\r\n")[3] in lines, "the accept value is the server's"
        assert any(line.startswith(b"x-glassline-request-id: ") for line in lines)
    request = stage.upstream.requests[-1]
    assert f"Sec-WebSocket-Extensions: {offered}".encode() in request
    assert b"Sec-WebSocket-Protocol: realtime, other" in request
    assert b"Sec-WebSocket-Version: 13" in request
    assert request.lower().count(b"\r\nupgrade: websocket\r\n") == 1
    assert b"x-glassline-session" not in request


def test_what_the_upstream_answers_instead_of_upgrading_is_relayed(stage: Stage) -> None:
    body = b'{"error":{"message":"no","type":"invalid_request_error","code":"model_not_found","param":null}}'
    stage.upstream.script = lambda connection: connection.send(with_length(body, status="404 Not Found"))
    with stage.connect() as client:
        assert client.status == 404
        assert client.rest == body
    row = stage.row()
    assert (row["status"], row["outcome"], row["error_code"]) == (404, "completed", "model_not_found")


@pytest.mark.parametrize(
    "request_head",
    [
        upgrade(PATH).replace(b"GET ", b"POST "),
        upgrade(PATH, "Content-Length: 2") + b"{}",
        upgrade(PATH).replace(b"Sec-WebSocket-Key", b"Sec-WebSocket-Kex"),
    ],
    ids=["POST", "a body", "no key"],
)
def test_what_cannot_become_a_websocket_is_refused_before_it_is_forwarded(stage: Stage, request_head: bytes) -> None:
    before = len(stage.upstream.requests)
    with SocketClient(stage.glassline.port, request_head) as client:
        assert client.status == 400
    assert len(stage.upstream.requests) == before


def test_a_change_to_another_protocol_is_not_taken(stage: Stage) -> None:
    other = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"
    stage.upstream.script = lambda connection: connection.send(other)
    with stage.connect() as client:
        assert client.status == 502


def test_a_connection_that_became_a_websocket_serves_no_other_request(stage: Stage) -> None:
    def then(connection: Connection, ear: Ear) -> None:
        ear.wait_for(len(GOODBYE) + 4)
        connection.socket.shutdown(socket.SHUT_RDWR)

    with stage.play(Server([GOODBYE], then=then)) as client:
        client.listen()
        client.send(close_frame(1000, "", mask=MASK) + upgrade(PATH))
        assert client.ear.is_over.wait(10)
        assert bytes(client.ear.data) == GOODBYE


# --- deadlines, drain and death: each with a Glassline of its own ----------------------------------------------


@pytest.fixture
def own_stage(start_glassline: StartGlassline) -> Iterator[Stage]:
    with ScriptedUpstream() as upstream:
        config = {"timeouts": TIMEOUTS, "record": {"max_body_mb": 0.1}}
        yield Stage(start_glassline(upstream.url, config), upstream)


def test_a_session_on_which_nothing_passes_is_closed(own_stage: Stage) -> None:
    server = Server([encode_frame(Opcode.TEXT, b"{}")])
    with own_stage.play(server) as client:
        client.listen()
        assert client.ear.is_over.wait(15)
        *_, last = FrameParser().feed(bytes(client.ear.data))
        assert last.close_code == 1001
    assert server.ears[0].is_over.wait(10)
    (goodbye,) = FrameParser().feed(bytes(server.ears[0].data))
    assert goodbye.close_code == 1001
    assert own_stage.row()["outcome"] == "timeout"


def test_a_ping_now_and_then_keeps_a_session_open(own_stage: Stage) -> None:
    with own_stage.play(Server()) as client:
        client.listen()
        for _ in range(5):
            client.send(encode_frame(Opcode.PING, b"", mask=MASK))
            assert not client.ear.is_over.wait(0.6), "closed although pings pass"


def test_a_client_that_never_reads_is_given_up(own_stage: Stage) -> None:
    def then(connection: Connection, _: Ear) -> None:
        for _piece in range(200):
            connection.send(encode_frame(Opcode.BINARY, bytes(100_000)))

    server = Server(then=then)
    with own_stage.play(server):
        wait_until(lambda: server.ears and server.ears[0].is_over.is_set(), "the upstream to be let go", timeout_s=20)
    assert own_stage.row()["outcome"] == "client_closed"


def test_a_session_that_outlasts_the_drain_is_closed_as_a_restart(own_stage: Stage) -> None:
    server = Server([encode_frame(Opcode.TEXT, b"{}")])
    with own_stage.play(server) as client:
        client.listen()
        assert client.ear.wait_for(4)
        own_stage.glassline.stop()
        assert client.ear.is_over.wait(10)
        *_, last = FrameParser().feed(bytes(client.ear.data))
        assert last.close_code == 1012
    own_stage.glassline.start()
    row = own_stage.row()
    assert (row["outcome"], row["error_code"]) == ("refused", "draining")


def test_a_drain_in_the_middle_of_a_frame_breaks_off_instead_of_writing_into_it(own_stage: Stage) -> None:
    half = encode_frame(Opcode.TEXT, bytes(100))[:50]
    with own_stage.play(Server([half])) as client:
        client.listen()
        assert client.ear.wait_for(50)
        own_stage.glassline.stop()
        assert client.ear.is_over.wait(10)
        assert bytes(client.ear.data) == half


def test_after_a_kill_the_session_is_recorded_as_interrupted_with_its_frames(own_stage: Stage) -> None:
    text = encode_frame(Opcode.TEXT, b'{"type":"session.created","session":{"model":"gpt-realtime"}}')
    with own_stage.play(Server([text])) as client:
        client.listen()
        assert client.ear.wait_for(len(text))
        journal = own_stage.glassline.data_dir / "journal"
        wait_until(
            lambda: any(b"session.created" in path.read_bytes() for path in journal.glob("*")), "the tap to be flushed"
        )
        own_stage.glassline.kill_group(signal.SIGKILL)
        assert client.ear.is_over.wait(10)
        assert bytes(client.ear.data) == text
    own_stage.glassline.process.close()
    own_stage.glassline.start()
    row = own_stage.row()
    assert (row["outcome"], row["endpoint"], row["response_bytes"]) == ("interrupted", "realtime_socket", len(text))
