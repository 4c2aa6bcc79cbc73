"""Revise: form an opinion about a stored record anew.

`reprice` asks what the usage that is stored costs at today's prices; `reread` shows the stored bytes to today's readers
and prices what they say. Facts are never changed: bytes, times, outcome. Neither are budgets and counters: they say
what was known when it counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

import msgspec

from pricing import Cost, PriceBook, Usage
from proxy import wire
from proxy.config import Config
from proxy.providers import costs_nothing
from proxy.recorder.interpret import Interpreter, answer_text
from proxy.recorder.verdict import Pricer, Terms
from proxy.records import Begin, Body, Charge, End, Exchange, Timeline, join_headers
from proxy.store.deletion import ERASED
from proxy.store.jobs import JobReader, Kind, Revision
from proxy.store.row import EXCHANGE_COLUMNS, StoredBody, exchange_row
from proxy.store.text import Value, json_text
from proxy.store.words import Heard

_PRICED: Final = (
    "cost_nano_usd",
    "cost_source",
    "cost_model",
    "cost_reason",
    "cost_components",
    "price_version",
    "price_date",
    "is_unpriced",
)
_READ: Final = (
    "user",
    "reader",
    "endpoint",
    "model_requested",
    "model",
    "streaming",
    "response_id",
    "service_tier",
    "speed",
    "processing",
    "region",
    "finish_reason",
    "finish_reasons",
    "tool_calls",
    "problems",
    "input_tokens",
    "cached_input_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
    "usage",
    "usage_buckets",
    "usage_source",
    "charges",
    *_PRICED,
)
_EVERYTHING: Final = "*"
"""What a free upstream's records name as their model."""

Row = Mapping[str, Any]


class Reviser:
    """Revises records of one store."""

    def __init__(self, book: PriceBook, config: Config, interpreter: Interpreter) -> None:
        self._book = book
        self._upstreams = config.upstreams
        self._interpreter = interpreter
        self._heard = Heard()

    def revise(self, kind: Kind, row: Row, store: JobReader) -> Revision:
        """Return what becomes of one record."""
        return self._reprice(row) if kind == "reprice" else self._reread(row, store)

    def said(self, row: Row, request: StoredBody, response: StoredBody) -> tuple[str, str]:
        """Return what a stored request says that was not said in those before, and what its answer says."""
        exchange = self._exchange(row, request, response)
        answer = answer_text(wire.read(exchange)) if response.head is not None else ""
        caller = (row["key"], row["user"], row["session"])
        return self._heard.news(caller, row["started_at"], exchange.begin.headers, request.head), answer

    def written(self) -> None:
        """Say that the revisions made so far are stored."""
        self._interpreter.stored()

    def _reprice(self, row: Row) -> Revision:
        usage = _decoded(row["usage_buckets"], Usage)
        charges = _decoded(row["charges"], tuple[Charge, ...]) or ()
        if row["pending_id"] is not None:
            return unchanged(row)
        pricer = Pricer(self._book, row["provider"], row["started_at"], is_free=self._is_free(row))
        cost = pricer.cost(_terms(row), usage, charges)
        return _revision(row, _cost_columns(cost))

    def _reread(self, row: Row, store: JobReader) -> Revision:
        if ERASED in row["privacy"].split(","):
            return unchanged(row, is_skipped=True)  # path and bodies are gone: there is nothing to read
        bodies = store.bodies(row["seq"])
        if row["pending_id"] is not None or bodies is None or any(body.head is None and body.size for body in bodies):
            return unchanged(row, is_skipped=True)
        if row["usage_source"] == "estimated" and any(body.edit for body in bodies):
            return unchanged(row, is_skipped=True)  # what was said is no longer there to be counted
        record = self._interpreter.record(self._exchange(row, *bodies))
        made = dict(zip(EXCHANGE_COLUMNS, exchange_row(record), strict=True))
        columns = {name: made[name] for name in _READ}
        begin = record.exchange.begin
        return msgspec.structs.replace(
            _revision(row, columns),
            biller=begin.biller,
            bills=record.bills,
            resolves=record.resolves,
            exchange=begin.id,
            started_at_ms=begin.started_at_ms,
        )

    def _is_free(self, row: Row) -> bool:
        """Say whether the upstream costs nothing: by today's configuration, or as it was when it is no longer there."""
        upstream = self._upstreams.get(row["upstream"])
        if upstream is not None:
            return costs_nothing(row["upstream"], upstream)
        return bool(row["is_free"]) or row["cost_model"] == _EVERYTHING

    def _exchange(self, row: Row, request: StoredBody, response: StoredBody) -> Exchange:
        begin = Begin(
            id=row["id"],
            started_at_ms=row["started_at"],
            upstream=row["upstream"],
            wire=row["wire"],
            provider=row["provider"],
            is_free=self._is_free(row),
            method=row["method"],
            path=row["path"],
            headers=_headers(request),
            key=row["key"],
            user=row["user"],
        )
        end = End(
            outcome=row["outcome"],
            status=row["status"],
            head=join_headers(_headers(response)),
            request_size=row["request_bytes"],
            response_size=row["response_bytes"],
            dispatched_us=row["dispatched_us"],
            response_head_us=row["response_head_us"],
            ended_us=row["duration_us"] or 0,
        )
        return Exchange(begin, end, _body(request), _body(response), Timeline())


