"""What app.db holds, whoever writes it now: the running admin process, asked over its socket, or we."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import quote

import httpx
import msgspec
from pydantic import BaseModel, SecretStr

from proxy.admin.database import AppDatabase
from proxy.admin.keys import KeyConflictError, KeyRequest, KeyStore, NewKey, StoredKey, UnknownKeyError
from proxy.admin.tokens import (
    NewToken,
    StoredToken,
    TokenConflictError,
    TokenRequest,
    TokenStore,
    UnknownTokenError,
)
from proxy.admin.unix_socket import SOCKET_NAME, unix_address
from proxy.admin.users import (
    StoredUser,
    UnknownUserError,
    UserChange,
    UserConflictError,
    UserRequest,
    UserStore,
)
from proxy.errors import ClientError, EnvironmentUnusable, StoreError

TIMEOUT_S: Final = 10.0
_BASE: Final = "http://localhost"
_JSON: Final = {"content-type": "application/json"}


class Keys(Protocol):
    """What can be done with keys."""

    def create(self, request: KeyRequest) -> NewKey:
        """Make a key. Raises KeyConflictError."""
        ...

    def all(self) -> list[StoredKey]:
        """Return every key ever made, oldest first."""
        ...

    def revoke(self, name: str) -> StoredKey:
        """End a key. Raises UnknownKeyError."""
        ...


class Users(Protocol):
    """What can be done with users."""

    def add(self, request: UserRequest) -> StoredUser:
        """Make a user. Raises UserConflictError."""
        ...

    def all(self) -> list[StoredUser]:
        """Return every user, by name."""
        ...

    def change(self, name: str, change: UserChange) -> StoredUser:
        """Give a user another role or password. Raises UserConflictError, UnknownUserError."""
        ...

    def remove(self, name: str) -> StoredUser:
        """Remove a user. Raises UserConflictError, UnknownUserError."""
        ...


class Tokens(Protocol):
    """What can be done with tokens."""

    def create(self, request: TokenRequest) -> NewToken:
        """Make a token. Raises TokenConflictError."""
        ...

    def all(self) -> list[StoredToken]:
        """Return every token ever made, oldest first."""
        ...

    def revoke(self, name: str) -> StoredToken:
        """End a token. Raises UnknownTokenError."""
        ...


class _Remote:
    """The admin process, asked."""

    missing: type[ClientError] = ClientError
    conflict: type[ClientError] = ClientError

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def ask(self, method: str, path: str, body: bytes = b"") -> Any:
        """Return what is answered. Raises StoreError, or the kind of error that the answer says."""
        try:
            answer = self._client.request(method, path, content=body, headers=_JSON)
        except httpx.HTTPError as error:
            raise StoreError(f"the running Glassline does not answer: {error}") from error
        if answer.is_success:
            return answer.json()
        message = answer.json()["error"]["message"]
        if answer.status_code in (400, 404, 409):
            raise {404: self.missing, 409: self.conflict}.get(answer.status_code, ClientError)(message)
        raise StoreError(message)


class RemoteKeys(_Remote):
    """The keys, changed by the admin process."""

    missing, conflict = UnknownKeyError, KeyConflictError

    def create(self, request: KeyRequest) -> NewKey:
        """Make a key. Raises KeyConflictError."""
        return NewKey.model_validate(self.ask("POST", "/api/keys", request.model_dump_json().encode()))

    def all(self) -> list[StoredKey]:
        """Return every key ever made, oldest first."""
        listed = self.ask("GET", "/api/keys")["keys"]
        made_here = [key for key in listed if key["origin"] == "dynamic"]
        return [StoredKey.model_validate({name: key[name] for name in StoredKey.model_fields}) for key in made_here]

    def revoke(self, name: str) -> StoredKey:
        """End a key. Raises UnknownKeyError."""
        return StoredKey.model_validate(self.ask("DELETE", f"/api/keys/{quote(name, safe='')}"))


class RemoteUsers(_Remote):
    """The users, changed by the admin process."""

    missing, conflict = UnknownUserError, UserConflictError

    def add(self, request: UserRequest) -> StoredUser:
        """Make a user. Raises UserConflictError."""
        return StoredUser.model_validate(self.ask("POST", "/api/settings/users", _revealed(request)))

    def all(self) -> list[StoredUser]:
        """Return every user, by name."""
        return [StoredUser.model_validate(user) for user in self.ask("GET", "/api/settings/users")["users"]]

    def change(self, name: str, change: UserChange) -> StoredUser:
        """Give a user another role or password. Raises UserConflictError, UnknownUserError."""
        path = f"/api/settings/users/{quote(name, safe='')}"
        return StoredUser.model_validate(self.ask("PATCH", path, _revealed(change)))

    def remove(self, name: str) -> StoredUser:
        """Remove a user. Raises UserConflictError, UnknownUserError."""
        removed = self.ask("DELETE", f"/api/settings/users/{quote(name, safe='')}")
        del removed["tokens_in_force"]
        return StoredUser.model_validate(removed)


class RemoteTokens(_Remote):
    """The tokens, changed by the admin process."""

    missing, conflict = UnknownTokenError, TokenConflictError

    def create(self, request: TokenRequest) -> NewToken:
        """Make a token. Raises TokenConflictError."""
        return NewToken.model_validate(self.ask("POST", "/api/tokens", request.model_dump_json().encode()))

    def all(self) -> list[StoredToken]:
        """Return every token ever made, oldest first."""
        return [StoredToken.model_validate(token) for token in self.ask("GET", "/api/tokens")["tokens"]]

    def revoke(self, name: str) -> StoredToken:
        """End a token. Raises UnknownTokenError."""
        return StoredToken.model_validate(self.ask("DELETE", f"/api/tokens/{quote(name, safe='')}"))


def ask_status(data_dir: Path, *, timeout_s: float) -> dict[str, Any] | None:
    """Return what `/api/status` of the Glassline that runs on `data_dir` says; None: none runs.

    Raises EnvironmentUnusable, StoreError.
    """
    with _open_client(data_dir, timeout_s) as client:
        if client is None:
            return None
        status: dict[str, Any] = _Remote(client).ask("GET", "/api/status")
        return status


@contextlib.contextmanager
def open_keys(data_dir: Path, *, taken: Collection[str] = ()) -> Iterator[Keys]:
    """Open the keys of `data_dir`. Raises EnvironmentUnusable, StoreError."""
    with _open_writer(data_dir) as writer:
        yield KeyStore(writer, taken=taken) if isinstance(writer, AppDatabase) else RemoteKeys(writer)


@contextlib.contextmanager
def open_users(data_dir: Path, *, has_built_in: bool = False) -> Iterator[Users]:
    """Open the users of `data_dir`. Raises EnvironmentUnusable, StoreError."""
    with _open_writer(data_dir) as writer:
        yield UserStore(writer, has_built_in=has_built_in) if isinstance(writer, AppDatabase) else RemoteUsers(writer)


@contextlib.contextmanager
def open_tokens(data_dir: Path) -> Iterator[Tokens]:
    """Open the tokens of `data_dir`. Raises EnvironmentUnusable, StoreError."""
    with _open_writer(data_dir) as writer:
        yield TokenStore(writer) if isinstance(writer, AppDatabase) else RemoteTokens(writer)


@contextlib.contextmanager
def _open_writer(data_dir: Path) -> Iterator[httpx.Client | AppDatabase]:
    with _open_client(data_dir, TIMEOUT_S) as client:
        if client is not None:
            yield client
            return
        if not data_dir.is_dir():
            raise EnvironmentUnusable(f"{data_dir}: no such data directory: start `glassline serve` once")
        with AppDatabase(data_dir, patience_s=1.0) as database:
            yield database


@contextlib.contextmanager
def _open_client(data_dir: Path, timeout_s: float) -> Iterator[httpx.Client | None]:
    """Yield a way to the admin process; None: nobody listens."""
    path = data_dir / "run" / SOCKET_NAME
    if not path.exists():
        yield None
        return
    with unix_address(path) as address:
        if not _is_listening(address):
            yield None
            return
        transport = httpx.HTTPTransport(uds=address)
        with httpx.Client(transport=transport, base_url=_BASE, timeout=timeout_s, trust_env=False) as client:
            yield client


def _revealed(model: BaseModel) -> bytes:
    """Return a model as JSON with its password, which pydantic hides."""
    return msgspec.json.encode(
        {name: value.get_secret_value() if isinstance(value, SecretStr) else value for name, value in model}
    )


def _is_listening(address: str) -> bool:
    """Say whether somebody listens; the socket's file may be all that a killed process left."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(TIMEOUT_S)
        try:
            probe.connect(address)
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError as error:
            raise StoreError(f"the running Glassline does not answer: {error.strerror or error}") from error
    return True
