"""Who asks, and what a role may do.

Roles are a ladder: an editor may do all that a viewer may, an admin all that an editor may. Beside it stands `feedback`,
for tokens of applications: it opens the routes that name it, and no other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

Role = Literal["viewer", "editor", "admin"]
TokenRole = Literal["feedback", "viewer", "editor", "admin"]
Least = Literal["public", "viewer", "editor", "admin"]
"""The least role that a route serves; `public`: it asks for no credential at all."""
Kind = Literal["open", "local", "user", "token", "session"]

MIN_PASSWORD_BYTES: Final = 8
MAX_PASSWORD_BYTES: Final = 4096
ROLES: Final[tuple[Role, ...]] = get_args(Role)
_RANKS: Final[dict[str, int]] = {"feedback": 0} | {role: rank for rank, role in enumerate(get_args(Least))}


@dataclass(frozen=True, slots=True)
class Identity:
    """Whoever a request is from."""

    name: str
    role: TokenRole
    kind: Kind
    """`open`: nobody is asked · `local`: over the socket of the data directory · else by what it was proved."""
    address: str = ""
    """'': not over the network."""
    session: bytes = b""
    """Digest of the session; b'': it came with none."""

    @property
    def actor(self) -> str:
        """Return the name for the audit: a token is told from a user who is called the same."""
        return f"token:{self.name}" if self.kind == "token" else self.name

    def may(self, least: Least) -> bool:
        """Say whether this is enough for a route that asks for `least`."""
        return _RANKS[self.role] >= _RANKS[least]


LOCAL: Final = Identity("local", "admin", "local")
"""Whoever can open the data directory: it holds all that a role could give."""
ANYONE: Final = "anyone"
"""Who asks while nobody is asked who they are."""
BUILT_IN: Final = "admin"
"""The user whose password is that of `admin.password_file`."""
