"""A port that speaks TLS: a handshake that is under way counts like the connection that it becomes.

Otherwise nobody would count those who connect and say nothing, or stop half-way: thousands of them, each with its
buffers, for as long as a handshake may take. Who is one too many is closed without a word: a word costs a handshake.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import TYPE_CHECKING, Final

from proxy.crowd import peer_address
from proxy.gateway.client import ClientConnection

if TYPE_CHECKING:
    from proxy.gateway.service import Gateway

_AT_ONCE: Final = 4
"""Connections to take in one turn of the loop. libuv takes one from a plain port: a burst shall wait, and not those who
are inside (with eight at a time, these waited 130 ms instead of 14 on a machine short of processors)."""
_REST_S: Final = 0.1
"""After a connection could not be taken, as for want of a descriptor: the queue stays readable, and the loop would spin."""


class TlsPort:
    """One listening socket."""

    def __init__(self, gateway: Gateway, listener: socket.socket, context: ssl.SSLContext, handshake_s: float) -> None:
        self._gateway = gateway
        self._listener = listener
        self._context = context
        self._handshake_s = handshake_s
        self._handshakes: set[asyncio.Task[None]] = set()
        self._is_closed = False
        self._open()

    def close(self) -> None:
        """Take no more; handshakes under way go on."""
        if not self._is_closed:
            self._is_closed = True
            self._gateway.loop.remove_reader(self._listener)
            self._listener.close()

    def _open(self) -> None:
        if not self._is_closed:
            self._gateway.loop.add_reader(self._listener, self._take)

    def _take(self) -> None:
        loop = self._gateway.loop
        for _ in range(_AT_ONCE):
            try:
                connection, address = self._listener.accept()
            except BlockingIOError:
                return
            except OSError:
                loop.remove_reader(self._listener)
                loop.call_later(_REST_S, self._open)
                return
            connection.setblocking(False)
            client = ClientConnection(self._gateway)
            if not self._gateway.enters(client, peer_address(address)):
                connection.close()
                continue
            handshake = loop.create_task(self._shake_hands(client, connection))
            self._handshakes.add(handshake)
            handshake.add_done_callback(self._handshakes.discard)

    async def _shake_hands(self, client: ClientConnection, connection: socket.socket) -> None:
        try:
            await self._gateway.loop.connect_accepted_socket(
                lambda: client, connection, ssl=self._context, ssl_handshake_timeout=self._handshake_s
            )
        except OSError:  # ssl.SSLError and TimeoutError are some
            self._gateway.crowd.leave(client)