def _terms(row: Row) -> Terms:
    models = tuple(model for model in (row["model"], row["model_requested"]) if model)
    return Terms(models or (row["endpoint"],), row["service_tier"], row["speed"], row["processing"], row["region"])


def _cost_columns(cost: Cost) -> dict[str, Value]:
    return {
        "cost_nano_usd": cost.nano_usd,
        "cost_source": cost.source,
        "cost_model": cost.model,
        "cost_reason": cost.reason,
        "cost_components": json_text(cost.components),
        "price_version": cost.version,
        "price_date": cost.effective_date,
        "is_unpriced": int(cost.nano_usd is None),
    }


def _revision(row: Row, columns: dict[str, Value]) -> Revision:
    changed = {name: value for name, value in columns.items() if row[name] != value}
    after = columns["cost_nano_usd"]
    return Revision(
        seq=row["seq"],
        day=_day(row),
        model=str(columns.get("model") or _model(row)),
        before_nano_usd=row["cost_nano_usd"],
        after_nano_usd=after if isinstance(after, int) else None,
        was_unpriced=bool(row["is_unpriced"]),
        is_unpriced=bool(columns["is_unpriced"]),
        # A newer version of the same prices is noted on the record, and is no change to speak of.
        is_changed=bool(changed.keys() - {"price_version", "price_date", "cost_components", "reader"}),
        columns=changed,
    )


def unchanged(row: Row, *, is_skipped: bool = False) -> Revision:
    """Leave a record as it is."""
    return Revision(
        seq=row["seq"],
        day=_day(row),
        model=_model(row),
        before_nano_usd=row["cost_nano_usd"],
        after_nano_usd=row["cost_nano_usd"],
        was_unpriced=bool(row["is_unpriced"]),
        is_unpriced=bool(row["is_unpriced"]),
        is_changed=False,
        is_skipped=is_skipped,
    )


def _model(row: Row) -> str:
    return row["model"] or row["model_requested"] or ""


def _day(row: Row) -> str:
    return datetime.fromtimestamp(row["started_at"] / 1000, UTC).date().isoformat()


def _headers(body: StoredBody) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in body.headers)


def _body(stored: StoredBody) -> Body:
    head = stored.head or b""
    if not stored.edit:
        return Body(head, stored.size, stored.sha256, stored.tail)
    # What redaction left is all that there is to read; of a body with a gap the size says so.
    return Body(head, len(head) if stored.is_whole else stored.size, sha256(head).digest(), stored.tail)


def _decoded(text: str | None, type_: Any) -> Any:
    """Decode what an earlier version of this program wrote; None: it is not there, or no longer understood."""
    try:
        return None if text is None else msgspec.json.decode(text, type=type_)
    except msgspec.MsgspecError:
        return None
