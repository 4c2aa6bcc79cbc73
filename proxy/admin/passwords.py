"""Passwords: kept as argon2id, checked in threads of their own, few at a time.

Each check takes 19 MiB and some 40 ms (the least that OWASP's password storage cheat sheet asks of argon2id, seen
2026-11-21), so those at once and those that wait are bounded: a flood of logins can make the login slow and nothing else.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from proxy.errors import OurError

AT_ONCE: Final = 2
MAX_WAITING: Final = 16
_MEMORY_KIB: Final = 19 * 1024
_ITERATIONS: Final = 2
_SALT_BYTES: Final = 16
_HASH_BYTES: Final = 32


class TooBusyError(OurError):
    """More passwords wait to be checked than is sensible."""


def hash_password(password: bytes, salt: bytes | None = None) -> str:
    """Return the form in which a password is kept (PHC string); `salt` None: a random one."""
    derivation = Argon2id(
        salt=salt or os.urandom(_SALT_BYTES),
        length=_HASH_BYTES,
        iterations=_ITERATIONS,
        lanes=1,
        memory_cost=_MEMORY_KIB,
    )
    return derivation.derive_phc_encoded(password)


def is_password(password: bytes, kept: str) -> bool:
    """Say whether `kept` was made of `password`; compared in constant time."""
    try:
        Argon2id.verify_phc_encoded(password, kept)
    except InvalidKey:
        return False
    return True


def _unknown_password() -> str:
    """Return what no password makes and yet takes as long as any to compare, without the time that making one takes."""
    salt, digest = (b64encode(os.urandom(size)).decode().rstrip("=") for size in (_SALT_BYTES, _HASH_BYTES))
    return f"$argon2id$v=19$m={_MEMORY_KIB},t={_ITERATIONS},p=1${salt}${digest}"


def stamp_of(kept: str) -> bytes:
    """Return what tells one kept password from another and helps nobody to guess it, 32 bytes."""
    return hashlib.sha256(kept.encode()).digest()


class Checker:
    """Checks passwords off the event loop."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="password")
        self._waiting = 0
        self._nobody = _unknown_password()

    async def check(self, password: bytes, kept: str | None) -> bool:
        """Say whether `kept` was made of `password`. Raises TooBusyError.

        None takes as long as any: who exists cannot be told by a clock.
        """
        if self._waiting >= MAX_WAITING + AT_ONCE:
            raise TooBusyError("too many passwords wait to be checked: try again in a moment")
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            found = await loop.run_in_executor(self._threads, is_password, password, kept or self._nobody)
        finally:
            self._waiting -= 1
        return found and kept is not None

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(cancel_futures=True)
