"""Estimate: what an exchange probably consumed when the provider did not say.

Counted with the model's own tokenizer over what passed through: exact for visible text, blind for what a provider
hides. Marked as an estimate wherever it is shown.
"""

from __future__ import annotations

from typing import Final

import msgspec

from pricing import Usage
from pricing.tokens import count_text, estimate_input
from proxy.records import Exchange, Reading
from proxy.wire.decode import content_codings, decode

GENERATIVE: Final = frozenset(
    {"chat", "completions", "responses", "embeddings", "messages", "generate_content", "converse", "invoke"}
)
"""Operations that are billed by the tokens of a text: of pictures and sound nobody can tell."""
_UNREADABLE: Final = frozenset({"reader", "response_json", "response_encoding"})
"""Problems of a reading after which an empty answer is no empty answer."""
_BYTES_PER_TOKEN: Final = 4
"""OpenAI's rule of thumb for English, for requests that were not captured whole."""


def estimated_usage(exchange: Exchange, reading: Reading) -> Usage | None:
    """Return an estimate; None: the operation is not billed by the token, or nothing of the request was understood."""
    if reading.endpoint not in GENERATIVE:
        return None
    model = reading.model or reading.model_requested or ""
    input_tokens = _input_tokens(exchange, reading.endpoint, model)
    if not input_tokens:
        return None  # Nobody is billed for asking nothing: what was asked was not understood.
    if reading.endpoint == "embeddings":
        return Usage.from_totals(input_tokens=input_tokens)
    return Usage.from_totals(input_tokens=input_tokens, output_tokens=_output_tokens(reading, model))


def _input_tokens(exchange: Exchange, endpoint: str, model: str) -> int | None:
    """Count the request. None: it cannot be read, or refers to what is not in it."""
    if not exchange.request.is_whole:
        return -(-exchange.request.size // _BYTES_PER_TOKEN)
    body = decode(exchange.request.head, content_codings(exchange.begin.headers)).data
    return _counted(body, endpoint, model)


def _counted(body: bytes, endpoint: str, model: str) -> int | None:
    try:
        request = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return estimate_input(request, endpoint, model) if isinstance(request, dict) else None


def _output_tokens(reading: Reading, model: str) -> int | None:
    """Count what was read of the answer. None: nothing could be read of it."""
    texts = [reading.output_text, reading.reasoning_text]
    for call in reading.tool_calls:
        texts += [call.name, call.arguments]
    tokens = sum(count_text(text, model) for text in texts if text)
    return None if not tokens and _UNREADABLE.intersection(reading.problems) else tokens
