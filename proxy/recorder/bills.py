"""Bills: what the provider bills once is paid once, however often it is shown.

A response that the provider keeps can be read again and again, a batch's results be downloaded twice, and an exchange
be taken from the journal twice after a crash. The store remembers which exchange paid which id, and whose cost is
awaited under which; what is on its way to the store is remembered here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from proxy.records import Begin


class BillStore(Protocol):
    """What is needed of the store."""

    def payers(self, biller: str, ids: Sequence[str]) -> dict[str, str]:
        """Return those of the biller's ids that are paid, with the exchange that paid them."""
        ...

    def awaiting(self) -> dict[tuple[str, str], str]:
        """Return the exchanges whose cost is awaited, by biller and the id under which it will be seen."""
        ...


class Bills:
    """Who paid what, and who awaits it."""

    def __init__(self, store: BillStore | None = None) -> None:
        """`store`: None remembers nothing but what is on its way."""
        self._store = store
        self._paying: dict[tuple[str, str], str] = {}
        # Few at a time, and nobody else adds to them: all that is awaited is known here.
        self._awaiting = store.awaiting() if store else {}

    def paid_by_others(self, begin: Begin, ids: Sequence[str]) -> Mapping[str, str]:
        """Return those of the ids that another exchange paid, with its id."""
        if not ids:
            return {}
        payers = dict(self._store.payers(begin.biller, ids)) if self._store else {}
        payers |= {id_: payer for id_ in ids if (payer := self._paying.get((begin.biller, id_))) is not None}
        return {id_: payer for id_, payer in payers.items() if payer != begin.id}

    def awaiting(self, begin: Begin, ids: Sequence[str]) -> tuple[str, ...]:
        """Return the other exchanges whose cost is awaited under one of the ids, and await it no more."""
        found = [waiter for id_ in ids if (waiter := self._awaiting.pop((begin.biller, id_), None)) is not None]
        return tuple(waiter for waiter in dict.fromkeys(found) if waiter != begin.id)

    def note(self, begin: Begin, paid: Sequence[str], pending: str | None) -> None:
        """Note what an exchange on its way to the store pays, and under which id its own cost is awaited."""
        for id_ in paid:
            self._paying.setdefault((begin.biller, id_), begin.id)
        if pending is not None:
            self._awaiting[begin.biller, pending] = begin.id

    def stored(self) -> None:
        """Say that everything noted so far can be looked up now."""
        self._paying.clear()
