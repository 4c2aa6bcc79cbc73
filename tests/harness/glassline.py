"""Glassline as its users run it: `python -m proxy serve` with a config file and a data directory of its own."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import apsw
import yaml

from tests.harness.nursery import nursery
from tests.harness.process import Process, Running, command_line, wait_until

if TYPE_CHECKING:
    from proxy.store import StoredBody

_EARLY: Final = ("LD_", "PYTHON")
"""Environment variables that act before a program begins."""


class Glassline:
    """All the processes of one `serve`. It can be stopped, killed and started again on the same data directory.

    `is_warm`: it comes out of the nursery, which takes a fraction of the CPU, and not by way of the interpreter.
    """

    def __init__(
        self,
        directory: Path,
        config: Mapping[str, Any] | str = "",
        *,
        args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        program: Sequence[str] = ("proxy",),
        is_warm: bool = False,
    ) -> None:
        self.directory = directory
        self.data_dir = directory / "data"
        self.config_file = directory / "config.yaml"
        self.port = 0
        self.admin_port = 0
        self._args = tuple(args)
        self._env = dict(env or {})
        self._program = tuple(program)
        self._is_warm = is_warm
        self._process: Process | None = None
        directory.mkdir(parents=True, exist_ok=True)
        self.write_config(config)

    @property
    def url(self) -> str:
        """Root of the data port, without a slash at the end; an SDK's base URL is `url + "/v1"`."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def admin_url(self) -> str:
        """Root of the admin port, without a slash at the end."""
        return f"http://127.0.0.1:{self.admin_port}"

    @property
    def process(self) -> Process:
        """The running process. Fails before `start`."""
        assert self._process is not None, "not started"
        return self._process

    @property
    def stderr(self) -> str:
        """Everything that all starts so far wrote to stderr."""
        return self.process.stderr.read_text(errors="replace")

    def write_config(self, config: Mapping[str, Any] | str) -> None:
        """Write the config file: YAML text, or a mapping that becomes it. `reload` makes a running one read it."""
        text = config if isinstance(config, str) else yaml.safe_dump(dict(config), sort_keys=False)
        self.config_file.write_text(text or "{}\n", encoding="utf-8")

    def start(self, env: Mapping[str, str] | None = None) -> Glassline:
        """Start it and wait until it says that it is ready; `env` holds for this start only."""
        self.launch(env)
        try:
            self.process.wait_for(self.ports_file.exists, "its ports")
        except BaseException:
            self.close()
            raise
        numbers = json.loads(self.ports_file.read_bytes())
        self.port, self.admin_port = numbers["data"], numbers["admin"]
        return self

    @property
    def ports_file(self) -> Path:
        """Where it says that it is ready; a restart writes it anew."""
        return self.data_dir / "run" / "ports.json"

    def launch(self, env: Mapping[str, str] | None = None) -> None:
        """Start it and wait for nothing."""
        self.ports_file.unlink(missing_ok=True)
        flags = ["--port", "0", "--admin-port", "0", "--data-dir", str(self.data_dir), "--log-format", "json"]
        arguments = ["serve", "-c", str(self.config_file), *flags, *self._args]
        whole = {**self._env, **(env or {})}
        if self._is_warm and self._program == ("proxy",) and not any(name.startswith(_EARLY) for name in whole):
            self._process = _Warm(arguments, self.directory, name="glassline", env=whole)
        else:
            command = [sys.executable, "-m", *self._program, *arguments]
            self._process = Process(command, self.directory, name="glassline", env=whole)

    def reload(self) -> None:
        """Send SIGHUP."""
        self.process.send_signal(signal.SIGHUP)

    def stop(self, *, timeout_s: float = 30.0) -> None:
        """Send SIGTERM; fail unless it ends with 0 and leaves no process behind."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout_s=timeout_s)
        assert code == 0, f"serve ended with {code}\n{self.process.output()}"
        left = [f"{pid} {command_line(pid)}" for pid in self.process.pids()]
        assert not left, f"left behind: {left}"

    def kill_group(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to the supervisor and all its children at once."""
        self.process.kill_group(number)

    def pids(self) -> list[int]:
        """List the processes that are alive, the supervisor included."""
        return self.process.pids()

    def pids_of(self, role: str) -> list[int]:
        """List the processes of one role: gateway (gateway-0 for one of several), ledger, recorder or admin."""
        return [pid for pid in self.pids() if _short_name(pid).startswith(f"gl-{role}")]

    def rows(self, sql: str, *values: Any, database: str = "records.db") -> list[dict[str, Any]]:
        """Run one SELECT, read-only, and return its rows; no rows while the database or the table is missing."""
        path = self.data_dir / database
        if not path.exists():
            return []
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            connection.set_busy_timeout(5000)
            connection.row_trace = _as_dict
            return list(connection.execute(sql, values))
        finally:
            connection.close()

    def body(self, id_: str, side: Literal["request", "response"]) -> StoredBody:
        """Return a body as it is kept."""
        from proxy.store import StoreReader  # few tests need it
        from proxy.store import query as ask

        with StoreReader(self.data_dir / "records.db") as reader:
            body = reader.run(ask.body(id_, side))
        assert body is not None
        return body

    def wait_for_rows(self, count: int, where: str = "1", *, timeout_s: float = 20.0) -> list[dict[str, Any]]:
        """Wait until `requests` holds at least `count` rows that satisfy `where`; return them, oldest first."""

        def enough() -> list[dict[str, Any]] | None:
            if not self.rows("SELECT 1 FROM sqlite_master WHERE name = 'requests'"):
                return None
            found = self.rows(f"SELECT * FROM requests WHERE {where} ORDER BY started_at, id")  # noqa: S608 - a test's own
            return found if len(found) >= count else None

        return wait_until(enough, f"{count} rows", timeout_s=timeout_s)

    def close(self) -> None:
        """End whatever still runs."""
        if self._process is not None:
            self._process.close()


class _Warm(Process):
    """`python -m proxy` out of the nursery."""

    def _launch(self, command: Sequence[str], directory: Path, env: dict[str, str]) -> Running:
        return nursery("glassline").start(command, directory, self.stdout, self.stderr, env)


def _as_dict(cursor: apsw.Cursor, row: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip((column[0] for column in cursor.get_description()), row, strict=True))


def _short_name(pid: int) -> str:
    """Return the name that a process gave itself; its command line is its parent's, since it was forked."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""
