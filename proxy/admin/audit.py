"""The audit: who made, changed and ended keys, users and tokens, who logged in, and who tried to."""

from __future__ import annotations

from dataclasses import dataclass

from proxy.admin.database import FAILURE, AppDatabase, note
from proxy.admin.identity import Identity


@dataclass(frozen=True, slots=True)
class AuditLine:
    """One thing that somebody did."""

    id: int
    at_ms: int
    """Unix ms."""
    actor: str
    """A user, `token:NAME`, `local` for the command line, `anyone` while nobody is asked, or `?`."""
    action: str
    subject: str
    """Whom or what it was done to: a name; `?` for a name that nobody bears, which might be a slipped password."""
    address: str
    """'': not over the network."""


class AuditLog:
    """Reads the audit, and writes the lines that go with no other change."""

    def __init__(self, database: AppDatabase) -> None:
        self._database = database

    def failed(self, name: str, address: str) -> None:
        """Note a wrong password for the user called `name`."""
        stranger = Identity("?", "viewer", "user", address)
        with self._database.change() as connection:
            note(connection, self._database.clock, stranger, FAILURE, name)

    def deleted(self, who: Identity, order: str) -> None:
        """Note that somebody had records deleted; whose they were is not kept, since nothing of them shall be."""
        with self._database.change() as connection:
            note(connection, self._database.clock, who, "records.delete", order)

    def lines(self, *, limit: int, before: int | None = None) -> list[AuditLine]:
        """Return the newest lines; `before`: only those with a smaller id."""
        rows = self._database.read(
            "SELECT id, at_ms, actor, action, subject, address FROM audit WHERE id < ? ORDER BY id DESC LIMIT ?",
            (1 << 63) - 1 if before is None else before,
            limit,
        )
        return [AuditLine(*row) for row in rows]
