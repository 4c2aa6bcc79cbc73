from __future__ import annotations

import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from proxy.config import parse_config
from proxy.journal import JournalWriter
from proxy.recorder import run as record
from tests.harness.process import Process
from tests.recorder.builders import make_begin, make_end, write_chat

HOSTILE = "<script>alert(1)</script>"
UNPRICED_ID = "0198f2b1-7c3e-7abc-8000-0000000000ff"


def write_records(data_dir: Path) -> None:
    """Record thirty requests of three kinds, through the real journal and the real recorder."""
    writer = JournalWriter(data_dir / "journal", "gateway-0")
    now = time.time_ns() // 1_000_000
    for number in range(28):
        key = "search-team" if number % 2 else "support-team"
        begin = make_begin(id=f"0198f2b1-7c3e-7abc-8000-{number:012d}", started_at_ms=now - number * 1000, key=key)
        write_chat(writer, begin)
    hostile = make_begin(
        id="0198f2b1-7c3e-7abc-8000-0000000000fe", started_at_ms=now - 40_000, path=f"/{HOSTILE}", user=HOSTILE
    )
    write_chat(writer, hostile, status=500)
    body = b'{"model":"nobody-knows-me","messages":[]}'
    answer = b'{"model":"nobody-knows-me","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}'
    number = writer.begin(make_begin(id=UNPRICED_ID, started_at_ms=now - 50_000), body)
    writer.end(number, make_end(answer, body), answer)
    writer.close()
    stop = threading.Event()
    stop.set()
    record(data_dir, parse_config("metrics: {max_series: 500}"), data_dir / "run" / "ledger.sock", stop=stop)


@pytest.fixture(scope="session")
def _recorded_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data_dir = tmp_path_factory.mktemp("recorded") / "data"
    write_records(data_dir)
    return data_dir


@pytest.fixture
def recorded(_recorded_once: Path, tmp_path: Path) -> Path:
    """A data directory with thirty records."""
    return Path(shutil.copytree(_recorded_once, tmp_path / "data"))


class Admin:
    """An admin process and a client for it."""

    def __init__(self, data_dir: Path, config: str = "") -> None:
        self.data_dir = data_dir
        data_dir.mkdir(parents=True, exist_ok=True)
        file = data_dir.parent / "config.yaml"
        file.write_text(config or "{}", encoding="utf-8")
        command = [sys.executable, "-m", "tests.admin.serving", str(data_dir), str(file)]
        number = len(list(data_dir.parent.glob("admin-*")))
        self.process = Process(command, data_dir.parent / f"admin-{number}", name="admin")
        self.port = int(self.process.wait_for(lambda: self.process.stdout.read_text().strip() or None, "its port"))
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=20, trust_env=False)

    def get(self, path: str, **parameters: str) -> httpx.Response:
        return self.client.get(path, params=parameters)

    def stop(self) -> int:
        self.client.close()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s=10)

    def close(self) -> None:
        self.client.close()
        self.process.close()


@pytest.fixture
def start_admin() -> Iterator[Callable[..., Admin]]:
    """Start admin processes; they end with the test."""
    with ExitStack() as stack:

        def start(data_dir: Path, config: str = "") -> Admin:
            admin = Admin(data_dir, config)
            stack.callback(admin.close)
            return admin

        yield start
