"""Recorder, writer and ledger as real processes that can be killed at any instant."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import BinaryIO

from proxy.config import Config
from proxy.journal import CHUNK_RESPONSE, JournalWriter
from proxy.ledger.process import run as run_ledger
from proxy.recorder import run as run_recorder
from tests.recorder.builders import ANSWER, PROMPT, make_begin, make_end

# Processes fork from a server that has imported what they need: a start takes a fraction of a second.
CONTEXT = get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.recorder.processes"])
WAIT_S = 60.0


def start(target: Callable[..., None], *args: object) -> ForkServerProcess:
    process = CONTEXT.Process(target=target, args=args, daemon=True)
    process.start()
    return process


def start_ready(target: Callable[..., None], *args: object) -> ForkServerProcess:
    """Start a process whose last parameter is an event, and wait until it sets it."""
    ready = CONTEXT.Event()
    process = start(target, *args, ready)
    assert ready.wait(WAIT_S)
    return process


def kill(process: ForkServerProcess) -> None:
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(WAIT_S)
    process.close()


def end(process: ForkServerProcess) -> None:
    """Stop a process in good order."""
    process.terminate()
    process.join(WAIT_S)
    assert process.exitcode == 0
    process.close()


def recorder(data_dir: Path, config: Config, ready: Event) -> None:
    """Be a recorder until SIGTERM."""
    run_recorder(data_dir, config, data_dir / "run" / "ledger.sock", ready=ready.set)


def ledger(data_dir: Path, config: Config, ready: Event) -> None:
    """Be the ledger until SIGTERM; its socket appears a moment after `ready`."""
    (data_dir / "run").mkdir(exist_ok=True)
    run_ledger(config, data_dir, ready=ready.set)


def fold_all(data_dir: Path, config: Config) -> None:
    """Be a recorder that ends when the journal is folded."""
    stop = threading.Event()
    stop.set()
    run_recorder(data_dir, config, data_dir / "run" / "ledger.sock", stop=stop)


def writer(data_dir: Path, log: Path, prefix: str, ready: Event) -> None:
    """Append exchanges until killed; say in `log`, as a gateway's client would know, what began and what ended."""
    journal = JournalWriter(data_dir / "journal", "gateway-0", segment_bytes=200_000)
    with log.open("ab", buffering=0) as said:
        count = 0
        # One exchange is always open for long, so that a restarted recorder has to read much of the journal again.
        long = _begin(journal, said, f"{prefix}-long-0")
        while True:
            number = _begin(journal, said, f"{prefix}-{count}")
            if count % 3 == 0:
                journal.chunk(CHUNK_RESPONSE, number, ANSWER[:100])
                journal.end(number, make_end(), ANSWER[100:])
            else:
                journal.end(number, make_end(), ANSWER)
            said.write(f"ended {prefix}-{count}\n".encode())
            count += 1
            if count % 100 == 0:
                journal.end(long, make_end(), ANSWER)
                said.write(f"ended {prefix}-long-{count - 100}\n".encode())
                long = _begin(journal, said, f"{prefix}-long-{count}")
            if count == 20:
                ready.set()
            threading.Event().wait(0.002)


def _begin(journal: JournalWriter, said: BinaryIO, exchange: str) -> int:
    number = journal.begin(make_begin(id=exchange), PROMPT)
    said.write(f"begun {exchange}\n".encode())
    return number
