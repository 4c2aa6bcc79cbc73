"""Keep: what of an exchange and of what was understood may be stored.

Policy decides here and nowhere else, after the money was settled and before anything reaches the store: which bodies are
kept (`record.bodies`, `record.sample`, `x-glassline-no-store`), and what is taken out of them and of every text beside
them (`record.redact`). What is said in a body that is not kept is not kept elsewhere either: the arguments of its tool
calls, the provider's message about it, its hash. When redaction fails, only what cannot hold a secret is kept.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

import msgspec

from pricing import Cost
from proxy.config import Record as RecordPolicy
from proxy.operations import WEBSOCKET
from proxy.pepper import load_pepper
from proxy.policy.redaction import Redacted, Redactor
from proxy.policy.sampling import is_chosen
from proxy.recorder.bodies import masked, stored_body, withheld_body
from proxy.recorder.realign import realigned
from proxy.recorder.redact import redact_body
from proxy.recorder.verdict import Verdict
from proxy.records import Begin, Body, Charge, End, Exchange, Feedback, Headers, Reading, Timeline, join_headers
from proxy.store import KeptBody, Tally

log = logging.getLogger(__name__)
Side = Literal["request", "response"]
_FAILED: Final = Tally("glassline_redaction_failures_total", (), 1)
_LEFT_OUT: Final = Tally("glassline_sampled_out_total", (), 1)
_DECODED: Final = b"x-glassline-decoded"
"""In the place of `content-encoding` above a body that is stored decoded."""


class Kept(msgspec.Struct, frozen=True):
    """What may be stored."""

    exchange: Exchange
    reading: Reading
    cost: Cost
    charges: tuple[Charge, ...]
    request: KeptBody
    response: KeptBody
    privacy: tuple[str, ...] = ()
    """What was done for privacy's sake: redacted, redaction_failed, sampled_out."""
    pseudonyms: tuple[tuple[str, str], ...] = ()
    """Names that stand in the texts, and what stood there; only where the policy keeps them."""
    tallies: tuple[Tally, ...] = ()


class Keeper:
    """Applies one policy."""

    def __init__(self, policy: RecordPolicy, secret: bytes) -> None:
        """`secret`: what pseudonyms are keyed with."""
        self._policy = policy
        self._limit = int(policy.max_body_mb * 1024 * 1024)
        redactor = Redactor(policy, secret)
        self._redactor = redactor if redactor.is_on else None

    def keep(self, exchange: Exchange, reading: Reading, verdict: Verdict, *, is_error: bool) -> Kept:
        """Return what may be stored of an exchange."""
        is_left_out = not is_chosen(exchange.begin.id, exchange.end.ended_us, self._policy.sample, is_error=is_error)
        wanted = _NEITHER if is_left_out else self._wanted(exchange.begin.no_store, is_error=is_error)
        if wanted is not _BOTH:
            reading = _without_content(reading, wanted)
        kept = self._kept(exchange, reading, verdict, wanted)
        if is_left_out:
            privacy, tallies = (*kept.privacy, "sampled_out"), (*kept.tallies, _LEFT_OUT)
            kept = msgspec.structs.replace(kept, privacy=privacy, tallies=tallies)
        return kept

    def facts(self, exchange: Exchange, reading: Reading, verdict: Verdict) -> Kept:
        """Return what may be stored of an exchange that cannot be interpreted: no body."""
        return self._kept(exchange, reading, verdict, frozenset())

    def keep_feedback(self, said: Feedback) -> tuple[Feedback, tuple[Tally, ...]]:
        """Return what may be stored of what somebody says of an answer: a comment is a text like any other."""
        comment, tallies = None if self._policy.bodies == "none" else said.comment, tuple[Tally, ...]()
        if comment is not None and self._redactor is not None:
            try:
                comment = self._redactor.redact_text(comment).text
            except Exception as error:  # noqa: BLE001 - the border of redaction
                log.warning("feedback on %s is kept without its comment: %s", said.request, type(error).__name__)
                comment, tallies = None, (_FAILED,)
        return msgspec.structs.replace(said, comment=comment), tallies

    def _wanted(self, no_store: str, *, is_error: bool) -> frozenset[Side]:
        if self._policy.bodies == "none" or (self._policy.bodies == "errors" and not is_error):
            return _NEITHER
        return _BOTH - _FORBIDDEN[no_store] if no_store in _FORBIDDEN else _BOTH

    def _kept(self, exchange: Exchange, reading: Reading, verdict: Verdict, wanted: frozenset[Side]) -> Kept:
        if self._redactor is not None:
            try:
                return _Redaction(self._redactor, self._limit).keep(exchange, reading, verdict, wanted)
            except Exception as error:  # noqa: BLE001 - the border of redaction
                # Whatever goes wrong, nothing that had to be looked at is stored.
                log.warning("exchange %s is kept without its texts: %s", exchange.begin.id, type(error).__name__)
                return _bare(exchange, reading, verdict)
        request = self._body(exchange, reading, "request", wanted)
        response = self._body(exchange, reading, "response", wanted)
        return Kept(exchange, reading, verdict.cost, verdict.charges, request, response)

    def _body(self, exchange: Exchange, reading: Reading, side: Side, wanted: frozenset[Side]) -> KeptBody:
        headers, body = _side(exchange, side)
        if side not in wanted:
            is_asked_for = side in _FORBIDDEN.get(exchange.begin.no_store, frozenset())
            return withheld_body(headers, body, has_hash=not is_asked_for)
        timeline = exchange.timeline if side == "response" and reading.is_streaming else Timeline()
        return stored_body(headers, masked(body, reading.endpoint), self._limit, timeline=timeline)


