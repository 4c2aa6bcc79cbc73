"""Users: a name, a role, a password that only its bearer knows.

They are held in memory and written through: this process is the only one that changes them. Invariants: nobody changes
their own role or removes themselves; an admin always remains; once there is a user there always is one, so that a port
which asked for passwords never stops asking.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, SecretStr

from proxy.admin.database import AppDatabase, note
from proxy.admin.identity import ANYONE, BUILT_IN, LOCAL, MAX_PASSWORD_BYTES, MIN_PASSWORD_BYTES, Identity, Role
from proxy.admin.passwords import hash_password, stamp_of
from proxy.config.schema import Name
from proxy.errors import ClientError

MAX_USERS: Final = 1000


class UserConflictError(ClientError):
    """The change cannot be made; the sentence says why."""


class UnknownUserError(ClientError):
    """Nobody has this name."""


def _is_long_enough(password: SecretStr) -> SecretStr:
    if not MIN_PASSWORD_BYTES <= len(password.get_secret_value().encode()) <= MAX_PASSWORD_BYTES:
        raise ValueError(f"needs {MIN_PASSWORD_BYTES} to {MAX_PASSWORD_BYTES} bytes")
    return password


Password = Annotated[SecretStr, AfterValidator(_is_long_enough)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class UserRequest(_Model):
    """A new user."""

    name: Name
    role: Role
    password: Password


class UserChange(_Model):
    """What shall be different; None: as it is."""

    role: Role | None = None
    password: Password | None = None


class StoredUser(_Model):
    """A user as can be shown."""

    name: str
    role: Role
    created_ms: int
    """Unix ms."""
    changed_ms: int
    """Unix ms of the last change of role or password."""


@dataclass(frozen=True, slots=True)
class Account:
    """A user as the door knows one."""

    name: str
    role: Role
    kept: str
    """The password as it is kept."""
    stamp: bytes
    """`stamp_of` it."""


class UserStore:
    """The writer of users. `has_built_in`: `admin.password_file` gives an admin besides."""

    def __init__(self, database: AppDatabase, *, has_built_in: bool = False) -> None:
        self._database = database
        self._has_built_in = has_built_in
        self._accounts: dict[str, Account] = {}
        self._load()

    def __len__(self) -> int:
        return len(self._accounts)

    def find(self, name: str) -> Account | None:
        """Return the user called `name`, in whatever case."""
        return self._accounts.get(name.casefold())

    def all(self) -> list[StoredUser]:
        """Return every user, by name."""
        rows = self._database.read("SELECT name, role, created_ms, changed_ms FROM users ORDER BY name")
        return [
            StoredUser(name=name, role=role, created_ms=made, changed_ms=changed) for name, role, made, changed in rows
        ]

    def add(self, request: UserRequest, by: Identity = LOCAL) -> StoredUser:
        """Make a user. Raises UserConflictError."""
        kept = hash_password(request.password.get_secret_value().encode())
        now = self._database.clock.wall_ms()
        with self._database.alone():
            self._judge_new(request)
            with self._database.change() as connection:
                connection.execute(
                    "INSERT INTO users (name, role, password, created_ms, changed_ms) VALUES (?, ?, ?, ?, ?)",
                    (request.name, request.role, kept, now, now),
                )
                note(connection, self._database.clock, by, "user.add", f"{request.name} ({request.role})")
            self._load()
        return StoredUser(name=request.name, role=request.role, created_ms=now, changed_ms=now)

    def change(self, name: str, change: UserChange, by: Identity = LOCAL) -> StoredUser:
        """Give a user another role or password, and end their sessions. Raises UserConflictError, UnknownUserError."""
        kept = hash_password(change.password.get_secret_value().encode()) if change.password is not None else None
        now = self._database.clock.wall_ms()
        with self._database.alone():
            account = self._known(name)
            role = change.role or account.role
            if role != account.role:
                self._judge_loss(account, by, "change the role of")
            with self._database.change() as connection:
                connection.execute(
                    "UPDATE users SET role = ?, password = coalesce(?, password), changed_ms = ? WHERE name = ?",
                    (role, kept, now, account.name),
                )
                connection.execute("DELETE FROM sessions WHERE user = ? COLLATE NOCASE", (account.name,))
                if role != account.role:
                    note(connection, self._database.clock, by, "user.role", f"{account.name} ({role})")
                if kept is not None:
                    note(connection, self._database.clock, by, "user.password", account.name)
            self._load()
        return next(user for user in self.all() if user.name == account.name)

    def remove(self, name: str, by: Identity = LOCAL) -> StoredUser:
        """Remove a user and end their sessions. Raises UserConflictError, UnknownUserError."""
        with self._database.alone():
            account = self._known(name)
            self._judge_loss(account, by, "remove")
            if len(self._accounts) == 1 and not self._has_built_in:
                raise UserConflictError("the last user stays: without one nobody would be asked for a password")
            removed = next(user for user in self.all() if user.name == account.name)
            with self._database.change() as connection:
                connection.execute("DELETE FROM users WHERE name = ?", (account.name,))
                connection.execute("DELETE FROM sessions WHERE user = ? COLLATE NOCASE", (account.name,))
                connection.execute("DELETE FROM views WHERE owner = ? COLLATE NOCASE", (account.name,))
                note(connection, self._database.clock, by, "user.remove", account.name)
            self._load()
        return removed

    def _judge_new(self, request: UserRequest) -> None:
        if request.name.casefold() == BUILT_IN:
            raise UserConflictError(f"{BUILT_IN} is the user of admin.password_file: choose another name")
        if request.name.casefold() in (ANYONE, LOCAL.name):
            raise UserConflictError(f"{request.name} stands for something else in the audit: choose another name")
        if self.find(request.name) is not None:
            raise UserConflictError(f"there is a user named {request.name} already")
        if len(self._accounts) >= MAX_USERS:
            raise UserConflictError(f"there are {MAX_USERS} users already")
        if request.role != "admin" and not self._admins():
            raise UserConflictError("the first user must be an admin: somebody has to manage the others")

    def _judge_loss(self, account: Account, by: Identity, deed: str) -> None:
        if by.kind in ("user", "session") and by.name.casefold() == account.name.casefold():
            raise UserConflictError(f"nobody can {deed} themselves: ask another admin")
        if account.role == "admin" and self._admins() == 1:
            raise UserConflictError(f"{account.name} is the last admin")

    def _admins(self) -> int:
        return sum(account.role == "admin" for account in self._accounts.values()) + self._has_built_in

    def _known(self, name: str) -> Account:
        account = self.find(name)
        if account is None:
            raise UnknownUserError("no user has this name")
        return account

    def _load(self) -> None:
        rows = self._database.read("SELECT name, role, password FROM users")
        self._accounts = {name.casefold(): Account(name, role, kept, stamp_of(kept)) for name, role, kept in rows}
