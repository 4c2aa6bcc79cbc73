"""The bodies of models that speak neither Anthropic's, Amazon's nor OpenAI's API, as Invoke passes them on.

Titan, Llama, Mistral's completions, Cohere, AI21, DeepSeek, embeddings. Their names for the same things do not
collide, so one struct reads them all, whole or as chunks of a stream.
Source: AWS documentation, "Inference request parameters and response fields for foundation models", 2026-11.
"""

from __future__ import annotations

from typing import Final

import msgspec

from proxy.wire.anthropic.content import Content, text_of
from proxy.wire.bedrock.usage import Metrics, take_metrics
from proxy.wire.draft import Draft, Output, joined
from proxy.wire.lenient import LenientDecoder
from proxy.wire.openai.usage import Count as Tokens


class _Turn(msgspec.Struct):
    content: Content = None
    message: str | None = None


class Request(msgspec.Struct):
    """The prompt, under the name that each family has for it."""

    system: Content = None
    prompt: str | None = None
    input_text: str | None = msgspec.field(name="inputText", default=None)
    message: str | None = None
    preamble: str | None = None
    chat_history: list[_Turn] | None = None
    messages: list[_Turn] | None = None
    texts: list[str] | None = None
    documents: list[str] | None = None
    query: str | None = None

    def text(self) -> str | None:
        """Return all its text; None: there is none."""
        turns = (*(self.chat_history or ()), *(self.messages or ()))
        said = [text_of(self.system), *(turn.message or text_of(turn.content) for turn in turns)]
        several = (*(self.texts or ()), *(self.documents or ()))
        every = (self.preamble, *said, self.prompt, self.input_text, self.message, self.query, *several)
        return joined([text for text in every if text])


class _Part(msgspec.Struct):
    """One of several results."""

    text: str | None = None
    output_text: str | None = msgspec.field(name="outputText", default=None)
    stop_reason: str | None = None
    finish_reason: str | None = None
    completion_reason: str | None = msgspec.field(name="completionReason", default=None)
    token_count: Tokens = msgspec.field(name="tokenCount", default=None)


class Answer(msgspec.Struct):
    """A whole answer, or a chunk of one."""

    id: str | None = None
    generation_id: str | None = None
    generation: str | None = None
    """Llama."""
    text: str | None = None
    """Cohere."""
    output_text: str | None = msgspec.field(name="outputText", default=None)
    """Titan, in a stream."""
    stop_reason: str | None = None
    finish_reason: str | None = None
    completion_reason: str | None = msgspec.field(name="completionReason", default=None)
    outputs: list[_Part] | None = None
    choices: list[_Part] | None = None
    generations: list[_Part] | None = None
    results: list[_Part] | None = None
    prompt_token_count: Tokens = None
    generation_token_count: Tokens = None
    input_text_token_count: Tokens = msgspec.field(name="inputTextTokenCount", default=None)
    total_output_text_token_count: Tokens = msgspec.field(name="totalOutputTextTokenCount", default=None)
    embedding: msgspec.Raw = msgspec.Raw()
    embeddings: msgspec.Raw = msgspec.Raw()


REQUEST: Final = LenientDecoder(Request)
ANSWER: Final = LenientDecoder(Answer)
_NONE: Final = frozenset({"", "null"})
"""Llama 3 says in each chunk that it has not finished."""


class Collector:
    """An answer, put together from one piece or from many."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._texts: dict[int, list[str]] = {}
        self._reasons: dict[int, str] = {}
        self._counts = Metrics()
        self.is_embedding = False
        """It generated no tokens, so that only the input has a price."""

    def take(self, answer: Answer) -> Output:
        """Add a piece; return what it held."""
        self._draft.response_id = self._draft.response_id or answer.generation_id or answer.id
        self.is_embedding |= any(bytes(raw) not in (b"", b"null") for raw in (answer.embedding, answer.embeddings))
        self._take_counts(answer)
        held = [self._take_part(0, _Part(_one_text(answer), None, answer.stop_reason, answer.finish_reason))]
        self._note_reason(0, answer.completion_reason)
        for parts in (answer.outputs, answer.choices, answer.generations, answer.results):
            held += [self._take_part(index, part) for index, part in enumerate(parts or ())]
        return max(held)

    def finish(self) -> None:
        """Fill in what the pieces say together."""
        self._draft.output_text = joined(["".join(texts) for _, texts in sorted(self._texts.items())])
        self._draft.finish_reasons = tuple(reason for _, reason in sorted(self._reasons.items()))
        if self._draft.usage is None:
            take_metrics(self._counts, self._draft, has_output=not self.is_embedding)

    def _take_part(self, index: int, part: _Part) -> Output:
        self._note_reason(index, part.stop_reason or part.finish_reason or part.completion_reason)
        text = part.text or part.output_text
        if not text:
            return Output.NONE
        self._texts.setdefault(index, []).append(text)
        return Output.VISIBLE

    def _note_reason(self, index: int, reason: str | None) -> None:
        if reason is not None and reason not in _NONE:
            self._reasons[index] = reason

    def _take_counts(self, answer: Answer) -> None:
        """Keep the counts; of a stream's running totals the last."""
        given = (answer.prompt_token_count, answer.input_text_token_count)
        made = (answer.generation_token_count, answer.total_output_text_token_count, _summed(answer.results))
        for count in given:
            self._counts.input_token_count = self._counts.input_token_count if count is None else count
        for count in made:
            self._counts.output_token_count = self._counts.output_token_count if count is None else count


def _one_text(answer: Answer) -> str | None:
    return answer.generation or answer.text or answer.output_text


def _summed(results: list[_Part] | None) -> int | None:
    counts = [part.token_count for part in results or () if part.token_count is not None]
    return sum(counts) if counts else None