def naming_secret(data_dir: Path) -> bytes:
    """Return what pseudonyms are keyed with. Raises EnvironmentUnusable."""
    return load_pepper(data_dir).reveal()


_SIDES: Final[tuple[Side, Side]] = ("request", "response")
_BOTH: Final[frozenset[Side]] = frozenset(_SIDES)
_NEITHER: Final[frozenset[Side]] = frozenset()
_FORBIDDEN: Final[dict[str, frozenset[Side]]] = {
    "request": frozenset(("request",)),
    "response": frozenset(("response",)),
    "all": _BOTH,
}
_NO_REASON: Final = "not kept, because redaction failed"
_METHODS: Final = frozenset(("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", WEBSOCKET))
_WORDS: Final = frozenset(
    (
        *("auto", "default", "standard", "standard_only", "flex", "priority", "scale", "batch", "fast", "on_demand"),
        *("us", "eu", "global", "stop", "length", "tool_calls", "function_call", "content_filter", "end_turn"),
        *("max_tokens", "stop_sequence", "tool_use", "pause_turn", "refusal", "completed", "incomplete", "failed"),
        *(
            "STOP",
            "MAX_TOKENS",
            "SAFETY",
            "RECITATION",
            "MALFORMED_FUNCTION_CALL",
            "COMPLETE",
            "ERROR",
            "max_output_tokens",
        ),
    )
)
"""What providers say of tiers, places and endings; anything else in their place is a text."""


def _side(exchange: Exchange, side: Side) -> tuple[Headers, Body]:
    if side == "request":
        return exchange.begin.headers, exchange.request
    return exchange.end.headers, exchange.response


def _without_content(reading: Reading, wanted: frozenset[Side]) -> Reading:
    """Leave out of a reading what bodies say that are not kept."""
    changes: dict[str, object] = {}
    if "response" not in wanted and reading.tool_calls:
        changes["tool_calls"] = tuple(msgspec.structs.replace(call, arguments="") for call in reading.tool_calls)
    if wanted != _BOTH and reading.error_message is not None:
        # Providers quote what they complain about.
        changes["error_message"] = None
    return msgspec.structs.replace(reading, **changes) if changes else reading


