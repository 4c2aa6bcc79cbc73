"""The server: uvicorn on uvloop with httptools, and two liberties that a simulator needs.

Its protocol hands the transport to the application, so that connections can be broken;
and it stops at once, because a provider that dies does not wait for anybody.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from proxy.simulator.app import Simulator
from proxy.simulator.line import TRANSPORT
from proxy.simulator.settings import Settings
from proxy.simulator.sockets import SocketDoor

_BACKLOG = 2048
_KEEP_ALIVE_S = 75
"""uvicorn closes idle connections after 5 s; providers keep them for a minute or more, and a pool relies on it."""
_FAREWELL_S = 1.0
"""How long broken-off requests may take to write their last line to the truth log."""


def serve(settings: Settings, host: str, port: int, ready: Callable[[int], None] | None = None) -> None:
    """Run a simulated provider until SIGTERM or SIGINT; `ready` receives the bound port once it answers.

    Raises ConfigError for an unusable scenario and OSError for an unusable address.
    """
    simulator = Simulator(settings)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family, backlog=_BACKLOG) as listener:
        config = uvicorn.Config(
            simulator,
            http=_BreakableProtocol,
            ws=SocketDoor,
            loop="uvloop",
            lifespan="off",
            log_config=None,
            access_log=False,
            log_level="error",
            server_header=False,
            backlog=_BACKLOG,
            timeout_keep_alive=_KEEP_ALIVE_S,
        )
        bound: int = listener.getsockname()[1]
        simulator.warm_up()
        _Server(config, lambda: ready(bound) if ready else None).run([listener])
    simulator.close()


class _BreakableProtocol(HttpToolsProtocol):
    """Hands the transport to the application as an ASGI extension."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {TRANSPORT: self.transport}  # type: ignore[dict-item]  # not of the ASGI spec


class _Server(uvicorn.Server):
    """Says when it is ready, and stops without waiting for open requests."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen, then say so."""
        await super().startup(sockets)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Break all connections off."""
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        for connection in list(self.server_state.connections):
            if isinstance(connection, _BreakableProtocol):
                connection.transport.abort()
        if self.server_state.tasks:
            _, late = await asyncio.wait(self.server_state.tasks, timeout=_FAREWELL_S)
            for task in late:
                task.cancel()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take SIGTERM and SIGINT as the order to stop, and return normally (uvicorn would raise them again)."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        stops = (signal.SIGTERM, signal.SIGINT)
        before = {stop: signal.signal(stop, self.handle_exit) for stop in stops}
        try:
            yield
        finally:
            for stop, handler in before.items():
                signal.signal(stop, handler)
