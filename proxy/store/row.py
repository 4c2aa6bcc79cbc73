"""From a record to the rows of the database."""

from __future__ import annotations

from typing import Final

import msgspec
import zstandard

from proxy.records import Timeline
from proxy.store.record import Record
from proxy.store.templates import COLUMNS
from proxy.store.text import Value, are_storable, is_storable, json_text, storable_integer, storable_text

_ZSTD: Final = "zstd"


TEXT_COLUMNS: Final = (
    *COLUMNS,
    *("id", "key", "user", "session", "trace_id", "parent_id", "environment", "tags", "upstream", "provider", "wire"),
    *("method", "path", "prompt_name", "prompt_version", "mutated", "retry_of", "no_store", "outcome", "error_code"),
    *("error_message", "reader", "endpoint", "model_requested", "model", "response_id", "service_tier", "speed"),
    *("processing", "region", "finish_reason", "finish_reasons", "tool_calls", "problems", "usage_source"),
    *("charges", "cost_source", "cost_model", "cost_reason", "price_version", "price_date", "pending_id", "privacy"),
)
NUMBER_COLUMNS: Final = (
    *("started_at", "attempt", "status", "request_bytes", "response_bytes", "request_complete_us", "dispatched_us"),
    *("connect_us", "response_head_us", "first_token_us", "first_visible_us", "last_token_us", "duration_us"),
    *("overhead_us", "streaming", "input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens"),
    *("reasoning_tokens", "cost_nano_usd", "is_unpriced", "is_free", "is_reserved", "settled_nano_usd"),
    *("settled_estimate", "bodies_kept"),
)
EXCHANGE_COLUMNS: Final = (*TEXT_COLUMNS, *NUMBER_COLUMNS)
"""All columns of `exchanges` but `seq`, in the order of `exchange_row`: first those that are packed by templates."""


def exchange_row(record: Record) -> tuple[Value, ...]:
    """Return the row of `exchanges`, see `EXCHANGE_COLUMNS`."""
    texts, numbers = _texts(record), _numbers(record)
    # One look at all of them: nearly every row can be stored as it is.
    if not is_storable("".join(filter(None, texts))):
        texts = tuple(None if text is None else storable_text(text) for text in texts)
    if not are_storable(numbers):
        numbers = tuple(storable_integer(number) for number in numbers)
    return texts + numbers


def keeps_bytes(record: Record) -> bool:
    """Say whether a payload would hold bytes of this record."""
    return any(body.head or body.tail for body in (record.request, record.response))


def _texts(record: Record) -> tuple[str | None, ...]:
    begin, end = record.exchange.begin, record.exchange.end
    reading, usage, cost = record.reading, record.usage, record.cost
    raw = reading.usage_raw
    return (
        None if raw is None else raw.decode("utf-8", "replace"),
        json_text(usage) if usage else None,
        json_text(cost.components) if cost.components else "{}",
        begin.id,
        begin.key,
        begin.user if begin.user is not None else reading.user,
        begin.session,
        begin.trace_id,
        begin.parent_id,
        begin.environment,
        json_text(begin.tags) if begin.tags else "{}",
        begin.upstream,
        begin.provider,
        begin.wire,
        begin.method,
        begin.path,
        begin.prompt_name,
        begin.prompt_version,
        ",".join(begin.mutated + end.mutated),
        begin.retry_of,
        begin.no_store,
        record.outcome,
        end.error_code or reading.error_type,
        end.error_message or reading.error_message,
        reading.reader,
        reading.endpoint,
        reading.model_requested,
        reading.model,
        reading.response_id,
        reading.service_tier,
        reading.speed,
        reading.processing,
        reading.region,
        _joined(reading.finish_reasons),
        json_text(reading.finish_reasons) if reading.finish_reasons else "[]",
        json_text(reading.tool_calls) if reading.tool_calls else "[]",
        ",".join(reading.problems),
        record.usage_source,
        json_text(record.charges) if record.charges else None,
        cost.source,
        cost.model,
        cost.reason,
        cost.version,
        cost.effective_date,
        record.pending_id,
        ",".join(record.privacy),
    )


def _numbers(record: Record) -> tuple[int | None, ...]:
    begin, end = record.exchange.begin, record.exchange.end
    times, totals, settlement = record.times, record.totals, record.settlement
    # Nobody saw the end of an interrupted exchange, so nobody knows when it was.
    is_over = end.outcome != "interrupted"
    return (
        begin.started_at_ms,
        begin.attempt,
        end.status,
        end.request_size,
        end.response_size,
        end.request_complete_us,
        end.dispatched_us,
        end.connect_us,
        end.response_head_us,
        times.first,
        times.first_visible,
        times.last,
        end.ended_us if is_over else None,
        end.overhead_us if is_over else None,
        int(record.reading.is_streaming),
        totals.input,
        totals.cached_input,
        totals.cache_write,
        totals.output,
        totals.reasoning,
        record.cost.nano_usd,
        int(record.is_unpriced),
        int(begin.is_free),
        int(begin.is_reserved),
        settlement.nano_usd if settlement else None,
        int(settlement.is_estimate if settlement else record.pending_id is not None),
        int(keeps_bytes(record)),
    )


def _joined(reasons: tuple[str | None, ...]) -> str | None:
    """Return the reasons of all choices, comma-separated; None: no choice has one."""
    return ",".join(reason or "" for reason in reasons) if any(reasons) else None


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
    timeline: Timeline = Timeline()
    """When the pieces of a stream arrived, in steps of 0.1 ms; empty: it is none, or nobody kept that."""

    @property
    def is_whole(self) -> bool:
        """Say whether `head` is every byte that passed, or what redaction left of all of them."""
        return self.head is not None and (self.edit == "redacted" or (not self.edit and len(self.head) == self.size))


def whole_body(row: tuple[Value, ...]) -> StoredBody:
    """Return what `headers, size, sha256, codec, head, head_size, tail, edit` of a row of `whole_bodies` hold."""
    headers, size, sha256, codec, head, head_size, tail, edit = row
    if isinstance(head, bytes) and codec == _ZSTD:
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
