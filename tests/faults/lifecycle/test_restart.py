"""Restarting: another program in the same process, on the same sockets, and no request notices."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import StartGlassline
from tests.faults.lifecycle.drain import Tap, ask
from tests.faults.lifecycle.restarts import restart, rolling_restart
from tests.harness import Glassline, Simulator
from tests.harness.client import RawClient, exchange, post
from tests.harness.process import ROOT, Process, clean_environment, wait_until
from tests.harness.upstream import ScriptedUpstream

pytestmark = pytest.mark.cold
IS_LONG = bool(os.environ.get("GLASSLINE_LONG"))
REQUESTS = 10_000 if IS_LONG else 1_000
CHAT = post("/v1/chat/completions", b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}')


@pytest.mark.parametrize(("workers", "restarts"), [(1, 3 if IS_LONG else 1), (2, 1)])
def test_no_request_fails_across_restarts(start_glassline: StartGlassline, workers: int, restarts: int) -> None:
    with ScriptedUpstream() as upstream:
        glassline = start_glassline(upstream.url, args=("--workers", str(workers)))
        before = glassline.process.pid
        found = rolling_restart(glassline, REQUESTS, restarts)
        print(found)
        assert (found["failed"], found["restarts"]) == (0, restarts), found["first_failures"]
        assert found["told_to_close"] >= 1, "kept connections moved on to the new gateways"
        assert json.loads(glassline.ports_file.read_bytes())["pid"] == before, "the same process goes on"
        assert len(glassline.wait_for_rows(found["requests"], timeout_s=40)) == found["requests"]
        glassline.stop()


def test_no_request_under_a_budget_fails_across_a_restart(start_glassline: StartGlassline) -> None:
    key = "sk-limited-0123456789"
    with ScriptedUpstream() as upstream:
        keys = [{"name": "a", "key": key, "budgets": [{"limit_usd": 1000, "window": "day"}]}]
        glassline = start_glassline(upstream.url, {"keys": keys})
        found = rolling_restart(glassline, 400, 2, clients=4, key=key)
        print(found)
        assert found["failed"] == 0, found["first_failures"]
        glassline.stop()


def test_no_request_under_a_budget_fails_though_the_new_gateways_are_there_before_the_new_ledger(
    start_glassline: StartGlassline,
) -> None:
    key = "sk-limited-0123456789"
    with ScriptedUpstream() as upstream:
        keys = [{"name": "a", "key": key, "budgets": [{"limit_usd": 1000, "window": "day"}]}]
        env = {"GLASSLINE_FAILPOINTS": "ledger.after_succession:sleep=2"}
        glassline = start_glassline(upstream.url, {"keys": keys}, env=env)
        found = rolling_restart(glassline, 100, 1, clients=4, key=key)
        print(found)
        assert found["failed"] == 0, found["first_failures"]
        assert found["slowest_ms"] > 1000, "requests waited for the ledger"
        glassline.stop()


@contextlib.contextmanager
def stream_across_a_restart(start_glassline: StartGlassline) -> Iterator[tuple[Glassline, RawClient, Tap, int]]:
    """Restart while a stream runs; yield its client, what ends it and the pid of its gateway."""
    tap = Tap()
    with ScriptedUpstream(tap) as upstream:
        glassline = start_glassline(upstream.url)
        [old] = glassline.pids_of("gateway")
        with RawClient(glassline.port) as client:
            client.send(ask("ends"))
            client.read_until(b"one")
            restart(glassline)
            yield glassline, client, tap, old


def test_a_stream_outlives_the_program_that_began_it(start_glassline: StartGlassline) -> None:
    with stream_across_a_restart(start_glassline) as (glassline, client, tap, old):
        assert old in glassline.pids_of("gateway")
        assert exchange(glassline.port, b"GET /readyz HTTP/1.0\r\n\r\n").status == 200
        tap.go.set()
        assert client.read_all().raw.endswith(b"0\r\n\r\n")
        wait_until(lambda: old not in glassline.pids_of("gateway"), "the end of the old gateway")
        assert [row["outcome"] for row in glassline.wait_for_rows(1)] == ["completed"]
        glassline.stop()


def test_a_restart_replaces_every_process_and_takes_up_the_file(
    start_glassline: StartGlassline, simulator: Simulator
) -> None:
    glassline = start_glassline(simulator.url, {"auth": "virtual", "keys": [{"name": "a", "key": "sk-first-key-1"}]})
    before = set(glassline.pids())
    glassline.write_config(
        glassline.config_file.read_text().replace("sk-first-key-1", "sk-second-key") + "workers: 3\n"
    )
    restart(glassline)
    wait_until(lambda: set(glassline.pids()) & before == {glassline.process.pid}, "the end of the old processes")
    assert len(glassline.pids_of("gateway")) == 3
    statuses = {
        key: [exchange(glassline.port, CHAT.replace(b"sk-raw-0123456789abcdef", key)).status for _ in range(6)]
        for key in (b"sk-first-key-1", b"sk-second-key")
    }
    assert statuses == {b"sk-first-key-1": [401] * 6, b"sk-second-key": [200] * 6}
    glassline.stop()


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        ("keys: [{name: a, key: short}]", "config.yaml: keys[0].key: "),
        ("{", "config.yaml: line"),
        ("encryption: {key_file: /nowhere/key}", "/nowhere/key: No such file"),
    ],
)
def test_what_cannot_start_replaces_nothing(
    start_glassline: StartGlassline, simulator: Simulator, trouble: str, said: str
) -> None:
    glassline = start_glassline(simulator.url)
    before = glassline.pids()
    glassline.write_config(trouble)
    command = [sys.executable, "-m", "proxy", "restart", "--data-dir", str(glassline.data_dir)]
    done = subprocess.run(
        command, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "not restarted, the running version stays" in done.stdout
    assert said in glassline.stderr + done.stdout
    assert glassline.pids() == before
    assert exchange(glassline.port, CHAT).status == 200


def test_neither_a_reload_nor_a_restart_moves_to_another_data_directory(tmp_path: Path) -> None:
    config, served, other = tmp_path / "config.yaml", tmp_path / "served", tmp_path / "other"

    def write_config(data_dir: Path) -> None:
        config.write_text(f"data_dir: {data_dir}\nlisten: {{port: 0}}\nadmin: {{port: 0}}\n")

    write_config(served)
    command = [sys.executable, "-m", "proxy", "serve", "-c", str(config), "--log-format", "json"]
    with Process(command, tmp_path, name="glassline", env={"PYTHONPATH": str(ROOT)}) as glassline:
        ports = served / "run" / "ports.json"
        glassline.wait_for(ports.exists, "its ports")
        before = ports.stat().st_ino
        write_config(other)
        glassline.send_signal(signal.SIGHUP)
        glassline.wait_for(lambda: "configuration loaded" in glassline.stderr.read_text(), "the reload")
        asked = [sys.executable, "-m", "proxy", "restart", "--data-dir", str(served)]
        done = subprocess.run(
            asked, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stdout.split(":")[0]) == (1, "not restarted, the running version stays")
        assert f"{served} is served: another one takes a stop and a start" in glassline.stderr.read_text()
        assert ports.stat().st_ino == before
        ready = b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
        assert exchange(json.loads(ports.read_bytes())["data"], ready).status == 200
        assert not other.exists()


def test_the_command_waits_until_the_new_program_serves(glassline: Glassline) -> None:
    [old] = glassline.pids_of("admin")
    command = [sys.executable, "-m", "proxy", "restart", "--data-dir", str(glassline.data_dir)]
    done = subprocess.run(
        command, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=90, check=False
    )
    assert (done.returncode, done.stdout) == (0, "restarted\n"), done.stdout + done.stderr
    wait_until(lambda: glassline.pids_of("admin") not in ([], [old]), "another admin process")


def test_the_command_says_when_nothing_runs(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "proxy", "restart", "--data-dir", str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 78
    assert "no glassline serve runs here" in done.stderr


def test_a_start_after_a_kill_does_not_look_ready_at_once(glassline: Glassline) -> None:
    glassline.process.send_signal(signal.SIGKILL)
    glassline.process.wait(timeout_s=10)
    wait_until(lambda: not glassline.pids(), "the end of every process")
    assert glassline.ports_file.exists()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        options = ["-c", str(glassline.config_file), "--data-dir", str(glassline.data_dir)]
        command = [sys.executable, "-m", "proxy", "serve", *options, "--port", str(taken.getsockname()[1])]
        done = subprocess.run(command, cwd=ROOT, env=clean_environment(), timeout=60, check=False)
    assert done.returncode == 78, "the port is taken"
    assert not glassline.ports_file.exists()


def test_the_command_signals_nobody_for_a_serve_that_was_killed(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "lock").touch()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        (tmp_path / "run" / "ports.json").write_text(json.dumps({"data": 1, "admin": 2, "pid": stranger.pid}))
        command = [sys.executable, "-m", "proxy", "restart", "--data-dir", str(tmp_path)]
        done = subprocess.run(
            command, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=60, check=False
        )
        stranger.communicate(b"\n", timeout=20)
    assert (done.returncode, stranger.returncode) == (78, 0)
    assert "no glassline serve runs here" in done.stderr


def test_a_stop_during_a_restart_ends_old_and_new_alike(start_glassline: StartGlassline) -> None:
    with ScriptedUpstream() as upstream:
        glassline = start_glassline(upstream.url)
        assert exchange(glassline.port, CHAT).status == 200
        for pause_s in (0.0, 0.5, 0.9, 1.3):
            glassline.process.send_signal(signal.SIGUSR2)
            time.sleep(pause_s)  # any moment will do: each must end well
            glassline.process.send_signal(signal.SIGTERM)
            assert glassline.process.wait(timeout_s=20) == 0
            wait_until(lambda: not glassline.pids(), "the end of every process")
            glassline.start()
        assert len(glassline.wait_for_rows(1)) == 1


def test_a_stop_soon_after_a_restart_lets_the_streams_of_the_old_program_end(start_glassline: StartGlassline) -> None:
    with stream_across_a_restart(start_glassline) as (glassline, client, tap, old):
        glassline.process.send_signal(signal.SIGTERM)
        wait_until(lambda: glassline.pids_of("gateway") == [old], "the end of the new gateway")
        tap.go.set()
        assert client.read_all().raw.endswith(b"0\r\n\r\n")
        assert glassline.process.wait(timeout_s=20) == 0
        glassline.start()
        assert [row["outcome"] for row in glassline.wait_for_rows(1)] == ["completed"]


def test_a_killed_gateway_comes_back_within_a_second_and_the_others_go_on(start_glassline: StartGlassline) -> None:
    tap = Tap()
    with ScriptedUpstream(tap) as upstream:
        glassline = start_glassline(upstream.url, args=("--workers", "3"))
        clients = [RawClient(glassline.port) for _ in range(12)]
        for number, client in enumerate(clients):
            client.send(ask(f"ends-{number}"))
            client.read_until(b"one")
        victim = glassline.pids_of("gateway-1")[0]
        os.kill(victim, signal.SIGKILL)
        killed = time.monotonic()
        wait_until(lambda: glassline.pids_of("gateway-1") not in ([], [victim]), "its successor", timeout_s=1)
        print(f"back after {time.monotonic() - killed:.3f} s")
        tap.go.set()
        endings = [client.read_all().raw.endswith(b"0\r\n\r\n") for client in clients]
        for client in clients:
            client.socket.close()
        rows = glassline.wait_for_rows(12)
        assert endings.count(False) == sum(row["outcome"] == "interrupted" for row in rows) < 12
        assert endings.count(True) == sum(row["outcome"] == "completed" for row in rows)
        assert [exchange(glassline.port, CHAT).status for _ in range(9)] == [200] * 9
        glassline.stop()


def test_a_socket_of_the_service_manager_outlives_the_service(start_glassline: StartGlassline, tmp_path: Path) -> None:
    with ScriptedUpstream() as upstream, socket.create_server(("127.0.0.1", 0), backlog=64) as held:
        glassline = start_glassline(upstream.url, start=False)
        port = held.getsockname()[1]
        command = [
            sys.executable,
            "-c",
            _ACTIVATE,
            str(held.fileno()),
            str(glassline.config_file),
            str(glassline.data_dir),
        ]
        log = (tmp_path / "activated.log").open("wb")
        for _ in range(2):
            waiting = socket.create_connection(("127.0.0.1", port), timeout=30)
            waiting.sendall(CHAT)
            service = subprocess.Popen(
                command, pass_fds=[held.fileno()], env=clean_environment(), cwd=ROOT, stdout=log, stderr=log
            )
            try:
                answer = b""
                while piece := waiting.recv(65536):
                    answer += piece
                assert answer.startswith(b"HTTP/1.1 200"), "who came before the service was there is served by it"
                wait_until(glassline.ports_file.exists, "its ports", timeout_s=30)
                assert json.loads(glassline.ports_file.read_bytes())["data"] == port
            finally:
                service.terminate()
                assert service.wait(20) == 0
                waiting.close()
        log.close()
        assert len(glassline.rows("SELECT 1 FROM requests")) == 2


_ACTIVATE = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "data"}
os.execv(sys.executable, [sys.executable, "-m", "proxy", "serve", "-c", sys.argv[2], "--data-dir", sys.argv[3],
                          "--port", "1", "--admin-port", "0"])
"""


def test_a_service_manager_hears_of_every_change(start_glassline: StartGlassline, simulator: Simulator) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0glassline-test-" + str(os.getpid()))
        manager.settimeout(20)
        env = {"NOTIFY_SOCKET": f"@glassline-test-{os.getpid()}", "WATCHDOG_USEC": "400000"}
        glassline = start_glassline(simulator.url, env=env)
        assert _hear(manager, b"READY=1")
        assert _hear(manager, b"WATCHDOG=1")
        glassline.reload()
        said = _hear(manager, b"RELOADING=1")
        assert b"MONOTONIC_USEC=" in said
        assert _hear(manager, b"READY=1")
        glassline.process.send_signal(signal.SIGTERM)
        assert _hear(manager, b"STOPPING=1")
        assert glassline.process.wait(timeout_s=10) == 0


def _hear(manager: socket.socket, what: bytes) -> bytes:
    while what not in (said := manager.recv(4096)):
        pass
    return said
