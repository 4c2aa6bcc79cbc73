"""Keys created at run time: app.db holds their digests, a published file tells the gateways.

A key is shown once, when it is made. Kept are its HMAC under the pepper, its last four characters and its policy, so
neither the database nor the published file can be used to call anything.

Invariant: after every change, and at start, the file `run/keys.json` is replaced whole; a gateway sees the old list or
the new one.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection
from typing import Annotated, Final

import apsw
from pydantic import AfterValidator, BaseModel, ConfigDict

from proxy.admin.database import AppDatabase, note
from proxy.admin.identity import LOCAL, Identity
from proxy.config.schema import Budget, Name, RateLimits
from proxy.encryption import sealed
from proxy.errors import ClientError, StoreError
from proxy.files import write_whole
from proxy.gates.keys import KEY_BYTES, KEY_PREFIX, SNAPSHOT_PURPOSE, DynamicKey, digest_of, encode_snapshot

MAX_KEYS: Final = 10_000
"""Gateways hold every key in memory and read the whole file after a change."""
IN_FORCE_S: Final = 0.3
"""Gateways look for new keys ten times a second. A change is answered once they have looked, so that a new key works and a
revoked one does not by the time its owner reads the answer."""


class KeyConflictError(ClientError):
    """The change cannot be made; the sentence says why."""


class UnknownKeyError(ClientError):
    """No living key has this name."""


def _are_of_one_key(budgets: tuple[Budget, ...]) -> tuple[Budget, ...]:
    if any(budget.per == "key" for budget in budgets):
        raise ValueError("a budget of one key cannot be `per: key`")
    return budgets


OwnBudgets = Annotated[tuple[Budget, ...], AfterValidator(_are_of_one_key)]


class KeyRequest(BaseModel):
    """What a new key may do; the same fields and bounds as a key of the configuration."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    upstreams: tuple[str, ...] = ()
    """Empty: every upstream."""
    models: tuple[str, ...] = ()
    """Globs. Empty: every model."""
    budgets: OwnBudgets = ()
    rate_limits: RateLimits = RateLimits()
    tags: dict[str, str] = {}
    trust_identity: bool = False


