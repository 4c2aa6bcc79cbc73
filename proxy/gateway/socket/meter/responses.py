"""What a session of OpenAI's Responses API may cost: each `response.create` is a request of its own."""

from __future__ import annotations

from typing import Final

import msgspec

from proxy.gates.admission import Peek, unseen
from proxy.gates.admission import peek as read_peek
from proxy.gateway.socket.meter.counter import OVERHEAD_TOKENS, UNREADABLE, Counter, Needed, Open, joined, split
from proxy.operations import Operation

_REQUEST: Final = Operation("openai", "responses", "tokens")
_REMEMBERED: Final = 512
"""Responses whose length is remembered, should another continue them."""
_ENDS: Final = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled"})


class _Asked(msgspec.Struct):
    type: str | None = None
    stream_id: str | None = None
    previous_response_id: str | None = None
    conversation: msgspec.Raw = msgspec.Raw()
    prompt: msgspec.Raw = msgspec.Raw()


class _Details(msgspec.Struct):
    cached_tokens: int = 0
    cache_write_tokens: int = 0


class _Counts(msgspec.Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_tokens_details: _Details = msgspec.field(default_factory=_Details)


class _Response(msgspec.Struct):
    id: str | None = None
    model: str | None = None
    service_tier: str | None = None
    usage: _Counts | None = None
    tool_usage: msgspec.Raw = msgspec.Raw()


class _Said(msgspec.Struct):
    type: str | None = None
    stream_id: str | None = None
    delta: str | None = None
    response: _Response | None = None


_ASKED: Final = msgspec.json.Decoder(_Asked)
_SAID: Final = msgspec.json.Decoder(_Said)


class ResponsesMeter:
    """A session with responses one after the other, and in several lanes beside each other."""

    def __init__(self) -> None:
        self._counter = Counter()
        self._lanes: dict[str, list[Open]] = {}
        self._lengths: dict[str, int] = {}
        """Tokens of the conversation that each response ended, by its id."""

    def asked(self, text: bytes, size: int) -> None:
        """Take a message of the client."""
        try:
            asked = _ASKED.decode(text) if size == len(text) else None
        except UNREADABLE:
            asked = None
        if asked is not None and asked.type not in (None, "response.create"):
            # It steers, cancels or adds to what runs.
            for response in self._counter.under_way:
                response.input_tokens += size
            return
        seen = read_peek(text, _REQUEST)
        input_tokens = size + OVERHEAD_TOKENS
        if seen is not None:
            self._counter.use(seen.model, seen.service_tier)
            hidden = unseen(text, _REQUEST, self._without_known(seen, asked))
            input_tokens += hidden.tokens + self._length_of(asked)
            self._counter.tool_calls += hidden.tool_calls
        response = Open(input_tokens, seen.max_output_tokens if seen is not None else None)
        if seen is not None:
            response.model, response.tier = seen.model, seen.service_tier
        self._counter.begin(response)
        self._lanes.setdefault((asked and asked.stream_id) or "", []).append(response)

    def _length_of(self, asked: _Asked | None) -> int:
        return self._lengths.get((asked and asked.previous_response_id) or "", 0)

    def _without_known(self, seen: Peek, asked: _Asked | None) -> Peek:
        """Return `seen` as a request whose input is all here, if what it continues was said in this session."""
        others = asked is None or bytes(asked.conversation) not in (b"", b"null") or bytes(asked.prompt)[:1] == b"{"
        if others or not self._length_of(asked):
            return seen
        return msgspec.structs.replace(seen, refers_to_stored=False)

    def said(self, text: bytes, size: int) -> None:
        """Take a message of the server."""
        try:
            said = _SAID.decode(text) if size == len(text) else None
        except UNREADABLE:
            said = None
        kind = (said.type if said is not None else None) or ""
        lane = self._lanes.get((said.stream_id if said is not None else None) or "") or self._any_lane()
        response = lane[0] if lane else None
        if response is None or lane is None:
            return
        if said is None:
            response.output_tokens += size
        elif said.delta is not None:
            response.output_tokens += len(said.delta.encode("utf-8", "replace"))
        elif kind in _ENDS:
            lane.pop(0)
            self._end(response, said.response or _Response())
        elif kind == "error":
            lane.pop(0)
            # Refused before it began: nothing was read. Broken off: all of it may have been.
            self._counter.settle(response, None if response.has_begun else {})
        elif kind.startswith("response."):
            response.has_begun = True

    def _any_lane(self) -> list[Open] | None:
        return next((lane for lane in self._lanes.values() if lane), None)

    def _end(self, response: Open, said: _Response) -> None:
        counts = said.usage or _Counts()
        buckets = _buckets(counts) if bytes(said.tool_usage) in (b"", b"null") else None
        response.model, response.tier = said.model or response.model, said.service_tier or response.tier
        self._counter.settle(response, buckets)
        read, written = counts.input_tokens, counts.output_tokens
        if said.id is not None and read is not None and written is not None and min(read, written) >= 0:
            if len(self._lengths) >= _REMEMBERED:
                self._lengths.pop(next(iter(self._lengths)))
            self._lengths[said.id] = read + written

    def needed(self) -> Needed:
        """Return what must be covered now."""
        return self._counter.needed()


def _buckets(counts: _Counts) -> dict[str, int] | None:
    details = counts.input_tokens_details
    if details.cache_write_tokens:
        return None  # Its price depends on how long it is kept.
    return joined(
        split(counts.input_tokens, {"cache_read": details.cached_tokens}, "input_uncached"),
        split(counts.output_tokens, {}, "output_text"),
    )
