"""Six bugs that other proxies really had, planted into a running Glassline so that the suite must catch each of them.

    python -m tests.faults.chaos.planted record_in_a_task serve -c config.yaml

starts `serve` with one of them. Every process of Glassline is forked from this one, so a patch made here holds in all.
The product itself has no switch for this; a patch whose target has gone fails at once instead of planting nothing.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final


def record_in_a_task() -> None:
    """The record of a client that left is handed over in a task, which the departure cancels."""
    from proxy.gateway.scribe import Scribe

    def keep_end(self: Any, number: int, end: Any, body: bytes) -> None:
        if end.outcome != "client_closed":
            original(self, number, end, body)
            return

        async def later() -> None:
            await asyncio.sleep(0)
            original(self, number, end, body)

        self._loop.create_task(later()).cancel()

    original = replace(Scribe, "keep_end", keep_end)


def check_then_increment() -> None:
    """A request is admitted by what was spent so far; nothing is reserved for those under way."""
    from proxy.ledger.accounts import Accounts

    def hold(self: Any, account: int, nano_usd: int) -> Any:
        return real_hold(self, account, 0 * nano_usd)

    def give_back(_: Any, __: int, ___: int) -> None:
        """Nothing was held."""

    def spend(self: Any, account: int, nano_usd: int, _: int, *rest: Any) -> None:
        real_spend(self, account, nano_usd, 0, *rest)

    real_hold = replace(Accounts, "hold", hold)
    replace(Accounts, "give_back", give_back)
    real_spend = replace(Accounts, "spend", spend)


def normal_ledger() -> None:
    """The ledger acknowledges before its transaction is on the disk."""
    from proxy.ledger import ledger

    def open_database(*args: Any, **kwargs: Any) -> Any:
        connection = original(*args, **kwargs)
        connection.pragma("synchronous", 1)
        return connection

    original = replace(ledger, "_open_database", open_database)


def position_before_commit() -> None:
    """The recorder moves on in the journal before the records that it took from there are stored."""
    from proxy.failpoints import failpoint
    from proxy.recorder.recorder import Recorder

    def write_once(self: Any, records: Any, said: Any, positions: Any, tallies: Any) -> None:
        self._store.write([], positions, ())
        if records:
            failpoint("planted.between")
        original(self, records, said, {}, tallies)

    original = replace(Recorder, "_write_once", write_once)


def no_header_deadline() -> None:
    """A client may take as long as it likes for the head of its request."""
    from proxy.gateway.client import ClientConnection

    def expire(self: Any, *args: Any) -> None:
        if self.relay is not None:
            original(self, *args)

    original = replace(ClientConnection, "expire", expire)


def short_cache_key() -> None:
    """Keys that were looked up are cached by their first twenty characters."""
    from proxy.gates.keys import KeyRing

    cache: dict[bytes, Any] = {}

    def find(self: Any, credential: bytes | None) -> Any:
        found = original(self, credential)
        if found is not None and credential:
            cache[credential[:20]] = found
        return found or cache.get((credential or b"")[:20])

    original = replace(KeyRing, "find", find)


BUGS: Final[dict[str, Callable[[], None]]] = {
    bug.__name__: bug
    for bug in (
        record_in_a_task,
        check_then_increment,
        normal_ledger,
        position_before_commit,
        no_header_deadline,
        short_cache_key,
    )
}
_UNDO: Final[list[tuple[Any, str, Any]]] = []


@contextmanager
def planted(name: str) -> Iterator[None]:
    """Plant a bug in this process, and in what it forks, for a while."""
    BUGS[name]()
    try:
        yield
    finally:
        while _UNDO:
            owner, attribute, original = _UNDO.pop()
            setattr(owner, attribute, original)


def program(name: str) -> tuple[str, ...]:
    """Return what `python -m` runs instead of `proxy`."""
    return (__name__, name)


def replace(owner: Any, attribute: str, replacement: Any) -> Any:
    """Put something in the place of an attribute and return what was there. Raises AttributeError when nothing was."""
    original = getattr(owner, attribute)
    _UNDO.append((owner, attribute, original))
    setattr(owner, attribute, replacement)
    return original


def main() -> int:
    """Plant the bug named first and go on as `proxy`."""
    BUGS[sys.argv.pop(1)]()
    from proxy.cli import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
