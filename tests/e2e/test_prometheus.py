"""A real Prometheus scrapes /metrics: counters are right with four gateways and never go back."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from tests.conftest import StartGlassline
from tests.harness import Glassline, Simulator
from tests.harness.client import exchange, post
from tests.harness.process import Process, wait_until

BODY = json.dumps({"model": "gpt-4o-mini", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}).encode()
KEY = "sk-metered-0123456789"
CONFIG = {"keys": [{"name": "metered", "key": KEY, "budgets": [{"limit_usd": 3, "window": "day"}]}]}


class Prometheus(Process):
    """A Prometheus server that scrapes one target every second."""

    def __init__(self, program: str, directory: Path, target: int) -> None:
        directory.mkdir(parents=True)
        config = directory / "prometheus.yml"
        config.write_text(
            "global: {scrape_interval: 1s}\n"
            f"scrape_configs: [{{job_name: glassline, static_configs: [{{targets: ['127.0.0.1:{target}']}}]}}]\n"
        )
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        command = [program, f"--config.file={config}", f"--storage.tsdb.path={directory / 'data'}"]
        super().__init__([*command, f"--web.listen-address=127.0.0.1:{self.port}"], directory, name="prometheus")
        self.wait_for(self._is_ready, "its API")

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/-/ready").status_code == 200
        except httpx.TransportError:
            return False

    def value(self, query: str) -> float:
        """Return the value of an instant query that yields one sample; 0: none."""
        answer = httpx.get(f"http://127.0.0.1:{self.port}/api/v1/query", params={"query": query}).json()
        result = answer["data"]["result"]
        return float(result[0]["value"][1]) if result else 0.0

    def samples(self, query: str) -> list[float]:
        """Return every stored sample of one series, oldest first."""
        answer = httpx.get(f"http://127.0.0.1:{self.port}/api/v1/query", params={"query": f"{query}[10m]"}).json()
        return [float(value) for _, value in answer["data"]["result"][0]["values"]]


@pytest.fixture
def prometheus(system_tool: Callable[[str], str], glassline: Glassline, tmp_path: Path) -> Iterator[Prometheus]:
    with closing(Prometheus(system_tool("prometheus"), tmp_path / "prometheus", glassline.admin_port)) as started:
        yield started


@pytest.fixture
def glassline(start_glassline: StartGlassline, simulator: Simulator) -> Glassline:
    return start_glassline(simulator.url, CONFIG, args=("--workers", "4"))


def send(glassline: Glassline, count: int, key: str = KEY) -> int:
    """Send requests over connections of their own, so that every gateway gets some; return how many were answered."""

    def one(_: int) -> bool:
        try:
            return exchange(glassline.port, post("/v1/chat/completions", BODY, key=key)).status == 200
        except OSError:
            return False

    with ThreadPoolExecutor(16) as pool:
        return sum(pool.map(one, range(count)))


@pytest.mark.timeout(180)
def test_prometheus_sees_every_request_of_four_gateways_and_no_step_back(
    glassline: Glassline, prometheus: Prometheus
) -> None:
    total = 'sum(glassline_requests_total{key="metered",outcome="completed"})'
    assert send(glassline, 200) == 200
    wait_until(lambda: prometheus.value(total) == 200, "200 requests in Prometheus", timeout_s=20)
    assert prometheus.value('sum(glassline_tokens_total{type="output"})') == 1000
    rows = glassline.wait_for_rows(200)
    cost = sum(round(row["cost_usd"] * 1e9) for row in rows) / 1e9
    assert prometheus.value("sum(glassline_cost_usd_total)") == pytest.approx(cost, rel=1e-12)
    assert prometheus.value('glassline_budget_limit_usd{budget="metered/day"}') == 3
    spent = 'glassline_budget_spent_usd{budget="metered/day"}'
    wait_until(lambda: prometheus.value(spent) == pytest.approx(cost, rel=1e-12), "the budget's gauge", timeout_s=10)
    assert prometheus.value("glassline_records_written_total") == 200
    assert prometheus.value("sum(glassline_records_lost_total)") == 0

    gateways = glassline.pids_of("gateway")
    assert len(gateways) == 4
    os.kill(gateways[1], signal.SIGKILL)
    answered = send(glassline, 200)
    wait_until(lambda: len(glassline.pids_of("gateway")) == 4, "the fourth gateway")
    wait_until(lambda: prometheus.value(total) >= 200 + answered, "the rest", timeout_s=20)
    samples = prometheus.samples('glassline_requests_total{key="metered",outcome="completed"}')
    assert samples == sorted(samples)

    glassline.stop()
    glassline.start()
    text = httpx.get(f"{glassline.admin_url}/metrics").text
    [line] = [line for line in text.splitlines() if line.startswith("glassline_records_written_total")]
    assert float(line.split()[-1]) >= 200 + answered, "counters survive a restart"


def test_promtool_finds_nothing_to_complain_about(system_tool: Callable[[str], str], glassline: Glassline) -> None:
    send(glassline, 5)
    send(glassline, 2, key="sk-somebody-else")
    exchange(glassline.port, post("/v1/embeddings", b"{}", key=KEY))
    glassline.wait_for_rows(8)
    text = httpx.get(f"{glassline.admin_url}/metrics").content
    assert b"glassline_requests_total" in text
    done = subprocess.run(
        [system_tool("promtool"), "check", "metrics"], input=text, capture_output=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert b"sk-" not in text
