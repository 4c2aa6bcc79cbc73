"""The two ways to speak to the ledger: with callbacks on an event loop (gateways), or blocking (recorder, commands).

A gateway must never dispatch what the ledger did not grant, so every doubt is an answer of its own:
`LedgerUnavailable`, when there is no connection, when it breaks again and again, or when no answer came in time. A
ledger that is being restarted is waited for somewhat longer than an answer. Whatever was granted without the gateway
knowing is released: a Release follows the abandoned Reserve on the same connection, and what was pending when a
connection broke is released on the next, before it is asked for once more. A Release has no answer, so it is said again
on every new connection until the answer to something later on the same connection shows that it was carried out. So is
the Return of a lease, and all are returned when a connection is lost: the ledger must be able to call them back.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar, cast

import msgspec

from proxy.errors import LedgerUnavailable
from proxy.ledger.framing import MAX_ANSWER, FrameBuffer, frame
from proxy.ledger.wallet import IDLE_S, Wallet
from proxy.reservations import (
    Account,
    Answer,
    Balance,
    Balances,
    BudgetLine,
    Cover,
    Draw,
    Drawn,
    Extend,
    Finish,
    Granted,
    Lease,
    Leased,
    Open,
    Opened,
    OpenReservation,
    Recall,
    Refused,
    Release,
    Reserve,
    Return,
    Settle,
)

TIMEOUT_S: Final = 2.0
"""A healthy ledger answers in about a millisecond; after two seconds an honest 503 serves the caller better."""
RESTART_S: Final = 8.0
"""After the connection was lost: a ledger that is started anew is there within a second, on a busy machine within some."""
MOST_REPEATS: Final = 3
"""A ledger that ends may still take a connection or two; one that ends with every question must not get it for ever."""
FIRST_BACK_OFF_S: Final = 0.02
MAX_BACK_OFF_S: Final = 0.5
SETTLE_CHUNK: Final = 32
"""Settlements for one commit: few enough that a gateway waits about a millisecond behind them."""
_READ_BYTES: Final = 256 * 1024
_DECODER: Final = msgspec.msgpack.Decoder(Answer)
_UNDECODABLE: Final = (LedgerUnavailable, msgspec.MsgspecError, RecursionError, UnicodeDecodeError)

Callback = Callable[[Any], None]
Decision = Granted | Refused | LedgerUnavailable


class _Pending(msgspec.Struct, frozen=True):
    """A message that awaits its answer."""

    callback: Callback
    deadline: float
    """On the loop's clock. While there is no connection it rests, for `RESTART_S` at most."""
    exchange: str | None
    """To be released when nobody waits for the answer any more; None: nothing to release."""
    message: Reserve | Extend | Cover | Lease | Balance
    """With its ticket."""
    repeats: int = 0
    """Connections that broke before its answer came."""


