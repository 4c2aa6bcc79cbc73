"""The keys of a data directory, whoever writes them now: the running admin process, asked over its socket, or we."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import quote

import httpx

from proxy.admin.keys import KeyConflictError, KeyRequest, KeyStore, NewKey, StoredKey, UnknownKeyError
from proxy.admin.unix_socket import SOCKET_NAME, unix_address
from proxy.errors import EnvironmentUnusable, StoreError

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


class RemoteKeys:
    """The keys, changed by the admin process."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def create(self, request: KeyRequest) -> NewKey:
        """Make a key. Raises KeyConflictError."""
        return NewKey.model_validate(self._ask("POST", "/api/keys", request.model_dump_json().encode()))

    def all(self) -> list[StoredKey]:
        """Return every key ever made, oldest first."""
        return [StoredKey.model_validate(key) for key in self._ask("GET", "/api/keys")["keys"]]

    def revoke(self, name: str) -> StoredKey:
        """End a key. Raises UnknownKeyError."""
        return StoredKey.model_validate(self._ask("DELETE", f"/api/keys/{quote(name, safe='')}"))

    def _ask(self, method: str, path: str, body: bytes = b"") -> Any:
        try:
            answer = self._client.request(method, path, content=body, headers=_JSON)
        except httpx.HTTPError as error:
            raise StoreError(f"the running Glassline does not answer: {error}") from error
        if answer.is_success:
            return answer.json()
        message = answer.json()["error"]["message"]
        raise {404: UnknownKeyError, 409: KeyConflictError}.get(answer.status_code, StoreError)(message)


@contextlib.contextmanager
def open_keys(data_dir: Path, *, taken: Collection[str] = ()) -> Iterator[Keys]:
    """Open the keys of `data_dir`. Raises EnvironmentUnusable, StoreError."""
    path = data_dir / "run" / SOCKET_NAME
    with contextlib.ExitStack() as stack:
        if path.exists():
            address = stack.enter_context(unix_address(path))
            if _is_listening(address):
                transport = httpx.HTTPTransport(uds=address)
                client = httpx.Client(transport=transport, base_url=_BASE, timeout=TIMEOUT_S, trust_env=False)
                yield RemoteKeys(stack.enter_context(client))
                return
        if not data_dir.is_dir():
            raise EnvironmentUnusable(f"{data_dir}: no such data directory: start `glassline serve` once")
        yield stack.enter_context(KeyStore(data_dir, taken=taken, patience_s=1.0))


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
