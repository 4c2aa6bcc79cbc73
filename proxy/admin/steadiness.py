"""Steadiness: a state gets worse after three looks that say so and better after eight, so that nothing flickers."""

from __future__ import annotations

from typing import Final

from proxy.admin.gauges import State

WORSEN_AFTER: Final = 3
RECOVER_AFTER: Final = 8
_RANK: Final[dict[State, int]] = {"ok": 0, "warning": 1, "critical": 2}
"""Of the states that are judgements. All others are facts, and believed at once."""


class Steady:
    """The state of one gauge, as it is shown."""

    def __init__(self) -> None:
        self.state: State | None = None
        """None: nobody looked yet; what is seen first is believed, since whoever starts anew knows no better."""
        self.since_ms: int | None = None
        """When the state began; None: it was there when this began."""
        self._others: list[State] = []
        """The latest looks, all of them worse than what is shown, or all better."""

    def believes(self, seen: State) -> bool:
        """Say whether a look would be believed at once, so that it need not wait for its turn.

        So is the first judgement after a time without one: there is nothing that it could flicker against.
        """
        return self.state not in _RANK or seen not in _RANK

    def see(self, seen: State, now_ms: int) -> None:
        """Take one look into account."""
        if self.state is None:
            self.state = seen
        elif self.believes(seen):
            self._become(seen, now_ms)
        else:
            self._judge(seen, now_ms)

    def _judge(self, seen: State, now_ms: int) -> None:
        shown = _RANK[self.state or "ok"]
        is_worse, is_better = _RANK[seen] > shown, _RANK[seen] < shown
        if not (is_worse or is_better):
            self._others.clear()
            return
        if self._others and (_RANK[self._others[-1]] > shown) != is_worse:
            self._others.clear()
        self._others.append(seen)
        if len(self._others) >= (WORSEN_AFTER if is_worse else RECOVER_AFTER):
            nearest = (min if is_worse else max)(self._others, key=_RANK.__getitem__)
            self._become(nearest, now_ms)

    def _become(self, state: State, now_ms: int) -> None:
        self._others.clear()
        if state != self.state:
            self.state, self.since_ms = state, now_ms
