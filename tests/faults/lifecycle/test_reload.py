"""Reloading: a good file is taken up by all, a bad one by none, and no stream notices either."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.conftest import StartGlassline
from tests.faults.lifecycle.drain import Tap, ask
from tests.faults.lifecycle.reloads import CHAT, bad_reloads, generation, metric, scrape, spoiled
from tests.faults.lifecycle.restarts import restart
from tests.harness import Simulator
from tests.harness.client import RawClient, exchange, post
from tests.harness.process import ROOT, clean_environment, wait_until
from tests.harness.upstream import ScriptedUpstream

RELOADS = 100


def test_no_bad_file_changes_anything_and_each_is_reported(
    start_glassline: StartGlassline, simulator: Simulator
) -> None:
    glassline = start_glassline(simulator.url)
    found = bad_reloads(glassline)
    print(found)
    assert found["failed"] == []
    assert found["cases"] == found["kept"] == found["reported"] == found["flagged"] >= 30
    assert found["leaked"] == 0
    assert found["slowest_s"] < 10


@pytest.mark.parametrize("name", sorted(spoiled(b"{}")))
def test_a_bad_file_is_refused_in_bounded_time_and_memory(tmp_path: Path, name: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("{}")
    spoiled(b"{}\n")[name](path)
    limit = "import resource; resource.setrlimit(resource.RLIMIT_AS, (400_000_000,) * 2)\n"
    code = f"{limit}from proxy.cli import main; raise SystemExit(main(['check', '-c', {str(path)!r}]))"
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=clean_environment(), capture_output=True, timeout=60, check=False
    )
    spent = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    assert done.returncode == 78, done.stderr[-500:]
    assert 1 <= len(done.stderr.splitlines()) <= 31
    assert spent < 5, "of which half a second goes into the start"


def test_a_hundred_reloads_break_none_of_a_hundred_streams(start_glassline: StartGlassline) -> None:
    tap = Tap()
    key, other = "sk-first-key-0123456789", "sk-second-key-0123456789"
    with ScriptedUpstream(tap) as upstream:
        config = {"auth": "virtual", "keys": [{"name": "first", "key": key}]}
        glassline = start_glassline(upstream.url, config, args=("--workers", "2"))
        good = glassline.config_file.read_text()
        clients = [RawClient(glassline.port, timeout_s=60) for _ in range(100)]
        for number, client in enumerate(clients):
            client.send(ask(f"ends-{number}").replace(b"sk-raw-0123456789abcdef", key.encode()))
            client.read_until(b"one")
        [first] = generation(glassline)
        memory = [_resident_kb(pid) for pid in glassline.pids_of("gateway")]
        for number in range(RELOADS):
            glassline.write_config(good.replace(key, other if number % 2 == 0 else f"{other}-x"))
            glassline.reload()
            wait_until(lambda n=number: glassline.stderr.count("configuration loaded") > n, "a reload")  # type: ignore[misc]  # a bound default
        started = time.monotonic()
        wait_until(lambda: generation(glassline) == {first + RELOADS}, "one generation everywhere", timeout_s=10)
        print(f"equal after {time.monotonic() - started:.3f} s")
        grown = [_resident_kb(pid) for pid in glassline.pids_of("gateway")]
        tap.go.set()
        assert [client.read_all().raw.endswith(b"0\r\n\r\n") for client in clients] == [True] * 100
        for client in clients:
            client.socket.close()
        assert exchange(glassline.port, CHAT.replace(b"sk-raw-0123456789abcdef", key.encode())).status == 401
        rows = glassline.wait_for_rows(100, "outcome = 'completed'")
        assert {row["key"] for row in rows} == {"first"}
        print("gateways", memory, "→", grown, "KB")
        assert max(b - a for a, b in zip(memory, grown, strict=True)) < 15_000
        glassline.stop()


def test_many_reloads_at_once_end_with_the_last_file(start_glassline: StartGlassline, simulator: Simulator) -> None:
    glassline = start_glassline(simulator.url, {"auth": "virtual", "keys": [{"name": "a", "key": "sk-key-number-00"}]})
    good = glassline.config_file.read_text()
    for number in range(1, 11):
        glassline.write_config(good.replace("sk-key-number-00", f"sk-key-number-{number:02d}"))
        glassline.reload()
        glassline.reload()
    last = CHAT.replace(b"sk-raw-0123456789abcdef", b"sk-key-number-10")
    wait_until(lambda: exchange(glassline.port, last).status == 200, "the last file")
    for number in range(10):
        assert exchange(glassline.port, last.replace(b"-10", b"-%02d" % number)).status == 401
    glassline.stop()


@pytest.mark.parametrize("is_atomic", [True, False])
def test_a_file_that_is_rewritten_all_the_time_is_never_taken_by_half(
    start_glassline: StartGlassline, simulator: Simulator, *, is_atomic: bool
) -> None:
    keys = [{"name": f"k{n}", "key": f"sk-key-number-{n:04d}"} for n in range(300)]
    glassline = start_glassline(simulator.url, {"auth": "virtual", "keys": keys})
    text = glassline.config_file.read_text()
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            if is_atomic:
                new = glassline.config_file.with_suffix(".new")
                new.write_text(text)
                new.replace(glassline.config_file)
            else:
                with glassline.config_file.open("w") as file:
                    for start in range(0, len(text), 4096):
                        file.write(text[start : start + 4096])
                        file.flush()
                stop.wait(0.2)

    writer = threading.Thread(target=write)
    writer.start()
    last = CHAT.replace(b"sk-raw-0123456789abcdef", b"sk-key-number-0299")
    try:
        for _ in range(10):
            glassline.reload()
            assert exchange(glassline.port, last).status == 200, "the last key of the file is never missing"
    finally:
        stop.set()
        writer.join()
    glassline.stop()


def test_a_reload_cannot_expose_what_the_start_would_refuse(
    start_glassline: StartGlassline, simulator: Simulator
) -> None:
    glassline = start_glassline(simulator.url)
    glassline.write_config(glassline.config_file.read_text() + "admin: {password_file: /no/such/file}\n")
    glassline.reload()
    wait_until(lambda: "the last good one stays" in glassline.stderr, "the report")
    assert scrape(glassline)
    glassline.stop()


def test_counts_of_a_dead_gateway_are_kept_and_all_gateways_are_summed(
    start_glassline: StartGlassline, simulator: Simulator
) -> None:
    glassline = start_glassline(simulator.url, args=("--workers", "3"))
    for _ in range(12):
        assert exchange(glassline.port, b"GET / HTTP/1.1\r\n\r\n").status == 400, "no host"
        assert exchange(glassline.port, CHAT).status == 200
    wait_until(lambda: sum(metric(glassline, "glassline_bad_requests_total")) == 12, "the count")
    glassline.wait_for_rows(12)
    seen = [12.0]
    for role in ("gateway-0", "gateway-1", "gateway-2", "recorder"):
        os.kill(glassline.pids_of(role)[0], signal.SIGKILL)
        wait_until(lambda: glassline.stderr.count("signal 9") >= len(seen), "the death")
        seen.append(sum(metric(glassline, "glassline_bad_requests_total")))
    restart(glassline)
    seen.append(sum(metric(glassline, "glassline_bad_requests_total")))
    assert seen == [12.0] * 6
    assert exchange(glassline.port, post("/nowhere", b"{}")).status in (400, 404)
    wait_until(lambda: sum(metric(glassline, "glassline_bad_requests_total")) == 13, "one more")
    assert sum(metric(glassline, "glassline_requests_total")) == 12
    glassline.stop()


def _resident_kb(pid: int) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0])
