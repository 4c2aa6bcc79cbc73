"""The load generator and the mock upstream: no error where there is none, and every kind of error where there is one."""

import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.load import run_load
from benchmarks.servers import build_programs, free_port, running_upstream
from benchmarks.workloads import ALL, CLOSED_LOOP, NO_NONCE, STREAMS_200, Workload, write_body

HALF_A_SECOND = ["--connections", "16", "--seconds", "0.5"]
ONCE = ["--connections", "1", "--seconds", "5", "--requests", "1", "--patience", "5"]


@dataclass(frozen=True, slots=True)
class Bodies:
    plain: Path
    stream: Path
    "leaves its pace to the provider"


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not any(map(shutil.which, ("cc", "gcc", "clang"))):
        pytest.skip("no C compiler on this machine: the benchmark programs cannot be built")
    folder = tmp_path_factory.mktemp("build")
    build_programs(folder)
    return folder


@pytest.fixture(scope="module")
def bodies(tmp_path_factory: pytest.TempPathFactory) -> Bodies:
    folder = tmp_path_factory.mktemp("bodies")
    stream = write_body(STREAMS_200, folder)
    stream.write_text(stream.read_text().replace("pace-100-50 ", ""))
    return Bodies(write_body(CLOSED_LOOP, folder), stream)


@pytest.fixture(scope="module")
def upstream_port(build: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    options = ["--chunks", "5", "--rate", "200", "--max-seconds", "110"]
    with running_upstream(options, build, tmp_path_factory.mktemp("upstream")) as upstream:
        yield upstream.port


def test_a_closed_loop_gets_every_answer_right(build: Path, bodies: Bodies, upstream_port: int) -> None:
    result = run_load(upstream_port, bodies.plain, HALF_A_SECOND, build)
    assert (result.errors, result.first_error, result.reconnects) == (0, "", 0)
    assert result.finished == result.requests == result.latency_us.count > 100
    assert 0 < result.latency_us.p50 <= result.latency_us.p90 <= result.latency_us.p99
    assert 0.5 <= result.seconds < 5


def test_a_paced_run_sends_what_its_schedule_says(build: Path, bodies: Bodies, upstream_port: int) -> None:
    result = run_load(upstream_port, bodies.plain, [*HALF_A_SECOND, "--rate", "200"], build)
    assert (result.errors, result.finished) == (0, 100)
    assert result.seconds >= 99 / 200


def test_a_number_of_requests_ends_a_run_early(build: Path, bodies: Bodies, upstream_port: int) -> None:
    result = run_load(upstream_port, bodies.plain, ["--connections", "4", "--seconds", "60", "--requests", "37"], build)
    assert (result.errors, result.finished) == (0, 37)
    assert result.seconds < 30


def test_every_chunk_of_every_stream_arrives_and_is_timed(build: Path, bodies: Bodies, upstream_port: int) -> None:
    result = run_load(upstream_port, bodies.stream, [*HALF_A_SECOND, "--stream"], build)
    assert (result.errors, result.first_error) == (0, "")
    assert result.finished >= 16
    assert result.chunks == result.finished * 5
    assert 0 < result.chunk_delay_us.count == result.chunks_per_second * 0.5 <= result.chunks
    assert 0 < result.chunk_delay_us.p50 <= result.chunk_delay_us.p99


def test_streams_that_begin_one_by_one_are_timed_while_all_of_them_are_open(
    build: Path, bodies: Bodies, upstream_port: int
) -> None:
    options = ["--connections", "10", "--ramp", "0.5", "--seconds", "0.5", "--stream"]
    result = run_load(upstream_port, bodies.stream, options, build)
    assert (result.errors, result.finished, result.chunks) == (0, result.requests, result.requests * 5)
    assert result.seconds >= 1
    assert 0 < result.chunk_delay_us.count < result.chunks


def test_a_stream_has_the_pace_that_its_body_asks_for(build: Path, upstream_port: int, tmp_path: Path) -> None:
    body = write_body(STREAMS_200, tmp_path)
    result = run_load(upstream_port, body, ["--connections", "1", "--seconds", "0.1", "--stream"], build)
    assert (result.errors, result.finished, result.chunks) == (0, 1, 100)
    assert result.seconds >= 99 / 50


@pytest.mark.parametrize("workload", ALL, ids=lambda workload: workload.name)
def test_every_body_has_its_size_and_one_place_for_the_nonce(workload: Workload, tmp_path: Path) -> None:
    body = write_body(workload, tmp_path).read_text()
    assert workload.prompt_kb * 1024 <= len(body) + 1 <= workload.prompt_kb * 1024 + 320
    assert body.count(NO_NONCE) == 1


def test_a_rewritten_answer_is_right_by_its_text_and_its_nonce(build: Path, bodies: Bodies) -> None:
    text = b"that either side could notice."
    options = [*ONCE, "--loose"]
    with _answering(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text)) as port:
        assert "another request" in run_load(port, bodies.plain, options, build).first_error
    with _answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}") as port:
        assert "text is missing" in run_load(port, bodies.plain, options, build).first_error


