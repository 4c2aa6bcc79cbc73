"""From a record to the rows of the database."""

from __future__ import annotations

from typing import Final

import msgspec
import zstandard

from proxy.store.record import KeptBody, Record
from proxy.store.text import Value, json_text, storable

COMPRESSION_LEVEL: Final = 3
"""Zstandard's own default: 133 µs for 50 KB; level 9 takes four times as long for a tenth less."""
RAW: Final = "raw"
ZSTD: Final = "zstd"
_SMALL: Final = 128
"""Bytes below which a compressed frame is rarely shorter."""


def exchange_row(record: Record) -> dict[str, Value]:
    """Return the row of `exchanges`, all columns but `seq`."""
    row = _facts(record) | _understanding(record) | _money(record)
    return {name: value if value is None else storable(value) for name, value in row.items()}


def body_row(seq: int, side: int, body: KeptBody, compressor: zstandard.ZstdCompressor) -> tuple[Value, ...]:
    """Return the row of `bodies`."""
    head = body.head
    codec = RAW
    if head is not None and len(head) > _SMALL:
        packed = compressor.compress(head)
        if len(packed) < len(head):
            codec, head = ZSTD, packed
    headers = json_text([(name.decode("latin-1"), value.decode("latin-1")) for name, value in body.headers])
    head_size = 0 if body.head is None else len(body.head)
    return seq, side, storable(headers), body.size, body.sha256, codec, head, head_size, body.tail or None, body.edit


def keeps_bytes(record: Record) -> bool:
    """Say whether rows in `bodies` would hold bytes of this record."""
    return any(body.head or body.tail for body in (record.request, record.response))


def _facts(record: Record) -> dict[str, Value]:
    begin, end = record.exchange.begin, record.exchange.end
    reading = record.reading
    # Nobody saw the end of an interrupted exchange, so nobody knows when it was.
    is_over = end.outcome != "interrupted"
    return {
        "id": begin.id,
        "started_at": begin.started_at_ms,
        "key": begin.key,
        "user": begin.user if begin.user is not None else reading.user,
        "session": begin.session,
        "trace_id": begin.trace_id,
        "parent_id": begin.parent_id,
        "environment": begin.environment,
        "tags": json_text(begin.tags),
        "upstream": begin.upstream,
        "provider": begin.provider,
        "wire": begin.wire,
        "method": begin.method,
        "path": begin.path,
        "prompt_name": begin.prompt_name,
        "prompt_version": begin.prompt_version,
        "attempt": begin.attempt,
        "mutated": ",".join(begin.mutated + end.mutated),
        "retry_of": begin.retry_of,
        "no_store": begin.no_store,
        "status": end.status,
        "outcome": record.outcome,
        "error_code": end.error_code or reading.error_type,
        "error_message": end.error_message or reading.error_message,
        "request_bytes": end.request_size,
        "response_bytes": end.response_size,
        "request_complete_us": end.request_complete_us,
        "dispatched_us": end.dispatched_us,
        "connect_us": end.connect_us,
        "response_head_us": end.response_head_us,
        "first_token_us": record.times.first,
        "first_visible_us": record.times.first_visible,
        "last_token_us": record.times.last,
        "duration_us": end.ended_us if is_over else None,
        "overhead_us": end.overhead_us if is_over else None,
    }


def _understanding(record: Record) -> dict[str, Value]:
    reading, usage, totals = record.reading, record.usage, record.totals
    return {
        "reader": reading.reader,
        "endpoint": reading.endpoint,
        "model_requested": reading.model_requested,
        "model": reading.model,
        "streaming": int(reading.is_streaming),
        "response_id": reading.response_id,
        "service_tier": reading.service_tier,
        "speed": reading.speed,
        "processing": reading.processing,
        "region": reading.region,
        "finish_reason": _joined(reading.finish_reasons),
        "finish_reasons": json_text(reading.finish_reasons),
        "tool_calls": json_text(reading.tool_calls),
        "problems": ",".join(reading.problems),
        "input_tokens": totals.input,
        "cached_input_tokens": totals.cached_input,
        "cache_write_tokens": totals.cache_write,
        "output_tokens": totals.output,
        "reasoning_tokens": totals.reasoning,
        "usage": reading.usage_raw.decode("utf-8", "replace") if reading.usage_raw is not None else None,
        "usage_buckets": json_text(usage) if usage else None,
        "usage_source": record.usage_source,
        "charges": json_text(record.charges) if record.charges else None,
    }


def _joined(reasons: tuple[str | None, ...]) -> str | None:
    """Return the reasons of all choices, comma-separated; None: no choice has one."""
    return ",".join(reason or "" for reason in reasons) if any(reasons) else None


def _money(record: Record) -> dict[str, Value]:
    cost, settlement = record.cost, record.settlement
    return {
        "cost_nano_usd": cost.nano_usd,
        "cost_source": cost.source,
        "cost_model": cost.model,
        "cost_reason": cost.reason,
        "cost_components": json_text(cost.components),
        "price_version": cost.version,
        "price_date": cost.effective_date,
        "is_unpriced": int(record.is_unpriced),
        "is_free": int(record.exchange.begin.is_free),
        "is_reserved": int(record.exchange.begin.is_reserved),
        "pending_id": record.pending_id,
        "settled_nano_usd": settlement.nano_usd if settlement else None,
        "settled_estimate": int(settlement.is_estimate if settlement else record.pending_id is not None),
        "bodies_kept": int(keeps_bytes(record)),
        "privacy": ",".join(record.privacy),
    }


class StoredBody(msgspec.Struct, frozen=True):
    """A body as the database holds it."""

    headers: tuple[tuple[str, str], ...]
    size: int
    """Bytes that passed."""
    sha256: bytes
    head: bytes | None
    """The first bytes. None: not kept, or purged since."""
    tail: bytes = b""
    """The last bytes of a body of which only the ends were kept."""
    edit: str = ""
    """How the bytes differ from those that passed: not at all, `redacted`, or `redacted_cut`."""

    @property
    def is_whole(self) -> bool:
        """Say whether `head` is every byte that passed, or what redaction left of all of them."""
        return self.head is not None and (self.edit == "redacted" or (not self.edit and len(self.head) == self.size))


def stored_body(row: tuple[Value, ...]) -> StoredBody:
    """Return what a row of `headers, size, sha256, codec, head, head_size, tail, edit` holds."""
    headers, size, sha256, codec, head, head_size, tail, edit = row
    if isinstance(head, bytes) and codec == ZSTD:
        head = zstandard.ZstdDecompressor().decompress(head, max_output_size=_integer(head_size))
    return StoredBody(
        headers=msgspec.json.decode(str(headers), type=tuple[tuple[str, str], ...]),
        size=_integer(size),
        sha256=_bytes(sha256) or b"",
        head=_bytes(head),
        tail=_bytes(tail) or b"",
        edit=str(edit),
    )


def _integer(value: Value) -> int:
    return value if isinstance(value, int) else 0


def _bytes(value: Value) -> bytes | None:
    return value if isinstance(value, bytes) else None
