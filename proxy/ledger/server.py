"""The ledger process: one thread, one selector, one transaction for all messages that have arrived.

Each turn reads every connection that has something, carries out what it found as one batch, and answers after the
commit. While a commit waits for the disk the next batch gathers in the sockets, so throughput grows with load. A peer
that breaks the protocol loses its connection; nobody else notices.

What leases hold and gateways have not used shall refuse nobody. So before a budget refuses anything, the leases on it
are recalled; when they are back, or their gateways are gone or do not answer, it is decided once more. That is for good,
unless another budget of the same request refuses then, with leases that were not called back for it.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import selectors
import signal
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

import msgspec

from proxy.errors import EnvironmentUnusable, LedgerUnavailable
from proxy.ledger.framing import MAX_REQUEST, FrameBuffer, frame
from proxy.ledger.ledger import Ledger
from proxy.reservations import (
    Answer,
    Cover,
    Draw,
    Finish,
    Granted,
    Lease,
    Leased,
    Recall,
    Refused,
    Release,
    Request,
    Reserve,
    Return,
    Settle,
)

READ_BYTES: Final = 256 * 1024
MAX_UNSENT_BYTES: Final = 1024 * 1024
"""A peer with more answers than this unread is not read from until it has caught up."""
RECALL_S: Final = 0.25
"""A gateway returns a lease within a turn of its loop; one that cannot in this time is stuck. Callers wait two seconds."""
RETURN_S: Final = 1.0
"""Within which gateways have found a ledger that was started anew, and returned what they had of the one before."""
_NOBODY_WAITED: Final[Mapping[int, _Waiting]] = MappingProxyType({})
_LOG: Final = logging.getLogger(__name__)
_DECODER: Final = msgspec.msgpack.Decoder(Request)


def serve(socket_path: Path, ledger: Ledger, *, stop: int) -> None:
    """Answer connections on the UNIX socket at `socket_path` until the file descriptor `stop` can be read.

    The batch under way is finished and answered. Raises EnvironmentUnusable when the socket cannot be made.
    """
    listener = _listen(socket_path)
    try:
        _Server(listener, ledger, stop).run()
    finally:
        listener.close()
        socket_path.unlink(missing_ok=True)


@contextlib.contextmanager
def stop_on_signals(*signals: int) -> Iterator[int]:
    """Yield a file descriptor that can be read once one of `signals` has arrived (main thread only)."""
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    before = {number: signal.signal(number, lambda *_: None) for number in signals}
    wakeup = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    try:
        yield receiver.fileno()
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        receiver.close()
        sender.close()


def _listen(path: Path) -> socket.socket:
    """Bind a socket only this user can reach. The ledger's file lock has made sure that a leftover is dead."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        path.unlink(missing_ok=True)
        listener.bind(str(path))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise EnvironmentUnusable(f"ledger socket {path}: {error.strerror or error}") from error
    finally:
        os.umask(mask)
    listener.setblocking(False)
    return listener