class LedgerClient(asyncio.Protocol):
    """A gateway's connection to the ledger. Not thread-safe: all calls come from its event loop.

    Callbacks run on the loop, exactly once; within the call itself where a lease admits a request.
    """

    def __init__(self, path: Path, *, timeout: float = TIMEOUT_S, leases: bool = True) -> None:
        """`leases` False: the ledger decides about every request by itself."""
        self._path = path
        self._timeout = timeout
        self._leases = leases
        self._transport: asyncio.Transport | None = None
        self._frames = FrameBuffer(MAX_ANSWER)
        self._pending: dict[int, _Pending] = {}
        self._outgoing: list[bytes] = []
        self._released: dict[str, tuple[int, bytes]] = {}
        """Exchanges and leases whose end may not have been heard: the last ticket before each, and its frame."""
        self._wallet = Wallet(self._ask_for_lease, self._return)
        self._tidying: asyncio.TimerHandle | None = None
        self._metered: set[str] = set()
        """Exchanges under a rate limit: the ledger counts them as concurrent until they finish."""
        self._ticket = 0
        self._connecting: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False
        self._lost_at = float("-inf")
        self._connected: asyncio.Event | None = None

    @property
    def is_connected(self) -> bool:
        """Say whether there is a connection."""
        return self._transport is not None

    def start(self) -> None:
        """Begin to connect, on the running loop; keep at it until `close`."""
        self._connected = asyncio.Event()
        self._connect()

    async def connected(self) -> None:
        """Wait until there is a connection for the first time."""
        if self._connected is not None:
            await self._connected.wait()

    async def close(self) -> None:
        """Send what is queued, close the connection, fail what is pending."""
        self._is_closed = True
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        for timer in (self._timer, self._tidying):
            if timer is not None:
                timer.cancel()
        self._timer = self._tidying = None
        self._fail(tuple(self._pending))
        self._wallet.empty()
        self._flush()
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def reserve(self, message: Reserve, callback: Callable[[Decision], None]) -> None:
        """Ask to admit a request. The ticket of `message` is replaced."""
        loop = asyncio.get_running_loop()
        granted = self._wallet.admit(message, loop.time()) if self._leases else None
        if self._tidying is None and self._wallet.is_used:
            self._tidying = loop.call_later(IDLE_S / 2, self._tidy)
        if granted is None:
            self._ask(message, callback, message.exchange)
        else:
            callback(granted)

    def extend(self, exchange: str, output_tokens: int, callback: Callable[[Decision], None]) -> None:
        """Ask to cover `output_tokens` of output in all."""
        self._ask(Extend(0, exchange, output_tokens), callback, None)

    def cover(self, message: Cover, callback: Callable[[Decision], None]) -> None:
        """Ask to cover a session. The ticket of `message` is replaced."""
        self._ask(message, callback, None)

    def balance(self, lines: Sequence[BudgetLine], callback: Callable[[Balances | LedgerUnavailable], None]) -> None:
        """Ask for the accounts behind `lines`."""
        self._ask(Balance(0, tuple(lines)), callback, None)

    def release(self, exchange: str) -> None:
        """Give a reservation back, as soon as there is a connection."""
        self._metered.discard(exchange)
        if not self._wallet.release(exchange):
            self._say_for_certain(exchange, Release(exchange))

    def return_leases(self) -> None:
        """Admit nothing more by what the ledger granted so far: budgets or prices have changed."""
        self._wallet.empty()

    def _return(self, lease: str, used_nano_usd: int) -> None:
        self._say_for_certain(lease, Return(lease, used_nano_usd))

    def _say_for_certain(self, name: str, message: Release | Return) -> None:
        data = frame(message)
        self._released[name] = self._ticket, data
        if self._transport is not None:
            self._write(data)

    def _ask_for_lease(self, message: Lease, callback: Callable[[Leased | None], None]) -> None:
        self._ask(message, lambda answer: callback(answer if isinstance(answer, Leased) else None), None)

    def _tidy(self) -> None:
        loop = asyncio.get_running_loop()
        self._wallet.tidy(loop.time())
        self._tidying = loop.call_later(IDLE_S / 2, self._tidy) if self._wallet.is_used else None

    def finish(self, exchange: str) -> None:
        """Say that an exchange is over; a connection that is lost says so for all that were asked for on it."""
        if not self._wallet.finish(exchange) and exchange in self._metered:
            self._metered.discard(exchange)
            if self._transport is not None:
                self._write(frame(Finish(exchange)))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Give back what may still be held, then ask once more for what is pending."""
        # Not checked with isinstance: uvloop's transports are no subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._frames = FrameBuffer(MAX_ANSWER)
        if self._pending:  # then it was lost: how long that took is not the ledger's time to answer
            lost_s = asyncio.get_running_loop().time() - self._lost_at
            for ticket, entry in self._pending.items():
                self._pending[ticket] = msgspec.structs.replace(entry, deadline=entry.deadline + lost_s)
        again = [data for _, data in self._released.values()]
        again += [frame(entry.message) for entry in self._pending.values()]
        if again:
            self._transport.write(b"".join(again))
        if self._connected is not None:
            self._connected.set()

    def data_received(self, data: bytes) -> None:
        """Hand each answer to whom it belongs."""
        try:
            answers = [_DECODER.decode(payload) for payload in self._frames.feed(data)]
        except _UNDECODABLE:
            if self._transport is not None:
                self._transport.abort()
            return
        for answer in answers:
            if isinstance(answer, Recall):
                self._wallet.recall(answer.lease, asyncio.get_running_loop().time())
                continue
            self._forget_released_before(answer.ticket)
            pending = self._pending.pop(answer.ticket, None)
            if pending is not None:
                if pending.exchange is not None:
                    self._released.pop(pending.exchange, None)  # said before it was asked for again: it holds now
                    if isinstance(pending.message, Reserve) and pending.message.rates and isinstance(answer, Granted):
                        self._metered.add(pending.exchange)
                pending.callback(answer)

    def _forget_released_before(self, ticket: int) -> None:
        """Messages of one connection keep their order: what was released before an answered question is free."""
        while self._released:
            name, (last_ticket, _) = next(iter(self._released.items()))
            if last_ticket >= ticket:
                return
            del self._released[name]

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's signature
        """Connect again, and ask once more for what is pending; what was repeated too often fails."""
        self._transport = None
        self._outgoing.clear()
        if not self._is_closed:
            self._lost_at = asyncio.get_running_loop().time()
            self._connect()
            self._fail([ticket for ticket, entry in self._pending.items() if _is_stale(entry)])
            self._wallet.empty()
            self._repeat()

    def _repeat(self) -> None:
        """Keep what is pending for the next connection; what the ledger may have granted is given back first."""
        for ticket, entry in self._pending.items():
            if entry.exchange is not None:
                self.release(entry.exchange)
            self._pending[ticket] = msgspec.structs.replace(entry, repeats=entry.repeats + 1)

    def _ask(
        self, message: Reserve | Extend | Cover | Lease | Balance, callback: Callback, exchange: str | None
    ) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        if self._transport is None and now > self._lost_at + RESTART_S:
            loop.call_soon(callback, LedgerUnavailable("the ledger is not connected"))
            return
        self._ticket += 1
        message = msgspec.structs.replace(message, ticket=self._ticket)
        self._pending[self._ticket] = _Pending(callback, now + self._timeout, exchange, message)
        if self._timer is None:
            self._timer = loop.call_later(self._timeout, self._sweep)
        if self._transport is not None:
            self._write(frame(message))

    def _write(self, data: bytes) -> None:
        if not self._outgoing:
            asyncio.get_running_loop().call_soon(self._flush)
        self._outgoing.append(data)

    def _flush(self) -> None:
        if self._outgoing and self._transport is not None:
            self._transport.write(b"".join(self._outgoing))
        self._outgoing.clear()

    def _sweep(self) -> None:
        """Give up on what has waited too long; one timer for all, since all wait equally long."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if self._transport is None and now < self._lost_at + RESTART_S:
            self._timer = loop.call_at(self._lost_at + RESTART_S, self._sweep)
            return
        late = list(itertools.takewhile(lambda ticket: self._pending[ticket].deadline <= now, self._pending))
        self._fail(late, "the ledger did not answer in time")
        first = next(iter(self._pending.values()), None)
        self._timer = None if first is None else loop.call_at(first.deadline, self._sweep)

    def _fail(self, tickets: Iterable[int], why: str = "the connection to the ledger broke") -> None:
        entries = [self._pending.pop(ticket) for ticket in tickets]
        for entry in entries:
            if entry.exchange is not None:
                self.release(entry.exchange)
        for entry in entries:
            entry.callback(LedgerUnavailable(why))

    def _connect(self) -> None:
        self._connecting = asyncio.get_running_loop().create_task(self._keep_connecting())

    async def _keep_connecting(self) -> None:
        back_off = FIRST_BACK_OFF_S
        while True:
            try:
                await asyncio.get_running_loop().create_unix_connection(lambda: self, str(self._path))
                return  # should it be lost again already, `connection_lost` has started anew
            except OSError:
                await asyncio.sleep(back_off)
                back_off = min(2 * back_off, MAX_BACK_OFF_S)


