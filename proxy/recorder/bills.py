"""Bills: what the provider bills once is paid once, however often it is shown.

A response that the provider keeps can be read again and again, a batch's results be downloaded twice, and an exchange
be taken from the journal twice after a crash. The store remembers which exchange paid which id; what is on its way to
the store is remembered here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from proxy.records import Begin

Lookup = Callable[[str, Sequence[str]], Mapping[str, str]]
"""Of a biller's ids those that are paid, with the exchange that paid them."""


class Bills:
    """Who paid what."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._under_way: dict[tuple[str, str], str] = {}

    def paid_by_others(self, begin: Begin, ids: Sequence[str]) -> Mapping[str, str]:
        """Return those of the ids that another exchange paid, with its id."""
        if not ids:
            return {}
        biller = begin.biller
        payers = dict(self._lookup(biller, ids))
        for id_ in ids:
            if (payer := self._under_way.get((biller, id_))) is not None:
                payers.setdefault(id_, payer)
        return {id_: payer for id_, payer in payers.items() if payer != begin.id}

    def pay(self, begin: Begin, ids: Sequence[str]) -> None:
        """Note that an exchange on its way to the store pays these ids."""
        biller = begin.biller
        for id_ in ids:
            self._under_way.setdefault((biller, id_), begin.id)

    def stored(self) -> None:
        """Say that everything paid so far can be looked up now."""
        self._under_way.clear()
