"""Messages: `POST /v1/messages`, plain and streamed; and the same bodies behind the paths of Vertex and Bedrock."""

from __future__ import annotations

from typing import Final

import msgspec

from proxy.wire.anthropic.content import TOOL_USES, Block, Content, Growing, take_blocks, text_of
from proxy.wire.anthropic.error import ErrorBody, read_failure, take_error
from proxy.wire.anthropic.usage import UsageOverlay, read_usage
from proxy.wire.draft import Draft, Output, joined
from proxy.wire.lenient import LenientDecoder
from proxy.wire.reader import Reader
from proxy.wire.sse import Event
from proxy.wire.transcript import Transcript, note_lost


class _Metadata(msgspec.Struct):
    user_id: str | None = None


class _Turn(msgspec.Struct):
    content: Content = None


class _Request(msgspec.Struct):
    model: str | None = None
    stream: bool | None = None
    system: Content = None
    messages: list[_Turn] | None = None
    metadata: _Metadata | None = None


class Message(msgspec.Struct):
    """An answer, whole."""

    id: str | None = None
    type: str | None = None
    model: str | None = None
    content: list[Block] | None = None
    stop_reason: str | None = None
    usage: msgspec.Raw = msgspec.Raw()
    error: ErrorBody | None = None


class _Delta(msgspec.Struct):
    type: str | None = None
    text: str | None = None
    thinking: str | None = None
    partial_json: str | None = None
    stop_reason: str | None = None
    citation: msgspec.Raw = msgspec.Raw()


class _Event(msgspec.Struct):
    """The data of an event."""

    type: str | None = None
    index: int | None = None
    message: Message | None = None
    content_block: Block | None = None
    delta: _Delta | None = None
    usage: msgspec.Raw = msgspec.Raw()
    error: ErrorBody | None = None


_REQUEST: Final = LenientDecoder(_Request)
_MESSAGE: Final = LenientDecoder(Message)
_EVENT: Final = LenientDecoder(_Event)


def read(transcript: Transcript, draft: Draft) -> None:
    """Read a message."""
    request = _read_request(transcript, draft)
    asked = request.stream is True or transcript.operation.is_streaming
    draft.is_streaming = transcript.is_event_stream(asked=asked)
    if not transcript.is_success:
        read_failure(transcript, draft)
    elif draft.is_streaming:
        MessageStream(draft).read(transcript)
    elif transcript.response:
        take_message(transcript.read_response(_MESSAGE, draft), draft)


def read_count(transcript: Transcript, draft: Draft) -> None:
    """Read what was counted. The count itself is no usage: nothing was generated, and nothing is billed."""
    _read_request(transcript, draft)
    if not transcript.is_success:
        read_failure(transcript, draft)


def take_message(message: Message, draft: Draft, *, processing: str | None = None) -> None:
    """Fill in everything that a whole message says."""
    draft.response_id = message.id
    draft.model = message.model
    if message.stop_reason is not None:
        draft.finish_reasons = (message.stop_reason,)
    if message.error is not None:
        take_error(message.error, draft)
    take_blocks([Growing(block) for block in message.content or ()], draft)
    read_usage(bytes(message.usage), draft, processing=processing)


class MessageStream:
    """The events of a message."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._blocks: dict[int, Growing] = {}
        self._usage = UsageOverlay()
        self._has_ended = False

    def read(self, transcript: Transcript) -> None:
        """Read them all."""
        lost: set[str] = set()
        for event in transcript.events():
            self.take(event, lost)
        note_lost(self._draft, "event", lost)
        self.finish()

    def take(self, event: Event, lost: set[str]) -> None:
        """Read one event; its name stands in its data as well."""
        if not event.data:
            return
        said = _EVENT.decode(event.data, lost)
        kind = said.type or event.name.decode("utf-8", "replace")
        if kind == "content_block_delta" and said.delta is not None:
            self._take_delta(said.index or 0, said.delta, event.end_offset)
        elif kind == "content_block_start" and said.content_block is not None:
            self._blocks[said.index or 0] = Growing(said.content_block)
            if said.content_block.type in TOOL_USES:
                self._draft.saw_output(event.end_offset)
        elif kind == "message_start" and said.message is not None:
            self._start(said.message)
        elif kind == "message_delta":
            self._usage.add(bytes(said.usage))
            if said.delta is not None and said.delta.stop_reason is not None:
                self._draft.finish_reasons = (said.delta.stop_reason,)
        elif kind == "message_stop":
            self._has_ended = True
        elif kind == "error":
            self._has_ended = True
            take_error(said.error or ErrorBody("error"), self._draft)

    def finish(self) -> None:
        """Fill in what the events say together."""
        take_blocks([growing for _, growing in sorted(self._blocks.items())], self._draft)
        self._draft.has_ended = self._has_ended
        self._draft.attempt("usage", read_usage, self._usage.raw, self._draft)

    def _start(self, message: Message) -> None:
        self._draft.response_id = message.id
        self._draft.model = message.model
        self._usage.add(bytes(message.usage))

    def _take_delta(self, index: int, delta: _Delta, offset: int) -> None:
        growing = self._blocks.setdefault(index, Growing(Block()))
        if delta.text:
            growing.texts.append(delta.text)
        elif delta.thinking:
            growing.thoughts.append(delta.thinking)
        elif delta.partial_json:
            growing.arguments.append(delta.partial_json)
        elif delta.type != "citations_delta":
            return
        self._draft.saw_output(offset, Output.REASONING if delta.thinking else Output.VISIBLE)


def _read_request(transcript: Transcript, draft: Draft) -> _Request:
    request = transcript.read_request(_REQUEST, draft)
    draft.model_requested = request.model or draft.model_requested
    draft.user = request.metadata.user_id if request.metadata else None
    draft.input_text = joined([text_of(request.system), *(text_of(turn.content) for turn in request.messages or ())])
    return request


READER: Final = Reader("anthropic_messages/1", read)
COUNT: Final = Reader("anthropic_count_tokens/1", read_count)
