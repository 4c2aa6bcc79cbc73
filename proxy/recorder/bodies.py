"""Which bytes of an exchange are kept: what the configuration allows and the caller did not forbid.

Size and hash are kept of everything; they prove what passed without showing it.
"""

from __future__ import annotations

from typing import Final

from proxy.config import Record as RecordPolicy
from proxy.records import Body, Exchange, Headers
from proxy.store import KeptBody

TAIL_BYTES: Final = 64 * 1024
"""Kept of the end of a body that is longer than the limit: the usage of a stream stands there."""


def kept_bodies(exchange: Exchange, policy: RecordPolicy, *, is_error: bool) -> tuple[KeptBody, KeptBody]:
    """Return what is kept of the request's and of the response's body."""
    forbidden = exchange.begin.no_store
    allowed = policy.bodies == "all" or (policy.bodies == "errors" and is_error)
    limit = int(policy.max_body_mb * 1024 * 1024)
    return (
        _kept(exchange.request, exchange.begin.headers, limit, allowed and forbidden not in ("request", "all")),
        _kept(exchange.response, exchange.end.headers, limit, allowed and forbidden not in ("response", "all")),
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
