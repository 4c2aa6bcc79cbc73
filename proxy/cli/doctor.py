"""`glassline doctor`: look at the environment and say what is wrong with it.

Each check is a function that returns a `Finding`; none changes anything but a probe file in the data directory.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import re
import socket
import sys
import tempfile
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from proxy import __version__
from proxy.cli.installation import installed_bytes, installed_packages
from proxy.cli.settings import config_path, load_settings
from proxy.cli.table import Cell, Colour, Column, Screen, size
from proxy.config import Config
from proxy.descriptors import descriptors_for, most_descriptors
from proxy.disk import free_bytes, is_nearly_full, is_running_low
from proxy.errors import ConfigError, EnvironmentUnusable, StoreError
from proxy.ports import Ports
from proxy.processes import family_of, resident_bytes

Level = Literal["ok", "warning", "error"]
COLOURS: Final[dict[Level, Colour]] = {"ok": "green", "warning": "yellow", "error": "red"}
LEAST_SQLITE: Final = (3, 51, 3)
"""Older versions can lose committed data when a WAL is reset (sqlite.org/wal.html, the WAL-reset bug)."""
VERDICT_WITHIN_S: Final = 3.0
"""Whoever asks has ten seconds, and all other checks take half of one."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found."""

    level: Level
    subject: str
    detail: str


def run(arguments: argparse.Namespace) -> int:
    """Print the findings; 78 when one of them stands in the way."""
    findings = list(examine(arguments))
    screen = Screen()
    if arguments.json:
        for finding in findings:
            screen.line(json.dumps({"level": finding.level, "subject": finding.subject, "detail": finding.detail}))
    else:
        rows = [(Cell(f.level, COLOURS[f.level]), f.subject, f.detail) for f in findings]
        screen.table([Column(""), Column("CHECK"), Column("FOUND")], rows)
    return 78 if any(finding.level == "error" for finding in findings) else 0


def examine(arguments: argparse.Namespace) -> Iterator[Finding]:
    """Yield every finding."""
    yield _python()
    yield from _start_of_python()
    yield from _sqlite()
    try:
        config = load_settings(arguments)
    except ConfigError as error:
        for line in error.lines:
            yield Finding("error", "configuration", line)
        chosen = {} if arguments.data_dir is None else {"data_dir": arguments.data_dir}
        config = Config.model_validate(chosen)
    else:
        yield Finding("ok", "configuration", str(config_path(arguments) or "defaults"))
    yield from _exposure(config)
    yield from _data_dir(config.data_dir)
    yield _free_disk(config)
    yield _encryption(config)
    yield _open_files(config)
    ours = _served_ports(config.data_dir)
    yield _port("data port", config.listen.host, config.listen.port, ours)
    yield _port("admin port", config.admin.host, config.admin.port, ours)
    yield from _running(config.data_dir)
    yield _verdict(config.data_dir)
    yield _memory()
    yield from _distribution()


def _python() -> Finding:
    detail = (
        f"{platform.python_version()} ({platform.python_implementation()}, {platform.system()} {platform.machine()})"
    )
    return Finding("ok" if sys.version_info >= (3, 11) else "error", "python", detail)


def _start_of_python() -> Iterator[Finding]:
    found = list(unexpected_path_files([Path(place) for place in sys.path if place.endswith("-packages")]))
    for path in found:
        yield Finding("error", "start of python", f"{path} runs code at every start, and no package put it there")
    if not found:
        yield Finding("ok", "start of python", "no .pth file runs code that no package put there")


def unexpected_path_files(places: Iterable[Path]) -> Iterator[Path]:
    """Yield the `.pth` files that run code and that no installed package lists among its files.

    A line that begins with `import` is executed whenever Python starts, in every program of the environment.
    """
    for place in places:
        listed = {
            str(file.locate())
            for distribution in importlib.metadata.distributions(path=[str(place)])
            for file in distribution.files or ()
            if file.name.endswith(".pth")
        }
        for path in sorted(place.glob("*.pth")):
            text = path.read_text(encoding="utf-8", errors="replace")
            if str(path) not in listed and re.search(r"(?m)^import[ \t]", text):
                yield path


def _sqlite() -> Iterator[Finding]:
    import apsw

    version = apsw.sqlite_lib_version()
    is_good = tuple(int(part) for part in version.split(".")) >= LEAST_SQLITE
    needed = "" if is_good else f": {'.'.join(map(str, LEAST_SQLITE))} or newer is needed"
    yield Finding("ok" if is_good else "error", "sqlite", version + needed)


def _encryption(config: Config) -> Finding:
    from proxy.encryption import read_marker, unlock

    try:
        if config.data_dir.is_dir():
            unlock(config.data_dir, config.encryption.key_file)
            on = read_marker(config.data_dir) is not None
        else:
            on = config.encryption.key_file is not None
    except EnvironmentUnusable as error:
        return Finding("error", "encryption", str(error))
    return Finding("ok", "encryption", "on" if on else "off: whoever reads the disk reads prompts")


