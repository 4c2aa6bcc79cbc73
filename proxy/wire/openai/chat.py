"""Chat completions: `POST /chat/completions`, plain and streamed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from pricing import Usage
from proxy.records import Charge
from proxy.wire.draft import Draft, Output, joined
from proxy.wire.lenient import LenientDecoder
from proxy.wire.openai.assembly import Assembly, Piece
from proxy.wire.openai.content import Content, ToolCalls, text_of, thinking_of
from proxy.wire.openai.error import read_failure
from proxy.wire.openai.request import OpenAIRequest, read_request
from proxy.wire.openai.usage import read_usage
from proxy.wire.reader import Reader
from proxy.wire.transcript import Transcript


class _PromptMessage(msgspec.Struct):
    content: Content = None


class _Request(OpenAIRequest):
    n: int | None = None
    messages: list[_PromptMessage] | None = None


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None
    input: str | None = None


class _ToolCall(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None
    custom: _Function | None = None


class _ReasoningDetail(msgspec.Struct):
    text: str | None = None
    summary: str | None = None
    data: str | None = None


class _Audio(msgspec.Struct):
    data: msgspec.Raw = msgspec.Raw()
    transcript: str | None = None


class _Message(msgspec.Struct):
    """A `message`, or the `delta` of one."""

    content: Content = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    thinking: str | None = None
    reasoning_details: list[_ReasoningDetail] | None = None
    tool_calls: list[_ToolCall] | None = None
    function_call: _Function | None = None
    audio: _Audio | None = None

    def text(self) -> str:
        return text_of(self.content) or self.refusal or (self.audio and self.audio.transcript) or ""

    def reasoning_text(self) -> str:
        """Return the reasoning once: servers in transition send it under two names, OpenRouter also in details."""
        text = self.reasoning_content or self.reasoning or self.thinking
        if text:
            return text
        if self.reasoning_details:
            return "".join([detail.text or detail.summary or "" for detail in self.reasoning_details])
        return thinking_of(self.content) if self.content and not isinstance(self.content, str) else ""

    def has_data(self) -> bool:
        """Say whether there is audio."""
        return self.audio is not None and bytes(self.audio.data) not in (b"", b"null", b'""')


class _Choice(msgspec.Struct):
    index: int | None = None
    finish_reason: str | None = None
    delta: _Message | None = None
    message: _Message | None = None
    usage: msgspec.Raw = msgspec.Raw()
    """Moonshot: of the whole answer, in the last chunk of a stream."""


class _PartUsage(msgspec.Struct):
    model: str | None = None
    usage: msgspec.Raw = msgspec.Raw()


class _Breakdown(msgspec.Struct):
    """Groq's compound systems: what each model that took part used. Together it is the usage."""

    models: list[_PartUsage] | None = None


class _Groq(msgspec.Struct):
    usage: msgspec.Raw = msgspec.Raw()
    """Of a stream; in an answer of one piece it holds figures of the hardware's cache instead."""
    usage_breakdown: _Breakdown | None = None
    error: msgspec.Raw = msgspec.Raw()


class _Completion(Piece):
    choices: list[_Choice] | None = None
    x_groq: _Groq | None = None
    usage_breakdown: _Breakdown | None = None


_REQUEST: Final = LenientDecoder(_Request)
_COMPLETION: Final = LenientDecoder(_Completion)


def read(transcript: Transcript, draft: Draft) -> None:
    """Read a chat completion."""
    request = read_request(transcript, draft, _REQUEST)
    draft.input_text = joined([text_of(message.content) for message in request.messages or ()])
    if not transcript.is_success:
        read_failure(transcript, draft)
    elif draft.is_streaming:
        _Answer(transcript, draft).read_stream(_COMPLETION, request.n or 1)
    else:
        _Answer(transcript, draft).read_body(_COMPLETION)


@dataclass(slots=True)
class _Voice:
    """One choice being put together."""

    finish_reason: str | None = None
    texts: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)


class _Answer(Assembly[_Completion]):
    def __init__(self, transcript: Transcript, draft: Draft) -> None:
        super().__init__(transcript, draft)
        self._voices: dict[int, _Voice] = {}
        self._tool_calls = ToolCalls()
        self._breakdown: _Breakdown | None = None

    def take_choices(self, piece: _Completion) -> Output:
        if piece.x_groq:
            is_usage = b'"prompt_tokens"' in bytes(piece.x_groq.usage)
            self.take_extras(piece.x_groq.usage if is_usage else msgspec.Raw(), piece.x_groq.error)
            self._breakdown = piece.x_groq.usage_breakdown or self._breakdown
        self._breakdown = piece.usage_breakdown or self._breakdown
        output = Output.NONE
        for position, choice in enumerate(piece.choices or ()):
            if choice.usage:
                self.take_extras(choice.usage, msgspec.Raw())
            taken = self._take_choice(position, choice)
            if taken > output:
                output = taken
        return output

    def finish_reasons(self) -> dict[int, str | None]:
        return {index: voice.finish_reason for index, voice in self._voices.items()}

    def finish_choices(self) -> None:
        voices = [voice for _, voice in sorted(self._voices.items())]
        self.draft.output_text = joined(["".join(voice.texts) for voice in voices])
        self.draft.reasoning_text = joined(["".join(voice.reasoning) for voice in voices])
        self.draft.tool_calls = self._tool_calls.whole()

    def finish_usage(self) -> None:
        super().finish_usage()
        charges = []
        for each in (self._breakdown and self._breakdown.models) or ():
            part = Draft()
            read_usage(bytes(each.usage), part, self.provider)
            if part.usage is not None:
                charges.append(Charge(usage=part.usage, model=each.model))
        if not charges:
            return
        parts = Usage.total(charge.usage for charge in charges)
        # Parts that make up less lack one, and the whole must not be priced as the others.
        if _covers(parts, self.draft.usage):
            self.draft.charges, self.draft.usage = tuple(charges), parts

    def _take_choice(self, position: int, choice: _Choice) -> Output:
        index = position if choice.index is None else choice.index
        voice = self._voices.get(index)
        if voice is None:
            voice = self._voices[index] = _Voice()
        voice.finish_reason = choice.finish_reason or voice.finish_reason
        message = choice.delta or choice.message
        if message is None:
            return Output.NONE
        content = message.content
        text = content if content and isinstance(content, str) else message.text()
        if text:
            voice.texts.append(text)
        reasoning = message.reasoning_text()
        if reasoning:
            voice.reasoning.append(reasoning)
        has_calls = self._take_calls(index, message) if message.tool_calls or message.function_call else False
        if text or has_calls or (message.audio is not None and message.has_data()):
            return Output.VISIBLE
        return Output.REASONING if reasoning or message.reasoning_details else Output.NONE

    def _take_calls(self, index: int, message: _Message) -> bool:
        has_output = False
        for call in message.tool_calls or ():
            function = call.function or call.custom or _Function()
            arguments = function.arguments or function.input
            self._tool_calls.take(index, call.index, call.id, function.name, arguments)
            has_output |= bool(call.id or function.name or arguments)
        if message.function_call:
            function = message.function_call
            self._tool_calls.take(index, None, None, function.name, function.arguments)
            has_output |= bool(function.name or function.arguments)
        return has_output


def _covers(parts: Usage, whole: Usage | None) -> bool:
    """Say whether parts make up the whole, as far as the whole is known."""
    if whole is None:
        return True
    pairs = ((parts.input_tokens, whole.input_tokens), (parts.output_tokens, whole.output_tokens))
    return all(total is None or (part is not None and part >= total) for part, total in pairs)


READER: Final = Reader("openai_chat/1", read)
