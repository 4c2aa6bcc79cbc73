from __future__ import annotations

import json
import signal
import socket
import sys
from pathlib import Path

import httpx
import pytest

from proxy.cli import main
from tests.harness.process import Process, wait_until


def read_ports(path: Path) -> dict[str, int] | None:
    try:
        found: dict[str, int] = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found


@pytest.mark.slow
def test_the_demo_shows_traffic_and_ends_on_ctrl_c(tmp_path: Path) -> None:
    options = ["--port", "0", "--admin-port", "0", "--rate", "20", "--duration", "60"]
    command = [sys.executable, "-m", "proxy", "demo", *options]
    with Process(command, tmp_path, name="demo") as demo:
        data_dir = tmp_path / "glassline-demo"
        ports = demo.wait_for(lambda: read_ports(data_dir / "run" / "ports.json"), "its ports", timeout_s=90)
        with httpx.Client(base_url=f"http://127.0.0.1:{ports['admin']}", timeout=20, trust_env=False) as client:

            def priced() -> bool:
                found = client.get("/api/requests", params={"q": "outcome:completed cost:>0", "limit": "20"}).json()
                return len(found["requests"]) >= 10

            demo.wait_for(priced, "ten priced requests")
            budgets = {row["budget"]: row for row in client.get("/api/budgets").json()["budgets"]}
            assert budgets["everything"]["limit_nano_usd"] == 20 * 10**9
            metrics = client.get("/metrics").text
            assert 'glassline_process_up{process="gateway-0"} 1.0' in metrics
        assert f"http://127.0.0.1:{ports['admin']}" in demo.stderr.read_text()
        demo.kill_group(signal.SIGINT)
        assert demo.wait(timeout_s=60) == 0
        wait_until(lambda: not demo.pids(), "the end of every process")
        assert "Traceback" not in demo.stderr.read_text()


def test_the_simulator_says_where_it_is_and_stops_on_a_signal(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "proxy", "simulate", "--port", "0", "--require-key", "sk-right"]
    with Process(command, tmp_path, name="simulate") as simulate:
        line = simulate.wait_for(lambda: simulate.stderr.read_text().strip() or None, "its address")
        address = line.split()[-1]
        assert line.startswith("simulated provider on http://127.0.0.1:")
        with httpx.Client(timeout=20, trust_env=False) as client:
            assert client.get(f"{address}/models").status_code == 401
            assert client.get(f"{address}/models", headers={"authorization": "Bearer sk-right"}).status_code == 200
        simulate.send_signal(signal.SIGINT)
        assert simulate.wait(timeout_s=10) == 0


def test_a_port_in_use_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["simulate", "--port", port]) == 78
        assert capsys.readouterr().err.count("\n") == 1
        command = [sys.executable, "-m", "proxy", "serve", "--port", port, "--admin-port", "0"]
        with Process(command, tmp_path, name="serve") as serve:
            assert serve.wait(timeout_s=60) == 78
            assert serve.stderr.read_text().count("\n") == 1
