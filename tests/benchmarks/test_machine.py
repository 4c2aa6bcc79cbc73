"""Who runs on which core, and what a process has used of it."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks import servers
from benchmarks.machine import (
    Cores,
    count_connections,
    find_children,
    pin,
    plan_cores,
    process_tree,
    read_cpu_time,
    read_memory,
)
from benchmarks.scaling import plan_gateways

PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
child.wait()
"""
CHILD = """
import sys
open("/proc/self/comm", "w").write({name!r})
print("named", flush=True)
sys.stdin.read()
"""


@contextmanager
def _family(child_name: str) -> Iterator[tuple[int, int]]:
    """Run a process with one child, both gone when their standard input closes."""
    command = [sys.executable, "-c", PARENT, CHILD.format(name=child_name)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        yield parent.pid, int(parent.stdout.readline())
        assert parent.stdin is not None
        parent.stdin.close()


@pytest.mark.parametrize(
    ("available", "planned"),
    [
        ([7, 4, 5, 6, 8], Cores(load=4, proxy=5, recorder=6, upstream=7, aside=8)),
        ([0, 1, 2, 3], Cores(load=0, proxy=1, recorder=2, upstream=3, aside=3)),
        ([0, 1, 2], Cores(load=0, proxy=1, recorder=2, upstream=0, aside=2)),
        ([0, 1], Cores(load=0, proxy=1, recorder=0, upstream=0, aside=0)),
        ([3], Cores(load=3, proxy=3, recorder=3, upstream=3, aside=3)),
    ],
)
def test_the_proxy_keeps_its_core_to_itself_as_long_as_there_are_two(available: list[int], planned: Cores) -> None:
    assert plan_cores(available) == planned


def test_the_gateway_is_found_among_the_descendants_by_its_name() -> None:
    with _family("gl-gateway-0") as (parent, child):
        assert process_tree(parent) == [parent, child]
        assert find_children(parent, "gateway") == [child]
    with _family("gl-recorder") as (parent, child):
        assert process_tree(parent) == [parent, child]
        assert find_children(parent, "gateway") == []


def test_memory_is_told_by_process() -> None:
    with _family("gl-gateway-0") as (_, child):
        assert read_memory([child]).keys() == {"gl-gateway-0"}
        assert read_memory([child])["gl-gateway-0"] > read_memory([child], "Pss_Anon")["gl-gateway-0"] > 1_000_000


def test_connections_are_counted_by_the_process_that_serves_them() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, _family("gl-gateway-0") as (_, child):
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)), socket.create_connection(("127.0.0.1", port)):
            first, second = listener.accept()[0], listener.accept()[0]
            assert count_connections([os.getpid(), child], port) == [2, 0]
            first.close()
            assert count_connections([os.getpid(), child], port) == [1, 0]
            second.close()


def test_each_gateway_has_a_core_that_nothing_else_of_the_run_has() -> None:
    assert plan_gateways([3, 0, 1, 2]) == [(1,), (1, 2), (1, 2, 3)]
    assert plan_gateways([0, 1]) == [(1,)]
    assert plan_gateways([0]) == []


def test_pinning_binds_the_process_and_nobody_else() -> None:
    mine = os.sched_getaffinity(0)
    core = max(mine)
    with _family("gateway") as (_, child):
        pin([child], core)
        assert os.sched_getaffinity(child) == {core}
    assert os.sched_getaffinity(0) == mine


def test_cpu_time_counts_every_thread_and_no_sleep() -> None:
    before = read_cpu_time([os.getpid()])
    done, leave = threading.Event(), threading.Event()

    def burn() -> None:
        while time.thread_time_ns() < 100_000_000:
            pass
        done.set()
        leave.wait()

    thread = threading.Thread(target=burn)
    thread.start()
    done.wait()
    used = read_cpu_time([os.getpid()]) - before
    leave.set()
    thread.join()
    assert used.run_ns > 95_000_000
    assert used.wait_ns >= 0


def test_a_process_that_has_ended_has_no_cpu_time() -> None:
    with _family("anything") as (parent, _):
        assert read_cpu_time([parent]).run_ns > 0
    assert read_cpu_time([parent]).run_ns == 0


def test_a_machine_without_a_compiler_or_nginx_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(servers.SetupError, match="no C compiler"):
        servers.build_programs(tmp_path)
    with pytest.raises(servers.SetupError, match="nginx is needed"):
        servers.need_nginx()


def test_a_program_that_does_not_start_is_reported_with_its_last_words(tmp_path: Path) -> None:
    program = tmp_path / "upstream"
    program.write_text("#!/bin/sh\necho no room at the inn\nexit 4\n")
    program.chmod(0o755)
    with (
        pytest.raises(servers.StartError, match=r"ended with 4\n.*no room"),
        servers.running_upstream([], tmp_path, tmp_path),
    ):
        pytest.fail("it did start")
