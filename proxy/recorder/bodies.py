"""Which bytes of an exchange are kept: what the configuration allows and the caller did not forbid.

Size and hash are kept of everything; they prove what passed without showing it.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from proxy.config import Record as RecordPolicy
from proxy.records import Body, Exchange, Headers
from proxy.store import KeptBody

_MINTS: Final = frozenset({"realtime_secrets", "chatkit_secrets"})
"""Operations that answer with a key that works without us."""
_SECRET: Final = re.compile(rb"(ek_)[0-9A-Za-z_-]{8,}")
TAIL_BYTES: Final = 64 * 1024
"""Kept of the end of a body that is longer than the limit: the usage of a stream stands there."""


def kept_bodies(
    exchange: Exchange, policy: RecordPolicy, endpoint: str, *, is_error: bool
) -> tuple[KeptBody, KeptBody]:
    """Return what is kept of the request's and of the response's body; secrets that the provider mints are masked."""
    forbidden = exchange.begin.no_store
    allowed = policy.bodies == "all" or (policy.bodies == "errors" and is_error)
    limit = int(policy.max_body_mb * 1024 * 1024)
    response = _masked(exchange.response) if endpoint in _MINTS else exchange.response
    return (
        _kept(exchange.request, exchange.begin.headers, limit, allowed and forbidden not in ("request", "all")),
        _kept(response, exchange.end.headers, limit, allowed and forbidden not in ("response", "all")),
    )


def _masked(body: Body) -> Body:
    """Cross out the secrets, byte for byte, so that lengths and offsets stay; the hash remains that of what passed."""

    def crossed_out(match: re.Match[bytes]) -> bytes:
        return match[1] + b"*" * (len(match[0]) - len(match[1]))

    return msgspec.structs.replace(
        body, head=_SECRET.sub(crossed_out, body.head), tail=_SECRET.sub(crossed_out, body.tail)
    )


def no_bodies(exchange: Exchange) -> tuple[KeptBody, KeptBody]:
    """Return sizes and hashes alone."""
    return _kept(exchange.request, (), 0, False), _kept(exchange.response, (), 0, False)


def _kept(body: Body, headers: Headers, limit: int, is_allowed: bool) -> KeptBody:
    if not is_allowed:
        return KeptBody(headers, body.size, body.sha256, None)
    if len(body.head) <= limit:
        return KeptBody(headers, body.size, body.sha256, body.head, body.tail)
    # A body that was captured whole ends with its head; of one that was not, the end came with it.
    tail = body.head[limit:] if body.is_whole else body.tail
    return KeptBody(headers, body.size, body.sha256, body.head[:limit], tail[-TAIL_BYTES:])
