"""What the shop's customers thought of the answers: thumbs of the last two weeks, a little better in the second one."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from proxy.databases import open_database
from tests.dashboard.seed.shop import DAY_MS

_SOURCE: Final = "token:shop"
_DICE: Final = "(started_at % 1048576 * {} / 4096 % 1000)"
"""Thrown anew for each use, from the row alone: what else is in the seed stays as it is."""
_INSERT: Final = f"""
INSERT INTO feedback (request, name, source, at, value, comment)
SELECT id, 'user', '{_SOURCE}', started_at + 20000 + {_DICE.format(2654435761)} * 90,
    {_DICE.format(2246822519)} < CASE WHEN started_at > ?1 - 7 * {DAY_MS} THEN 912 ELSE 874 END,
    CASE WHEN started_at > ?1 - {DAY_MS} AND {_DICE.format(3266489917)} < 30 THEN 'That was quick, thank you.' END
FROM exchanges
WHERE key = 'support-bot' AND started_at BETWEEN ?1 - 15 * {DAY_MS} AND ?1 - 120000 AND outcome = 'completed'
    AND status = 200 AND {_DICE.format(668265263)} < 60
"""  # noqa: S608 - numbers of ours
_ON_THE_SHOWN: Final = f"""
INSERT OR REPLACE INTO feedback
SELECT id, 'user', '{_SOURCE}', started_at + (?1 - started_at) / 2, 1, 'Found my parcel. Thank you!' FROM exchanges
WHERE key = 'support-bot' AND tool_calls != '[]' ORDER BY started_at DESC, seq DESC LIMIT 1
"""  # noqa: S608 - numbers of ours


def write_feedback(path: Path, end_ms: int) -> None:
    """Write what was said until then."""
    connection = open_database(path, "write")
    with connection:
        connection.execute(_INSERT, (end_ms,))
        connection.execute(_ON_THE_SHOWN, (end_ms,))
    connection.close()
