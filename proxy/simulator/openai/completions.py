"""The wire of POST /v1/completions, the legacy one: bare text, no roles."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest

import msgspec

from proxy.simulator.answer import CREATED, Answer, Choice, joined
from proxy.simulator.openai.chat import DONE, fingerprint, usage_object
from proxy.simulator.reply import Event


def completions_body(answer: Answer) -> bytes:
    """Return the body of a response that is not streamed."""
    choices = [
        _choice(index, joined(choice.content), choice.finish_reason) for index, choice in enumerate(answer.choices)
    ]
    body = _envelope(answer) | {"choices": choices}
    if answer.shows_usage:
        body["usage"] = usage_object(answer.usage)
    return msgspec.json.encode(body)


def completions_events(answer: Answer, *, includes_usage: bool) -> Iterator[Event]:
    """Yield the events of a streamed response."""
    extra: dict[str, object] = {"usage": None} if includes_usage and answer.shows_usage else {}
    envelope = _envelope(answer)
    alternatives = [_of_choice(envelope, extra, index, choice) for index, choice in enumerate(answer.choices)]
    for turn in zip_longest(*alternatives):
        yield from (event for event in turn if event is not None)
    if extra:
        yield _event(envelope | {"choices": [], "usage": usage_object(answer.usage)})
    yield DONE


def _of_choice(envelope: dict[str, object], extra: dict[str, object], index: int, choice: Choice) -> Iterator[Event]:
    if choice.reasoning_tokens:
        yield Event(b"", choice.reasoning_tokens, choice.reasoning_tokens)
    for text, tokens in choice.content:
        yield _event(envelope | {"choices": [_choice(index, text, None)]} | extra, tokens)
    yield _event(envelope | {"choices": [_choice(index, "", choice.finish_reason)]} | extra)


def _choice(index: int, text: str, finish: str | None) -> dict[str, object]:
    return {"text": text, "index": index, "logprobs": None, "finish_reason": finish}


def _envelope(answer: Answer) -> dict[str, object]:
    return {
        "id": f"cmpl-{answer.identity[:29]}",
        "object": "text_completion",
        "created": CREATED,
        "model": answer.model,
        "system_fingerprint": fingerprint(answer),
    }


def _event(chunk: dict[str, object], tokens: int = 0) -> Event:
    return Event(b"data: " + msgspec.json.encode(chunk) + b"\n\n", tokens)
