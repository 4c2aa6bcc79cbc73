"""The admin process: one application on its port and on a UNIX socket for the command line.

It ends on SIGTERM within a few seconds, whatever its clients do. SIGHUP and SIGINT are the supervisor's business: a
Ctrl-C reaches the whole process group, and admin must still be there to be scraped while the gateways drain.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from proxy.admin.accounts import configured_budgets
from proxy.admin.app import create_app, guarded
from proxy.admin.guard import load_access
from proxy.admin.instruments import Instruments
from proxy.admin.keys import KeyStore
from proxy.admin.unix_socket import SOCKET_NAME, listen_unix
from proxy.config import Config
from proxy.stats import StatsReader

DRAIN_S: Final = 3
"""A scrape or a page takes milliseconds; whoever is still reading after this is cut off."""
PATIENCE_S: Final = 10.0
"""For a `glassline keys` that writes app.db itself at this moment, or for a predecessor that is ending."""


def run(
    config: Config, data_dir: Path, sockets: list[socket.socket], stats: StatsReader, ready: Callable[[], None]
) -> None:
    """Serve until SIGTERM. Raises ConfigError before anything is served when others could read along."""
    access = load_access(config.admin)
    with (
        KeyStore(data_dir, taken=[key.name for key in config.keys], patience_s=PATIENCE_S) as keys,
        _unix_listener(data_dir / "run" / SOCKET_NAME) as local,
    ):
        app = create_app(Instruments(data_dir, stats, configured_budgets(config)), keys)
        asyncio.run(_serve([(guarded(app, access), sockets), (app, [local])], ready))


async def _serve(applications: Sequence[tuple[ASGIApp, list[socket.socket]]], ready: Callable[[], None]) -> None:
    servers = [_Server(_settings(app)) for app, _ in applications]
    loop = asyncio.get_running_loop()

    def stop() -> None:
        for server in servers:
            server.should_exit = True

    if threading.current_thread() is threading.main_thread():
        loop.add_signal_handler(signal.SIGTERM, stop)
        for ignored in (signal.SIGHUP, signal.SIGINT):
            signal.signal(ignored, signal.SIG_IGN)
    async with asyncio.TaskGroup() as tasks:
        for server, (_, sockets) in zip(servers, applications, strict=True):
            tasks.create_task(server.serve(sockets))
        await asyncio.gather(*(server.is_up.wait() for server in servers))
        ready()


class _Server(uvicorn.Server):
    """One listener of several: it says when it is up, and leaves the signals to the process."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_up = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install no handlers."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so."""
        await super().startup(sockets)
        self.is_up.set()


def _settings(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http="httptools",
        loop="none",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=True,
        proxy_headers=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=DRAIN_S,
        limit_concurrency=256,
        h11_max_incomplete_event_size=16 * 1024,
    )


@contextlib.contextmanager
def _unix_listener(path: Path) -> Iterator[socket.socket]:
    listener = listen_unix(path)
    try:
        yield listener
    finally:
        listener.close()
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
