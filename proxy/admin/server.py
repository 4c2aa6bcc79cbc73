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
from proxy.admin.app import build_house, build_pages, create_app, declared_routes, for_owner, guarded
from proxy.admin.database import AppDatabase
from proxy.admin.guard import load_access
from proxy.admin.instruments import Instruments
from proxy.admin.protocol import Port
from proxy.admin.unix_socket import SOCKET_NAME, listen_unix
from proxy.admin.watch import Watch
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
    config = config.model_copy(update={"data_dir": data_dir})
    access = load_access(config.admin)
    for listener in sockets:
        # Connections inherit it. asyncio sets it only on sockets that name their protocol, and without it each answer
        # on a connection that is kept waits 40 ms for the client's acknowledgement.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with (
        AppDatabase(data_dir, patience_s=PATIENCE_S) as database,
        _unix_listener(data_dir / "run" / SOCKET_NAME) as local,
    ):
        house = build_house(config, access, database)
        instruments = Instruments(data_dir, stats, configured_budgets(config))
        watch = Watch(instruments)
        pages = build_pages(instruments, house, watch)
        routes = declared_routes(instruments, house, watch, pages)
        app = create_app(routes, pages.no_page)
        try:
            applications = [(guarded(app, routes, house), sockets), (for_owner(app), [local])]
            asyncio.run(_serve(config, applications, watch, ready))
        finally:
            house.door.close()
            house.feedback.close()


async def _serve(
    config: Config,
    applications: Sequence[tuple[ASGIApp, list[socket.socket]]],
    watch: Watch,
    ready: Callable[[], None],
) -> None:
    servers = [_Server(_settings(app, Port.of(config))) for app, _ in applications]
    loop = asyncio.get_running_loop()

    def stop() -> None:
        for server in servers:
            server.should_exit = True

    if threading.current_thread() is threading.main_thread():
        loop.add_signal_handler(signal.SIGTERM, stop)
        for ignored in (signal.SIGHUP, signal.SIGINT):
            signal.signal(ignored, signal.SIG_IGN)
    watching = asyncio.create_task(watch.run())
    try:
        async with asyncio.TaskGroup() as tasks:
            for server, (_, sockets) in zip(servers, applications, strict=True):
                tasks.create_task(server.serve(sockets))
            await asyncio.gather(*(server.is_up.wait() for server in servers))
            ready()
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


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


def _settings(app: ASGIApp, port: Port) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=port.protocol,
        loop="none",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=True,
        proxy_headers=False,
        timeout_keep_alive=port.keep_alive_s,
        timeout_graceful_shutdown=DRAIN_S,
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
