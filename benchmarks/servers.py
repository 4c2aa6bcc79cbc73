"""The programs of the benchmark: built, started, found ready, stopped.

Everything listens on 127.0.0.1 only, runs in a process group of its own and is gone when its context ends, whatever
happened in between.
"""

import http.client
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.machine import find_gateways, pin, process_tree

SOURCES = Path(__file__).resolve().parent
ROOT = SOURCES.parent

START_SECONDS = 30
STOP_SECONDS = 20
BUDGET_KEY = "sk-bench-budget-0000000000000000"
"a key with a budget so large that no run reaches it"
PLAIN_KEY = "sk-bench-plain-00000000000000000"
"a credential that the configuration does not know: passed through, no budget"


class SetupError(Exception):
    """The machine lacks something that the benchmark needs; the text says what."""


class StartError(Exception):
    """A program did not start; the text ends with the last lines of its log."""


@dataclass(frozen=True, slots=True)
class Server:
    name: str
    port: int
    pid: int
    "leader of its own process group"

    def processes(self) -> list[int]:
        return process_tree(self.pid)


def build_programs(into: Path) -> None:
    """Compile the load generator and the mock upstream; raises SetupError without a compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise SetupError("no C compiler found (cc): on Debian, apt-get install gcc libc6-dev")
    into.mkdir(parents=True, exist_ok=True)
    for name in ("load", "upstream"):
        source, program = SOURCES / f"{name}.c", into / name
        command = [compiler, "-O2", "-Wall", "-Wextra", "-o", str(program), str(source), "-pthread"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SetupError(f"{source.name} does not compile:\n{done.stderr}")


def need_nginx() -> None:
    """Make sure that nginx is there; as root on Debian, install it."""
    if shutil.which("nginx"):
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise SetupError("nginx is needed as the yardstick: on Debian, apt-get install nginx-light")
    print("installing nginx-light", flush=True)
    done = subprocess.run(["apt-get", "install", "-y", "nginx-light"], capture_output=True, text=True, check=False)
    if done.returncode or not shutil.which("nginx"):
        raise SetupError(f"apt-get install nginx-light failed:\n{done.stdout[-500:]}{done.stderr[-500:]}")


def free_port() -> int:
    """Find a port nobody listens on just now."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running_upstream(options: list[str], build: Path, folder: Path, core: int | None = None) -> Iterator[Server]:
    """Run the mock provider; `options` as its source lists them."""
    log = folder / "upstream.log"
    with _running([str(build / "upstream"), *options], log, core) as process:
        _wait_until(lambda: log.read_text().startswith("listening "), process, log)
        yield Server("upstream", int(log.read_text().removeprefix("listening ")), process.pid)


NGINX_CONFIG = """
daemon off;
user root;
worker_processes 1;
pid nginx.pid;
error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path client_body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    keepalive_requests 1000000000;
    upstream mock {{
        server 127.0.0.1:{upstream_port};
        keepalive 512;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://mock;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
        }}
    }}
}}
"""


@contextmanager
def running_nginx(upstream_port: int, folder: Path, core: int) -> Iterator[Server]:
    """Run nginx as a plain reverse proxy with one worker, pooled upstream connections and no log."""
    port = free_port()
    config = NGINX_CONFIG.format(port=port, upstream_port=upstream_port)
    (folder / "nginx.conf").write_text(config if os.geteuid() == 0 else config.replace("user root;\n", ""))
    log = folder / "nginx.log"
    with _running(["nginx", "-p", str(folder), "-e", "stderr", "-c", "nginx.conf"], log, core) as process:
        _wait_until(partial(_accepts, port), process, log)
        yield Server("nginx", port, process.pid)


GLASSLINE_CONFIG = """
default_upstream: openai
upstreams:
  openai: {{base_url: "http://127.0.0.1:{upstream_port}/v1", wire: openai, allow_private: true}}
auth: passthrough
keys:
  - name: bench-budget
    key: {budget_key}
    budgets:
      - {{limit_usd: 1000000, window: total}}
"""


@dataclass(frozen=True, slots=True)
class Glassline:
    server: Server
    records: Path
    "records.db, which may not exist before the first record"
    gateway_core: int

    def gateways(self) -> list[int]:
        """The gateway processes, on their core: a restarted one has the core of its parent until we look."""
        pids = find_gateways(self.server.pid)
        if not pids:
            raise StartError("no gateway process below glassline serve: see find_gateways")
        pin(pids, self.gateway_core)
        return pids

    def count_records(self) -> int:
        """Count the recorded requests; 0 while there is no database."""
        try:
            with closing(sqlite3.connect(f"file:{self.records}?mode=ro", uri=True, timeout=10)) as database:
                count: int = database.execute("select count(*) from requests").fetchone()[0]
                return count
        except sqlite3.OperationalError:
            return 0


@contextmanager
def running_glassline(upstream_port: int, folder: Path, gateway_core: int, aside_core: int) -> Iterator[Glassline]:
    """Run `glassline serve` from this tree with full recording, the gateway on a core of its own."""
    port, data = free_port(), folder / "data"
    config, log = folder / "glassline.yaml", folder / "glassline.log"
    config.write_text(GLASSLINE_CONFIG.format(upstream_port=upstream_port, budget_key=BUDGET_KEY))
    options = ["-c", str(config), "--port", str(port), "--admin-port", str(free_port()), "--data-dir", str(data)]
    with _running([sys.executable, "-m", "proxy", "serve", *options], log, aside_core) as process:
        _wait_until(partial(_is_ready, port), process, log)
        glassline = Glassline(Server("glassline", port, process.pid), data / "records.db", gateway_core)
        glassline.gateways()
        yield glassline


@contextmanager
def _running(command: list[str], log: Path, core: int | None) -> Iterator["subprocess.Popen[str]"]:
    pinning = None if core is None else partial(os.sched_setaffinity, 0, {core})
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            start_new_session=True,
            preexec_fn=pinning,
        )
    try:
        yield process
    finally:
        _stop(process)


def _stop(process: "subprocess.Popen[str]") -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _wait_until(is_ready: Callable[[], bool], process: "subprocess.Popen[str]", log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not is_ready():
        if process.poll() is not None:
            raise StartError(f"{process.args!r} ended with {process.returncode}\n{_tail(log)}")
        if time.monotonic() > deadline:
            raise StartError(f"{process.args!r} is not ready after {START_SECONDS} s\n{_tail(log)}")
        time.sleep(0.05)


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-1500:]