def _exposure(config: Config) -> Iterator[Finding]:
    from proxy.admin.guard import check_exposure

    try:
        check_exposure(config)
    except ConfigError as error:
        yield from (Finding("error", "admin port", line) for line in error.lines)


def _data_dir(data_dir: Path) -> Iterator[Finding]:
    try:
        with tempfile.NamedTemporaryFile(dir=_nearest(data_dir), prefix=".glassline-doctor-"):
            pass
    except OSError as error:
        yield Finding("error", "data directory", f"{data_dir}: not writable: {error.strerror}")
        return
    note = "" if data_dir.exists() else " (does not exist yet)"
    yield Finding("ok", "data directory", f"{data_dir.resolve()}{note}")
    if data_dir.exists() and data_dir.stat().st_mode & 0o077:
        yield Finding("warning", "data directory", "others on this machine can read it: chmod 700")


def _nearest(data_dir: Path) -> Path:
    """Return the directory, or the nearest above it that exists."""
    place = data_dir.resolve()
    while not place.exists():
        place = place.parent
    return place


def _free_disk(config: Config) -> Finding:
    place = _nearest(config.data_dir)
    room = size(free_bytes(place))
    if is_nearly_full(place):
        policy = f"record.when_full ({config.record.when_full})"
        return Finding("error", "free disk", f"{room}: full: {policy} decides about new requests; free some room")
    if is_running_low(place):
        return Finding("warning", "free disk", f"{room}: low: free some room, or keep less (retention)")
    return Finding("ok", "free disk", room)


def _open_files(config: Config) -> Finding:
    most, needed = most_descriptors(), descriptors_for(config.limits.connections)
    if most >= needed:
        return Finding("ok", "open files", f"{needed} of {'any number' if most == sys.maxsize else most} allowed")
    detail = f"{most} allowed, {needed} would carry limits.connections: ulimit -Hn {needed}"
    return Finding("warning", "open files", detail)


def _served_ports(data_dir: Path) -> set[int]:
    """Return the ports that the processes of this data directory say they listen on; empty: none do."""
    ports = Ports.read(data_dir)
    return {ports.data, ports.admin} if ports is not None else set()


def _port(name: str, host: str, port: int, ours: Collection[int] = ()) -> Finding:
    if port == 0:
        return Finding("ok", name, f"{host}: any free port")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if port in ours:
                return Finding("ok", name, f"{host}:{port} is served by the Glassline of this data directory")
            return Finding("warning", name, f"{host}:{port}: {error.strerror}: another program may have it")
    return Finding("ok", name, f"{host}:{port} is free")


def _running(data_dir: Path) -> Iterator[Finding]:
    """Report the memory of the processes that serve this data directory, where the system tells it, and their start."""
    ports = Ports.read(data_dir)
    if ports is None:
        return
    family = [(name, resident_bytes(pid)) for name, pid in family_of(ports.pid)]
    known = [(name, memory) for name, memory in family if memory is not None]
    if known:
        total = size(sum(memory for _, memory in known))
        single = ", ".join(f"{name} {size(memory)}" for name, memory in known)
        yield Finding("ok", "running", f"{len(known)} processes, {total} of memory: {single}")
        if ports.start_s is not None:
            yield Finding("ok", "start", f"ready {ports.start_s:.2f} s after the start of its process")


def _verdict(data_dir: Path) -> Finding:
    """Return what the Glassline that serves this data directory says of itself."""
    from proxy.admin.client import ask_status

    levels: dict[str, Level] = {"ok": "ok", "degraded": "warning", "failing": "error"}
    try:
        status = ask_status(data_dir, timeout_s=VERDICT_WITHIN_S)
    except (EnvironmentUnusable, StoreError) as error:
        return Finding("error", "verdict", str(error))
    if status is None:
        if _served_ports(data_dir):
            return Finding("error", "verdict", "what was ready here has ended without being stopped: read its log")
        return Finding("ok", "verdict", "nothing runs here")
    verdict, reasons = status["verdict"], "; ".join(reason["text"] for reason in status["reasons"])
    return Finding(levels[verdict], "verdict", f"{verdict}: {reasons}" if reasons else verdict)


def _memory() -> Finding:
    resident = resident_bytes(os.getpid())
    return Finding("ok", "memory of this process", size(resident))


def _distribution() -> Iterator[Finding]:
    yield Finding("ok", "glassline", __version__)
    names = installed_packages()
    if not names:
        yield Finding("ok", "dependencies", "unknown: it runs from a source tree without being installed")
        return
    yield Finding("ok", "dependencies", f"{len(names)} packages, {size(installed_bytes())} installed with Glassline")
