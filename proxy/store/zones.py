"""Zones: every 512 rows in short, so that a question reads only the zones that can hold an answer.

For each zone the smallest and largest of what can be sorted by, and which values occur (`facets`). That is a hundredth of
what an index on each column takes, is written once for 512 rows instead of for each, and serves any filter and order.

Invariant: a zone that is known covers all its rows: it may say too much, never too little. Triggers of the database
hold that up whoever changes a row: the zone is unknown from then on, and is looked at again here. Rows after the last
zone are in none yet. Whoever asks reads both in any case.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, Final

import apsw
import msgspec

from proxy.store.text import json_text

SHIFT: Final = 9
"""512 rows: a tenth of a millisecond to read. A page of a rare value reads one zone for each row; smaller zones would
cost more to keep."""
MANY: Final = "\x01"
"""A value that stands for more values than are named."""
_MAX_VALUES: Final = 64
"""Of one name in one zone. What has more is an identity, not a kind."""
_OFTEN_ENOUGH: Final = 100
"""Rows among which most values occur."""
_MAX_TAGS: Final = 32
RELEARNED: Final = 32
"""Zones that are looked at again at a time, about 80 ms: beside what the recorder says of itself every second, and not
with each change, for one who changes a row of a zone often changes the next. After a migration a million rows are known
again within a minute."""
_STRANGE: Final = frozenset({"environment", "prompt", "version"})
_FACETS: Final[dict[str, str]] = {
    "key": "key",
    "upstream": "upstream",
    "provider": "provider",
    "endpoint": "endpoint",
    "outcome": "outcome",
    "error": "error_code",
    "status": "CAST(status AS TEXT)",
    "environment": "environment",
    "prompt": "prompt_name",
    "version": "prompt_name || '@' || prompt_version",
    "finish": "finish_reason",
    "streaming": "streaming != 0",
    "unpriced": "is_unpriced != 0",
    "cached": "coalesce(cached_input_tokens, 0) > 0",
    "tools": "tool_calls != '[]'",
    "retry": "retry_of IS NOT NULL",
}
MEASURES: Final[dict[str, str]] = {
    "cost": "cost_nano_usd",
    "latency": "duration_us",
    "ttft": "first_token_us",
    "input": "input_tokens",
    "output": "output_tokens",
    "tokens": "coalesce(input_tokens + output_tokens, input_tokens, output_tokens)",
}
"""What a zone knows the smallest and largest of, beside the time."""
RANKED: Final = frozenset(
    {
        "key",
        "model",
        "upstream",
        "provider",
        "endpoint",
        "outcome",
        "error",
        "status",
        "environment",
        "prompt",
        "version",
    }
)
"""Names of facets that know the largest of each of `TOPS` among their rows: lists of them are sorted by it."""
TOPS: Final = ("cost", "latency", "ttft", "tokens")
_COLUMNS: Final = ", ".join(
    [
        *(f"coalesce({column}, '')" for column in (*_FACETS.values(), "model", "model_requested")),
        "tags",
        "started_at",
        *MEASURES.values(),
    ]
)
_MEASURED: Final = ("time", *MEASURES)
_SELECT: Final = f"SELECT {_COLUMNS} FROM exchanges NOT INDEXED WHERE seq >= ? AND seq < ?"  # noqa: S608 (constants)
_INSERT: Final = f"INSERT OR REPLACE INTO zones VALUES ({', '.join('?' * (4 + 2 * len(MEASURES)))})"  # noqa: S608 (constants)


def facet(name: str, value: str) -> str:
    """Return how a value stands in `facets`; of what strangers may have written, a hash."""
    if not value or not is_hashed(name):
        return value
    return blake2b(f"{name}\0{value}".encode(), digest_size=8).hexdigest()


def is_hashed(name: str) -> bool:
    """Say whether values of this name are strangers' words."""
    return name in _STRANGE or name.startswith("meta.")


