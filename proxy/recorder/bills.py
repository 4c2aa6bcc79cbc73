"""Bills: what the provider bills once is paid once, however often it is shown.

A response that the provider keeps can be read again and again, a batch's results be downloaded twice, and an exchange
be taken from the journal twice after a crash. The store remembers which exchange paid which id, and whose cost is
awaited under which; what is on its way to the store is remembered here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, Protocol

from proxy.records import Begin

_Bill = tuple[str, str]
"""A biller, and an id of its own."""
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


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
        self._paying: dict[_Bill, str] = {}
        # Few at a time, and nobody else adds to them: all that is awaited is known here.
        self._awaiting = store.awaiting() if store else {}
        self._resolving: dict[_Bill, str] = {}
        """What was awaited and stands in an exchange on its way to the store."""

    def payers(self, shown: Iterable[tuple[Begin, Sequence[str]]]) -> Mapping[_Bill, str]:
        """Ask the store who paid what exchanges show; one question for each biller."""
        ids: dict[str, set[str]] = defaultdict(set)
        for begin, its_ids in shown:
            if its_ids and self._store:
                ids[begin.biller].update(its_ids)
        return {
            (biller, id_): payer
            for biller, its_ids in ids.items()
            for id_, payer in (self._store.payers(biller, sorted(its_ids)) if self._store else {}).items()
        }

    def paid_by_others(self, begin: Begin, ids: Sequence[str], payers: Mapping[_Bill, str]) -> Mapping[str, str]:
        """Return those of the ids that another exchange paid, with its id; `payers`: what the store says."""
        if not ids:
            return _NOTHING
        bills = ((begin.biller, id_) for id_ in ids)
        known = ((bill[1], self._paying.get(bill) or payers.get(bill)) for bill in bills)
        return {id_: payer for id_, payer in known if payer is not None and payer != begin.id}

    def awaiting(self, begin: Begin, ids: Sequence[str]) -> tuple[str, ...]:
        """Return the other exchanges whose cost is awaited under one of the ids; it stands in this one."""
        if not ids or not self._awaiting:
            return ()
        bills = [bill for id_ in ids if (bill := (begin.biller, id_)) in self._awaiting]
        mine = [bill for bill in bills if self._resolving.setdefault(bill, begin.id) == begin.id]
        waiters = dict.fromkeys(self._awaiting[bill] for bill in mine)
        return tuple(waiter for waiter in waiters if waiter != begin.id)

    def note(self, begin: Begin, paid: Sequence[str], pending: str | None) -> None:
        """Note what an exchange on its way to the store pays, and under which id its own cost is awaited."""
        for id_ in paid:
            self._paying.setdefault((begin.biller, id_), begin.id)
        if pending is not None:
            self._awaiting[begin.biller, pending] = begin.id

    def stored(self) -> None:
        """Say that everything noted so far can be looked up now."""
        self._paying.clear()
        for bill in self._resolving:
            self._awaiting.pop(bill, None)
        self._resolving.clear()
