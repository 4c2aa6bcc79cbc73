"""The collaborators of one gateway process, and its clock tick.

One tick, ten times a second, does all that must not be done for each request: flush taps, check deadlines, publish
live numbers, look for new keys. The event loop's lateness is measured by the same tick.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec

from proxy.config import Config
from proxy.errors import JournalUnavailable, LedgerUnavailable
from proxy.gateway.client import ClientConnection
from proxy.gateway.framing import RequestHead
from proxy.gateway.gate import Gate
from proxy.gateway.heads import own_response
from proxy.gateway.metered import MeteredRelay
from proxy.gateway.opening import Opening, Openings
from proxy.gateway.refusal import Refusal, body_of, headers_of
from proxy.gateway.relay import Relay
from proxy.gateway.routing import Router, Target
from proxy.gateway.socket.handshake import is_upgrade
from proxy.gateway.socket.relay import SocketRelay
from proxy.gateway.spill import Spill
from proxy.gateway.tape import Tape
from proxy.gateway.upstream import Pool
from proxy.journal import FrameKind, JournalWriter
from proxy.records import End
from proxy.reservations import Answer, Balances
from proxy.stats import StatsWriter

if TYPE_CHECKING:
    from proxy.gates.keys import KeyPolicy
    from proxy.ledger.client import LedgerClient

TICK_S: Final = 0.1
_DEADLINE_TICKS: Final = 2
"""Deadlines are checked every 0.2 s: they are seconds long."""


class Gateway:
    """One gateway process as its connections and relays see it."""

    def __init__(
        self,
        config: Config,
        *,
        loop: asyncio.AbstractEventLoop,
        gate: Gate,
        router: Router,
        journal: JournalWriter,
        ledger: LedgerClient,
        stats: StatsWriter,
    ) -> None:
        self.loop = loop
        self.now = time.monotonic  # uvloop's own clock has steps of a millisecond
        self.journal = journal
        self.ledger = ledger
        self.clients: set[ClientConnection] = set()
        self.relays: set[Relay] = set()
        self.is_draining = False
        self.journal_failures = 0
        self._stats = stats
        self._spill = Spill()
        self._bad_requests = 0
        self._pools: dict[object, Pool] = {}
        self._retired: set[object] = set()
        """Pools of an earlier configuration that nobody asked for since."""
        self._ticks = 0
        self._next_tick = 0.0
        self._worst_lag = 0.0
        self._random = random.Random().getrandbits
        self._syncing: list[Callable[[bool], None]] = []
        self._sync_task: asyncio.Future[None] | None = None
        self.on_tick: list[Callable[[], None]] = []
        """Called with every tick."""
        self.configure(config, gate, router)

    def configure(self, config: Config, gate: Gate, router: Router) -> None:
        """Use another configuration for the requests to come; those under way keep what they have."""
        self.gate = gate
        self.openings = Openings(gate, router, config.limits)
        self.limits = config.limits
        self.timeouts = config.timeouts
        self.body_bytes = int(config.limits.body_mb * 1024 * 1024)
        self.capture_bytes = int(config.record.max_body_mb * 1024 * 1024)
        self.is_strict = self.journal.keeps_rotated = config.durability == "strict"
        self._retired = set(self._pools)

    def wall_ms(self) -> int:
        """Return Unix milliseconds."""
        return time.time_ns() // 1_000_000

    def new_id(self) -> str:
        """Return a UUID of version 7: its text sorts by time. Unique, not secret: its chance is a seeded generator's."""
        text = f"{time.time_ns() // 1_000_000:012x}{self._random(78):020x}"
        return f"{text[:8]}-{text[8:12]}-7{text[13:16]}-{'89ab'[int(text[16], 16) & 3]}{text[17:20]}-{text[20:]}"

    def pool(self, target: Target) -> Pool:
        """Return the connections to the origin of `target`."""
        timeouts, most = target.timeouts, self.limits.connections_per_upstream
        settings = (target.origin, timeouts.connect, timeouts.upstream_keep_alive, most)
        pool = self._pools.get(settings)
        if pool is None:
            pool = self._pools[settings] = Pool(
                target.origin,
                self.loop,
                connect_timeout=timeouts.connect,
                keep_alive=timeouts.upstream_keep_alive,
                max_connections=most,
            )
        if self._retired:
            self._retired.discard(settings)
        return pool

    def _tend_pools(self) -> None:
        for settings, pool in tuple(self._pools.items()):
            pool.close_idle()
            if pool.is_empty and settings in self._retired:
                del self._pools[settings]
                self._retired.discard(settings)

    # --- requests ----------------------------------------------------------------------------------------------

    def accept(self, client: ClientConnection, opening: Opening, length: int | None) -> Relay | None:
        """Return the relay of a new request; None: it was answered here."""
        route, template, head = opening.route, opening.template, opening.head
        if head.target in (b"/healthz", b"/readyz"):
            self._answer_probe(client, head)
        elif self.is_draining:
            self.answer_unrecorded(
                client, "draining", 503, "the proxy is stopping", route.envelope if route else "openai"
            )
        elif head.target == b"/-/me":
            self._answer_me(client, head, opening.policy)
        elif route is None or template is None:
            self.answer_unrecorded(client, "not_found", 404, "the path names no upstream; use /v1/… or /<upstream>/…")
        elif is_upgrade(head):
            return SocketRelay(self, client, opening, route, Tape(self, template), length)
        else:
            return MeteredRelay(self, client, opening, route, Tape(self, template), length)
        return None

    def answer_unrecorded(
        self, client: ClientConnection, code: str, status: int, message: str, envelope: str = "openai"
    ) -> None:
        """Answer what never became an exchange, and close; `envelope`: how the client expects an error to be spelled."""
        self._bad_requests += 1
        refusal = Refusal(code, status, message)
        body = body_of(refusal, envelope, "")
        client.write(own_response(status, headers_of(refusal, envelope), body, b"connection: close\r\n"))
        client.exchange_over(keep_alive=False)

    def _answer_probe(self, client: ClientConnection, head: RequestHead) -> None:
        ready = head.target == b"/healthz" or self.is_ready
        body = b"ok\n" if ready else b"not ready\n"
        shown = b"" if head.method == b"HEAD" else body
        client.write(own_response(200 if ready else 503, b"content-type: text/plain\r\n", shown, b""))
        client.exchange_over(keep_alive=head.keep_alive)

    def _answer_me(self, client: ClientConnection, head: RequestHead, policy: KeyPolicy | None) -> None:
        lines = self.gate.balance_lines(policy, self.wall_ms())

        def answer(balances: Answer | LedgerUnavailable | None) -> None:
            accounts = balances.accounts if isinstance(balances, Balances) else ()
            body = b"" if head.method == b"HEAD" else msgspec.json.encode(self.gate.describe(policy, accounts))
            client.write(own_response(200, b"content-type: application/json\r\n", body, b""))
            client.exchange_over(keep_alive=head.keep_alive)

        if lines:
            client.hold()
            self.ledger.balance(lines, answer)
        else:
            answer(None)

    @property
    def is_ready(self) -> bool:
        """Say whether new requests can be taken: not while stopping, nor while records cannot be kept."""
        return not self.is_draining and not self._spill

    @property
    def is_idle(self) -> bool:
        """Say whether every exchange is over and delivered."""
        return not self.relays and self._sync_task is None

    # --- the journal -------------------------------------------------------------------------------------------

    def keep(self, kind: FrameKind, number: int, data: bytes) -> bool:
        """Append body bytes; what the disk refuses waits in memory. False: there is no room, so they are lost."""
        append = partial(self.journal.chunk, kind, number, data)
        return self._append(append) or self._spill.add_body(len(data), append)

    def keep_end(self, number: int, end: End, body: bytes) -> None:
        """Append END with the last body bytes."""
        append = partial(self.journal.end, number, end, body)
        if not self._append(append):
            self._spill.add_end(len(body) + len(end.times) + len(end.head) + 512, append)

    def keep_whole(self, begin: bytes, end: End, request: bytes, response: bytes) -> None:
        """Append an exchange that was not dispatched; `begin` is encoded."""
        append = partial(self.journal.whole_encoded, begin, end, request, response)
        if not self._append(append):
            self._spill.add_end(len(begin) + len(request) + len(response) + 1024, append)

    def _append(self, append: Callable[[], None]) -> bool:
        if not self._spill:
            try:
                append()
            except JournalUnavailable:
                pass
            else:
                return True
        self.journal_failures += 1
        return False

    def when_durable(self, deliver: Callable[[bool], None]) -> None:
        """Call `deliver` when all that was appended has reached the disk, with whether it has (`durability: strict`)."""
        self._syncing.append(deliver)
        if self._sync_task is None:
            self._start_sync()

    def _start_sync(self) -> None:
        waiting, self._syncing = self._syncing, []
        try:
            if self._spill:
                raise OSError("records wait for the disk")
            task = self._sync_task = self.loop.run_in_executor(None, self.journal.prepare_sync())
        except OSError:
            self._synced(waiting, is_durable=False)
            return
        task.add_done_callback(lambda done: self._synced(waiting, is_durable=done.exception() is None))

    def _synced(self, waiting: list[Callable[[bool], None]], *, is_durable: bool) -> None:
        self._sync_task = None
        self.journal_failures += not is_durable
        for deliver in waiting:
            deliver(is_durable)
        if self._syncing:
            self._start_sync()

    # --- the clock tick ----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to tick."""
        self._next_tick = self.now() + TICK_S
        self.loop.call_later(TICK_S, self._tick)

    def _tick(self) -> None:
        now = self.now()
        self._worst_lag = max(self._worst_lag, now - self._next_tick)
        self._ticks += 1
        try:
            self._do_chores(now)
        finally:
            # Whatever goes wrong in one turn, deadlines must still be checked in the next.
            self._next_tick = max(now, self._next_tick + TICK_S)
            self.loop.call_later(max(0.0, self._next_tick - self.now()), self._tick)

    def _do_chores(self, now: float) -> None:
        self._spill.retry()
        for relay in self.relays:
            relay.flush()
        if self._ticks % _DEADLINE_TICKS == 0:
            self._check_deadlines(now)
            self.publish()
        for call in self.on_tick:
            call()

    def _check_deadlines(self, now: float) -> None:
        for client in [client for client in self.clients if client.deadline < now]:
            client.expire()
        for relay in tuple(self.relays):
            relay.check_deadlines(now)
        self._tend_pools()

    def publish(self) -> None:
        """Write the live numbers."""
        self._stats.write(
            in_flight=len(self.relays),
            connections=len(self.clients),
            journal_failures=self.journal_failures,
            loop_lag_ms=self._worst_lag * 1000,
            is_ready=self.is_ready,
            bad_requests=self._bad_requests,
            lost_records=self._spill.lost_records,
        )
        self._worst_lag = 0.0