def _is_stale(entry: _Pending) -> bool:
    """Say whether what was asked for on a lost connection is not asked for again; a lease would grow twice."""
    return entry.repeats >= MOST_REPEATS or isinstance(entry.message, Lease)


_Expected = TypeVar("_Expected", bound=msgspec.Struct)


class SyncLedgerClient:
    """A blocking connection, opened by the first call and again after a failure. Raises LedgerUnavailable."""

    def __init__(self, path: Path, *, timeout: float = 5.0) -> None:
        self._path = path
        self._timeout = timeout
        self._socket: socket.socket | None = None
        self._frames = FrameBuffer(MAX_ANSWER)
        self._ticket = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def settle(self, messages: Sequence[Settle]) -> None:
        """Settle all of `messages`, durably. After an error some may be settled; settling them again does no harm."""
        for start in range(0, len(messages), SETTLE_CHUNK):
            chunk = [self._numbered(message) for message in messages[start : start + SETTLE_CHUNK]]
            self._send(chunk)
            self._receive(len(chunk))

    def draw(self, messages: Sequence[Draw]) -> tuple[str, ...]:
        """Settle requests under leases, durably; return the leases that are over."""
        if not messages:
            return ()
        self._send([self._numbered(message) for message in messages])
        answers = self._receive(len(messages))
        return tuple(
            message.lease
            for message, answer in zip(messages, answers, strict=True)
            if isinstance(answer, Drawn) and not answer.is_open
        )

    def open(self, owner: str = "") -> tuple[OpenReservation, ...]:
        """Return the open reservations of one owner, or of all."""
        return self._call(Open(0, owner), Opened).reservations

    def release(self, exchanges: Iterable[str]) -> None:
        """Give reservations back, durably."""
        self._send([Release(exchange) for exchange in exchanges])
        self.balance(())  # messages of one connection keep their order: its answer tells that the releases are done

    def balance(self, lines: Sequence[BudgetLine]) -> tuple[Account, ...]:
        """Return the accounts behind `lines`."""
        return self._call(Balance(0, tuple(lines)), Balances).accounts

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _call(self, message: Open | Balance, expected: type[_Expected]) -> _Expected:
        self._send([self._numbered(message)])
        (answer,) = self._receive(1)
        if not isinstance(answer, expected):
            self.close()
            raise LedgerUnavailable(f"the ledger answered {type(answer).__name__}")
        return answer

    def _numbered(self, message: Settle | Draw | Open | Balance) -> Settle | Draw | Open | Balance:
        self._ticket += 1
        return msgspec.structs.replace(message, ticket=self._ticket)

    def _send(self, messages: Sequence[msgspec.Struct]) -> None:
        with self._failing():
            self._connection().sendall(b"".join(frame(message) for message in messages))

    def _receive(self, count: int) -> list[Answer]:
        """Return the next `count` answers. They come in the order of the messages."""
        answers: list[Answer] = []
        with self._failing():
            while len(answers) < count:
                data = self._connection().recv(_READ_BYTES)
                if not data:
                    raise LedgerUnavailable("the ledger closed the connection")
                answers += [_DECODER.decode(payload) for payload in self._frames.feed(data)]
            if len(answers) > count or answers[-1].ticket != self._ticket:
                raise LedgerUnavailable("the ledger lost count of its answers")
        return answers

    def _connection(self) -> socket.socket:
        if self._socket is None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._socket.settimeout(self._timeout)
            self._frames = FrameBuffer(MAX_ANSWER)
            self._socket.connect(str(self._path))
        return self._socket

    @contextlib.contextmanager
    def _failing(self) -> Any:
        """Close the connection on any failure, so that no late answer meets the next call."""
        try:
            yield
        except (OSError, *_UNDECODABLE) as error:
            self.close()
            raise LedgerUnavailable(f"ledger: {error}") from error