class KeyChange(BaseModel):
    """What shall be different; None: as it is. A list that is given takes the place of the whole list."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    upstreams: tuple[str, ...] | None = None
    models: tuple[str, ...] | None = None
    budgets: OwnBudgets | None = None
    rate_limits: RateLimits | None = None
    tags: dict[str, str] | None = None
    trust_identity: bool | None = None


class StoredKey(KeyRequest):
    """A key as it can be shown."""

    last_four: str
    created_ms: int
    """Unix ms."""
    revoked_ms: int | None = None
    """None: it is in force."""


class NewKey(StoredKey):
    """A key that was just made: the only time its secret is seen."""

    key: str


class KeyStore:
    """The writer of keys. `taken` are the names of the configuration's keys, which a new key must not bear."""

    def __init__(self, database: AppDatabase, *, taken: Collection[str] = ()) -> None:
        self._database = database
        self._taken = frozenset(taken)
        self._publish()

    def create(self, request: KeyRequest, by: Identity = LOCAL) -> NewKey:
        """Make a key and publish it. Raises KeyConflictError, StoreError."""
        secret = KEY_PREFIX + secrets.token_urlsafe(KEY_BYTES)
        digest = digest_of(secret.encode(), self._database.pepper).hex()
        stored = StoredKey(**dict(request), last_four=secret[-4:], created_ms=self._database.clock.wall_ms())
        with self._database.alone():
            if request.name in self._taken:
                raise KeyConflictError(f"the configuration has a key named {request.name}")
            if self._count() >= MAX_KEYS:
                raise KeyConflictError(f"there are {MAX_KEYS} keys already")
            self._insert(stored, digest, by)
            self._publish()
        return NewKey(**dict(stored), key=secret)

    def all(self) -> list[StoredKey]:
        """Return every key ever made, oldest first."""
        return [stored for stored, _ in self._rows()]

    def find(self, name: str) -> StoredKey | None:
        """Return the key in force with this name; None: there is none."""
        return next((stored for stored in self.all() if stored.name == name and stored.revoked_ms is None), None)

    def change(self, name: str, change: KeyChange, by: Identity = LOCAL) -> StoredKey:
        """Give a key other limits and publish them; its secret stays. Raises UnknownKeyError, StoreError."""
        with self._database.alone():
            stored = self._living(name)
            given = {field: value for field, value in change if value is not None}
            # Judged as a whole, like a new one.
            wanted = KeyRequest(**{field: getattr(stored, field) for field in KeyRequest.model_fields} | given)
            with self._database.change() as connection:
                connection.execute(
                    "UPDATE keys SET policy = ? WHERE name = ? AND revoked_ms IS NULL", (wanted.model_dump_json(), name)
                )
                note(connection, self._database.clock, by, "key.change", f"{name} ({', '.join(sorted(given))})")
            self._publish()
        return stored.model_copy(update=dict(wanted))

    def revoke(self, name: str, by: Identity = LOCAL) -> StoredKey:
        """End a key and publish that. Raises UnknownKeyError, StoreError."""
        with self._database.alone():
            living = self._living(name)
            now = self._database.clock.wall_ms()
            with self._database.change() as connection:
                connection.execute("UPDATE keys SET revoked_ms = ? WHERE name = ? AND revoked_ms IS NULL", (now, name))
                note(connection, self._database.clock, by, "key.revoke", name)
            self._publish()
        return living.model_copy(update={"revoked_ms": now})

    def _living(self, name: str) -> StoredKey:
        living = self.find(name)
        if living is None:
            self._publish()  # The disk may have refused it when the key was ended: then gateways still take it.
            raise UnknownKeyError(f"no key named {name} is in force")
        return living

    def _count(self) -> int:
        ((count,),) = self._database.read("SELECT count(*) FROM keys WHERE revoked_ms IS NULL")
        return int(count)

    def _insert(self, stored: StoredKey, digest: str, by: Identity) -> None:
        policy = KeyRequest(**stored.model_dump(include=set(KeyRequest.model_fields))).model_dump_json()
        with self._database.change() as connection:
            try:
                connection.execute(
                    "INSERT INTO keys (name, digest, last_four, policy, created_ms) VALUES (?, ?, ?, ?, ?)",
                    (stored.name, digest, stored.last_four, policy, stored.created_ms),
                )
            except apsw.ConstraintError:
                raise KeyConflictError(f"a key named {stored.name} is in force already: revoke it first") from None
            note(connection, self._database.clock, by, "key.create", stored.name)

    def _rows(self) -> list[tuple[StoredKey, str]]:
        found = self._database.read("SELECT policy, last_four, created_ms, revoked_ms, digest FROM keys ORDER BY id")
        return [(_stored(policy, *rest), str(digest)) for policy, *rest, digest in found]

    def _publish(self) -> None:
        content = encode_snapshot([snapshot_key(stored, digest) for stored, digest in self._rows()])
        try:
            write_whole(self._database.data_dir / "run" / "keys.json", sealed(content, SNAPSHOT_PURPOSE))
        except OSError as error:
            raise StoreError(f"run/keys.json: {error.strerror or error}") from error


def _stored(policy: str, last_four: str, created_ms: int, revoked_ms: int | None) -> StoredKey:
    request = KeyRequest.model_validate_json(policy)
    return StoredKey(**dict(request), last_four=last_four, created_ms=created_ms, revoked_ms=revoked_ms)


def snapshot_key(stored: StoredKey, digest: str) -> DynamicKey:
    """Return a key as the gateways are told about it."""
    return DynamicKey(
        name=stored.name,
        digest=digest,
        created_ms=stored.created_ms,
        revoked=stored.revoked_ms is not None,
        upstreams=stored.upstreams,
        models=stored.models,
        budgets=tuple(budget.model_dump(mode="json") for budget in stored.budgets),
        rate_limits=stored.rate_limits.model_dump(mode="json"),
        tags=stored.tags,
        trust_identity=stored.trust_identity,
    )
