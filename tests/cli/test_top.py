"""`glassline top`: what it says of real records, once on a pipe and live on a real terminal."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from proxy.cli.glance import Glance, State, lines, percent, short
from proxy.cli.table import Screen, width
from proxy.ledger.accounts import AccountRow
from proxy.store.recent import MOST, Seen
from tests.conftest import StartGlassline
from tests.harness import Simulator
from tests.harness.client import exchange, post
from tests.harness.process import ROOT, clean_environment

NOW = 1_790_000_000_000
ESCAPE = re.compile(r"\x1b\[[?0-9;]*[a-zA-Z]")


def seen(age_ms: int = 0, **fields: object) -> Seen:
    standard: dict[str, object] = {
        "upstream": "openai",
        "model": "gpt-5",
        "key": "search-team",
        "user": "",
        "is_refused": 0,
        "is_fault": 0,
        "duration_us": 1_500_000,
        "ttft_us": 400_000,
        "cost_nano_usd": 2_000_000,
        "is_unpriced": 0,
        "what": "",
        "tokens": 100,
    }
    return Seen(started_at=NOW - age_ms, **(standard | fields))  # type: ignore[arg-type]


def budget(spent: int, limit: int) -> AccountRow:
    return AccountRow(1, "search-team/day", "", NOW, NOW + 3_600_000, None, True, limit, spent, 0, 0)


def text(glance: Glance, columns: int = 120, rows: int = 60, *, has_colour: bool = False) -> str:
    return "\n".join(lines(glance, Screen(has_colour=has_colour), columns, rows))


def test_it_says_what_is_wrong_first() -> None:
    state = State("failing", ("3 records lost: journal_failed",), 2, 5)
    shown = text(Glance(NOW, state, [seen()], [], []))
    assert shown.splitlines()[:2] == ["✗ Failing", "  3 records lost: journal_failed"]


def test_it_sums_up_the_last_fifteen_minutes() -> None:
    rows = [seen(number * 1000, is_fault=int(number < 3)) for number in range(300)]
    shown = text(Glance(NOW, State("ok", (), 7, 9), rows, [], []))
    assert "20.0 req/min" in shown
    assert "7 in flight" in shown
    assert "1.00% errors (3 of 300 failed)" in shown
    assert "P95 1.50 s" in shown
    assert "$2.40 an hour" in shown
    assert "2,000 tok/min" in shown


def test_it_gives_no_share_of_a_handful_of_requests() -> None:
    shown = text(Glance(NOW, None, [seen(is_fault=1), seen()], [], []))
    assert "1 of 2 failed" in shown
    assert "%" not in shown


def test_of_very_many_requests_it_says_how_long_they_took() -> None:
    rows = [seen(number) for number in range(MOST)]
    assert "last 5.00 s" in text(Glance(NOW, None, rows, [], []))


def test_an_unknown_price_is_never_shown_as_nothing() -> None:
    shown = text(Glance(NOW, None, [seen(is_unpriced=1, cost_nano_usd=0)], [], []))
    assert "1 without a price" in shown
    assert "no price" in shown


def test_a_used_up_budget_is_full_and_red() -> None:
    shown = text(Glance(NOW, None, [seen()], [], [budget(10**9, 10**9)]), has_colour=True)
    assert "\x1b[31m████████████████████" in shown
    assert "100%" in shown
    assert "resets in 1h 00m" in shown


@pytest.mark.parametrize("columns", [20, 40, 79, 80, 200])
@pytest.mark.parametrize("rows", [1, 2, 5, 12, 24, 100])
def test_nothing_is_wider_or_longer_than_the_terminal(columns: int, rows: int) -> None:
    many = [
        seen(number * 100, model=f"model-{number % 30}" + "x" * 60, key=f"key-{number % 9}") for number in range(500)
    ]
    glance = Glance(NOW, State("degraded", ("r" * 300,), 1, 1), many, [], [budget(number, 100) for number in range(20)])
    shown = lines(glance, Screen(has_colour=True), columns, rows)
    assert len(shown) <= rows
    assert max(width(ESCAPE.sub("", line)) for line in shown) <= columns


def test_names_from_the_wire_cannot_move_the_cursor() -> None:
    hostile = seen(model="\x1b[2Jgpt\x07", key="\x1b]0;owned\x07")
    shown = text(Glance(NOW, State("degraded", ("\x1b[2Jreason",), 0, 0), [hostile], [], []))
    assert "\x1b" not in shown
    assert "\x07" not in shown


@pytest.mark.parametrize(
    ("value", "said"),
    [(0, "0"), (950, "950"), (3412, "3,412"), (41_234, "41.2K"), (1_234_567, "1.23M"), (10**9, "1.00G")],
)
def test_large_counts_have_three_digits(value: int, said: str) -> None:
    assert short(value) == said


def test_shares_below_a_tenth_have_two_places() -> None:
    assert [percent(share) for share in (0.0047, 0.0999, 0.25)] == ["0.47%", "9.99%", "25.0%"]


# --- the command -------------------------------------------------------------------------------------------------------


def command(data_dir: Path, config: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "proxy", "top", "--data-dir", str(data_dir), "-c", str(config), *options]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "empty.yaml"
    file.write_text("{}")
    return file


def test_on_a_pipe_it_is_written_once(recorded: Path, config: Path) -> None:
    said = subprocess.run(
        command(recorded, config), capture_output=True, text=True, env=clean_environment(), timeout=30
    )
    assert said.returncode == 0, said.stderr
    assert "\x1b" not in said.stdout
    assert said.stdout.splitlines()[0] == "No Glassline runs on this data directory; this is what it recorded."
    assert "search-team" in said.stdout


def test_an_empty_directory_is_no_error(tmp_path: Path, config: Path) -> None:
    (tmp_path / "data").mkdir()
    said = subprocess.run(
        command(tmp_path / "data", config), capture_output=True, text=True, env=clean_environment(), timeout=30
    )
    assert said.returncode == 0, said.stderr
    assert "no requests in the last 15 min" in said.stdout


class Console:
    """A terminal of a given size with the command in it."""

    def __init__(self, command: list[str], columns: int, rows: int) -> None:
        self.said = b""
        self.pid, self._file = pty.fork()
        if self.pid == 0:
            os.environ.update(clean_environment() | {"TERM": "xterm-256color"})
            os.chdir(ROOT)
            os.execv(command[0], command)  # noqa: S606 - ours
        self.resize(columns, rows)

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._file, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def wait_for(self, found: Callable[[bytes], bool], timeout_s: float = 20.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not found(self.said):
            assert time.monotonic() < deadline, self.said[-2000:]
            self._read(0.1)

    def _read(self, seconds: float) -> None:
        ready, _, _ = select.select([self._file], [], [], seconds)
        if ready:
            with contextlib.suppress(OSError):  # the other end is gone
                self.said += os.read(self._file, 65536)

    def press(self, keys: str) -> None:
        os.write(self._file, keys.encode())

    def end(self, timeout_s: float = 10.0) -> int:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            self._read(0.05)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
        raise AssertionError("it did not end")

    def local_modes(self) -> int:
        return int(termios.tcgetattr(self._file)[3])

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self._file)

    @property
    def frames(self) -> list[str]:
        """What was drawn since the beginning, one text for each time."""
        return [ESCAPE.sub("", frame) for frame in self.said.decode().split("\x1b[H")[1:]]


@pytest.fixture
def start_console(recorded: Path, config: Path) -> Iterator[Callable[..., Console]]:
    made: list[Console] = []

    def start(columns: int = 100, rows: int = 30) -> Console:
        made.append(Console(command(recorded, config), columns, rows))
        return made[-1]

    yield start
    for console in made:
        console.close()


@pytest.mark.parametrize("key", ["q", "\x1b", "\x03"])
def test_a_key_ends_it_and_gives_the_terminal_back(start_console: Callable[..., Console], key: str) -> None:
    console = start_console()
    before = console.local_modes()
    console.wait_for(lambda said: b"q quits" in said)
    assert not console.local_modes() & termios.ECHO
    console.press(key)
    assert console.end() == 0
    assert console.said.startswith(b"\x1b[?1049h\x1b[?25l")
    assert console.said.endswith(b"\x1b[?25h\x1b[?1049l")
    assert console.local_modes() == before


def test_a_signal_gives_the_terminal_back_as_well(start_console: Callable[..., Console]) -> None:
    console = start_console()
    console.wait_for(lambda said: b"q quits" in said)
    os.kill(console.pid, signal.SIGTERM)
    assert console.end() == 0
    assert console.said.endswith(b"\x1b[?25h\x1b[?1049l")


def test_it_fits_a_terminal_that_changes_its_size(start_console: Callable[..., Console]) -> None:
    console = start_console(140, 40)
    console.wait_for(lambda said: b"q quits" in said)
    console.resize(50, 10)
    seen_before = len(console.frames)
    console.wait_for(lambda _: len(console.frames) > seen_before and "q quits" in console.frames[-1])
    frame = console.frames[-1].splitlines()
    assert len(frame) == 10
    assert max(map(width, frame)) <= 50


def test_it_shows_requests_as_they_are_recorded(start_glassline: StartGlassline, simulator: Simulator) -> None:
    glassline = start_glassline(simulator.url)
    console = Console(command(glassline.data_dir, glassline.config_file), 110, 40)
    try:
        console.wait_for(lambda said: b"no requests" in said)
        assert "Everything is OK" in console.frames[-1]
        body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}
        assert exchange(glassline.port, post("/v1/chat/completions", json.dumps(body).encode())).status == 200
        console.wait_for(lambda said: b"gpt-4o-mini" in said)
    finally:
        console.close()
