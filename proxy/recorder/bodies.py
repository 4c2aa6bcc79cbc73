"""Which bytes of a body are stored: the beginning, and of a long one the end.

Size and hash are kept of everything that may be known: they prove what passed without showing it. Of a body that was
redacted, or whose caller asked not to keep it, the hash would show it after all: a phone number in a known sentence is
found by trying all of them.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from proxy.records import Body, Headers, Timeline
from proxy.store import Edit, KeptBody

_MINTS: Final = frozenset({"realtime_secrets", "chatkit_secrets"})
"""Operations that answer with a key that works without us."""
_SECRET: Final = re.compile(rb"(ek_)[0-9A-Za-z_-]{8,}")
TAIL_BYTES: Final = 64 * 1024
"""Kept of the end of a body that is longer than the limit: the usage of a stream stands there."""


def masked(body: Body, endpoint: str) -> Body:
    """Cross out the secrets that a provider mints, byte for byte, so that lengths and offsets stay.

    The hash remains that of what passed.
    """
    if endpoint not in _MINTS:
        return body
    return msgspec.structs.replace(
        body, head=_SECRET.sub(_crossed_out, body.head), tail=_SECRET.sub(_crossed_out, body.tail)
    )


def _crossed_out(match: re.Match[bytes]) -> bytes:
    return match[1] + b"*" * (len(match[0]) - len(match[1]))


def withheld_body(headers: Headers, body: Body, *, has_hash: bool) -> KeptBody:
    """Return a body without its bytes."""
    return KeptBody(headers, body.size, body.sha256 if has_hash else b"", None)


def stored_body(
    headers: Headers,
    body: Body,
    limit: int,
    edit: Edit = "",
    timeline: Timeline = Timeline(),  # noqa: B008 (frozen)
) -> KeptBody:
    """Return a body with `limit` bytes of its beginning; `edit`: how its bytes differ from those that passed."""
    is_cut = len(body.head) > limit
    head, tail = body.head, body.tail
    if is_cut:
        # A body that was captured whole ends with its head; of one that was not, the end came with it.
        rest = body.head[limit:] if edit == "redacted" or body.is_whole else b""
        head, tail = body.head[:limit], (body.tail or rest)[-TAIL_BYTES:]
        edit = "redacted_cut" if edit else ""
    return KeptBody(headers, body.size, b"" if edit else body.sha256, head, tail, edit, timeline)
