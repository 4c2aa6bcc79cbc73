"""Completions, the older text-in text-out operation: `POST /completions`, plain and streamed."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from proxy.wire.draft import Draft, Output, joined
from proxy.wire.lenient import LenientDecoder
from proxy.wire.openai.assembly import Assembly, Piece
from proxy.wire.openai.error import read_failure
from proxy.wire.openai.request import OpenAIRequest, read_request
from proxy.wire.reader import Reader
from proxy.wire.transcript import Transcript


class _Request(OpenAIRequest):
    n: int | None = None
    prompt: str | list[Any] | None = None


class _Choice(msgspec.Struct):
    index: int | None = None
    finish_reason: str | None = None
    text: str | None = None


class _Completion(Piece):
    choices: list[_Choice] | None = None


_REQUEST: Final = LenientDecoder(_Request)
_COMPLETION: Final = LenientDecoder(_Completion)


def read(transcript: Transcript, draft: Draft) -> None:
    """Read a completion."""
    request = read_request(transcript, draft, _REQUEST)
    prompts = [request.prompt] if isinstance(request.prompt, str) else request.prompt or []
    # A prompt may also be token ids, which say nothing to a reader.
    draft.input_text = joined([prompt for prompt in prompts if isinstance(prompt, str)])
    if not transcript.is_success:
        read_failure(transcript, draft)
    elif draft.is_streaming:
        _Answer(transcript, draft).read_stream(_COMPLETION, (request.n or 1) * _prompt_count(prompts))
    else:
        _Answer(transcript, draft).read_body(_COMPLETION)


def _prompt_count(prompts: list[Any]) -> int:
    is_batch = any(isinstance(prompt, (str, list)) for prompt in prompts)
    return len(prompts) if is_batch else 1


class _Answer(Assembly[_Completion]):
    def __init__(self, transcript: Transcript, draft: Draft) -> None:
        super().__init__(transcript, draft)
        self._texts: dict[int, list[str]] = {}
        self._finish_reasons: dict[int, str | None] = {}

    def take_choices(self, piece: _Completion) -> Output:
        output = Output.NONE
        for position, choice in enumerate(piece.choices or ()):
            index = position if choice.index is None else choice.index
            texts = self._texts.setdefault(index, [])
            self._finish_reasons[index] = choice.finish_reason or self._finish_reasons.get(index)
            if choice.text:
                texts.append(choice.text)
                output = Output.VISIBLE
        return output

    def finish_reasons(self) -> dict[int, str | None]:
        return self._finish_reasons

    def finish_choices(self) -> None:
        self.draft.output_text = joined(["".join(texts) for _, texts in sorted(self._texts.items())])


READER: Final = Reader("openai_completions/1", read)
