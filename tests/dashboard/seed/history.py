"""The weeks before the recorded day: its rows again, day after day, with their own times, sessions and versions.

Their bodies are gone, as retention leaves it. Rows are copied by the database itself, a million in some seconds; zones
and roll-ups are then made by the store's own code, as after a migration.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import apsw

from proxy.databases import open_database
from proxy.store import SqliteStore
from tests.dashboard.seed.hostile import KEY
from tests.dashboard.seed.shop import DAY_MS, HOUR_MS, RUNAWAY, UNLUCKY_SESSION

_FOLDED_AT_ONCE: Final = 60_000
_ID: Final = (
    "printf('%08x-%04x-7%03x-%04x-%06x%06x', started >> 16, started & 65535, dice & 4095, 32768 | (dice >> 12 & 16383),"
    " mixed & 16777215, seq & 16777215)"
)
_CHANGED: Final[dict[str, str]] = {
    "id": _ID,
    "started_at": "started",
    # An odd factor moves the numbers of a day's sessions to others, each to one of its own.
    "session": "CASE WHEN mixed_session THEN printf('s-%08x', (1 + 2 * ?1) * mixed_session & 4294967295) ELSE session END",
    "trace_id": "CASE WHEN trace_id IS NOT NULL THEN printf('%08x', (1 + 2 * ?1) * mixed_session & 4294967295) || substr(trace_id, 9) END",
    "prompt_version": (
        "CASE prompt_name WHEN 'support-reply' THEN CASE WHEN ?1 < 3 THEN '13' WHEN ?1 < 12 THEN '12' ELSE '11' END"
        " WHEN 'cite-passages' THEN CASE WHEN ?1 < 7 THEN '7' ELSE '6' END ELSE prompt_version END"
    ),
    "tags": (
        "CASE WHEN key = 'support-bot' AND ?1 > 5 THEN replace(tags, '4.12.0', '4.11.2')"
        " WHEN key = 'code-review' AND ?1 > 1 THEN replace(tags, '0.8.2', '0.8.1') ELSE tags END"
    ),
    "model": (
        "CASE WHEN model = 'claude-sonnet-4-5-20250929' AND ?1 > 5 THEN 'claude-sonnet-4-20250514' ELSE model END"
    ),
    "model_requested": (
        "CASE WHEN model_requested = 'claude-sonnet-4-5' AND ?1 > 5 THEN 'claude-sonnet-4-0' ELSE model_requested END"
    ),
    "retry_of": "NULL",
    "bodies_kept": "0",
    "status": "CASE WHEN fails THEN 503 ELSE status END",
    "error_code": "CASE WHEN fails THEN 'server_error' ELSE error_code END",
    "error_message": "CASE WHEN fails THEN 'The engine is currently overloaded, please try again later.' ELSE error_message END",
    "finish_reason": "CASE WHEN NOT fails THEN finish_reason END",
    "finish_reasons": "CASE WHEN fails THEN '[]' ELSE finish_reasons END",
    "response_bytes": "CASE WHEN fails THEN 131 ELSE response_bytes END",
    "cost_nano_usd": "CASE WHEN fails THEN 0 ELSE cost_nano_usd END",
    "cost_components": "CASE WHEN fails THEN '{}' ELSE cost_components END",
    "usage": "CASE WHEN NOT fails THEN usage END",
    "usage_buckets": "CASE WHEN NOT fails THEN usage_buckets END",
    "usage_source": "CASE WHEN fails THEN 'none' ELSE usage_source END",
    "is_unpriced": "CASE WHEN fails THEN 0 ELSE is_unpriced END",
    **dict.fromkeys(
        ("input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens"), ""
    ),
}
"""How the columns of a copy differ; the others are copied. `?1` is how many days ago it was."""
_TOKENS: Final = "CASE WHEN NOT fails THEN {} END"
_INCIDENT_DAYS: Final = 3
"""So many days ago OpenAI failed every fifth request, from nine to eleven."""
_COPY: Final = f"""
INSERT INTO exchanges (seq, {{}}) SELECT new_seq, {{}} FROM (
    SELECT c.new_seq, e.*, o.mixed_session,
        e.started_at - ?1 * {DAY_MS} + (o.number * 7919 + ?1 * 104729) % 240000 - 120000 AS started,
        (o.number * 2654435761 + ?1 * 40503) & 67108863 AS dice,
        (o.number * 40503 + ?1 * 2654435761) & 4294967295 AS mixed,
        ?1 = {_INCIDENT_DAYS} AND e.upstream = 'openai' AND o.hour BETWEEN 9 AND 10 AND o.number % 5 = 0 AS fails
    FROM chosen c CROSS JOIN origins o ON o.origin = c.origin CROSS JOIN exchanges e ON e.seq = c.origin
)
"""  # noqa: S608 - numbers of ours


def write_history(path: Path, first_seq: int, rows: int, end_ms: int) -> None:
    """Write `rows` rows before `first_seq`, the seq of the first recorded one; then fold all of them."""
    connection = open_database(path, "write")
    connection.pragma("synchronous", 0)
    connection.pragma("cache_size", -200_000)
    _prepare(connection, first_seq)
    next_seq, wanted, ago = first_seq - 1, rows, 1
    while wanted:
        copied = _copy_day(connection, ago, next_seq, wanted, end_ms)
        next_seq, wanted, ago = next_seq - copied, wanted - copied, ago + 1
    _leave_unfolded(connection, first_seq - 1)
    connection.close()
    fold(path)


def fold(path: Path) -> None:
    """Fold what was copied, as a new version folds what it finds."""
    store = SqliteStore(path)
    connection = store._connection
    connection.pragma("synchronous", 0)
    connection.pragma("cache_size", -200_000)
    while True:
        with store._our_transaction():
            if not store.rollups.backfill(_FOLDED_AT_ONCE):
                break
    while connection.execute("SELECT 1 FROM zones WHERE is_known = 0 LIMIT 1").get:
        with store._our_transaction():
            for _ in range(20):
                store._zones.relearn()
    store.close()


def _prepare(connection: apsw.Connection, first_seq: int) -> None:
    """Number the recorded rows, and note beside each what its copies are made of."""
    connection.execute("CREATE TEMP TABLE origins (origin INTEGER PRIMARY KEY, number, mixed_session, hour)")
    connection.execute("CREATE TEMP TABLE chosen (new_seq INTEGER PRIMARY KEY, origin)")
    connection.execute(
        f"""
        INSERT INTO origins SELECT seq, row_number() OVER (ORDER BY seq) AS number,
            CASE WHEN session LIKE 's-%' AND length(session) = 10 THEN dense_rank() OVER (ORDER BY session) * 2654435761 END
                AS mixed_session,
            started_at % {DAY_MS} / {HOUR_MS} AS hour
        FROM exchanges WHERE seq >= ?1 AND coalesce(key, '') != ?2 AND coalesce(session, '') NOT IN (?3, ?4)
        """,  # noqa: S608 - numbers of ours
        (first_seq, KEY, RUNAWAY, UNLUCKY_SESSION),
    )


def _copy_day(connection: apsw.Connection, ago: int, last_seq: int, most: int, end_ms: int) -> int:
    """Copy the day as it was so many days ago, up to `last_seq`; return how many rows that were."""
    day = datetime.fromtimestamp((end_ms - ago * DAY_MS) / 1000, UTC)
    # Traffic grows by a third in a month, and half of the people are away on weekends.
    share = (1.0 - 0.011 * ago) * (0.52 if day.weekday() >= 5 else 1.0)
    names = [str(row[1]) for row in connection.execute("PRAGMA table_info(exchanges)") if row[1] != "seq"]
    with connection:
        connection.execute("DELETE FROM chosen")
        # Counted down from the last one, so that what does not fit is the earliest.
        connection.execute(
            "INSERT INTO chosen SELECT ?2 + 1 - row_number() OVER (ORDER BY origin DESC), origin FROM origins"
            " WHERE (number * 2654435761 + ?1 * 40503) / 64 % 1000 < ?3 ORDER BY origin DESC LIMIT ?4",
            (ago, last_seq, round(share * 1000), most),
        )
        connection.execute(_COPY.format(", ".join(names), ", ".join(map(_value, names))), (ago,))
    return int(connection.execute("SELECT count(*) FROM chosen").get)


def _value(name: str) -> str:
    changed = _CHANGED.get(name)
    return name if changed is None else changed or _TOKENS.format(name)


def _leave_unfolded(connection: apsw.Connection, last_seq: int) -> None:
    """Say that roll-ups and zones do not know of the copies yet, as a migration does."""
    with connection:
        connection.execute(
            "UPDATE folds SET done_seq = (SELECT min(seq) FROM exchanges) - 1, last_seq = ? WHERE name = 'rollups'",
            (last_seq,),
        )
        connection.execute(
            "INSERT OR REPLACE INTO zones (zone, is_known, started_min, started_max)"
            " SELECT seq >> 9, 0, min(started_at), max(started_at) FROM exchanges"
            " WHERE seq >> 9 <= ? >> 9 AND seq >> 9 < (SELECT max(seq) + 1 FROM exchanges) >> 9 GROUP BY seq >> 9",
            (last_seq,),
        )
