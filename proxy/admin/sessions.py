"""Sessions: that a browser has shown a password, until it is idle or old, or the password or role is another.

The cookie holds 256 random bits; kept is their digest under the pepper.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass, replace
from typing import Final

from proxy.admin.database import AppDatabase, note
from proxy.admin.identity import Identity
from proxy.gates.keys import digest_of

SESSION_BYTES: Final = 32
MAX_COOKIE_LENGTH: Final = 128
MAX_PER_USER: Final = 50
"""The one that was idle longest makes room."""
SEEN_NOTED_EVERY_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class Session:
    """One browser that is logged in."""

    digest: bytes
    user: str
    stamp: bytes
    """That of the password with which it began."""
    created_ms: int
    seen_ms: int
    """True to the minute."""


class SessionStore:
    """The writer of sessions."""

    def __init__(self, database: AppDatabase, *, idle_s: float, lifetime_s: float) -> None:
        self._database = database
        self._idle_ms = idle_s * 1000
        self._lifetime_ms = lifetime_s * 1000
        self._forget_old()
        self._living = {session.digest: session for session in self._rows()}

    def find(self, cookie: bytes) -> Session | None:
        """Return the session whose cookie this is, unless it is over."""
        if len(cookie) > MAX_COOKIE_LENGTH:
            return None
        digest = self._digest(cookie)
        session = self._living.get(digest)
        if session is None or not hmac.compare_digest(session.digest, digest):
            return None
        now = self._database.clock.wall_ms()
        is_over = now - session.seen_ms > self._idle_ms or now - session.created_ms > self._lifetime_ms
        return None if is_over else session

    def begin(self, who: Identity, stamp: bytes) -> str:
        """Begin a session and return its cookie."""
        cookie = secrets.token_urlsafe(SESSION_BYTES)
        now = self._database.clock.wall_ms()
        session = Session(self._digest(cookie.encode()), who.name, stamp, now, now)
        with self._database.alone():
            self._forget_old()
            with self._database.change() as connection:
                connection.execute(
                    "INSERT INTO sessions (digest, user, stamp, created_ms, seen_ms) VALUES (?, ?, ?, ?, ?)",
                    (session.digest, session.user, session.stamp, now, now),
                )
                connection.execute(
                    "DELETE FROM sessions WHERE user = ?1 AND digest NOT IN"
                    " (SELECT digest FROM sessions WHERE user = ?1 ORDER BY seen_ms DESC, created_ms DESC LIMIT ?2)",
                    (session.user, MAX_PER_USER),
                )
                note(connection, self._database.clock, who, "login", who.name)
            self._living = {each.digest: each for each in self._rows()}
        return cookie

    def end(self, who: Identity) -> None:
        """End the session with which `who` came."""
        with self._database.change() as connection:
            connection.execute("DELETE FROM sessions WHERE digest = ?", (who.session,))
            note(connection, self._database.clock, who, "logout", who.name)
            self._living.pop(who.session, None)

    def reload(self) -> None:
        """Forget the sessions that another change has ended."""
        with self._database.alone():
            self._living = {each.digest: each for each in self._rows()}

    def is_seen_due(self, session: Session) -> bool:
        """Say whether it should be written down that the session is in use."""
        return self._database.clock.wall_ms() - session.seen_ms >= min(SEEN_NOTED_EVERY_MS, self._idle_ms / 4)

    def note_seen(self, session: Session) -> None:
        """Write down that the session is in use now."""
        now = self._database.clock.wall_ms()
        with self._database.alone():
            # First of all: a session in use must not end as idle because the disk is full.
            if session.digest in self._living:
                self._living[session.digest] = replace(session, seen_ms=now)
            with self._database.change() as connection:
                connection.execute("UPDATE sessions SET seen_ms = ? WHERE digest = ?", (now, session.digest))

    def form_token(self, about: bytes) -> str:
        """Return what proves that a form is ours: `about` is the session's digest, or the cookie of the login form."""
        return hmac.digest(self._database.pepper.reveal(), b"form\0" + about, "sha256").hex()

    def _digest(self, cookie: bytes) -> bytes:
        return digest_of(b"session\0" + cookie, self._database.pepper)

    def _forget_old(self) -> None:
        now = self._database.clock.wall_ms()
        with self._database.change() as connection:
            connection.execute(
                "DELETE FROM sessions WHERE seen_ms < ? OR created_ms < ?",
                (int(now - self._idle_ms), int(now - self._lifetime_ms)),
            )

    def _rows(self) -> list[Session]:
        return [Session(*row) for row in self._database.read("SELECT * FROM sessions")]
