"""Settle: tell the ledger what reserved exchanges cost, as often as it takes.

Nothing has to be remembered for that: the ledger lists its open reservations, the store knows what each exchange cost
and the journal who is still alive. So when the ledger was away, or this process died, the lists are compared.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import takewhile
from typing import Final, Protocol

from proxy.boot import boot_id
from proxy.errors import LedgerUnavailable, StoreDamaged, StoreError, StoreReplaced
from proxy.failpoints import failpoint
from proxy.journal import boot_of
from proxy.journal.reader import JournalReader
from proxy.recorder.fold import Fold
from proxy.reservations import Draw, OpenReservation, Settle
from proxy.store import Settlement, Store

log = logging.getLogger(__name__)
PACE_S: Final = 0.1
"""Between two messages to the ledger: each costs it a commit, about as much as ten settlements."""
LINGER_S: Final = 2.0
"""After which an open lease is drawn once more, though there is nothing new: to hear that it is over. Gateways return
one that has lain idle for half as long."""
_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 1.0
_ALL_OF_IT: Final = Settlement(None, None, None, is_estimate=True)


class LedgerClient(Protocol):
    """What is needed of the ledger; every call may raise LedgerUnavailable."""

    def settle(self, messages: Sequence[Settle]) -> None:
        """Settle, durably."""
        ...

    def draw(self, messages: Sequence[Draw]) -> Sequence[str]:
        """Settle requests under leases, durably; return the leases that are over."""
        ...

    def open(self, owner: str = "") -> Sequence[OpenReservation]:
        """List open reservations of one owner or of all."""
        ...

    def release(self, exchanges: Iterable[str]) -> None:
        """Give reservations back."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


class Settler:
    """Passes settlements on; after any failure compares the lists instead."""

    def __init__(
        self,
        ledger: LedgerClient,
        store: Store,
        reader: JournalReader,
        fold: Fold,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        boot: str | None = None,
    ) -> None:
        """`boot` names the life of the machine, None: the present one."""
        self.is_behind = True
        """The lists have to be compared: at the start, after a failure, after the death of a writer."""
        self._ledger = ledger
        self._store = store
        self._reader = reader
        self._fold = fold
        self._monotonic = monotonic
        self._boot = boot or boot_id()
        self._pause_s = _FIRST_PAUSE_S
        self._not_before = 0.0
        self._settlements: list[tuple[str, Settlement]] = []
        self._leases: set[str] = set()
        self._drawn: dict[str, float] = {}
        """When the leases that were open then were drawn last, longest ago first."""
        self._next = 0.0

    def settle(self, settlements: Iterable[tuple[str, Settlement]], leases: Iterable[str] = ()) -> None:
        """Settle what was just stored, or leave it for a moment; `leases` are those of which it had something."""
        if not self.is_behind:
            self._settlements += settlements
            self._leases.update(leases)
            self._pass_on()

    def catch_up(self) -> None:
        """Do what is due. Call it only when everything that was read is stored."""
        if not self.is_behind:
            before = self._monotonic() - LINGER_S
            self._leases.update(takewhile(lambda lease: self._drawn[lease] < before, self._drawn))
            self._pass_on()
        elif self._monotonic() >= self._not_before:
            self._attempt(self._compare)

    def _pass_on(self) -> None:
        if (self._settlements or self._leases) and self._monotonic() >= self._next:
            failpoint("settle.before")
            self._attempt(self._settle)
            failpoint("settle.after")
            self._next = self._monotonic() + PACE_S

    def _settle(self) -> None:
        settlements, leases = self._settlements, sorted(self._leases)
        self._settlements, self._leases = [], set()  # should it fail, the lists tell
        if settlements:
            self._ledger.settle([_message(*each) for each in settlements])
        if leases:
            self._draw(leases)

    def _draw(self, leases: Sequence[str]) -> None:
        messages = [Draw(0, *each) for each in self._store.drawn(leases)]
        over = self._ledger.draw(messages) if messages else ()
        for lease in leases:
            self._drawn.pop(lease, None)
        still_open = [message.lease for message in messages if message.lease not in over]
        self._drawn.update(dict.fromkeys(still_open, self._monotonic()))
        if over:
            self._store.forget_leases(over)

    def close(self) -> None:
        """Settle what waits, and close the connection."""
        self._next = 0.0
        if not self.is_behind:
            self._pass_on()
        self._ledger.close()

    def _attempt(self, action: Callable[[], None]) -> None:
        try:
            action()
        except (StoreDamaged, StoreReplaced):
            raise
        except (LedgerUnavailable, StoreError) as error:
            if not self.is_behind:
                log.warning("settlements will follow later: %s", error)
            self.is_behind = True
            self._not_before = self._monotonic() + self._pause_s
            self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
        else:
            self._pause_s = _FIRST_PAUSE_S

    def _compare(self) -> None:
        reservations = self._ledger.open()
        # After the list: who reserved by then has a journal segment by now, so an unknown owner is a dead one.
        self._reader.scan()
        stored = self._store.settlements([each.exchange for each in reservations])
        lost = self._lost(reservations)
        self._draw([each.exchange for each in reservations if each.exchange not in lost])
        underway = self._fold.open_ids() | self._store.awaited([each.exchange for each in reservations])
        settle: list[Settle] = []
        release: list[str] = []
        for each in reservations:
            if each.exchange in stored:
                settle.append(_message(each.exchange, stored[each.exchange]))
            elif each.exchange in lost:
                settle.append(_message(each.exchange, _ALL_OF_IT))
            elif each.exchange in underway or not self._reader.is_drained(each.owner):
                continue
            elif self._reader.is_damaged(each.owner) or boot_of(each.owner) != self._boot:
                # Its beginning may have been in the part that is lost, or that a loss of power took away without a
                # trace: what may have been dispatched is spent.
                settle.append(_message(each.exchange, _ALL_OF_IT))
            else:
                release.append(each.exchange)
        if settle:
            self._ledger.settle(settle)
        if release:
            self._ledger.release(release)
        over = {*release, *(each.exchange for each in settle)}
        still_open = {each.exchange for each in reservations} - over
        self._store.forget_leases_except(sorted(still_open))
        self._drawn = {lease: at for lease, at in self._drawn.items() if lease in still_open}
        self.is_behind = False

    def _lost(self, reservations: Sequence[OpenReservation]) -> set[str]:
        """Return the leases of which the ledger was told more than the store knows: it is a new one, or a copy.

        Its sums would pass what the ledger was told only after so much more, and all until then would go uncounted.
        """
        leases = {each.exchange: each.drawn_nano_usd for each in reservations if each.drawn_nano_usd}
        known = {lease: drawn for lease, drawn, _ in self._store.drawn(list(leases))}
        return {lease for lease, drawn in leases.items() if drawn > known.get(lease, 0)}


def _message(exchange: str, settlement: Settlement) -> Settle:
    return Settle(
        ticket=0,
        exchange=exchange,
        nano_usd=settlement.nano_usd,
        input_tokens=settlement.input_tokens,
        output_tokens=settlement.output_tokens,
        is_estimate=settlement.is_estimate,
    )