def test_a_right_answer_is_right_when_looked_at_loosely(build: Path, bodies: Bodies, upstream_port: int) -> None:
    options = [*HALF_A_SECOND, "--loose", "--header", "x-one: 1", "--header", "x-two: 2"]
    result = run_load(upstream_port, bodies.plain, options, build)
    assert (result.errors, result.first_error) == (0, "")
    assert result.finished > 100


def test_usage_is_streamed_only_to_those_who_ask(
    build: Path, bodies: Bodies, upstream_port: int, tmp_path: Path
) -> None:
    silent = tmp_path / "silent.json"
    silent.write_text(bodies.stream.read_text().replace('"include_usage": true', '"include_usage": false'))
    with socket.create_connection(("127.0.0.1", upstream_port), timeout=10) as connection:
        connection.sendall(_request(silent.read_bytes()) + _request(bodies.stream.read_bytes()))
        first, second = _read_streams(connection, 2)
    assert (first.count(b'"usage"'), second.count(b'"usage"')) == (0, 1)
    assert run_load(upstream_port, silent, [*ONCE, "--stream"], build).errors == 0


def test_every_corrupted_body_is_reported(build: Path, bodies: Bodies, tmp_path: Path) -> None:
    with running_upstream(["--corrupt-every", "10"], build, tmp_path) as upstream:
        result = run_load(upstream.port, bodies.plain, HALF_A_SECOND, build)
    assert result.errors == result.error_kinds["body"] == result.finished // 10 > 0
    assert result.first_error.startswith("body differs at byte ")


def test_every_corrupted_stream_is_reported(build: Path, bodies: Bodies, tmp_path: Path) -> None:
    options = ["--corrupt-every", "4", "--chunks", "6", "--rate", "200"]
    with running_upstream(options, build, tmp_path) as upstream:
        result = run_load(upstream.port, bodies.stream, [*HALF_A_SECOND, "--stream"], build)
    assert result.errors == result.error_kinds["body"] == result.finished // 4 > 0
    assert result.first_error.startswith("event after 3 chunks: ")


def test_several_threads_share_the_port(build: Path, bodies: Bodies, tmp_path: Path) -> None:
    with running_upstream(["--threads", "2"], build, tmp_path) as upstream:
        result = run_load(upstream.port, bodies.plain, HALF_A_SECOND, build)
    assert result.errors == 0
    assert result.finished > 100


def test_a_port_where_nobody_listens_is_an_error_and_not_a_hang(build: Path, bodies: Bodies) -> None:
    result = run_load(free_port(), bodies.plain, ["--connections", "3", "--seconds", "5"], build)
    assert (result.requests, result.errors, result.error_kinds["connect"]) == (0, 3, 3)


@dataclass(frozen=True, slots=True)
class Mistake:
    """What a bad server sends to every request, and what the load generator must call it."""

    kind: str
    text: str
    answer: bytes
    is_stream: bool = False


