"""A gateway process: made by the supervisor, told by signals and by the control socket.

SIGTERM stops: `/readyz` says so at once; after `timeouts.pre_stop` the port closes, what waits in its queue is still
taken, and exchanges get `timeouts.drain` to end. SIGUSR2 drains in the same way, but others have taken over: the queue
is theirs and `/readyz` stays good. A second SIGTERM cuts what still runs. A new configuration comes pickled through
the control socket, checked by the supervisor; the end of that socket means that the supervisor is gone, and drains.

A connection of a draining gateway gets a moment for one more request, which is answered with `connection: close`; so a
client that sends while the gateway turns away meets an answer and no closed door.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import pickle
import signal
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final

import uvloop

from proxy.config import Config
from proxy.config.hidden import secrets_of
from proxy.encryption import read_file
from proxy.errors import EnvironmentUnusable, StoreError
from proxy.failpoints import failpoint
from proxy.gates.budgets import Budgets, shared_templates
from proxy.gates.keys import SNAPSHOT_PURPOSE, DynamicKey, KeyRing, decode_snapshot
from proxy.gateway.client import ClientConnection
from proxy.gateway.door import TlsPort
from proxy.gateway.gate import Gate
from proxy.gateway.routing import Router, build_targets
from proxy.gateway.service import LAST_REQUEST_S, Gateway
from proxy.journal import JournalWriter
from proxy.ledger.client import LedgerClient
from proxy.logs import hide
from proxy.pepper import load_pepper
from proxy.stats import StatsWriter

log = logging.getLogger(__name__)
BACKLOG: Final = 4096
"""Connections that may wait in the kernel; asyncio's 100 overflows in a burst of a thousand clients."""
_LENGTH_BYTES: Final = 4
_LATE_ARRIVALS_S: Final = 0.1
"""A connection that was accepted before the port closed shows up some turns of the loop later."""
_CUT_WITHIN_S: Final = 1.0
"""For the last words of what was cut to be on the disk and with the clients."""
_LEDGER_WITHIN_S: Final = 5.0
"""How long a start waits for the ledger; after that, callers without a budget are served all the same."""


