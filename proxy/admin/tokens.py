"""Tokens: how scripts and scrapers show who they are, with a role and, perhaps, an end.

Like keys they are shown once and kept as a digest under the pepper. They belong to the installation, not to whoever
made them: a script must not stop because somebody left.
"""

from __future__ import annotations

import hmac
import secrets
from typing import Annotated, Final

import apsw
from pydantic import BaseModel, ConfigDict, Field

from proxy.admin.database import AppDatabase, note
from proxy.admin.identity import LOCAL, Identity, TokenRole
from proxy.config.schema import Duration, Name
from proxy.errors import ClientError
from proxy.gates.keys import digest_of

TOKEN_PREFIX: Final = "glt-"  # noqa: S105 - what every token begins with
TOKEN_BYTES: Final = 32
MAX_TOKENS: Final = 1000
MAX_LIFE_S: Final = 10 * 365 * 86400.0
MAX_TOKEN_LENGTH: Final = 256
USE_NOTED_EVERY_MS: Final = 60_000
"""The time of the last use is true to the minute, so that a scraper does not write to the disk with every scrape."""


class TokenConflictError(ClientError):
    """The change cannot be made; the sentence says why."""


class UnknownTokenError(ClientError):
    """No living token has this name."""


class TokenRequest(BaseModel):
    """A new token."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    role: TokenRole = "viewer"
    expires: Annotated[Duration, Field(le=MAX_LIFE_S)] | None = None
    """Seconds from now, or `30d`. None: never."""


class StoredToken(BaseModel):
    """A token as it can be shown."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    role: TokenRole
    last_four: str
    created_by: str
    created_ms: int
    """Unix ms."""
    expires_ms: int | None = None
    """Unix ms. None: never."""
    used_ms: int | None = None
    """Unix ms, true to the minute. None: never."""
    revoked_ms: int | None = None
    """None: it was not."""

    def is_in_force(self, now_ms: int) -> bool:
        """Say whether it opens anything."""
        return self.revoked_ms is None and (self.expires_ms is None or now_ms < self.expires_ms)


class NewToken(StoredToken):
    """A token that was just made: the only time it is seen."""

    token: str


class TokenStore:
    """The writer of tokens."""

    def __init__(self, database: AppDatabase) -> None:
        self._database = database
        self._living: dict[bytes, tuple[bytes, StoredToken]] = {}
        self._load()

    def find(self, token: bytes) -> StoredToken | None:
        """Return the token that this is, if it is in force."""
        if len(token) > MAX_TOKEN_LENGTH:
            return None
        digest = self._digest(token)
        found = self._living.get(digest)
        if found is None or not hmac.compare_digest(found[0], digest):
            return None
        return found[1] if found[1].is_in_force(self._database.clock.wall_ms()) else None

    @property
    def were_ever_made(self) -> bool:
        """Say whether there is or was a token."""
        return self._any

    def all(self) -> list[StoredToken]:
        """Return every token ever made, oldest first."""
        return [stored for _, stored in self._rows()]

    def create(self, request: TokenRequest, by: Identity = LOCAL) -> NewToken:
        """Make a token. Raises TokenConflictError."""
        secret = TOKEN_PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
        now = self._database.clock.wall_ms()
        stored = StoredToken(
            name=request.name,
            role=request.role,
            last_four=secret[-4:],
            created_by=by.actor,
            created_ms=now,
            expires_ms=None if request.expires is None else now + int(request.expires * 1000),
        )
        with self._database.alone():
            if len(self._living) >= MAX_TOKENS:
                raise TokenConflictError(f"there are {MAX_TOKENS} tokens already")
            self._insert(stored, self._digest(secret.encode()), by)
            self._load()
        return NewToken(**stored.model_dump(), token=secret)

    def revoke(self, name: str, by: Identity = LOCAL) -> StoredToken:
        """End a token. Raises UnknownTokenError."""
        now = self._database.clock.wall_ms()
        with self._database.alone():
            living = [stored for _, stored in self._living.values() if stored.name == name]
            if not living:
                raise UnknownTokenError("no token of this name is in force")
            with self._database.change() as connection:
                connection.execute(
                    "UPDATE tokens SET revoked_ms = ? WHERE name = ? AND revoked_ms IS NULL", (now, name)
                )
                connection.execute("DELETE FROM views WHERE owner = ?", (f"token:{name}",))
                note(connection, self._database.clock, by, "token.revoke", name)
            self._load()
        return living[0].model_copy(update={"revoked_ms": now})

    def is_use_due(self, stored: StoredToken) -> bool:
        """Say whether a use of the token should be written down."""
        return self._database.clock.wall_ms() - (stored.used_ms or 0) >= USE_NOTED_EVERY_MS

    def note_use(self, stored: StoredToken) -> None:
        """Write down that the token was used now."""
        with self._database.alone():
            with self._database.change() as connection:
                connection.execute(
                    "UPDATE tokens SET used_ms = ? WHERE name = ? AND revoked_ms IS NULL",
                    (self._database.clock.wall_ms(), stored.name),
                )
            self._load()

    def _digest(self, token: bytes) -> bytes:
        # With a word in front, so that the same text can never be a key and a token.
        return digest_of(b"token\0" + token, self._database.pepper)

    def _insert(self, stored: StoredToken, digest: bytes, by: Identity) -> None:
        with self._database.change() as connection:
            # One that has run out makes room for its successor.
            connection.execute(
                "UPDATE tokens SET revoked_ms = expires_ms WHERE name = ? AND revoked_ms IS NULL AND expires_ms <= ?",
                (stored.name, stored.created_ms),
            )
            try:
                connection.execute(
                    "INSERT INTO tokens (name, role, digest, last_four, created_by, created_ms, expires_ms)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (
                        stored.name,
                        stored.role,
                        digest,
                        stored.last_four,
                        stored.created_by,
                        stored.created_ms,
                        stored.expires_ms,
                    ),
                )
            except apsw.ConstraintError:
                raise TokenConflictError(f"a token named {stored.name} is in force already: revoke it first") from None
            note(connection, self._database.clock, by, "token.create", f"{stored.name} ({stored.role})")

    def _rows(self) -> list[tuple[bytes, StoredToken]]:
        fields = tuple(StoredToken.model_fields)
        rows = self._database.read(
            "SELECT digest, name, role, last_four, created_by, created_ms, expires_ms, used_ms, revoked_ms"
            " FROM tokens ORDER BY id"
        )
        return [(digest, StoredToken(**dict(zip(fields, row, strict=True)))) for digest, *row in rows]

    def _load(self) -> None:
        rows = self._rows()
        self._any = bool(rows)
        self._living = {digest: (digest, stored) for digest, stored in rows if stored.revoked_ms is None}