ZERO = b"bench-0000000000000000"
EVENT_STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
MISTAKES = [
    Mistake("status", "status 429: {}", b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 2\r\n\r\n{}"),
    Mistake("status", "status 204", b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"),
    Mistake("body", "body of 0 bytes instead of", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    Mistake("framing", "broken framing", b"HTTP/1.1 200 OK\r\n\r\n{}"),
    Mistake("framing", "broken framing", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
    Mistake("closed", "connection closed after", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
    Mistake("closed", "connection closed after 0 head bytes", b""),
    Mistake("body", "stream ended without [DONE] after 0 chunks", EVENT_STREAM + b"0\r\n\r\n", is_stream=True),
    Mistake(
        "body",
        "event after 0 chunks: data: [DONE]",
        EVENT_STREAM + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n",
        is_stream=True,
    ),
    Mistake("status", "status 500: {}", b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\n{}", is_stream=True),
]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.text)
def test_a_mistake_of_the_server_is_called_by_its_name(mistake: Mistake, build: Path, bodies: Bodies) -> None:
    with _answering(mistake.answer) as port:
        options = [*ONCE, "--stream"] if mistake.is_stream else ONCE
        result = run_load(port, bodies.plain, options, build)
    assert (result.finished, result.errors, result.error_kinds[mistake.kind]) == (1, 1, 1)
    assert result.first_error.startswith(mistake.text)


def test_the_answer_to_another_request_is_reported(build: Path, bodies: Bodies, upstream_port: int) -> None:
    answer = _fetch(upstream_port, _request(bodies.plain.read_bytes()))
    assert ZERO in answer
    with _answering(answer) as port:
        result = run_load(port, bodies.plain, ONCE, build)
    assert (result.errors, result.error_kinds["body"]) == (1, 1)


def test_bytes_behind_the_answer_are_reported(build: Path, bodies: Bodies, upstream_port: int, tmp_path: Path) -> None:
    body = tmp_path / "plain.json"
    body.write_text(bodies.plain.read_text().replace("bench-", "other-"))
    answer = _fetch(upstream_port, _request(body.read_bytes()))
    with _answering(answer) as port:
        assert run_load(port, body, ONCE, build).first_error == ""
    with _answering(answer + b"!") as port:
        result = run_load(port, body, ONCE, build)
    assert (result.error_kinds["framing"], result.first_error) == (1, "1 bytes after the end of the answer")


def test_a_server_that_says_nothing_is_given_up(build: Path, bodies: Bodies) -> None:
    options = ["--connections", "2", "--seconds", "0.1", "--patience", "0.2"]
    with _answering(None) as port:
        result = run_load(port, bodies.plain, options, build)
    assert (result.requests, result.finished, result.error_kinds["unfinished"]) == (2, 0, 2)


@contextmanager
def _answering(answer: bytes | None) -> Iterator[int]:
    """Serve the same bytes to whoever has sent a request, then close; None: never answer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_serve, args=(listener, answer))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def _serve(listener: socket.socket, answer: bytes | None) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return  # the listener has been shut down: the test is over
        with connection, suppress(ConnectionError):
            if _has_request(connection):
                connection.sendall(answer or b"")
            if answer is None:
                connection.recv(1)


def _has_request(connection: socket.socket) -> bool:
    received = b""
    while True:
        head, end, body = received.partition(b"\r\n\r\n")
        if end and len(body) == int(head.partition(b"Content-Length: ")[2].split(b"\r\n")[0]):
            return True
        part = connection.recv(65536)
        if not part:
            return False
        received += part


def _request(body: bytes) -> bytes:
    return b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def _chunked_request(body: bytes, size: int) -> bytes:
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    chunks = b"".join(b"%x;note=1\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    head = b"POST /v1/chat/completions HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + chunks + b"0\r\nTrailer: yes\r\n\r\n"


def _fetch(port: int, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request)
        return _read_answers(connection, 1)[0]


def _read_answers(connection: socket.socket, count: int) -> list[bytes]:
    answers: list[bytes] = []
    rest = b""
    while len(answers) < count:
        head, end, body = rest.partition(b"\r\n\r\n")
        size = int(head.partition(b"Content-Length: ")[2].split(b"\r\n")[0]) if end else 0
        if end and len(body) >= size:
            answers.append(head + end + body[:size])
            rest = body[size:]
            continue
        received = connection.recv(65536)
        assert received, "the upstream closed the connection"
        rest += received
    assert not rest
    return answers


def _read_streams(connection: socket.socket, count: int) -> list[bytes]:
    received = b""
    while received.count(b"\r\n0\r\n\r\n") < count:
        part = connection.recv(65536)
        assert part, "the upstream closed the connection"
        received += part
    return received.split(b"\r\n0\r\n\r\n")[:count]


@given(
    sizes=st.lists(st.tuples(st.integers(0, 300), st.integers(0, 40)), min_size=1, max_size=6),
    cuts=st.lists(st.floats(0, 1), max_size=8),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_pipelined_requests_in_any_framing_and_any_pieces_are_answered_in_order(
    sizes: list[tuple[int, int]], cuts: list[float], upstream_port: int
) -> None:
    bodies = [b"bench-%016x %b" % (number, b"x" * padding) for number, (padding, _) in enumerate(sizes)]
    framed = zip(bodies, sizes, strict=True)
    wire = b"".join(_chunked_request(body, chunk) if chunk else _request(body) for body, (_, chunk) in framed)
    ends = sorted({0, len(wire), *(int(cut * len(wire)) for cut in cuts)})
    with socket.create_connection(("127.0.0.1", upstream_port), timeout=10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start, end in pairwise(ends):
            connection.sendall(wire[start:end])
        answers = _read_answers(connection, len(bodies))
    for number, answer in enumerate(answers):
        assert b"chatcmpl-bench-%016x" % number in answer


def test_a_request_behind_a_stream_is_answered_after_it(bodies: Bodies, upstream_port: int) -> None:
    with socket.create_connection(("127.0.0.1", upstream_port), timeout=10) as connection:
        connection.sendall(_request(bodies.stream.read_bytes()) + _request(b"bench-00000000000000ff"))
        received = b""
        while not received.endswith(b'"fp_0000bench0"}'):
            part = connection.recv(65536)
            assert part, "the upstream closed the connection"
            received += part
    assert 0 < received.index(b"data: [DONE]") < received.index(b"chatcmpl-bench-00000000000000ff")
