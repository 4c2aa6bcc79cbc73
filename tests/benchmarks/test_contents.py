"""Whether a recorded request is noticed that is not the one that was sent."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.contents import Sent, fetch_answer
from benchmarks.servers import build_programs, running_upstream
from benchmarks.workloads import CLOSED_LOOP, STREAMS_200, write_body

SENT = Sent(b'{"say": "bench-0000000000000000"}', b'{"id": "bench-0000000000000000"}', first_nonce=0xA0, requests=10)


def _found(request: bytes, answer: bytes) -> str:
    return " ".join(SENT.differences(request, answer))


def test_a_record_of_what_was_sent_is_right() -> None:
    assert _found(b'{"say": "bench-00000000000000a9"}', b'{"id": "bench-00000000000000a9"}') == ""


@pytest.mark.parametrize(
    ("request_body", "answer", "complaint"),
    [
        (b'{"say": "bench-00000000000000a1",}', b'{"id": "bench-00000000000000a1"}', "another request body"),
        (b'{"say": "bench-nonsense00000000"}', b'{"id": "bench-00000000000000a1"}', "another request body"),
        (b"", b'{"id": "bench-00000000000000a1"}', "another request body"),
        (b'{"say": "bench-00000000000000aa"}', b'{"id": "bench-00000000000000aa"}', "was not sent"),
        (b'{"say": "bench-000000000000009f"}', b'{"id": "bench-000000000000009f"}', "was not sent"),
        (b'{"say": "bench-00000000000000a1"}', b'{"id": "bench-00000000000000a2"}', "another answer"),
        (b'{"say": "bench-00000000000000a1"}', b"", "another answer"),
    ],
)
def test_a_record_of_something_else_is_wrong(request_body: bytes, answer: bytes, complaint: str) -> None:
    assert complaint in _found(request_body, answer)


@pytest.fixture(scope="module")
def upstream_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    if not any(map(shutil.which, ("cc", "gcc", "clang"))):
        pytest.skip("no C compiler on this machine: the benchmark programs cannot be built")
    folder = tmp_path_factory.mktemp("build")
    build_programs(folder)
    with running_upstream(["--max-seconds", "110"], folder, folder) as upstream:
        yield upstream.port


def test_of_a_stream_is_known_what_does_not_depend_on_the_clock(upstream_port: int, tmp_path: Path) -> None:
    answer = fetch_answer(upstream_port, write_body(STREAMS_200, tmp_path).read_bytes())
    finish, usage, end, rest = answer.split(b"\n\n")
    assert b'"finish_reason":"stop"' in finish
    assert b'"completion_tokens":100' in usage
    assert (end, rest) == (b"data: [DONE]", b"")


def test_an_answer_that_is_no_stream_is_known_whole(upstream_port: int, tmp_path: Path) -> None:
    answer = fetch_answer(upstream_port, write_body(CLOSED_LOOP, tmp_path).read_bytes())
    assert json.loads(answer)["id"] == "chatcmpl-bench-0000000000000000"