class KeySnapshot:
    """The file in which admin publishes the dynamic keys; read again when it changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self.keys: tuple[DynamicKey, ...] = ()

    def refresh(self) -> bool:
        """Read the file if it is another one; say whether the keys are. One that cannot be read leaves the last in force."""
        try:
            status = self._path.stat()
            mark = (status.st_mtime_ns, status.st_ino)
            if mark == self._seen:
                return False
            keys = tuple(decode_snapshot(read_file(self._path, SNAPSHOT_PURPOSE)))
        except FileNotFoundError:
            return False
        except (OSError, StoreError, EnvironmentUnusable):
            return False
        self._seen = mark
        has_changed, self.keys = keys != self.keys, keys
        return has_changed


class GatewayProcess:
    """Everything one gateway process owns."""

    def __init__(
        self, config: Config, *, data_dir: Path, role: str, stats: StatsWriter, control: socket.socket
    ) -> None:
        self._config = config
        self._data_dir = data_dir
        self._control = control
        self._buffer = b""
        self._snapshot = KeySnapshot(data_dir / "run" / "keys.json")
        self._snapshot.refresh()
        self._pepper = load_pepper(data_dir)
        self._loop = asyncio.get_running_loop()
        self._drained = asyncio.Event()
        self._drain_from = 0.0
        self._drain_until: float | None = None
        self._cut_until: float | None = None
        self._listeners: list[socket.socket] = []
        self._servers: list[asyncio.Server | TlsPort] = []
        self._tls: ssl.SSLContext | None = None
        self._stats = stats
        self.journal = JournalWriter(data_dir / "journal", role)
        self.ledger = LedgerClient(data_dir / "run" / "ledger.sock")
        self.gateway = Gateway(
            config,
            loop=self._loop,
            gate=self._make_gate(config),
            router=_make_router(config),
            journal=self.journal,
            ledger=self.ledger,
            stats=stats,
        )
        self.gateway.on_tick.append(self._each_tick)

    def _make_gate(self, config: Config) -> Gate:
        keys = KeyRing(config.keys, self._snapshot.keys, self._pepper)
        return Gate(config, keys, Budgets(shared_templates(config.budgets)), owner=self.journal.name)

    def _each_tick(self) -> None:
        if self._snapshot.refresh():
            self._reconfigure(self._config)
        if self._drain_until is not None:
            self._check_drain()

    def _reconfigure(self, config: Config) -> None:
        try:
            gate = self._make_gate(config)
        except StoreError as error:
            log.error("the keys in force stay as they are: %s", error)
            return
        if config is not self._config:
            hide((*secrets_of(self._config), *secrets_of(config)))
        self._config = config
        self.ledger.return_leases()
        self.gateway.configure(config, gate, _make_router(config))

    async def serve(self, listeners: list[socket.socket], ready: Callable[[], None]) -> None:
        """Relay until drained."""
        loop, gateway = self._loop, self.gateway
        for number in (signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, lambda: None)
        loop.add_signal_handler(signal.SIGTERM, self.stop)
        loop.add_signal_handler(signal.SIGUSR2, self.drain)
        loop.add_reader(self._control, self._read_control)
        self.ledger.start()
        self._tls = _server_tls(self._config)
        self._listeners = listeners
        gateway.start()
        gateway.publish()
        # Connections wait at the port meanwhile: a request under a budget that came first would be refused.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LEDGER_WITHIN_S):
                await self.ledger.connected()
        await self._open_port()
        # What is here now stays: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(10_000, 20, 20)
        ready()
        await self._drained.wait()
        self._close_port()
        for client in tuple(gateway.clients):
            if client.transport is not None:
                client.transport.close()
        await asyncio.sleep(0.05)
        await self.ledger.close()
        lost = gateway.scribe.abandon()
        if lost:
            log.error("%d records lost: the disk took none of them until this process had to end", lost)
        gateway.publish()
        self.journal.close()

    async def _open_port(self) -> None:
        for listener in self._listeners:
            self._servers.append(await self._serve_at(listener))
        if self.gateway.is_draining:  # it was told to stop while it waited
            self._close_port()

    async def _serve_at(self, listener: socket.socket) -> asyncio.Server | TlsPort:
        if self._tls is not None:
            return TlsPort(self.gateway, listener, self._tls, self._config.timeouts.header)
        return await self._loop.create_server(self._connection, sock=listener, backlog=BACKLOG, start_serving=True)

    def _connection(self) -> ClientConnection:
        return ClientConnection(self.gateway)

    def stop(self) -> None:
        """Be not ready, wait `timeouts.pre_stop`, take what waits at the port, drain; a second call cuts.

        One that retires drains already, and goes on with it.
        """
        gateway = self.gateway
        if gateway.is_stopping:
            self._cut()
            return
        gateway.is_stopping = True
        gateway.publish()
        if not gateway.is_draining:
            self._loop.create_task(self._stop_soon())

    async def _stop_soon(self) -> None:
        await asyncio.sleep(self._config.timeouts.pre_stop)
        if self.gateway.is_draining:
            return
        waiting = [connection for listener in self._listeners for connection in _take_queue(listener)]
        await asyncio.gather(*map(self._take_in, waiting))
        self.drain()

    async def _take_in(self, connection: socket.socket) -> None:
        patience_s = LAST_REQUEST_S if self._tls is not None else None  # a silent one must not hold up the stop
        with contextlib.suppress(OSError):
            await self._loop.connect_accepted_socket(
                self._connection, connection, ssl=self._tls, ssl_handshake_timeout=patience_s
            )

    def drain(self) -> None:
        """Accept no more; end when every exchange is over, at the latest after `timeouts.drain`."""
        if self.gateway.is_draining:
            return
        self._close_port()
        self._drain_from = self._loop.time()
        self._drain_until = self._drain_from + self._config.timeouts.drain
        self.gateway.drain()
        self.gateway.publish()
        self._watch_drain()

    def _renew_certificate(self, config: Config) -> None:
        """Use the certificate that stands in the file now for connections to come."""
        if self._tls is None or config.listen.tls is None:
            return
        try:
            self._tls.load_cert_chain(config.listen.tls.cert, config.listen.tls.key)
        except OSError as error:
            log.error("the certificate in force stays: %s", error.strerror or type(error).__name__)

    def _close_port(self) -> None:
        for server in self._servers:
            server.close()
        self._servers.clear()

    def _watch_drain(self) -> None:
        self._check_drain()
        if not self._drained.is_set():
            self._loop.call_later(0.02, self._watch_drain)

    def _check_drain(self) -> None:
        now = self._loop.time()
        if self._cut_until is not None:
            if self.gateway.is_idle or now > self._cut_until:
                self._drained.set()
        elif now > self._drain_from + _LATE_ARRIVALS_S and self.gateway.is_idle and not self.gateway.clients:
            self._drained.set()
        elif self._drain_until is not None and now > self._drain_until:
            self._cut()

    def _cut(self) -> None:
        """End what still runs; what is cut is recorded, and its client told, before the process ends."""
        if self._cut_until is not None:
            return
        self._cut_until = self._loop.time() + _CUT_WITHIN_S
        for relay in tuple(self.gateway.relays):
            relay.cut_for_shutdown()
        self._close_port()
        self.gateway.drain()
        self._watch_drain()

    def _read_control(self) -> None:
        data = self._control.recv(1 << 20)
        if not data:
            self._loop.remove_reader(self._control)
            if not self.gateway.is_draining:
                self.stop()
            return
        self._buffer += data
        while len(self._buffer) >= _LENGTH_BYTES:
            size = int.from_bytes(self._buffer[:_LENGTH_BYTES], "little")
            if len(self._buffer) < _LENGTH_BYTES + size:
                return
            message = self._buffer[_LENGTH_BYTES : _LENGTH_BYTES + size]
            self._buffer = self._buffer[_LENGTH_BYTES + size :]
            # Our own supervisor wrote it, over a socket pair that nobody else holds.
            generation, config = pickle.loads(message)  # noqa: S301
            failpoint("gateway.reload")
            self._reconfigure(config)
            self._renew_certificate(config)
            if self._config is config:
                self._stats.generation = generation
                self.gateway.publish()


def _take_queue(listener: socket.socket) -> list[socket.socket]:
    """Accept the connections that the kernel has made already and that would be reset when the port closes."""
    taken: list[socket.socket] = []
    try:
        while True:
            connection, _ = listener.accept()
            connection.setblocking(False)
            taken.append(connection)
    except OSError:
        return taken


def _make_router(config: Config) -> Router:
    return Router(build_targets(config), config.default_upstream)


def _server_tls(config: Config) -> ssl.SSLContext | None:
    if config.listen.tls is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(config.listen.tls.cert, config.listen.tls.key)
    context.set_alpn_protocols(["http/1.1"])
    return context


def run(
    config: Config,
    *,
    data_dir: Path,
    role: str,
    listeners: list[socket.socket],
    stats: StatsWriter,
    control: socket.socket,
    ready: Callable[[], None],
) -> None:
    """Be a gateway process. Returns when it has drained."""

    async def main() -> None:
        process = GatewayProcess(config, data_dir=data_dir, role=role, stats=stats, control=control)
        await process.serve(listeners, ready)

    uvloop.run(main())
