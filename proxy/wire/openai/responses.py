"""Responses: `POST /responses`, plain and streamed.

A stream ends with an event that holds the whole response. What came before it is put together only when it is missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from pricing import Usage
from proxy.records import Charge
from proxy.wire.draft import Draft, Output, joined
from proxy.wire.lenient import LenientDecoder
from proxy.wire.openai.content import Content, Part, ToolCalls, text_of
from proxy.wire.openai.error import read_error, read_failure
from proxy.wire.openai.modality import read_modal_usage
from proxy.wire.openai.request import OpenAIRequest, read_request
from proxy.wire.openai.usage import read_usage
from proxy.wire.reader import Reader
from proxy.wire.sse import Event
from proxy.wire.transcript import Transcript, note_lost


class _InputItem(msgspec.Struct):
    content: Content = None
    output: Content = None
    """Of a function call, in the next request."""


class _Request(OpenAIRequest):
    instructions: Content = None
    input: str | list[_InputItem | str] | None = None
    background: bool | None = None
    store: bool | None = None


class _Action(msgspec.Struct):
    type: str | None = None


class _Item(msgspec.Struct):
    """An element of `output`."""

    type: str | None = None
    id: str | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | dict[str, Any] | None = None
    input: str | None = None
    content: Content = None
    summary: Content = None
    action: _Action | None = None
    container_id: str | None = None
    """Of code that was run."""


class _WebSearch(msgspec.Struct):
    num_requests: int | None = None


class _Container(msgspec.Struct):
    memory_limit: str | None = None


class _Tool(msgspec.Struct):
    type: str | None = None
    model: str | None = None
    container: _Container | str | None = None


class _ToolUsage(msgspec.Struct):
    web_search: _WebSearch | None = None
    image_gen: msgspec.Raw = msgspec.Raw()


class _Incomplete(msgspec.Struct):
    reason: str | None = None


class _Response(msgspec.Struct):
    id: str | None = None
    model: str | None = None
    status: str | None = None
    service_tier: str | None = None
    background: bool | None = None
    store: bool | None = None
    tools: list[_Tool] | None = None
    error: msgspec.Raw = msgspec.Raw()
    incomplete_details: _Incomplete | None = None
    output: list[_Item] | None = None
    usage: msgspec.Raw = msgspec.Raw()
    tool_usage: _ToolUsage | None = None


class _Chunk(msgspec.Struct):
    """The data of an event."""

    type: str | None = None
    delta: str | None = None
    output_index: int | None = None
    item: _Item | None = None
    response: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


_REQUEST: Final = LenientDecoder(_Request)
_RESPONSE: Final = LenientDecoder(_Response)
_CHUNK: Final = LenientDecoder(_Chunk)

_KEEPERS: Final = frozenset({"openai", "azure"})
"""Who keeps responses unless asked not to, by price table id; they also say so in the response (`store`)."""
_UNFINISHED: Final = frozenset({"queued", "in_progress"})
_TERMINAL: Final = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled"})
_CALLS: Final = frozenset({"function_call", "custom_tool_call", "mcp_call"})
_TEXT_DELTAS: Final = frozenset({"response.output_text.delta", "response.refusal.delta"})
_REASONING_DELTAS: Final = frozenset({"response.reasoning_text.delta", "response.reasoning_summary_text.delta"})
_ARGUMENT_DELTAS: Final = frozenset(
    {
        "response.function_call_arguments.delta",
        "response.custom_tool_call_input.delta",
        "response.mcp_call_arguments.delta",
    }
)


def read(transcript: Transcript, draft: Draft) -> None:
    """Read a response."""
    request = read_request(transcript, draft, _REQUEST)
    draft.input_text = joined([text_of(request.instructions), *_input_texts(request)])
    response = _read_response(transcript, draft)
    if response is None:
        return
    is_background = bool(response.background or request.background)
    # The stream of a background response may end, or be left, long before the response itself.
    draft.is_pending = is_background and response.status in (*_UNFINISHED, None)
    if _is_kept(response, request, transcript.provider) or is_background:
        draft.billing_id = response.id


def _is_kept(response: _Response, request: _Request, provider: str | None) -> bool:
    """Say whether the provider will show the response again under its id.

    Servers that keep nothing may use an id twice, which must not make the second response free.
    """
    if response.store is None and provider in _KEEPERS:
        return request.store is not False
    return response.store is True


def read_stored(transcript: Transcript, draft: Draft) -> None:
    """Read a response that was made before, or is still being made: what it consumed is billed once."""
    draft.is_streaming = transcript.is_event_stream(asked="stream=true" in transcript.path)
    response = _read_response(transcript, draft)
    if response is not None and response.status not in _UNFINISHED:
        draft.billing_id = response.id
    else:
        draft.usage, draft.charges = None, ()


def _read_response(transcript: Transcript, draft: Draft) -> _Response | None:
    if not transcript.is_success:
        read_failure(transcript, draft)
    elif draft.is_streaming:
        return _Stream(draft).read(transcript)
    elif transcript.response:
        response = transcript.read_response(_RESPONSE, draft)
        _take_response(response, draft, transcript.provider)
        return response
    return None


def _input_texts(request: _Request) -> list[str]:
    if isinstance(request.input, str):
        return [request.input]
    items = (item if isinstance(item, str) else text_of(item.content or item.output) for item in request.input or ())
    return list(items)


def _take_response(response: _Response, draft: Draft, provider: str | None) -> None:
    """Fill in everything that a response object says."""
    draft.response_id = response.id or draft.response_id
    draft.model = response.model or draft.model
    draft.service_tier = response.service_tier or draft.service_tier
    read_error(bytes(response.error), draft)
    reason = response.incomplete_details and response.incomplete_details.reason
    draft.finish_reasons = (reason or response.status,) if response.status else ()
    if response.output:
        draft.attempt("response.output", _take_output, response.output, draft)
    draft.attempt("usage", _take_usage, response, draft, provider)


def _take_output(output: list[_Item], draft: Draft) -> None:
    calls = ToolCalls()
    for position, item in enumerate(output):
        if item.type in _CALLS:
            calls.take(0, position, item.call_id or item.id, item.name, item.arguments or item.input)
    draft.tool_calls = calls.whole()
    draft.output_text = joined([text_of(item.content) for item in output if item.type == "message"])
    thoughts = [item for item in output if item.type == "reasoning"]
    # The reasoning itself when the model shows it, else its summary: never the same thoughts twice.
    draft.reasoning_text = joined([text_of(item.content) or text_of(item.summary) for item in thoughts])


def _take_usage(response: _Response, draft: Draft, provider: str | None) -> None:
    tools = response.tool_usage or _ToolUsage()
    searches = tools.web_search.num_requests if tools.web_search else None
    counted = [
        item.type for item in response.output or () if item.action is None or item.action.type in (None, "search")
    ]
    units = {
        "web_searches": counted.count("web_search_call") if searches is None else searches,
        "file_searches": counted.count("file_search_call"),
    }
    read_usage(bytes(response.usage), draft, provider, units=units)
    if draft.usage is None:
        return
    besides = [*_pictures(tools.image_gen, response, draft), *_containers(response)]
    if besides:
        draft.charges = (Charge(usage=draft.usage), *besides)
        draft.usage = Usage.total(charge.usage for charge in draft.charges)


def _pictures(raw: msgspec.Raw, response: _Response, draft: Draft) -> Iterator[Charge]:
    """Yield what drawing is billed, at the price of the model that drew; the tier is that of the text alone."""
    drawn = read_modal_usage(bytes(raw), draft)
    usage = drawn.buckets("image") if drawn is not None else None
    if usage is not None and (usage.input_tokens or usage.output_tokens):
        model = next((tool.model for tool in response.tools or () if tool.type == "image_generation"), None)
        yield Charge(usage=usage, model=model or "image_generation", service_tier="default")


def _containers(response: _Response) -> Iterator[Charge]:
    """Yield the sandboxes in which code ran; each is billed once, in whatever answers its code runs."""
    limits = [tool.container.memory_limit for tool in response.tools or () if isinstance(tool.container, _Container)]
    ids = (item.container_id for item in response.output or () if item.type == "code_interpreter_call")
    for container in dict.fromkeys(ids):
        yield Charge(usage=Usage(containers=1), id=container, service_tier="default", variant=next(iter(limits), None))


@dataclass(slots=True)
class _Growing:
    """An output item whose end has not come yet."""

    item: _Item = field(default_factory=_Item)
    texts: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    arguments: list[str] = field(default_factory=list)
    is_whole: bool = False

    def assembled(self) -> _Item:
        """Return the item as far as it came."""
        if self.is_whole:
            return self.item
        if self.texts and self.item.type is None:
            self.item.type = "message"
        self.item.content = [Part(text="".join(self.texts))] if self.texts else None
        self.item.summary = [Part(text="".join(self.reasoning))] if self.reasoning else None
        self.item.arguments = "".join(self.arguments)
        return self.item


class _Stream:
    """The events of a response."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._growing: dict[int, _Growing] = {}
        self._response = b""
        self._has_ended = False

    def read(self, transcript: Transcript) -> _Response:
        """Read them all; return the response as far as it came."""
        lost: set[str] = set()
        for event in transcript.events():
            if event.data and event.data[:6] != b"[DONE]":
                self._take(event, _CHUNK.decode(event.data, lost))
        response = _RESPONSE.decode(self._response, lost) if self._response else _Response()
        if transcript.response_tail and not self._has_ended:
            self._take_tail(transcript, response, lost)
        note_lost(self._draft, "event", lost)
        if not response.output:
            response.output = [growing.assembled() for _, growing in sorted(self._growing.items())]
        _take_response(response, self._draft, transcript.provider)
        self._draft.has_ended = self._has_ended
        return response

    def _take_tail(self, transcript: Transcript, response: _Response, lost: set[str]) -> None:
        """Add what the last event says, which holds the whole answer and may be longer than what is kept of an end."""
        late = _RESPONSE.from_members([*transcript.members_of_tail()], lost)
        if bytes(late.usage)[:1] == b"{":
            response.status, self._has_ended = "completed", True
            response.usage, response.tool_usage = late.usage, late.tool_usage
            response.service_tier = late.service_tier or response.service_tier

    def _take(self, event: Event, chunk: _Chunk) -> None:
        kind = chunk.type or event.name.decode("utf-8", "replace")
        if chunk.delta and kind.endswith(".delta"):
            seen = Output.REASONING if kind in _REASONING_DELTAS else Output.VISIBLE
            self._draft.saw_output(event.end_offset, seen)
            self._take_delta(kind, chunk)
        elif chunk.item is not None:
            self._take_item(kind, chunk.item, chunk.output_index or 0, event.end_offset)
        elif kind == "response.image_generation_call.partial_image":
            self._draft.saw_output(event.end_offset)
        elif kind == "error" or bytes(chunk.error) not in (b"", b"null"):
            self._has_ended = True
            nested = bytes(chunk.error)
            read_error(nested if nested[:1] == b"{" else event.data, self._draft)
        if kind in _TERMINAL:
            self._has_ended = True
        if raw := bytes(chunk.response):
            # Each repeats the one before and adds to it; the last one is all that need be read.
            self._response = raw

    def _take_delta(self, kind: str, chunk: _Chunk) -> None:
        growing = self._growing.setdefault(chunk.output_index or 0, _Growing())
        delta = chunk.delta or ""
        if kind in _TEXT_DELTAS:
            growing.texts.append(delta)
        elif kind in _REASONING_DELTAS:
            growing.reasoning.append(delta)
        elif kind in _ARGUMENT_DELTAS:
            growing.arguments.append(delta)

    def _take_item(self, kind: str, item: _Item, index: int, offset: int) -> None:
        growing = self._growing.setdefault(index, _Growing())
        growing.item = item
        growing.is_whole = kind == "response.output_item.done"
        if item.type in _CALLS and not growing.is_whole:
            self._draft.saw_output(offset)


READER: Final = Reader("openai_responses/3", read)
STORED: Final = Reader("openai_stored_responses/2", read_stored)
