"""What an upstream can make us spend in memory, processor time and other callers' patience."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.upstream.stage import Stage, ending, request, staged, unframed
from tests.harness.client import RawClient, exchange

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
SLACK = 4.0
"""The machine may be busy: what is asserted is this much above what was seen on an idle one."""


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("bounds")) as made:
        for fault in ("ok", "stream"):
            made.ask(fault)  # what is loaded on first use
        yield made


@dataclass
class Use:
    """What a process used."""

    cpu_s: float = 0.0
    grown_mb: float = 0.0
    """Highest resident memory above that at the beginning."""


@contextmanager
def watched(pid: int) -> Iterator[Use]:
    """Watch what a process uses meanwhile."""
    use, over = Use(), threading.Event()
    before_mb, before_s = _rss_mb(pid), _cpu_s(pid)

    def watch() -> None:
        while not over.wait(0.02):
            use.grown_mb = max(use.grown_mb, _rss_mb(pid) - before_mb)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield use
    finally:
        over.set()
        thread.join()
        use.cpu_s = _cpu_s(pid) - before_s


def _rss_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


@pytest.mark.parametrize(
    "fault", ["big-header;131072", "big-header;10485760", "many-headers;5000", "informational;20000"]
)
def test_a_head_without_end_costs_no_memory(stage: Stage, fault: str) -> None:
    [gateway] = stage.glassline.pids_of("gateway")
    with watched(gateway) as use:
        for _ in range(10):
            assert stage.ask(fault).answer.status == 502
    print(fault, use)
    assert use.grown_mb < 5 * SLACK


def test_two_hundred_thousand_one_byte_chunks_arrive_byte_for_byte_and_cost_little(stage: Stage) -> None:
    [gateway] = stage.glassline.pids_of("gateway")
    with watched(gateway) as use:
        seen = stage.ask("ones;200000", timeout_s=60)
    [served] = stage.truth(seen.name)
    print(use)
    assert seen.ending == "whole"
    assert (len(seen.body), hashlib.sha256(seen.body).hexdigest()) == (200_000, served.sent_sha256)
    assert stage.row(seen.name)["response_bytes"] == 200_000
    assert use.cpu_s < 1.0 * SLACK
    assert use.grown_mb < 20 * SLACK


def test_one_byte_chunks_do_not_hold_up_other_callers(stage: Stage) -> None:
    stop = threading.Event()

    def hammer() -> None:
        while not stop.is_set():
            stage.ask("ones;200000", timeout_s=60)

    thread = threading.Thread(target=hammer)
    thread.start()
    try:
        waits = sorted(stage.ask("ok").seconds for _ in range(100))
    finally:
        stop.set()
        thread.join()
    print("median", waits[50], "p99", waits[98], "max", waits[-1])
    assert waits[50] < 0.05 * SLACK


def test_a_stream_without_end_is_relayed_in_constant_memory(stage: Stage) -> None:
    """Some hundred megabytes: beyond the capture limit many times over."""
    [gateway] = stage.glassline.pids_of("gateway")
    total = 300 << 20
    received = 0
    with watched(gateway) as use, RawClient(stage.glassline.port, timeout_s=30) as client:
        client.send(request("run;json | chunked | endless 300 | end", "endless"))
        while data := client.socket.recv(1 << 20):
            received += len(data)
    print(use)
    assert received > total
    row = stage.row("endless")
    assert (row["outcome"], row["response_bytes"]) == ("completed", total)
    assert use.grown_mb < 10 * SLACK
    [body] = stage.glassline.rows(
        "SELECT lower(hex(sha256)) AS sha256 FROM bodies JOIN exchanges ON seq = exchange WHERE side = 1 AND id = ?",
        row["id"],
    )
    [served] = stage.truth("endless")
    assert body["sha256"] == served.sent_sha256
    assert len(stage.glassline.body(row["id"], "response").head or b"") <= 10 << 20


def test_a_stream_in_ever_so_many_pieces_keeps_a_bounded_clock(tmp_path: Path) -> None:
    """Each read leaves a mark in the record; after some ten thousand of them the older ones are thinned out."""
    with staged(tmp_path) as stage:
        steps = " | ".join("text x | sleep 0" for _ in range(300))
        seen = stage.ask(f"run;bare | chunked | {steps} | end")
        assert seen.ending == "whole"
        assert stage.row(seen.name)["response_bytes"] == 300


@pytest.mark.parametrize("shape", ["json | length", "sse | chunked"])
def test_a_bomb_is_relayed_as_it_is_and_opened_within_bounds(stage: Stage, shape: str) -> None:
    [recorder] = stage.glassline.pids_of("recorder")
    end = " | end" if "chunked" in shape else ""
    stage.row(stage.ask("run;json | length | gzip cut").name)  # what has no usage is counted: that loads a tokenizer
    with watched(recorder) as use:
        seen = stage.ask(f"run;{shape} | gzip bomb{end}", is_stream="sse" in shape)
        row = stage.row(seen.name)
    [served] = stage.truth(seen.name)
    print(shape, use)
    assert hashlib.sha256(seen.body).hexdigest() == served.sent_sha256
    assert row["response_bytes"] == len(seen.body) < 1 << 20
    assert use.grown_mb < 20
    assert use.cpu_s < 2 * SLACK


def test_one_line_of_fifty_megabytes_passes_and_is_recorded_within_bounds(stage: Stage) -> None:
    [gateway], [recorder] = stage.glassline.pids_of("gateway"), stage.glassline.pids_of("recorder")
    fault = 'run;sse | chunked | text data: {"x":" | bytes 50000000 | text "}\\n\\n | end'
    with watched(gateway) as relayed, watched(recorder) as recorded:
        answer = exchange(stage.glassline.port, request(fault, "line", key="sk-nobody-0123456789"), timeout_s=60)
        row = stage.row("line")
    print(relayed, recorded)
    assert ending(answer) == "whole"
    assert len(unframed(answer)[0]) == row["response_bytes"] > 50_000_000
    assert relayed.grown_mb < 10 * SLACK
    assert recorded.grown_mb < 100 * SLACK


def test_a_body_that_drips_does_not_pin_the_processor(stage: Stage) -> None:
    [gateway] = stage.glassline.pids_of("gateway")
    with watched(gateway) as use:
        began = time.monotonic()
        threads = [
            threading.Thread(target=stage.ask, args=("run;json | length 40 | text x | drip 0.05 " + "y" * 39,))
            for _ in range(20)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.monotonic() - began
    print(use, seconds)
    assert use.cpu_s < seconds * 0.25 * SLACK
