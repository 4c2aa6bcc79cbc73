"""The nouns: what happened (facts), what we understood (readings), what a row holds (records).

An `Exchange` is one request to one upstream and whatever came back: bytes, clocks, outcome. It never changes.
It arrives in two halves, because the first must be durable before the request is dispatched: `Begin` and `End`.
A `Reading` is derived from it and can be derived again at any time. None means unknown; it never means zero.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, NamedTuple

import msgspec

from pricing import Cost, Usage
from proxy.operations import WEBSOCKET

__all__ = [
    "Begin",
    "BeginTemplate",
    "Body",
    "Charge",
    "Cost",
    "End",
    "Exchange",
    "Headers",
    "Outcome",
    "Reading",
    "Timeline",
    "Usage",
]

Outcome = Literal[
    "completed",  # the client received the whole response, whatever its status
    "client_closed",  # the client left first
    "upstream_error",  # no answer: refused, DNS, TLS, an answer that is not HTTP
    "upstream_reset",  # the provider's connection broke in the middle
    "truncated",  # the provider ended early but politely
    "timeout",  # a deadline of ours passed
    "refused",  # we did not forward it
    "interrupted",  # our process died; what was journalled is all there is
]

SWITCHING_PROTOCOLS = 101
"""Status of an exchange that became a WebSocket."""

Headers = tuple[tuple[bytes, bytes], ...]
"""Name and value as they stood on the wire, in order, duplicates kept; secrets already masked."""


class Begin(msgspec.Struct, frozen=True, array_like=True):
    """The first half of an exchange, durable before dispatch. Array-like on disk: append fields, never reorder."""

    id: str
    """UUIDv7, the `x-glassline-request-id`."""
    started_at_ms: int
    """Wall clock when the request head was complete, Unix milliseconds."""
    upstream: str
    """Name of the upstream in the configuration; '' when refused before routing."""
    wire: str
    """The API dialect the upstream speaks: openai, anthropic, gemini, …"""
    provider: str | None
    """Provider id of the price table; None: prices come from overrides only."""
    is_free: bool
    """The upstream is configured to cost nothing."""
    method: str
    path: str
    """Path and query below the upstream's base URL, as sent, credentials in the query masked."""
    headers: Headers
    key: str | None = None
    """Name of the configured key; None: a caller nobody configured."""
    user: str | None = None
    session: str | None = None
    trace_id: str | None = None
    parent_id: str | None = None
    environment: str | None = None
    tags: dict[str, str] = {}
    prompt_name: str | None = None
    prompt_version: str | None = None
    attempt: int = 1
    """1, or more when the client's SDK says that it is retrying, or when we are."""
    is_reserved: bool = False
    """The ledger holds a reservation under this id that must be settled."""
    mutated: tuple[str, ...] = ()
    """The edits made to the relayed bytes, such as `include_usage`."""
    no_store: str = ""
    """What the caller asked not to keep: '', request, response or all."""
    retry_of: str | None = None
    """Id of the first attempt, when this is another one of our own; None: it is the first."""
    lease: tuple[str, int] | None = None
    """The lease of the ledger under which it was admitted, and nano-USD that it took from it; None: under none."""

    @property
    def biller(self) -> str:
        """Whose ids of bills they are."""
        return self.provider or self.upstream


class BeginTemplate:
    """A `Begin` whose per-request fields are left open, encoded ahead: a gateway sees the same caller again and again."""

    __slots__ = ("_before", "_last", "_length", "_middle", "begin")

    def __init__(self, begin: Begin) -> None:
        encode = msgspec.msgpack.encode
        names = Begin.__struct_fields__
        values = [getattr(begin, name) for name in names]
        headers, first_open = names.index("headers"), names.index("is_reserved")
        lengths = [at for at, (name, _) in enumerate(begin.headers) if name.lower() == b"content-length"]
        following = begin.headers[lengths[0] + 1 :] if lengths else ()
        self.begin = begin
        self._length = encode(begin.headers[lengths[0]][1]) if lengths else b""
        """What the request's `Content-Length` says: also open, where there is one."""
        after = b"".join(map(encode, following))
        before = b"".join(map(encode, values[2 : headers + 1]))
        self._before = before[: len(before) - len(after) - len(self._length)]
        self._middle = after + b"".join(map(encode, values[headers + 1 : first_open]))
        self._last = b"".join(map(encode, values[first_open + 2 : -1]))

    def again(self, retry_of: str) -> BeginTemplate:
        """Return the template of another attempt of ours; `retry_of`: id of the first."""
        begin = self.begin
        return BeginTemplate(msgspec.structs.replace(begin, attempt=begin.attempt + 1, retry_of=retry_of))

    def fill(
        self,
        exchange_id: str,
        started_at_ms: int,
        *,
        is_reserved: bool,
        mutated: tuple[str, ...],
        length: int | None = None,
        lease: tuple[str, int] | None = None,
    ) -> bytes:
        """Return the msgpack encoding of the `Begin` with these fields; `length`: what its `Content-Length` says."""
        encode = _ENCODER.encode
        return b"".join(
            (
                _BEGIN_HEADER,
                encode(exchange_id),
                encode(started_at_ms),
                self._before,
                encode(b"%d" % length) if length is not None and self._length else self._length,
                self._middle,
                b"\xc3" if is_reserved else b"\xc2",
                encode(mutated) if mutated else b"\x90",
                self._last,
                b"\xc0" if lease is None else encode(lease),
            )
        )


