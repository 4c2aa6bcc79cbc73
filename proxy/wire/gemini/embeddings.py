"""Embeddings and predictions: `:embedContent`, `:batchEmbedContents`, and Vertex's `:predict`.

Vectors and pictures are skipped where they stand. Pictures are billed by the piece, which only an override can price;
of a video (`:predictLongRunning`) the answer says nothing yet.
"""

from __future__ import annotations

from typing import Final

import msgspec

from pricing import Usage
from proxy.wire.draft import Draft, joined
from proxy.wire.gemini.content import Content
from proxy.wire.gemini.error import read_failure
from proxy.wire.gemini.usage import UsageMaximum
from proxy.wire.lenient import LenientDecoder
from proxy.wire.reader import Reader
from proxy.wire.transcript import Transcript


class _Single(msgspec.Struct):
    content: Content | str | None = None
    prompt: str | None = None


class _Request(_Single):
    requests: list[_Single] | None = None
    instances: list[_Single] | None = None


class _Statistics(msgspec.Struct):
    """Vertex spells its own in snake case at `:predict`, in camel case elsewhere."""

    token_count: float | None = None
    tokenCount: float | None = None  # noqa: N815 - the wire's name


class _Vector(msgspec.Struct):
    statistics: _Statistics | None = None


class _Prediction(msgspec.Struct, rename="camel"):
    embeddings: _Vector | None = None
    mime_type: str | None = None
    """Of a picture; one that was filtered out has none."""


class _Answer(msgspec.Struct, rename="camel"):
    embedding: _Vector | None = None
    embeddings: list[_Vector] | None = None
    predictions: list[_Prediction] | None = None
    usage_metadata: msgspec.Raw = msgspec.Raw()


_REQUEST: Final = LenientDecoder(_Request)
_ANSWER: Final = LenientDecoder(_Answer)


def read(transcript: Transcript, draft: Draft) -> None:
    """Read embeddings or predictions."""
    request = transcript.read_request(_REQUEST, draft)
    singles = (request, *(request.requests or ()), *(request.instances or ()))
    draft.input_text = joined([_text(single) for single in singles])
    if not transcript.is_success:
        read_failure(transcript, draft)
    elif transcript.response:
        answer = transcript.read_response(_ANSWER, draft)
        draft.attempt("usage", _take_usage, answer, draft)


def _take_usage(answer: _Answer, draft: Draft) -> None:
    usage = UsageMaximum()
    usage.add(bytes(answer.usage_metadata))
    usage.finish(draft)
    if draft.usage is not None:
        draft.usage = Usage.from_totals(input_tokens=draft.usage.input_tokens, **_input_parts(draft.usage))
    elif (tokens := _counted(answer)) is not None:
        draft.usage = Usage.from_totals(input_tokens=tokens)
    elif pictures := sum((each.mime_type or "").startswith("image/") for each in answer.predictions or ()):
        draft.usage = Usage(images=pictures)


def _input_parts(usage: Usage) -> dict[str, int]:
    counts = {name: usage.count(name) for name in Usage.INPUT[1:]}
    return {name: count for name, count in counts.items() if isinstance(count, int)}


def _counted(answer: _Answer) -> int | None:
    """Add up what Vertex says of each vector; None unless it says so of all."""
    vectors = [answer.embedding, *(answer.embeddings or ())] + [each.embeddings for each in answer.predictions or ()]
    counts = [_tokens(vector.statistics) for vector in vectors if vector is not None]
    known = [count for count in counts if count is not None]
    return sum(known) if known and len(known) == len(counts) else None


def _tokens(statistics: _Statistics | None) -> int | None:
    if statistics is None:
        return None
    # A count may come as 7.0.
    said = statistics.token_count if statistics.token_count is not None else statistics.tokenCount
    return int(said) if said is not None and 0 <= said <= 1e12 else None


def _text(single: _Single) -> str:
    content = single.content
    return (content.text if isinstance(content, Content) else content) or single.prompt or ""


EMBEDDINGS: Final = Reader("gemini_embeddings/1", read)
PREDICT: Final = Reader("gemini_predict/1", read)
