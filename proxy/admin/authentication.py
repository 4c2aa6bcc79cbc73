"""Who a request is from: a token, a session or a password, each known without its secret being kept.

Tokens, sessions and passwords that were right a moment ago are looked up by digest, which costs microseconds; only a
password that was never seen costs an argon2id. So a scraper with a password costs one check, and an address that keeps
guessing is refused without any. What the limiter holds back are wrong tokens and unseen passwords: a token, a session
or a password that was right before passes from any address at any time.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import logging
import secrets
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from proxy.admin.audit import AuditLog
from proxy.admin.guard import Access, Headers, Refusal
from proxy.admin.identity import ANYONE, BUILT_IN, MAX_PASSWORD_BYTES, Identity
from proxy.admin.passwords import Checker, TooBusyError, hash_password, stamp_of
from proxy.admin.sessions import SessionStore
from proxy.admin.tokens import TokenStore
from proxy.admin.users import Account, UserStore
from proxy.clock import SYSTEM, Clock
from proxy.errors import StoreError
from proxy.gates.failures import Failures
from proxy.secrets import Secret

log = logging.getLogger(__name__)
SESSION_COOKIE: Final = "glassline_session"
FORM_COOKIE: Final = "glassline_form"
_REMEMBERED: Final = 256
"""Right passwords whose digest under a key of this process is kept, so that scraping costs no argon2id."""
CHALLENGES: Final = (
    (b"www-authenticate", b'Basic realm="glassline", charset="UTF-8"'),
    (b"www-authenticate", b'Bearer realm="glassline"'),
)
NOT_KNOWN: Final = Refusal(401, "unauthorized", "a user's password or a token is required", CHALLENGES)
"""The same whatever was wrong."""


def built_in_account(access: Access, pepper: Secret) -> Account | None:
    """Return the user of the password file, whose password is from here on known by its argon2id alone.

    The salt is always the same, so that a restart ends no session and another password ends them all.
    """
    if access.password is None:
        return None
    kept = hash_password(access.password, hmac.digest(pepper.reveal(), b"password_file", "sha256")[:16])
    return Account(BUILT_IN, "admin", kept, stamp_of(kept))


@dataclass(frozen=True, slots=True)
class Stores:
    """What the door looks up."""

    users: UserStore
    tokens: TokenStore
    sessions: SessionStore
    audit: AuditLog


class Door:
    """Decides who a request is from."""

    def __init__(self, built_in: Account | None, stores: Stores, failures: Failures, *, clock: Clock = SYSTEM) -> None:
        self._stores = stores
        self._failures = failures
        self._clock = clock
        self._checker = Checker()
        self._remembered: OrderedDict[bytes, tuple[str, bytes]] = OrderedDict()
        self._key = secrets.token_bytes(32)
        self._built_in = built_in
        self._is_disk_failing = False
        self.failures_seen: Counter[str] = Counter()
        """Since the process started."""
        self.unwritten = 0
        """Failed logins and uses of tokens and sessions that the disk did not take."""

    @property
    def is_open(self) -> bool:
        """Say whether nobody is asked: there is no password, no user, and never was a token."""
        return self._built_in is None and not len(self._stores.users) and not self._stores.tokens.were_ever_made

    @property
    def has_users(self) -> bool:
        """Say whether anybody could log in."""
        return self._built_in is not None or len(self._stores.users) > 0

    async def identify(self, headers: Headers, address: str) -> Identity | Refusal:
        """Return who asks, or why that is not known. Raises TooBusyError."""
        if self.is_open:
            return Identity(ANYONE, "admin", "open", address)
        presented = headers.get(b"authorization", ())
        if not presented:
            return await self._by_cookie(headers, address) or NOT_KNOWN
        scheme, _, rest = presented[0].partition(b" ")
        if len(presented) == 1 and scheme.lower() == b"bearer":
            return await self._by_token(rest, address)
        if len(presented) == 1 and scheme.lower() == b"basic" and (pair := read_basic(rest)) is not None:
            return await self.by_password(*pair, address)
        return self._refuse(address)

    async def by_password(self, name: str, password: bytes, address: str) -> Identity | Refusal:
        """Return whose password this is. Raises TooBusyError."""
        account = self.account(name)
        mark = hmac.digest(self._key, name.encode() + b"\0" + password, "sha256")
        known = self._remembered.get(mark)
        if account is not None and known is not None and hmac.compare_digest(known[1], account.stamp):
            self._remembered.move_to_end(mark)
            return Identity(account.name, account.role, "user", address)
        # Counted before it is known to be wrong: a hundred guesses at once must not all be checked.
        if (wait_s := self._failures.add(address, self._clock.monotonic())) is not None:
            return self._limit(wait_s)
        try:
            is_right = len(password) <= MAX_PASSWORD_BYTES and await self._checker.check(
                password, account.kept if account else None
            )
        except TooBusyError:
            self._failures.take_back(address)  # nobody looked at it
            raise
        if not is_right:
            self.failures_seen["refused"] += 1
            await self._write(self._stores.audit.failed, account.name if account else "?", address)
            return NOT_KNOWN
        self._failures.take_back(address)
        if account is None or self.account(name) != account:
            return NOT_KNOWN  # changed or removed while it was checked
        self._remembered[mark] = (account.name, account.stamp)
        if len(self._remembered) > _REMEMBERED:
            self._remembered.popitem(last=False)
        return Identity(account.name, account.role, "user", address)

    def account(self, name: str) -> Account | None:
        """Return whom a name means: a user, or else the built-in one, whose name does not matter."""
        return self._stores.users.find(name) or self._built_in

    def close(self) -> None:
        """End the threads that check passwords."""
        self._checker.close()

    async def _by_token(self, token: bytes, address: str) -> Identity | Refusal:
        stored = self._stores.tokens.find(token)
        if stored is None:
            return self._refuse(address)
        if self._stores.tokens.is_use_due(stored):
            await self._write(self._stores.tokens.note_use, stored)
        return Identity(stored.name, stored.role, "token", address)

    async def _by_cookie(self, headers: Headers, address: str) -> Identity | None:
        session = self._stores.sessions.find(read_cookie(headers, SESSION_COOKIE).encode())
        if session is None:
            return None
        account = self._built_in if session.user == BUILT_IN else self._stores.users.find(session.user)
        if account is None or not hmac.compare_digest(account.stamp, session.stamp):
            return None
        if self._stores.sessions.is_seen_due(session):
            await self._write(self._stores.sessions.note_seen, session)
        return Identity(account.name, account.role, "session", address, session.digest)

    async def _write(self, write: Callable[..., None], *about: object) -> None:
        """Write down who came. A disk that takes no more keeps nobody out: they come to see what is wrong with it."""
        try:
            await asyncio.to_thread(write, *about)
        except StoreError as error:
            self.unwritten += 1
            if not self._is_disk_failing:
                log.warning("who came to the admin port cannot be written down: %s", error)
            self._is_disk_failing = True
        else:
            self._is_disk_failing = False

    def _refuse(self, address: str) -> Refusal:
        wait_s = self._failures.add(address, self._clock.monotonic())
        if wait_s is not None:
            return self._limit(wait_s)
        self.failures_seen["refused"] += 1
        return NOT_KNOWN

    def _limit(self, wait_s: float) -> Refusal:
        self.failures_seen["limited"] += 1
        after = str(max(1, int(wait_s + 0.999))).encode()
        return Refusal(
            429, "too_many_failures", "too many wrong credentials: wait a moment", ((b"retry-after", after),)
        )


def read_basic(encoded: bytes) -> tuple[str, bytes] | None:
    """Return user name and password of Basic credentials; None: they are none."""
    try:
        name, colon, password = base64.b64decode(encoded, validate=True).partition(b":")
        return (name.decode(), password) if colon else None
    except (binascii.Error, ValueError):
        return None


def read_cookie(headers: Headers, name: str) -> str:
    """Return a cookie; '': there is none, there are two that differ, or more than one header of cookies."""
    lines = headers.get(b"cookie", ())
    if len(lines) != 1:
        return ""
    # Not by `http.cookies`, which drops all cookies when one is odd: others on this host set theirs for every port.
    fields = (each.partition(b"=") for each in lines[0].split(b";"))
    found = dict.fromkeys(value.strip() for key, _, value in fields if key.strip() == name.encode())
    value = next(iter(found), b"") if len(found) == 1 else b""
    return value.decode() if value.isascii() else ""
