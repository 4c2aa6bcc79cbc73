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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.machine import Cores, find_children, pin, process_tree

SOURCES = Path(__file__).resolve().parent
ROOT = SOURCES.parent

START_SECONDS = 120
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
    with running([str(build / "upstream"), *options], log, core) as process:
        wait_until(lambda: log.read_text().startswith("listening "), process, log)
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
    with running(["nginx", "-p", str(folder), "-e", "stderr", "-c", "nginx.conf"], log, core) as process:
        wait_until(partial(accepts, port), process, log)
        yield Server("nginx", port, process.pid)


@contextmanager
def running_bare(upstream_port: int, folder: Path, core: int) -> Iterator[Server]:
    """Run the least relay that the language allows; see `bare`."""
    log = folder / "bare.log"
    with running([sys.executable, "-m", "benchmarks.bare", str(upstream_port)], log, core) as process:
        wait_until(lambda: log.read_text().startswith("listening "), process, log)
        yield Server("bare", int(log.read_text().removeprefix("listening ")), process.pid)


GLASSLINE_CONFIG = """
workers: {workers}
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
    admin_port: int
    data_dir: Path
    cores: Cores
    gateway_cores: Sequence[int]
    ready_seconds: float
    "from the start of the first process until it said that it is ready"

    @property
    def records(self) -> Path:
        """Return records.db, which may not exist before the first record."""
        return self.data_dir / "records.db"

    def gateways(self) -> list[int]:
        """The gateway processes, each on its core: a restarted one has the core of its parent until we look."""
        pids = find_children(self.server.pid, "gateway")
        if len(pids) != len(self.gateway_cores):
            raise StartError(f"{len(pids)} gateways below glassline serve, {len(self.gateway_cores)} expected")
        pin(find_children(self.server.pid, "recorder"), self.cores.recorder)
        for pid, core in zip(pids, self.gateway_cores, strict=True):
            pin([pid], core)
        return pids

    def count_records(self) -> int:
        """Count the recorded requests; 0 while there is no database."""
        try:
            with closing(sqlite3.connect(f"file:{self.records}?mode=ro", uri=True, timeout=10)) as database:
                count: int = database.execute("select count(*) from requests").fetchone()[0]
                return count
        except sqlite3.OperationalError:
            return 0

    def read_body(self, name: str, side: str) -> bytes:
        """Fetch the body of a request, or of its `response`, as it was recorded."""
        status, body = self.ask(f"/api/requests/{name}/{side}_body")
        return body if status == 200 else b"status %d: %b" % (status, body)

    def ask(self, path: str) -> tuple[int, bytes]:
        """Ask the admin port; returns the status and the body."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=10)) as connection:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()


@contextmanager
def running_glassline(
    upstream_port: int, folder: Path, cores: Cores, gateway_cores: Sequence[int] = ()
) -> Iterator[Glassline]:
    """Run `glassline serve` from this tree with full recording, each gateway on a core of its own."""
    folder.mkdir(exist_ok=True)
    gateway_cores = gateway_cores or (cores.proxy,)
    port, admin_port = free_port(), free_port()
    config, log = folder / "glassline.yaml", folder / "glassline.log"
    text = GLASSLINE_CONFIG.format(upstream_port=upstream_port, budget_key=BUDGET_KEY, workers=len(gateway_cores))
    config.write_text(text)
    options = ["-c", str(config), "--port", str(port), "--admin-port", str(admin_port)]
    options += ["--data-dir", str(folder / "data")]
    started = time.monotonic()
    with running([sys.executable, "-m", "proxy", "serve", *options], log, cores.aside) as process:
        wait_until(partial(_is_ready, port), process, log)
        ready_seconds = time.monotonic() - started
        server = Server("glassline", port, process.pid)
        glassline = Glassline(server, admin_port, folder / "data", cores, gateway_cores, ready_seconds)
        glassline.gateways()
        yield glassline


@contextmanager
def running(
    command: list[str], log: Path, core: int | None, environment: Mapping[str, str] | None = None
) -> Iterator["subprocess.Popen[str]"]:
    """Run a program on a core of its own, in a process group that ends with the context."""
    pinning = None if core is None else partial(os.sched_setaffinity, 0, {core})
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            env=None if environment is None else os.environ | environment,
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


def wait_until(is_ready: Callable[[], bool], process: "subprocess.Popen[str]", log: Path) -> None:
    """Wait until the program is ready; raises StartError with the end of its log."""
    deadline = time.monotonic() + START_SECONDS
    while not is_ready():
        if process.poll() is not None:
            raise StartError(f"{process.args!r} ended with {process.returncode}\n{_tail(log)}")
        if time.monotonic() > deadline:
            raise StartError(f"{process.args!r} is not ready after {START_SECONDS} s\n{_tail(log)}")
        time.sleep(0.01)


def accepts(port: int) -> bool:
    """Say whether somebody listens there."""
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