class _Peer:
    """One connection: what it sent, what it has yet to take, whose concurrency slots it holds."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.frames = FrameBuffer(MAX_REQUEST)
        self.unsent = bytearray()
        self.exchanges: set[str] = set()

    def read(self) -> list[Request] | None:
        """Return the messages that have arrived; None: the connection is over."""
        try:
            data = self.connection.recv(READ_BYTES)
            return [_DECODER.decode(payload) for payload in self.frames.feed(data)] if data else None
        except BlockingIOError:
            return []
        except (OSError, LedgerUnavailable, msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            _LOG.warning("a connection to the ledger was closed: %s", type(error).__name__)
            return None

    def send(self) -> bool:
        """Send what is unsent, as far as it goes; say whether the connection lives."""
        try:
            while self.unsent:
                del self.unsent[: self.connection.send(self.unsent)]
        except BlockingIOError:
            return True
        except OSError:
            return False
        return True


@dataclass(slots=True, eq=False)
class _Waiting:
    """A message that would be refused, unless leases that are called back make room."""

    peer: _Peer
    message: Request
    leases: set[str]
    until: float


class _Server:
    """The loop."""

    def __init__(self, listener: socket.socket, ledger: Ledger, stop: int) -> None:
        self._listener = listener
        self._ledger = ledger
        self._stop = stop
        self._selector = selectors.DefaultSelector()
        self._peers: set[_Peer] = set()
        self._leases: dict[str, _Peer | None] = dict.fromkeys(ledger.lent())
        """Leases that can be called back, and who has them; None: who had them when this ledger was started."""
        self._returned_at = time.monotonic() + RETURN_S
        """From then on who has not returned what an earlier ledger lent is taken for dead."""
        self._waiting: list[_Waiting] = []
        self._called: set[str] = set()
        """Leases that were called back since somebody waits."""

    def run(self) -> None:
        self._selector.register(self._stop, selectors.EVENT_READ)
        self._selector.register(self._listener, selectors.EVENT_READ)
        try:
            while self._turn():
                pass
        finally:
            for peer in tuple(self._peers):
                self._drop(peer)
            self._selector.close()

    def _turn(self) -> bool:
        """Wait for something, deal with it, say whether to go on."""
        goes_on = True
        batch: list[tuple[_Peer, Request]] = []
        for key, events in self._selector.select(self._patience_s()):
            if isinstance(key.data, _Peer):
                batch += self._attend(key.data, events)
            elif key.fd == self._stop:
                goes_on = False
            else:
                self._accept()
        for part in _by_urgency(batch):
            self._answer(part)
        if self._waiting:
            self._decide_again()
        return goes_on

    def _patience_s(self) -> float | None:
        if not self._waiting:
            return None
        return max(0.0, min(each.until for each in self._waiting) - time.monotonic())

    def _decide_again(self) -> None:
        now = time.monotonic()
        ready: list[_Waiting] = []
        still: list[_Waiting] = []
        for each in self._waiting:
            is_ready = each.until <= now or each.leases.isdisjoint(self._leases)
            (ready if is_ready else still).append(each)
        if ready:
            self._waiting = still
            before = {id(each.message): each for each in ready}
            self._answer([(each.peer, each.message) for each in ready if each.peer in self._peers], before)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the peer may be gone already
            connection, _ = self._listener.accept()
            connection.setblocking(False)
            peer = _Peer(connection)
            self._peers.add(peer)
            self._selector.register(connection, selectors.EVENT_READ, peer)

    def _attend(self, peer: _Peer, events: int) -> list[tuple[_Peer, Request]]:
        messages: list[Request] | None = []
        if events & selectors.EVENT_READ:
            messages = peer.read()
        if messages is None or not peer.send():
            self._drop(peer)
        else:
            self._watch(peer)
        return [(peer, message) for message in messages or ()]

    def _answer(self, batch: list[tuple[_Peer, Request]], before: Mapping[int, _Waiting] = _NOBODY_WAITED) -> None:
        """Carry out messages and answer them; `before`: how those have waited that have, by identity of the message."""
        self._ledger.lends = not self._waiting
        try:
            answers = self._ledger.handle([message for _, message in batch])
        except LedgerUnavailable:
            _LOG.exception("a batch of %d messages could not be committed", len(batch))
            for peer in {peer for peer, _ in batch}:
                self._drop(peer)  # the quickest way to say no: its callers fail closed
            return
        for (peer, message), answer in zip(batch, answers, strict=True):
            self._note(peer, message, answer)
        for (peer, message), answer in zip(batch, answers, strict=True):
            if isinstance(message, Release):
                self._give_up(peer, message.exchange)
            elif answer is not None and not self._waits(peer, message, answer, before.get(id(message))):
                peer.unsent += frame(answer)
        for peer in {peer for peer, _ in batch}:
            self._flush(peer)

    def _note(self, peer: _Peer, message: Request, answer: Answer | None) -> None:
        """Remember what is given back when a peer is gone."""
        match message, answer:
            case Reserve(), Granted() if message.rates:
                peer.exchanges.add(message.exchange)
            case ((Finish() | Release()), _):
                peer.exchanges.discard(message.exchange)
            case Lease(), Leased() if answer.nano_usd and peer in self._peers:
                self._leases[message.lease] = peer
            case Return(), _:
                self._leases.pop(message.lease, None)
        if isinstance(message, Release | Settle):  # of a lease, by the recorder: whoever had it is dead
            self._leases.pop(message.exchange, None)

    def _waits(self, peer: _Peer, message: Request, answer: Answer, before: _Waiting | None) -> bool:
        """Let a refusal wait for the leases on the budget that refuses; say whether there are any.

        When they are back it may be another budget that refuses, with leases of its own; `until` stands for all.
        """
        if not self._leases or not isinstance(answer, Refused) or answer.reason != "budget":
            return False
        if self._returned_at < time.monotonic():
            self._forget_dead()
        leases = self._ledger.leases_of(answer.name, _scope_of(message, answer.name)) & self._leases.keys()
        until = max(time.monotonic() + RECALL_S, self._returned_at if None in map(self._leases.get, leases) else 0.0)
        if before is not None:
            leases, until = leases - before.leases, before.until
        if not leases or until <= time.monotonic():
            return False
        if not self._waiting:
            self._called.clear()
        self._waiting.append(_Waiting(peer, message, leases | (before.leases if before is not None else set()), until))
        for lease in leases - self._called:
            holder = self._leases.get(lease)
            if holder is not None:  # it may turn out to be gone, with all its leases, when the first is called back
                holder.unsent += frame(Recall(0, lease))
                self._flush(holder)
        self._called |= leases
        return True

    def _forget_dead(self) -> None:
        self._returned_at = math.inf
        self._leases = {lease: holder for lease, holder in self._leases.items() if holder is not None}

    def _give_up(self, peer: _Peer, exchange: str) -> None:
        """Decide no more about a request that was given up: nobody would give back what it got then."""
        self._waiting = [
            each
            for each in self._waiting
            if each.peer is not peer or not isinstance(each.message, Reserve) or each.message.exchange != exchange
        ]

    def _flush(self, peer: _Peer) -> None:
        if peer not in self._peers:
            self._ledger.disconnect(peer.exchanges)  # it left while its batch was carried out
        elif peer.send():
            self._watch(peer)
        else:
            self._drop(peer)

    def _watch(self, peer: _Peer) -> None:
        events = selectors.EVENT_WRITE if peer.unsent else 0
        if len(peer.unsent) <= MAX_UNSENT_BYTES:
            events |= selectors.EVENT_READ
        if self._selector.get_key(peer.connection).events != events:
            self._selector.modify(peer.connection, events, peer)

    def _drop(self, peer: _Peer) -> None:
        if peer in self._peers:
            self._peers.discard(peer)
            self._leases = {lease: holder for lease, holder in self._leases.items() if holder is not peer}
            self._selector.unregister(peer.connection)
            peer.connection.close()
            self._ledger.disconnect(peer.exchanges)


def _scope_of(message: Request, budget: str) -> str | None:
    """Return whose share of a budget a message is about; None: it does not say."""
    lines = message.lines if isinstance(message, Reserve | Cover) else ()
    return next((line.scope for line in lines if line.budget == budget), None)


def _by_urgency(batch: list[tuple[_Peer, Request]]) -> Iterator[list[tuple[_Peer, Request]]]:
    """Yield what requests wait for, then what comes from those that settle: for that nobody waits."""
    settling = {peer for peer, message in batch if isinstance(message, Settle | Draw)}
    for is_settling in (False, True):
        part = [each for each in batch if (each[0] in settling) is is_settling]
        if part:
            yield part