_ENCODER = msgspec.msgpack.Encoder()
_BEGIN_HEADER = b"\xdc" + len(Begin.__struct_fields__).to_bytes(2, "big")
"""msgpack's head of an array of up to 65,535 elements."""


class End(msgspec.Struct, frozen=True, array_like=True):
    """The second half of an exchange, durable before the client gets the last byte. Append fields, never reorder."""

    outcome: Outcome
    status: int | None = None
    """Status that the client saw; None: it saw none."""
    head: bytes = b""
    """Header lines of the upstream's response as they came, secrets masked, without the status line."""
    error_code: str | None = None
    """Our own `x-glassline-error`, when the answer was made here."""
    error_message: str | None = None
    request_size: int = 0
    """Bytes of request body received from the client."""
    response_size: int = 0
    """Bytes of response body received from the upstream."""
    request_sha256: bytes = b""
    """Of the whole body; empty: it was captured whole, hash what is there."""
    response_sha256: bytes = b""
    request_tail: bytes = b""
    """The last bytes of a body that was longer than the capture limit."""
    response_tail: bytes = b""
    times: bytes = b""
    """Arrival of each piece of the response body: pairs of little-endian u64, end offset in bytes and µs."""
    request_complete_us: int | None = None
    """From the request head to its last body byte. Like all that follow: µs on the monotonic clock."""
    dispatched_us: int | None = None
    """From the request head to the first byte sent upstream."""
    connect_us: int | None = None
    """What opening a connection took; None: one was open already."""
    response_head_us: int | None = None
    """From the request head to the upstream's response head."""
    ended_us: int = 0
    """From the request head to the end."""
    overhead_us: int = 0
    """Our own share: time in which the exchange waited for nobody but us."""
    mutated: tuple[str, ...] = ()
    """Edits known only later, such as `include_usage_rejected`."""

    @property
    def headers(self) -> Headers:
        """Name and value of each header line."""
        return split_headers(self.head)


@lru_cache(maxsize=1024)
def split_headers(head: bytes) -> Headers:
    """Return name and value of each header line of `head`, whose lines end with CRLF.

    Everybody who looks at an exchange asks for them: those of the last few batches are remembered.
    """
    pairs = [line.partition(b":") for line in head.split(b"\r\n") if line]
    return tuple([(name, value.strip(b" \t")) for name, _, value in pairs])


def join_headers(headers: Headers) -> bytes:
    """Do the opposite of `split_headers`."""
    return b"".join(b"%b: %b\r\n" % header for header in headers)


class Body(msgspec.Struct, frozen=True):
    """A captured body: all of it, or its head and tail."""

    head: bytes
    """The first bytes; the whole body when `size == len(head)`."""
    size: int
    """Bytes that passed."""
    sha256: bytes
    """Of all bytes that passed, 32 bytes; empty: unknown."""
    tail: bytes = b""
    """The last bytes when the body was longer than the capture limit."""

    @property
    def is_whole(self) -> bool:
        """Say whether every byte was captured."""
        return self.size == len(self.head)

    @property
    def is_lost(self) -> bool:
        """Say whether bytes passed of which nothing is known but their number: the journal was damaged there."""
        return self.size > 0 and not self.sha256


class Timeline(msgspec.Struct, frozen=True):
    """When each piece of a response body arrived."""

    pairs: tuple[tuple[int, int], ...] = ()
    """(end offset in the body as relayed, µs since the request head), ascending."""

    def at(self, offset: int) -> int | None:
        """Return the µs at which the byte at `offset` had arrived; None: never."""
        low, high = 0, len(self.pairs)
        while low < high:
            middle = (low + high) // 2
            if self.pairs[middle][0] > offset:
                high = middle
            else:
                low = middle + 1
        return self.pairs[low][1] if low < len(self.pairs) else None


