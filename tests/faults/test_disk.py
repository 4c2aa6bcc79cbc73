"""A disk that takes no more: nothing is lost while memory has room, and what is lost is counted."""

from __future__ import annotations

import json
import resource
import threading
from pathlib import Path

import pytest

from proxy.gateway.capture import Capture
from proxy.gateway.spill import Spill
from proxy.journal import JournalWriter
from tests.conftest import StartGlassline
from tests.harness import Glassline
from tests.harness.client import RawClient, exchange, post
from tests.harness.process import wait_until
from tests.harness.upstream import CHAT, STREAM_HEAD, Connection, ScriptedUpstream, event, with_length

BODY = json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}).encode()
UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


class Refusing:
    """A disk that refuses the gateway's writes from now until `relent`: files may not grow any more."""

    def __init__(self, glassline: Glassline) -> None:
        [self._pid] = glassline.pids_of("gateway")
        self._before = resource.prlimit(self._pid, resource.RLIMIT_FSIZE)

    def refuse(self) -> None:
        resource.prlimit(self._pid, resource.RLIMIT_FSIZE, (1, self._before[1]))

    def relent(self) -> None:
        resource.prlimit(self._pid, resource.RLIMIT_FSIZE, self._before)


class Waiting:
    """An upstream that answers when it is told to."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.may_answer = threading.Event()

    def __call__(self, connection: Connection) -> None:
        self.asked.set()
        assert self.may_answer.wait(20)
        connection.send(with_length(CHAT))


def test_without_a_record_nothing_is_dispatched_and_readiness_says_so(start_glassline: StartGlassline) -> None:
    with ScriptedUpstream() as upstream:
        glassline = start_glassline(upstream.url)
        disk = Refusing(glassline)
        disk.refuse()
        answer = exchange(glassline.port, post("/v1/chat/completions", BODY))
        assert (answer.status, upstream.requests) == (503, [])
        assert b"x-glassline-error: recorder_unavailable" in answer.head
        assert exchange(glassline.port, b"GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").status == 503
        disk.relent()
        [row] = glassline.wait_for_rows(1)
    assert (row["outcome"], row["error_code"]) == ("refused", "recorder_unavailable")


def test_what_is_refused_in_the_turn_in_which_its_begin_finds_no_room_is_recorded(
    start_glassline: StartGlassline,
) -> None:
    head = b"POST /v1/files HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    with ScriptedUpstream() as upstream:
        # The first write opens the journal.
        glassline = start_glassline(upstream.url, env={"GLASSLINE_FAILPOINTS": "journal.write:enospc:2"})
        assert exchange(glassline.port, head + b"broken\r\n").status == 400
        [row] = glassline.wait_for_rows(1)
        assert upstream.requests == []
    assert (row["outcome"], row["error_code"], row["status"]) == ("refused", "bad_request", 400)


@pytest.mark.parametrize("when_full", ["block", "metadata_only"])
def test_a_request_whose_begin_finds_no_room_is_recorded_with_its_body(
    start_glassline: StartGlassline, when_full: str
) -> None:
    with ScriptedUpstream() as upstream:
        glassline = start_glassline(upstream.url, {"record": {"when_full": when_full}})
        disk = Refusing(glassline)
        disk.refuse()
        answer = exchange(glassline.port, post("/v1/chat/completions", BODY))
        disk.relent()
        [row] = glassline.wait_for_rows(1)
    assert answer.status == (503 if when_full == "block" else 200)
    assert glassline.body(row["id"], "request").head == BODY
    assert row["model_requested"] == "gpt-4o-mini"


def test_an_answer_without_end_costs_no_memory_where_nothing_can_be_recorded(start_glassline: StartGlassline) -> None:
    size, piece = 64 * 1024 * 1024, b"10000\r\n" + b"x" * 0x10000 + b"\r\n"

    def script(connection: Connection) -> None:
        connection.send(STREAM_HEAD)
        for _ in range(size // 0x10000):
            connection.send(piece)
        connection.send(b"0\r\n\r\n")

    with ScriptedUpstream(script) as upstream:
        glassline = start_glassline(upstream.url, {"record": {"when_full": "metadata_only", "max_body_mb": 1}})
        before_kb = peak_kb(glassline)
        disk = Refusing(glassline)
        disk.refuse()
        assert len(exchange(glassline.port, post("/v1/chat/completions", BODY), timeout_s=60).raw) > size
        grown_kb = peak_kb(glassline) - before_kb
        disk.relent()
        [row] = glassline.wait_for_rows(1)
    assert grown_kb < size / 1024 / 4
    assert row["response_bytes"] == size


def peak_kb(glassline: Glassline) -> int:
    """Return the most memory that the gateway ever had."""
    [pid] = glassline.pids_of("gateway")
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmHWM:")[2].split()[0])


def test_an_end_that_the_disk_refuses_waits_in_memory(start_glassline: StartGlassline) -> None:
    script = Waiting()
    with ScriptedUpstream(script) as upstream:
        glassline = start_glassline(upstream.url)
        disk = Refusing(glassline)
        with RawClient(glassline.port) as client:
            client.send(post("/v1/chat/completions", BODY))
            assert script.asked.wait(10)
            disk.refuse()
            script.may_answer.set()
            assert client.read_all().body == CHAT
        assert glassline.rows("SELECT outcome FROM requests") == []
        disk.relent()
        [row] = glassline.wait_for_rows(1)
    assert (row["outcome"], row["output_tokens"]) == ("completed", 2)


def test_a_strict_answer_that_cannot_be_recorded_is_broken_off(start_glassline: StartGlassline) -> None:
    script = Waiting()
    with ScriptedUpstream(script) as upstream:
        glassline = start_glassline(upstream.url, {"durability": "strict"})
        disk = Refusing(glassline)
        with RawClient(glassline.port) as client:
            client.send(post("/v1/chat/completions", BODY))
            assert script.asked.wait(10)
            disk.refuse()
            script.may_answer.set()
            answer = client.read_all()
        disk.relent()
        [row] = glassline.wait_for_rows(1)
        assert exchange(glassline.port, post("/v1/chat/completions", BODY)).body == CHAT
    assert CHAT not in answer.raw
    assert row["outcome"] == "completed"  # what the provider did; that the client saw a break is the price of `strict`


def test_a_strict_stream_that_cannot_be_recorded_lacks_its_end(start_glassline: StartGlassline) -> None:
    may_end = threading.Event()

    def script(connection: Connection) -> None:
        connection.send(STREAM_HEAD + event("one"))
        assert may_end.wait(20)
        connection.send(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")

    with ScriptedUpstream(script) as upstream:
        glassline = start_glassline(upstream.url, {"durability": "strict"})
        disk = Refusing(glassline)
        with RawClient(glassline.port) as client:
            client.send(post("/v1/chat/completions", BODY))
            client.read_until(b"one")
            disk.refuse()
            may_end.set()
            rest = client.read_all()
        disk.relent()
        glassline.wait_for_rows(1)
    assert not rest.raw.endswith(b"0\r\n\r\n")


def test_a_sync_reaches_segments_that_are_full_already(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = JournalWriter(tmp_path, "gateway", segment_bytes=1000)
    writer.keeps_rotated = True
    forced: list[str] = []
    monkeypatch.setattr("os.fdatasync", lambda file: forced.append(Path(f"/proc/self/fd/{file}").readlink().name))
    for _ in range(3):
        writer.begin_encoded(b"\x90", b"x" * 800)
    force = writer.prepare_sync()
    force()
    assert [name.rsplit(".", 2)[1] for name in forced] == ["00000000", "00000001", "00000002"]
    writer.prepare_sync()()
    assert len(forced) == 4
    writer.close()
    left = [link for link in Path("/proc/self/fd").iterdir() if str(tmp_path) in _target(link)]
    assert left == []


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except FileNotFoundError:
        return ""


def test_ends_find_room_where_bodies_find_none_and_what_is_lost_is_counted() -> None:
    spill, appended = Spill(body_bytes=100, all_bytes=150), list[str]()
    assert spill.add_body(90, lambda: appended.append("body"))
    assert not spill.add_body(20, lambda: appended.append("too much"))
    assert spill.add_end(40, lambda: appended.append("end"))
    assert not spill.add_end(40, lambda: appended.append("too much"))
    assert (len(spill.waiting), spill.lost_records) == (2, 1)
    spill.retry()
    assert (appended, len(spill.waiting)) == (["body", "end"], 0)


def test_a_body_that_lost_a_piece_keeps_its_hash_its_size_and_what_came_before() -> None:
    capture = Capture(1000)
    capture.add(b"one ")
    journaled = capture.take()
    capture.add(b"two ")
    capture.take()
    capture.lose_rest()
    capture.add(b"three")
    assert capture.take() == b""
    assert (journaled, capture.size, capture.tail) == (b"one ", 13, b"three")
    whole = Capture(0)
    whole.add(b"one two three")
    whole.take()
    assert capture.sha256 == whole.sha256 != b""


def test_the_first_piece_of_a_body_can_be_the_one_that_is_lost() -> None:
    capture, whole = Capture(1000), Capture(0)
    for each in (capture, whole):
        each.add(b"one ")
        each.take()
    capture.lose_rest()
    for each in (capture, whole):
        each.add(b"two")
        each.take()
    assert capture.sha256 == whole.sha256 != b""


def test_the_counter_of_records_lost_by_memory_is_shown_from_the_start(start_glassline: StartGlassline) -> None:
    with ScriptedUpstream() as upstream:
        glassline = start_glassline(upstream.url)
        metrics = wait_until(lambda: exchange(glassline.admin_port, METRICS).body.decode(), "the metrics")
    assert 'glassline_records_lost_total{reason="spill"} 0.0' in metrics


METRICS = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
