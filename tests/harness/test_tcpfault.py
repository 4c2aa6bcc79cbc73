"""The bad line between two parts is as bad as it was asked to be, and can be changed while it is in use."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.harness.process import wait_until
from tests.harness.tcpfault import Line, TcpFault

REPLY = b"0123456789" * 1000


class Echo:
    """Answers each line with `REPLY`, and counts what it hears."""

    def __init__(self) -> None:
        self.heard = b""
        self.closed = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(65536):
                    self.heard += data
                    connection.sendall(REPLY)
            except OSError:
                pass
        self.closed.set()

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    made = Echo()
    yield made
    made.close()


@pytest.fixture
def line(echo: Echo) -> Iterator[TcpFault]:
    with TcpFault(echo.port) as made:
        yield made


def connect(line: TcpFault, timeout_s: float = 10) -> socket.socket:
    return socket.create_connection(("127.0.0.1", line.port), timeout=timeout_s)


def read(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (piece := connection.recv(65536)):
        data += piece
    return data


def test_a_good_line_passes_everything_and_both_ends(line: TcpFault, echo: Echo) -> None:
    with connect(line) as client:
        client.sendall(b"hello")
        assert read(client, len(REPLY)) == REPLY
        client.shutdown(socket.SHUT_WR)
        assert client.recv(10) == b""
    assert echo.heard == b"hello"
    assert echo.closed.wait(5)
    assert line.connections == 1


def test_latency_is_added_in_each_direction(line: TcpFault) -> None:
    line.change(latency_s=0.15, jitter_s=0.01)
    with connect(line) as client:
        began = time.monotonic()
        client.sendall(b"x")
        read(client, 1)
    assert 0.3 <= time.monotonic() - began < 5


def test_bandwidth_is_bounded(line: TcpFault) -> None:
    line.change(bytes_per_s=len(REPLY) * 4)
    with connect(line) as client:
        began = time.monotonic()
        client.sendall(b"x")
        assert read(client, len(REPLY)) == REPLY
    assert 0.2 <= time.monotonic() - began < 5


def test_a_line_stalls_behind_a_byte_until_it_is_mended(line: TcpFault) -> None:
    line.change(stall_after=1234)
    with connect(line) as client:
        client.sendall(b"x")
        assert read(client, 1234) == REPLY[:1234]
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(10)
        line.change(stall_after=None)
        assert read(client, len(REPLY) - 1234) == REPLY[1234:]


def test_a_line_is_reset_behind_a_byte(line: TcpFault, echo: Echo) -> None:
    line.change(reset_after=777)
    with connect(line) as client:
        client.sendall(b"x")
        assert read(client, 777) == REPLY[:777]
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    assert echo.closed.wait(5)


def test_a_black_hole_takes_everything_and_says_nothing(line: TcpFault, echo: Echo) -> None:
    line.change(is_blackhole=True)
    with connect(line) as client:
        client.sendall(b"x")
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(1)
        assert echo.heard == b""
        client.settimeout(10)
        line.change(is_blackhole=False)
        assert read(client, len(REPLY)) == REPLY


def test_connections_are_refused_and_later_taken(line: TcpFault) -> None:
    line.change(refuses=True)
    with pytest.raises(ConnectionResetError), connect(line) as client:
        client.recv(1)
    line.change(Line())
    with connect(line) as client:
        client.sendall(b"x")
        assert read(client, len(REPLY)) == REPLY


def test_every_open_connection_can_be_reset(line: TcpFault) -> None:
    with connect(line) as one, connect(line) as two:
        wait_until(lambda: line.connections == 2, "both")
        one.sendall(b"x")
        two.sendall(b"x")
        read(one, len(REPLY))
        read(two, len(REPLY))
        line.reset_all()
        for client in (one, two):
            with pytest.raises(ConnectionResetError):
                client.recv(1)


def test_where_nobody_listens_the_line_is_dead() -> None:
    free = socket.create_server(("127.0.0.1", 0))
    port = free.getsockname()[1]
    free.close()
    with TcpFault(port) as line, pytest.raises(ConnectionResetError), connect(line) as client:
        client.recv(1)