class ZoneWriter:
    """Looks at the rows of zones, in the transactions of the one writer."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def learn(self) -> None:
        """Look at the zones that were filled; before each commit."""
        for zone in self._filled():
            self._learn(zone)

    def relearn(self) -> None:
        """Look at some zones that are unknown; now and then."""
        for zone in self._unknown():
            self._learn(zone)

    def _filled(self) -> range:
        # Not from the last zone on, for all after it may be empty: whatever was deleted, there is little to look at.
        ((first, last),) = self._connection.execute(
            "SELECT (SELECT min(seq) FROM exchanges WHERE seq >= (SELECT coalesce(max(zone) + 1, 0) FROM zones) << ?),"
            " (SELECT max(seq) FROM exchanges)",
            (SHIFT,),
        )
        return range(_number(first, 0) >> SHIFT, (_number(last, -1) + 1) >> SHIFT if first is not None else 0)

    def _unknown(self) -> list[int]:
        rows = self._connection.execute(
            "SELECT zone FROM zones WHERE is_known = 0 ORDER BY zone DESC LIMIT ?", (RELEARNED,)
        )
        return [_number(zone, 0) for (zone,) in rows]

    def _learn(self, zone: int) -> None:
        self._connection.execute("DELETE FROM facets WHERE zone = ?", (zone,))
        rows = self._connection.execute(_SELECT, (zone << SHIFT, (zone + 1) << SHIFT)).fetchall()
        if not rows:
            self._connection.execute("DELETE FROM zones WHERE zone = ?", (zone,))
            return
        columns = list(zip(*rows, strict=True))
        kinds, rest = columns[: len(_FACETS)], columns[len(_FACETS) :]
        model, requested, tags, *measures = rest
        bounds = [bound for column in measures for bound in _bounds(column)]
        self._connection.execute(_INSERT, (zone, 1, *bounds))
        ranks = [_Rank(column) for name, column in zip(_MEASURED, measures, strict=True) if name in TOPS]
        facets = [row for name, column in zip(_FACETS, kinds, strict=True) for row in _facets(name, (column,), ranks)]
        facets += _facets("model", (model, requested), ranks)
        facets += _tags(tags)
        self._connection.executemany(
            "INSERT INTO facets VALUES (?1, ?2, ?7, ?3, ?4, ?5, ?6)", sorted((*row, zone) for row in facets)
        )


class _Rank:
    """The rows of a zone in the order of a measure, so that the largest of each value is found at once."""

    def __init__(self, measure: Sequence[Any]) -> None:
        known = [row for row, value in enumerate(measure) if value is not None]
        self._rows = sorted(known, key=measure.__getitem__)
        self._values = [measure[row] for row in self._rows]
        self.largest = self._values[-1] if self._values else None

    def tops(self, column: Sequence[Any], values: int) -> dict[Any, Any]:
        """Return the largest for each of the values of a column: of rows with the same value, the last one stays."""
        last = -_OFTEN_ENOUGH
        found = dict(zip(map(column.__getitem__, self._rows[last:]), self._values[last:], strict=True))
        if len(found) < values:
            found = dict(zip(map(column.__getitem__, self._rows), self._values, strict=True))
        return found


_Facet = tuple[str, str, Any, Any, Any, Any]
"""Name, value, and the largest of each of `TOPS`."""
_UNRANKED: Final = (None,) * len(TOPS)


def _facets(name: str, columns: Sequence[Sequence[Any]], ranks: Sequence[_Rank]) -> list[_Facet]:
    """Return the facets of a name that stands in the columns."""
    values = set().union(*columns)
    if len(values) > _MAX_VALUES or len(values) == 1:
        shown = MANY if len(values) > 1 else _shown(name, next(iter(values)))
        return [_facet(name, shown, [rank.largest for rank in ranks])]
    if name not in RANKED:
        return [_facet(name, _shown(name, value), _UNRANKED) for value in values]
    tops = [_largest(rank, columns, len(values)) for rank in ranks]
    return [_facet(name, _shown(name, value), [top.get(value) for top in tops]) for value in values]


def _largest(rank: _Rank, columns: Sequence[Sequence[Any]], values: int) -> dict[Any, Any]:
    found = rank.tops(columns[0], values)
    for column in columns[1:]:
        for value, top in rank.tops(column, values).items():
            found[value] = max(top, found.get(value, top))
    return found


def _facet(name: str, value: str, tops: Sequence[Any]) -> _Facet:
    cost, latency, ttft, tokens = tops
    return name, value, cost, latency, ttft, tokens


def _shown(name: str, value: Any) -> str:
    return facet(name, str(value))


def _tags(column: Sequence[Any]) -> list[_Facet]:
    found: dict[str, set[str]] = {}
    for text in set(column) - {"{}"}:
        for name, value in msgspec.json.decode(text).items():
            found.setdefault(f"meta.{name}", set()).add(value if isinstance(value, str) else json_text(value))
    if len(found) > _MAX_TAGS:
        return [_facet("meta", MANY, _UNRANKED)]
    return [
        _facet(name, value, _UNRANKED)
        for name, values in found.items()
        for value in ({facet(name, value) for value in values} if len(values) <= _MAX_VALUES else {MANY})
    ]


def _bounds(column: Sequence[Any]) -> tuple[int | None, int | None]:
    known = [value for value in column if value is not None]
    return (min(known), max(known)) if known else (None, None)


def _number(value: Any, default: int) -> int:
    return value if isinstance(value, int) else default
