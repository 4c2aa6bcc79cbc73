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
from proxy.crowd import Crowd, TooMany, peer_address
from proxy.errors import LedgerUnavailable
from proxy.framing import RequestHead
from proxy.gates.failures import Failures
from proxy.gateway.client import ClientConnection
from proxy.gateway.credentials import read_credentials
from proxy.gateway.gate import Gate
from proxy.gateway.heads import own_response
from proxy.gateway.metered import MeteredRelay
from proxy.gateway.opening import Opening, Openings
from proxy.gateway.refusal import Refusal, body_of, headers_of, spelled
from proxy.gateway.relay import Relay
from proxy.gateway.retry import RepeatingRelay
from proxy.gateway.routing import Router, Target
from proxy.gateway.scribe import Scribe
from proxy.gateway.socket.relay import SocketRelay
from proxy.gateway.tape import Tape
from proxy.gateway.upstream import Pool
from proxy.journal import JournalWriter
from proxy.reservations import Answer, Balances
from proxy.stats import StatsWriter

if TYPE_CHECKING:
    from proxy.gates.keys import KeyPolicy
    from proxy.ledger.client import LedgerClient

TICK_S: Final = 0.1
LAST_REQUEST_S: Final = 1.0
"""How long an idle connection of a draining gateway may still send a request: longer than one is ever on its way."""
_RELAYS_PER_TURN: Final = 32
_MOST_TURNS: Final = 25
"""Exchanges that are tended to at once, and how often that may be between two ticks."""
_DEADLINE_TICKS: Final = 2
"""Deadlines are checked every 0.2 s: they are seconds long."""
_PROBES: Final = frozenset((b"/healthz", b"/readyz"))
_UUID_VERSION: Final = 0x7000_8000_0000_0000_0000
"""Version 7 and the variant, where RFC 9562 §5.7 wants them."""
_UUID_CHANCE: Final = 0x0FFF_3FFF_FFFF_FFFF_FFFF
_MOST_TURNED_AWAY: Final = 256
"""Connections over a limit that are told so at the same time; any more are closed without a word."""
_TOO_MANY: Final[dict[TooMany, str]] = {
    "connections": "too many connections are open",
    "connections_per_ip": "too many connections from this address are open",
}


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
        self._journal = journal
        self.scribe = Scribe(journal, loop)
        self.ledger = ledger
        self.clients: set[ClientConnection] = set()
        """All that are open, those that are being turned away included."""
        self.crowd = Crowd(config.limits.connections, None)
        self.relays: set[Relay] = set()
        self.drained: set[Relay] = set()
        """Those whose answer is read to its end for clients that left."""
        self.is_stopping = False
        """Not ready for more: no other gateway takes over."""
        self.is_draining = False
        """Each connection is closed after its next answer."""
        self._stats = stats
        self._bad_requests = 0
        self._shed = 0
        self._failures = Failures(config.limits.failed_auth_per_minute)
        self._held_bytes = 0
        self._pools: dict[object, Pool] = {}
        self._pool_of: dict[Target, Pool] = {}
        """The same by the targets of the configuration in force."""
        self._retired: set[object] = set()
        """Pools of an earlier configuration that nobody asked for since."""
        self._ticks = 0
        self._next_tick = 0.0
        self._worst_lag = 0.0
        self._random = random.Random().getrandbits
        self.on_tick: list[Callable[[], None]] = []
        """Called with every tick."""
        self.configure(config, gate, router)

    def configure(self, config: Config, gate: Gate, router: Router) -> None:
        """Use another configuration for the requests to come; those under way keep what they have."""
        self.gate = gate
        self.openings = Openings(gate, router, config.limits)
        self.limits = config.limits
        self._failures.limit(config.limits.failed_auth_per_minute)
        self.crowd.limit(config.limits.connections, config.limits.connections_per_ip, config.listen.trusted_proxies)
        self._most_held_bytes = int(config.limits.memory_mb * 1024 * 1024)
        self.timeouts = config.timeouts
        if not self.is_draining:
            self.keep_alive_s = self.timeouts.keep_alive
            """How long a connection may wait for its next request."""
        self.body_bytes = int(config.limits.body_mb * 1024 * 1024)
        self.capture_bytes = self._capture_bytes = int(config.record.max_body_mb * 1024 * 1024)
        self.is_strict = self._journal.keeps_rotated = config.durability == "strict"
        self.scribe.configure(config.record.when_full, config.record.journal_max_gb)
        self._retired = set(self._pools)
        self._pool_of.clear()

    def wall_ms(self) -> int:
        """Return Unix milliseconds."""
        return time.time_ns() // 1_000_000

    def new_id(self, now_ms: int) -> str:
        """Return a UUID of version 7: its text sorts by time. Unique, not secret: its chance is a seeded generator's."""
        text = (now_ms << 80 | self._random(80) & _UUID_CHANCE | _UUID_VERSION).to_bytes(16, "big").hex()
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    def pool(self, target: Target) -> Pool:
        """Return the connections to the origin of `target`."""
        known = self._pool_of.get(target)
        if known is not None:
            return known
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
        self._retired.discard(settings)
        self._pool_of[target] = pool
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
        if head.target in _PROBES:
            self._answer_probe(client, head)
        elif head.target == b"/-/me":
            refusal = self.gate.judge_caller(None, "") if opening.policy is None else None
            if refusal is None:
                self._answer_me(client, head, opening.policy)
            else:
                self._refuse(client, self.judge_failure(client, head, refusal))
        elif route is None or template is None:
            self.answer_unrecorded(client, "not_found", 404, "the path names no upstream; use /v1/… or /<upstream>/…")
        elif opening.is_upgrade:
            return SocketRelay(self, client, opening, route, Tape(self, template, length), length)
        else:
            layers = MeteredRelay if opening.is_limited else RepeatingRelay
            return layers(self, client, opening, route, Tape(self, template, length), length)
        return None

    def answer_unrecorded(self, client: ClientConnection, code: str, status: int, message: str) -> None:
        """Answer what never became an exchange, and close."""
        self._bad_requests += 1
        self._refuse(client, Refusal(code, status, message))

    def judge_failure(self, client: ClientConnection, head: RequestHead, refusal: Refusal) -> Refusal:
        """Return what a refused caller is told: whoever sent too many wrong keys, to wait. A right one never comes here."""
        if refusal.code != "invalid_key" or client.transport is None or not read_credentials(head):
            return refusal
        wait_s = self._failures.add(peer_address(client.transport.get_extra_info("peername")), self.now())
        if wait_s is None:
            return refusal
        return Refusal("too_many_failures", 429, "Too many wrong API keys.", retry_after_ms=int(wait_s * 1000))

    def enters(self, client: ClientConnection, address: str) -> bool:
        """Say whether there is a place for a connection that cannot be spoken to yet; it counts from now on."""
        if self.crowd.enter(client, address) is None:
            return True
        self._shed += 1
        return False

    def turn_away(self, client: ClientConnection, reached: TooMany) -> None:
        """Answer a connection that is one too many, and close it."""
        self._shed += 1
        if len(self.clients) - len(self.crowd) <= _MOST_TURNED_AWAY:
            self._refuse(client, Refusal("overloaded", 503, _TOO_MANY[reached]))
        elif client.transport is not None:
            client.transport.abort()

    def _refuse(self, client: ClientConnection, refusal: Refusal) -> None:
        refusal = spelled(refusal, "openai")
        body, headers = body_of(refusal, "openai", ""), headers_of(refusal, "openai")
        client.refuse(own_response(refusal.status, headers, body, b"connection: close\r\n"))

    # --- memory ------------------------------------------------------------------------------------------------

    def has_room(self) -> bool:
        """Say whether there is memory for the body of one more request; a request that finds none is counted."""
        if self._held_bytes <= self._most_held_bytes:
            return True
        self._shed += 1
        return False

    def hold(self, size: int) -> bool:
        """Take note that so many bytes of a body stay in memory; False: that is too much, and they must go."""
        self._held_bytes += size
        if self._held_bytes <= self._most_held_bytes:
            return True
        self._shed += 1
        return False

    def let_go(self, size: int) -> None:
        """Take note that so many bytes go."""
        self._held_bytes -= size

    def _weigh(self) -> None:
        """Find out what is held now: not everybody says when it goes."""
        bodies = sum(relay.held_bytes for relay in self.relays)
        untaken = sum(client.untaken_bytes for client in self.clients if client.paused_since is not None)
        self._held_bytes = bodies + untaken + self.scribe.held_bytes

    # --- probes and balances -----------------------------------------------------------------------------------

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
        return not self.is_stopping and self.scribe.is_ready

    def drain(self) -> None:
        """Close each connection after its next answer; one on which nothing comes, after a moment."""
        self.is_draining = True
        self.keep_alive_s = LAST_REQUEST_S
        for client in self.clients:
            client.hurry()

    @property
    def is_idle(self) -> bool:
        """Say whether every exchange is over, delivered and in the journal."""
        return not self.relays and not self.scribe.is_busy

    # --- the clock tick ----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to tick."""
        self._next_tick = self.now() + TICK_S
        self.loop.call_later(TICK_S, self._tick)

    def _tick(self) -> None:
        now = self.now()
        self._worst_lag = max(self._worst_lag, now - self._next_tick)
        self._stats.lateness.note(now - self._next_tick)
        self._ticks += 1
        try:
            self._do_chores(now)
        finally:
            # Whatever goes wrong in one turn, deadlines must still be checked in the next.
            self._next_tick = max(now, self._next_tick + TICK_S)
            self.loop.call_later(max(0.0, self._next_tick - self.now()), self._tick)

    def _do_chores(self, now: float) -> None:
        self.scribe.tick(now)
        self.capture_bytes = self.scribe.capture_bytes(self._capture_bytes)
        is_due = self._ticks % _DEADLINE_TICKS == 0
        if is_due:
            self._expire_clients(now)
            self._tend_pools()
            self._weigh()
            self.publish()
        self._share_out(tuple(self.relays), is_due=is_due)
        for call in self.on_tick:
            call()

    def _share_out(self, relays: tuple[Relay, ...], *, is_due: bool) -> None:
        """Tend to the exchanges: a thousand at once would keep every stream waiting, so in turns until the next tick."""
        turns = min(_MOST_TURNS, 1 + len(relays) // _RELAYS_PER_TURN)
        self._tend(relays[::turns], is_due=is_due)
        for turn in range(1, turns):
            share = relays[turn::turns]
            self.loop.call_later(turn * TICK_S / turns, partial(self._tend, share, is_due=is_due))

    def _tend(self, relays: tuple[Relay, ...], *, is_due: bool) -> None:
        """Flush taps, and check deadlines where that is due."""
        for relay in relays:
            relay.flush()
        if is_due:
            now = self.now()
            for relay in relays:
                if not relay.is_over:
                    relay.check_deadlines(now)

    def _expire_clients(self, now: float) -> None:
        for client in [client for client in self.clients if client.deadline < now]:
            client.expire()

    def publish(self) -> None:
        """Write the live numbers."""
        self._stats.write(
            in_flight=len(self.relays),
            connections=len(self.clients),
            journal_failures=self.scribe.failures,
            loop_lag_ms=self._worst_lag * 1000,
            is_ready=self.is_ready,
            bad_requests=self._bad_requests,
            lost_records=self.scribe.lost_records,
            shed=self._shed,
        )
        self._worst_lag = 0.0
