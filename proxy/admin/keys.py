"""Keys created at run time: app.db holds their digests, a published file tells the gateways.

A key is shown once, when it is made. Kept are its HMAC under the pepper, its last four characters and its policy, so
neither the database nor the published file can be used to call anything.

Invariant: one process writes app.db, the holder of `run/app.lock`. After every change, and at start, the file
`run/keys.json` is replaced whole; a gateway sees the old list or the new one.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import threading
import time
from collections.abc import Collection
from importlib.resources import files
from pathlib import Path
from typing import Final, Self

import apsw
from pydantic import BaseModel, ConfigDict, field_validator

from proxy.clock import SYSTEM, Clock
from proxy.config.schema import Budget, Name, RateLimits
from proxy.errors import ClientError, EnvironmentUnusable
from proxy.gates.keys import KEY_BYTES, KEY_PREFIX, DynamicKey, digest_of, encode_snapshot
from proxy.migrations import migrate
from proxy.pepper import load_pepper

MAX_KEYS: Final = 10_000
"""Gateways hold every key in memory and read the whole file after a change."""


class KeyConflictError(ClientError):
    """The change cannot be made; the sentence says why."""


class UnknownKeyError(ClientError):
    """No living key has this name."""


class KeyRequest(BaseModel):
    """What a new key may do; the same fields and bounds as a key of the configuration."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    upstreams: tuple[str, ...] = ()
    """Empty: every upstream."""
    models: tuple[str, ...] = ()
    """Globs. Empty: every model."""
    budgets: tuple[Budget, ...] = ()
    rate_limits: RateLimits = RateLimits()
    tags: dict[str, str] = {}
    trust_identity: bool = False

    @field_validator("budgets")
    @classmethod
    def _are_of_one_key(cls, budgets: tuple[Budget, ...]) -> tuple[Budget, ...]:
        if any(budget.per == "key" for budget in budgets):
            raise ValueError("a budget of one key cannot be `per: key`")
        return budgets


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
    """The writer of app.db. `taken` are the names of the configuration's keys, which a new key must not bear."""

    def __init__(
        self, data_dir: Path, *, taken: Collection[str] = (), clock: Clock = SYSTEM, patience_s: float = 0.0
    ) -> None:
        """Open app.db and publish. `patience_s`: how long to wait for another process that writes it.

        Raises EnvironmentUnusable.
        """
        self._data_dir = data_dir
        self._taken = frozenset(taken)
        self._clock = clock
        self._one_at_a_time = threading.Lock()
        self._pepper = load_pepper(data_dir)
        self._lock = _lock(data_dir / "run" / "app.lock", patience_s)
        try:
            self._database = _open(data_dir / "app.db")
            self._publish()
        except BaseException:
            os.close(self._lock)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def create(self, request: KeyRequest) -> NewKey:
        """Make a key and publish it. Raises KeyConflictError."""
        secret = KEY_PREFIX + secrets.token_urlsafe(KEY_BYTES)
        digest = digest_of(secret.encode(), self._pepper).hex()
        stored = StoredKey(**dict(request), last_four=secret[-4:], created_ms=self._clock.wall_ms())
        with self._one_at_a_time:
            if request.name in self._taken:
                raise KeyConflictError(f"the configuration has a key named {request.name}")
            if self._count() >= MAX_KEYS:
                raise KeyConflictError(f"there are {MAX_KEYS} keys already")
            self._insert(stored, digest)
            self._publish()
        return NewKey(**dict(stored), key=secret)

    def all(self) -> list[StoredKey]:
        """Return every key ever made, oldest first."""
        with self._one_at_a_time:
            return [stored for stored, _ in self._rows()]

    def revoke(self, name: str) -> StoredKey:
        """End a key and publish that. Raises UnknownKeyError."""
        with self._one_at_a_time:
            living = [stored for stored, _ in self._rows() if stored.name == name and stored.revoked_ms is None]
            if not living:
                raise UnknownKeyError(f"no key named {name} is in force")
            now = self._clock.wall_ms()
            self._database.execute("UPDATE keys SET revoked_ms = ? WHERE name = ? AND revoked_ms IS NULL", (now, name))
            self._publish()
        return living[0].model_copy(update={"revoked_ms": now})

    def close(self) -> None:
        """Close the database and let another process write it."""
        self._database.close()
        os.close(self._lock)

    def _count(self) -> int:
        ((count,),) = self._database.execute("SELECT count(*) FROM keys WHERE revoked_ms IS NULL").fetchall()
        return int(str(count))

    def _insert(self, stored: StoredKey, digest: str) -> None:
        policy = KeyRequest(**stored.model_dump(include=set(KeyRequest.model_fields))).model_dump_json()
        try:
            self._database.execute(
                "INSERT INTO keys (name, digest, last_four, policy, created_ms) VALUES (?, ?, ?, ?, ?)",
                (stored.name, digest, stored.last_four, policy, stored.created_ms),
            )
        except apsw.ConstraintError:
            raise KeyConflictError(f"a key named {stored.name} is in force already: revoke it first") from None

    def _rows(self) -> list[tuple[StoredKey, str]]:
        found = self._database.execute("SELECT policy, last_four, created_ms, revoked_ms, digest FROM keys ORDER BY id")
        return [(_stored(policy, *rest), str(digest)) for policy, *rest, digest in found]

    def _publish(self) -> None:
        content = encode_snapshot([snapshot_key(stored, digest) for stored, digest in self._rows()])
        replace_file(self._data_dir / "run" / "keys.json", content)


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


def _open(path: Path) -> apsw.Connection:
    database = apsw.Connection(str(path))
    path.chmod(0o600)
    database.set_busy_timeout(2000)
    database.pragma("journal_mode", "wal")
    # A key that was handed out must not be forgotten by a power cut; this database is written by hand, not by traffic.
    database.pragma("synchronous", "full")
    migrate(database, files("proxy.admin") / "migrations")
    return database


def _lock(path: Path, patience_s: float) -> int:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + patience_s
    while not _is_locked(file):
        if time.monotonic() >= deadline:
            os.close(file)
            raise EnvironmentUnusable(f"{path}: another process is changing keys")
        time.sleep(0.02)
    return file


def _is_locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def replace_file(path: Path, content: bytes) -> None:
    """Put `content` at `path`, readable by the owner alone; readers see the old file or the new one."""
    draft = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    file = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(file, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
