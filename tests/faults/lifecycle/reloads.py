"""Configuration files that cannot be used, and what a running Glassline makes of them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import httpx

from tests.harness import Glassline
from tests.harness.client import exchange, post
from tests.harness.process import wait_until

SECRET: Final = "sk-canary-5d41402abc4b2a76b9719d911017c592"
CHAT: Final = post("/v1/chat/completions", b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}')
_STAYS: Final = "the last good one stays"
_KEY: Final = f"keys: [{{name: a, key: {SECRET}"

Spoil = Callable[[Path], None]


def bad_reloads(glassline: Glassline) -> dict[str, Any]:
    """Spoil the file in every known way, reload after each, and tell how many changed nothing and were reported."""
    good = glassline.config_file.read_bytes()
    found: dict[str, Any] = {"cases": 0, "kept": 0, "reported": 0, "flagged": 0, "leaked": 0, "slowest_s": 0.0}
    failed = []
    before = generation(glassline)
    for name, spoil in spoiled(good).items():
        marked = len(glassline.stderr)
        spoil(glassline.config_file)
        started = time.monotonic()
        glassline.reload()
        try:
            wait_until(lambda at=marked: _STAYS in glassline.stderr[at:], f"the report of {name}", timeout_s=15)  # type: ignore[misc]  # a bound default
            reported = 1
        except AssertionError:
            reported = 0
        found["slowest_s"] = max(found["slowest_s"], round(time.monotonic() - started, 3))
        said = glassline.stderr[marked:]
        kept = generation(glassline) == before and exchange(glassline.port, CHAT).status == 200
        flagged = metric(glassline, "glassline_config_reload_success") == [0.0]
        leaked = SECRET in said
        found["cases"] += 1
        found["kept"] += kept
        found["reported"] += reported
        found["flagged"] += flagged
        found["leaked"] += leaked
        if not (kept and reported and flagged) or leaked:
            failed.append(name)
        _clear(glassline.config_file)
        glassline.config_file.write_bytes(good)
    glassline.reload()
    wait_until(lambda: metric(glassline, "glassline_config_reload_success") == [1.0], "the good file")
    return found | {"failed": failed}


def spoiled(good: bytes) -> dict[str, Spoil]:
    """Return ways to spoil the file; each puts its result in its place."""
    text = {
        "syntax error": b"upstreams: {openai: [",
        "unknown key": good + b"\nbudgts: []\n",
        "unknown nested key": f"{_KEY}, budgts: []}}]".encode(),
        "missing variable": b"keys: [{name: a, key: '${NO_SUCH_VARIABLE_HERE}'}]",
        "missing secret file": b"keys: [{name: a, key: '${file:/no/such/file}'}]",
        "endless secret file": b"keys: [{name: a, key: '${file:/dev/zero}'}]",
        "duplicate key name": f"{_KEY}}}, {{name: a, key: other-{SECRET}}}]".encode(),
        "duplicate key": f"{_KEY}}}, {{name: b, key: {SECRET}}}]".encode(),
        "a key twice in one mapping": f"{_KEY}, key: {SECRET}}}]".encode(),
        "bad url": f"upstreams: {{openai: {{base_url: 'ftp://u:{SECRET}@h', api_key: {SECRET}}}}}".encode(),
        "wrong type": f"keys: {SECRET}".encode(),
        "empty": b"",
        "blank": b"\n \n# nothing but a comment\n"[:3],
        "half written": good[: len(good) // 2] + b"\n  x: [",
        "list": b"[1, 2]",
        "too large": b"# " + b"x" * 2_000_000,
        "bomb of aliases": b"a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\nd: [*c,*c]\n",
        "bomb of anchors": b"\n".join(b"k%d: &a%d [*a%d]" % (n, n, n) for n in range(2000)),
        "tag": b"!!python/object/apply:os.system ['true']",
        "deep nesting": b"[" * 200_000,
        "deep mappings": b"{a: " * 100_000,
        "many parts": b"keys: [" + b"1," * 200_000 + b"1]",
        "many unknown keys": b"\n".join(b"k%d: 1" % n for n in range(40_000)),
        "not utf-8": b"keys: [{name: \xff\xfe}]",
        "utf-16": "keys: []".encode("utf-16"),
        "nul": b"keys: \0",
    }
    cases: dict[str, Spoil] = {name: _writes(data) for name, data in text.items()}
    return cases | {
        "sparse 100 MB": _sparse,
        "directory": _directory,
        "missing": lambda path: path.unlink(),
        "dangling link": _dangling,
        "endless device": _device,
        "pipe": _pipe,
        "writable by everyone": lambda path: _writes(good, mode=0o666)(path),
    }


def generation(glassline: Glassline) -> set[float]:
    """Return the generations of the configuration that the processes work with."""
    return set(metric(glassline, "glassline_config_generation"))


def metric(glassline: Glassline, name: str) -> list[float]:
    """Return the values of one metric, whatever its labels."""
    lines = scrape(glassline).splitlines()
    return [float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name} ", f"{name}{{"))]


def scrape(glassline: Glassline) -> str:
    """Return /metrics, as soon as admin answers: a reload starts it anew."""

    def answer() -> str | None:
        try:
            response = httpx.get(f"{glassline.admin_url}/metrics", timeout=20)
        except httpx.TransportError:
            return None
        return response.text if response.status_code == 200 else None

    return wait_until(answer, "/metrics", timeout_s=20)


def _writes(data: bytes, mode: int = 0o644) -> Spoil:
    def write(path: Path) -> None:
        path.write_bytes(data)
        path.chmod(mode)

    return write


def _sparse(path: Path) -> None:
    path.write_bytes(b"")
    os.truncate(path, 100_000_000)


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.with_name("nowhere"))


def _device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _clear(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