class Exchange(msgspec.Struct, frozen=True):
    """One request to one upstream and what came back, folded from the journal."""

    begin: Begin
    end: End
    request: Body
    response: Body
    timeline: Timeline

    @property
    def method(self) -> str:
        """Method of the request; WEBSOCKET for one that asked to become one, for then its path means something else."""
        method = self.begin.method
        # A WebSocket begins with a GET.
        is_upgrade = method == "GET" and self.asked_for(b"upgrade").lower() == b"websocket"
        return WEBSOCKET if is_upgrade or self.end.status == SWITCHING_PROTOCOLS else method

    def asked_for(self, name: bytes) -> bytes:
        """Return the values of a request header of that lower-case name, joined by commas."""
        return b",".join(value for key, value in self.begin.headers if key.lower() == name)


class Feedback(msgspec.Struct, frozen=True, array_like=True):
    """What somebody says of the answer to a request. Array-like on disk: append fields, never reorder."""

    request: str
    """Id of the request, whose record may come later."""
    name: str
    """What is judged: `user`, or a name of the sender's own."""
    source: str
    """Who says it, as the audit names them. Said again under the same name, it is said instead."""
    at_ms: int
    """Unix ms."""
    value: float | None
    """From 0, bad, to 1, good. None: what was said before is taken back."""
    comment: str | None = None


class Reading(msgspec.Struct, frozen=True):
    """What a wire reader understood of an exchange. Every field may be None: the wire did not say."""

    reader: str
    """Name and version of the reader, such as `openai_chat/1`; `none` for what nobody reads."""
    endpoint: str
    """Name of the operation as in `proxy.operations`: chat, messages, embeddings, …; `other`: nobody knows it."""
    model_requested: str | None = None
    model: str | None = None
    """Model that answered."""
    is_streaming: bool = False
    """The response was a stream of events."""
    usage: Usage | None = None
    """All that was consumed, in one sum."""
    usage_raw: bytes | None = None
    """The provider's own usage object, byte for byte (JSON)."""
    charges: tuple[Charge, ...] = ()
    """What is billed, each part at its own model and tier; empty: `usage` as a whole at this reading's."""
    billing_id: str | None = None
    """Under which the provider bills this usage once, however often it shows it: id of a response kept by the
    provider, or of a batch. None: the exchange itself is what is billed."""
    is_pending: bool = False
    """The provider goes on after this answer and bills later: background work, a batch that was accepted."""
    service_tier: str | None = None
    """Tier that the response names."""
    speed: str | None = None
    """Speed that the response names: standard or fast (Anthropic)."""
    processing: str | None = None
    """`batch` when it was processed as part of one."""
    region: str | None = None
    """Where inference ran, when the response says so and the price may depend on it (`inference_geo`)."""
    finish_reasons: tuple[str | None, ...] = ()
    """One for each choice, in order of index."""
    response_id: str | None = None
    error_type: str | None = None
    """`type` or `code` of an error object in the response, also one inside a stream."""
    error_message: str | None = None
    has_ended: bool | None = None
    """A stream reached its terminal marker; None: not a stream or unknown."""
    first_token_offset: int | None = None
    """Offset in the decoded response body at which the first event with model output was complete (streams only)."""
    first_visible_offset: int | None = None
    """The same for the first event with more than reasoning: what a person sees first."""
    last_token_offset: int | None = None
    input_text: str | None = None
    """Text of the prompt, for search and for estimates."""
    output_text: str | None = None
    """Visible text of all choices, joined by newlines."""
    reasoning_text: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    user: str | None = None
    """`user` or `safety_identifier` in the request body."""
    problems: tuple[str, ...] = ()
    """What could not be read, such as `request_json` or `usage`."""


class TokenTimes(NamedTuple):
    """When model output had arrived, in µs since the request head; None: unknown."""

    first: int | None = None
    first_visible: int | None = None
    """Of what is more than reasoning."""
    last: int | None = None


class Charge(msgspec.Struct, frozen=True, kw_only=True):
    """A part of an exchange that is billed by itself."""

    usage: Usage
    model: str | None = None
    """None: the reading's."""
    id: str | None = None
    """Id under which the provider bills this part once, such as a response's; None: none."""
    service_tier: str | None = None
    speed: str | None = None
    processing: str | None = None
    region: str | None = None
    variant: str | None = None
    """What else the price depends on: of pictures size and quality, `1024x1792/hd`; of a video its size. None: nothing,
    or it was not said."""


class ToolCall(msgspec.Struct, frozen=True):
    """One tool call of a response."""

    choice: int
    name: str | None
    arguments: str
    """As sent: JSON text, perhaps incomplete."""
    id: str | None = None
