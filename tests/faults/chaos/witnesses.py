"""Reads the provider's log and the databases into the oracle's words. It looks at files, never at the program."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tests.e2e.prices import nano_usd
from tests.faults.chaos.oracle import Account, Row, UpstreamNote
from tests.harness.databases import reading

DATABASES: Final = ("records.db", "ledger.db", "app.db")
ENDS_POLITELY: Final = ("eof=", "error=")
"""Directives of the simulator that leave an answer unfinished and its framing in order."""
_ROWS: Final = """
    SELECT e.id, e.session, e.key, e.status, e.outcome, e.attempt, e.response_bytes, hex(b.sha256), e.error_code,
        e.cost_nano_usd, e.settled_nano_usd, e.is_reserved
    FROM exchanges e LEFT JOIN bodies b ON b.exchange = e.seq AND b.side = 1
"""
_ACCOUNTS: Final = """
    SELECT budget, coalesce(granted_nano_usd, limit_nano_usd), spent_nano_usd, reserved_nano_usd, overrun_nano_usd
    FROM accounts
"""


def read_rows(data_dir: Path) -> list[Row]:
    """Return every row of the store."""
    with reading(data_dir / "records.db") as connection:
        return [
            Row(
                id=id_,
                name=name or "",
                key=key or "",
                status=status,
                outcome=outcome,
                attempt=attempt,
                response_bytes=size,
                response_sha256=(digest or "").lower(),
                error_code=error or "",
                cost_nano_usd=cost,
                settled_nano_usd=settled,
                is_reserved=bool(reserved),
            )
            for id_, name, key, status, outcome, attempt, size, digest, error, cost, settled, reserved in (
                connection.execute(_ROWS)
            )
        ]


def read_accounts(data_dir: Path) -> list[Account]:
    """Return every account as it is now, named by the key that it belongs to."""
    with reading(data_dir / "ledger.db") as connection:
        return [Account(str(budget).partition("/")[0], *amounts) for budget, *amounts in connection.execute(_ACCOUNTS)]


def read_truth(lines: Iterable[Mapping[str, Any]]) -> list[UpstreamNote]:
    """Turn the simulator's truth log into notes: one for each request received."""
    received: dict[tuple[int, int], Mapping[str, Any]] = {}
    done: dict[tuple[int, int], Mapping[str, Any]] = {}
    for line in lines:
        if line["event"] in ("received", "done"):
            (received if line["event"] == "received" else done)[line["n"], line["client_port"]] = line
    return [_note(line, done.get(identity)) for identity, line in received.items()]


def check_integrity(data_dir: Path) -> Mapping[str, Sequence[str]]:
    """Run both integrity checks of SQLite on every database that exists."""
    found = {}
    for name in DATABASES:
        if (data_dir / name).exists():
            with reading(data_dir / name) as connection:
                said = [str(line) for (line,) in connection.execute("PRAGMA integrity_check")]
                broken = list(connection.execute("PRAGMA foreign_key_check"))
            found[name] = [*said, *(f"foreign key: {each}" for each in broken)]
    return found


def find_canaries(canaries: Mapping[str, bytes], files: Iterable[Path]) -> Mapping[str, Sequence[str]]:
    """Say in which files each secret stands."""
    found: dict[str, list[str]] = {name: [] for name in canaries}
    for path in files:
        with contextlib.suppress(OSError):
            content = path.read_bytes()
            for name, canary in canaries.items():
                if canary in content:
                    found[name].append(path.name)
    return {name: tuple(places) for name, places in found.items()}


def _note(received: Mapping[str, Any], done: Mapping[str, Any] | None) -> UpstreamNote:
    headers = received["x_request"]
    name, authorization = headers.get("x-name", ""), headers.get("authorization", "")
    if done is None:
        return UpstreamNote(
            name, "", 0, is_whole=False, is_framed=False, billed_nano_usd=0, authorization=authorization
        )
    usage, is_whole = done["usage"], bool(done["finished"])
    is_polite = any(fault in headers.get("x-simulate", "") for fault in ENDS_POLITELY)
    return UpstreamNote(
        name=name,
        sent_sha256=done["response_sha256"],
        sent_bytes=done["response_bytes"],
        is_whole=is_whole,
        is_framed=is_whole or is_polite,
        billed_nano_usd=nano_usd(done["model"], usage) if usage else 0,
        authorization=authorization,
    )