class _Redaction:
    """The redaction of one exchange."""

    def __init__(self, redactor: Redactor, limit: int) -> None:
        self._redactor = redactor
        self._limit = limit
        self._is_changed = False
        self._pseudonyms: dict[str, str] = {}

    def keep(self, exchange: Exchange, reading: Reading, verdict: Verdict, wanted: frozenset[Side]) -> Kept:
        exchange = msgspec.structs.replace(
            exchange,
            request=masked(exchange.request, ""),
            response=masked(exchange.response, reading.endpoint),
        )
        is_streaming = reading.is_streaming
        request, response = (self._body(exchange, side, wanted, is_streaming=is_streaming) for side in _SIDES)
        begin, end = self._begin(exchange.begin), self._end(exchange.end)
        return Kept(
            msgspec.structs.replace(exchange, begin=begin, end=end),
            self._reading(reading),
            msgspec.structs.replace(verdict.cost, reason=self._optional(verdict.cost.reason)),
            tuple(
                msgspec.structs.replace(
                    charge, model=self._optional(charge.model), variant=self._optional(charge.variant)
                )
                for charge in verdict.charges
            ),
            request,
            response,
            ("redacted",) if self._is_changed else (),
            tuple(self._pseudonyms.items()),
        )

    def _body(self, exchange: Exchange, side: Side, wanted: frozenset[Side], *, is_streaming: bool) -> KeptBody:
        headers, body = _side(exchange, side)
        clean = self._headers(headers)
        if side not in wanted:
            return withheld_body(clean, body, has_hash=False)
        redacted = redact_body(exchange, side, self._redactor)
        timeline = exchange.timeline if side == "response" and is_streaming else Timeline()
        if not redacted.is_changed:
            return stored_body(clean, body, self._limit, timeline=timeline)
        self._is_changed = True
        self._pseudonyms.update(redacted.pseudonyms)
        if redacted.is_decoded:
            clean = tuple((_DECODED if name.lower() == b"content-encoding" else name, value) for name, value in clean)
        timeline = realigned(timeline, body, headers, redacted.head)
        edited = msgspec.structs.replace(body, head=redacted.head, tail=redacted.tail)
        return stored_body(clean, edited, self._limit, "redacted" if redacted.is_whole else "redacted_cut", timeline)

    def _begin(self, begin: Begin) -> Begin:
        return msgspec.structs.replace(
            begin,
            path=self._text(begin.path),
            headers=self._headers(begin.headers),
            user=self._identity(begin.user),
            session=self._identity(begin.session),
            trace_id=self._identity(begin.trace_id),
            parent_id=self._identity(begin.parent_id),
            environment=self._optional(begin.environment),
            tags={self._text(name): self._identity(value) or "" for name, value in begin.tags.items()},
            prompt_name=self._optional(begin.prompt_name),
            prompt_version=self._optional(begin.prompt_version),
        )

    def _end(self, end: End) -> End:
        return msgspec.structs.replace(
            end,
            head=join_headers(self._headers(end.headers)),
            error_message=self._optional(end.error_message),
        )

    def _reading(self, reading: Reading) -> Reading:
        usage = reading.usage_raw
        return msgspec.structs.replace(
            reading,
            user=self._identity(reading.user),
            model_requested=self._optional(reading.model_requested),
            model=self._optional(reading.model),
            response_id=self._optional(reading.response_id),
            error_type=self._optional(reading.error_type),
            error_message=self._optional(reading.error_message),
            output_text=self._optional(reading.output_text),
            reasoning_text=self._optional(reading.reasoning_text),
            usage_raw=None if usage is None else self._document(usage.decode("utf-8", "replace")).encode(),
            tool_calls=tuple(
                msgspec.structs.replace(call, name=self._optional(call.name), arguments=self._document(call.arguments))
                for call in reading.tool_calls
            ),
        )

    def _headers(self, headers: Headers) -> Headers:
        return tuple((name, self._text(value.decode("latin-1")).encode("latin-1")) for name, value in headers)

    def _optional(self, text: str | None) -> str | None:
        return None if text is None else self._text(text)

    def _identity(self, text: str | None) -> str | None:
        return None if text is None else self._through(self._redactor.redact_identity, text)

    def _text(self, text: str) -> str:
        return self._through(self._redactor.redact_text, text)

    def _document(self, text: str) -> str:
        return self._through(self._redactor.redact, text)

    def _through(self, redact: Callable[[str], Redacted], text: str) -> str:
        if not text:
            return text
        redacted = redact(text)
        self._is_changed |= redacted.is_changed
        self._pseudonyms.update(redacted.pseudonyms)
        return redacted.text


def _bare(exchange: Exchange, reading: Reading, verdict: Verdict) -> Kept:
    """Return an exchange without any word of a stranger: numbers, names of the configuration and words of the protocol.

    A path holds ids and queries, and a model is whatever a client writes there: of it the price table's name is kept.
    """
    sent = exchange.begin
    begin = Begin(
        id=sent.id,
        started_at_ms=sent.started_at_ms,
        upstream=sent.upstream,
        wire=sent.wire,
        provider=sent.provider,
        is_free=sent.is_free,
        method=sent.method if sent.method in _METHODS else "",
        path="",
        headers=(),
        key=sent.key,
        attempt=sent.attempt,
        is_reserved=sent.is_reserved,
        mutated=sent.mutated,
        no_store=sent.no_store if sent.no_store in _FORBIDDEN else "",
        retry_of=sent.retry_of,
    )
    end = msgspec.structs.replace(exchange.end, head=b"", error_message=None, request_tail=b"", response_tail=b"")
    bare = Reading(
        reader=reading.reader,
        endpoint=reading.endpoint,
        model=verdict.cost.model,
        is_streaming=reading.is_streaming,
        usage=reading.usage,
        is_pending=reading.is_pending,
        service_tier=_word(reading.service_tier),
        speed=_word(reading.speed),
        processing=_word(reading.processing),
        region=_word(reading.region),
        finish_reasons=tuple(_word(reason) for reason in reading.finish_reasons),
        has_ended=reading.has_ended,
        first_token_offset=reading.first_token_offset,
        first_visible_offset=reading.first_visible_offset,
        last_token_offset=reading.last_token_offset,
        problems=reading.problems,
    )
    return Kept(
        msgspec.structs.replace(exchange, begin=begin, end=end),
        bare,
        msgspec.structs.replace(verdict.cost, reason=verdict.cost.reason and _NO_REASON),
        tuple(_bare_charge(charge) for charge in verdict.charges),
        withheld_body((), exchange.request, has_hash=False),
        withheld_body((), exchange.response, has_hash=False),
        ("redaction_failed",),
        (),
        (_FAILED,),
    )


def _bare_charge(charge: Charge) -> Charge:
    return Charge(
        usage=charge.usage,
        service_tier=_word(charge.service_tier),
        speed=_word(charge.speed),
        processing=_word(charge.processing),
        region=_word(charge.region),
    )


def _word(text: str | None) -> str | None:
    return text if text in _WORDS else None
