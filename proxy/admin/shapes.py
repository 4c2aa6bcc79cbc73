"""The JSON that programs get, from the admin port and from `--json` alike.

Exact integers beside rounded dollars, null for unknown, objects where the database holds JSON text.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from proxy.errors import ClientError
from proxy.ledger.accounts import AccountRow
from proxy.store.query import Page, RequestRow
from proxy.store.row import StoredBody

_NULL: Final = msgspec.Raw(b"null")


class NotKeptError(ClientError):
    """Not every byte of a body was kept."""


class BodyShape(msgspec.Struct, frozen=True):
    """What is known of a body, without its bytes."""

    size: int
    sha256: str
    """Hexadecimal, of all bytes that passed; empty: not kept."""
    kept: int
    """Bytes that can still be read from the start of the body."""
    is_whole: bool
    edit: str
    """How the kept bytes differ from those that passed: not at all, `redacted`, or `redacted_cut`."""
    headers: tuple[tuple[str, str], ...]


class AccountShape(msgspec.Struct, frozen=True):
    """One budget window."""

    budget: str
    scope: str
    """'' or the value of the budget's `per`."""
    is_hard: bool
    limit_nano_usd: int
    spent_nano_usd: int
    reserved_nano_usd: int
    remaining_nano_usd: int
    overrun_nano_usd: int
    """What providers billed beyond what had been reserved and beyond the limit."""
    window_start: int | None
    """Unix ms. None: total or rolling."""
    resets_at: int | None
    """Unix ms. None: total or rolling."""
    rolling_ms: int | None


def request_shape(row: RequestRow) -> dict[str, Any]:
    """Return one request; `tags` and `usage` are objects, `streaming` is a truth value."""
    shape: dict[str, Any] = {name: getattr(row, name) for name in RequestRow.__struct_fields__}
    shape["tags"] = raw(row.tags)
    shape["usage"] = raw(row.usage)
    shape["streaming"] = bool(row.streaming)
    shape["is_unpriced"] = bool(row.is_unpriced)
    return shape


def page_shape(page: Page) -> dict[str, Any]:
    """Return one page of requests."""
    return {
        "requests": [request_shape(row) for row in page.rows],
        "next_before": str(page.cursor) if page.cursor else None,
        "searched_to": page.reached,
    }


def body_shape(body: StoredBody) -> BodyShape:
    """Return what is known of a body."""
    return BodyShape(body.size, body.sha256.hex(), len(body.head or b""), body.is_whole, body.edit, body.headers)


def account_shape(row: AccountRow) -> AccountShape:
    """Return one budget window."""
    return AccountShape(
        budget=row.budget,
        scope=row.scope,
        is_hard=row.is_hard,
        limit_nano_usd=row.limit_nano_usd,
        spent_nano_usd=row.spent_nano_usd,
        reserved_nano_usd=row.reserved_nano_usd,
        remaining_nano_usd=max(0, row.limit_nano_usd - row.spent_nano_usd - row.reserved_nano_usd),
        overrun_nano_usd=row.overrun_nano_usd,
        window_start=row.window_start_ms or None,
        resets_at=row.window_end_ms,
        rolling_ms=row.rolling_ms,
    )


def raw(text: str | None) -> msgspec.Raw:
    """Return JSON text as itself; what is not JSON, as null."""
    if text is None:
        return _NULL
    try:
        # Decoded once to be sure: a provider's usage is stored as it came, and one bad row must not spoil a page.
        msgspec.json.decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return _NULL
    return msgspec.Raw(text.encode())


def whole_bytes(body: StoredBody) -> bytes:
    """Return every byte of a body. Raises NotKeptError when not all of them were kept."""
    if body.head is None and body.size:
        raise NotKeptError(f"the bytes of this body were not kept ({body.size} bytes passed)")
    if not body.is_whole and body.size:
        raise NotKeptError(
            f"only the first {len(body.head or b'')} and the last {len(body.tail)} of {body.size} bytes were kept"
        )
    return body.head or b""
