"""A Glassline with one thing altered that cannot be seen, or reached, from outside: `python -m tests.faults.edge.altered NAME`.

Every process of Glassline is forked from this one, so a change made here holds in all.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tests.faults.chaos.planted import replace


def second_loopback_is_foreign() -> None:
    """127.0.0.2 counts as somebody else's address: nobody can come from a real one on a machine without a network."""
    from proxy.crowd import Crowd

    def find_group(self: Any, address: str) -> Any:
        return address if address == "127.0.0.2" else original(self, address)

    original = replace(Crowd, "_find_group", find_group)


def tells_held_bytes() -> None:
    """The memory held by bodies is never found out anew, so that whoever forgets to give back is seen; it is told."""
    from proxy.gateway.service import Gateway

    told = Path(os.environ["TOLD_HELD_BYTES"])

    def weigh(self: Any) -> None:
        told.with_suffix(".new").write_text(f"{self._ticks} {self._held_bytes}")
        told.with_suffix(".new").replace(told)

    replace(Gateway, "_weigh", weigh)


_ALTERATIONS: Final[dict[str, Callable[[], None]]] = {
    each.__name__: each for each in (second_loopback_is_foreign, tells_held_bytes)
}


def program(name: str) -> tuple[str, ...]:
    """Return what `python -m` runs instead of `proxy`."""
    return (__name__, name)


def main() -> int:
    """Alter what is named first and go on as `proxy`."""
    _ALTERATIONS[sys.argv.pop(1)]()
    from proxy.cli import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
