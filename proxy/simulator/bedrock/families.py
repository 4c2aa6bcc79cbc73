"""The bodies of the models' own APIs behind Invoke, whole and as chunks.

Shapes from AWS's documentation, "Inference request parameters and response fields for foundation models", 2026-11.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from proxy.simulator.answer import Answer, joined
from proxy.simulator.bedrock.converse import converse_body, converse_payloads

Fields = dict[str, object]
Chunk = tuple[Fields, int, int]
"""An event of the model's own, the tokens generated for it, and those of them that are reasoning."""


class Family(NamedTuple):
    """How the models of one maker speak."""

    body: Callable[[Answer], Fields]
    text_chunk: Callable[[Answer, str, int, bool], Fields] | None
    """A chunk with a piece of text, after so many tokens; True: it is the last. None: it speaks like Converse."""


def family_of(model: str) -> Family:
    """Return the family of a model by its id."""
    return next((family for name, family in _FAMILIES.items() if name in model), _OPENAI)


def chunks(family: Family, answer: Answer) -> Iterator[Chunk]:
    """Yield the events of a stream."""
    if family.text_chunk is None:
        for kind, payload, tokens, reasoning in converse_payloads(answer):
            yield {kind: payload}, tokens, reasoning
        return
    [choice] = answer.choices
    made, last = 0, len(choice.content) - 1
    for index, (text, tokens) in enumerate(choice.content):
        made += tokens
        yield family.text_chunk(answer, text, made, index == last), tokens, 0


def _text(answer: Answer) -> str:
    return joined(answer.choices[0].content)


def _is_cut(answer: Answer) -> bool:
    return answer.choices[0].finish_reason == "length"


def _titan(answer: Answer) -> Fields:
    result = {
        "tokenCount": answer.usage.output_tokens,
        "outputText": _text(answer),
        "completionReason": "LENGTH" if _is_cut(answer) else "FINISH",
    }
    return {"inputTextTokenCount": answer.usage.input_tokens, "results": [result]}


def _titan_chunk(answer: Answer, text: str, made: int, is_last: bool) -> Fields:
    reason = ("LENGTH" if _is_cut(answer) else "FINISH") if is_last else None
    return {
        "outputText": text,
        "index": 0,
        "totalOutputTextTokenCount": made,
        "completionReason": reason,
        "inputTextTokenCount": answer.usage.input_tokens,
    }


def _llama(answer: Answer) -> Fields:
    return {
        "generation": _text(answer),
        "prompt_token_count": answer.usage.input_tokens,
        "generation_token_count": answer.usage.output_tokens,
        "stop_reason": "length" if _is_cut(answer) else "stop",
    }


def _llama_chunk(answer: Answer, text: str, made: int, is_last: bool) -> Fields:
    return {
        "generation": text,
        "prompt_token_count": answer.usage.input_tokens if made == 1 else None,
        "generation_token_count": made,
        "stop_reason": ("length" if _is_cut(answer) else "stop") if is_last else None,
    }


def _mistral(answer: Answer) -> Fields:
    return {"outputs": [{"text": _text(answer), "stop_reason": "length" if _is_cut(answer) else "stop"}]}


def _mistral_chunk(answer: Answer, text: str, _made: int, is_last: bool) -> Fields:
    reason = ("length" if _is_cut(answer) else "stop") if is_last else None
    return {"outputs": [{"text": text, "stop_reason": reason}]}


def _cohere(answer: Answer) -> Fields:
    reason = "MAX_TOKENS" if _is_cut(answer) else "COMPLETE"
    return {
        "text": _text(answer),
        "generation_id": answer.identity[:32],
        "finish_reason": reason,
        "chat_history": [],
    }


def _cohere_chunk(answer: Answer, text: str, _made: int, is_last: bool) -> Fields:
    if not is_last:
        return {"text": text, "is_finished": False, "event_type": "text-generation"}
    reason = "MAX_TOKENS" if _is_cut(answer) else "COMPLETE"
    return {"text": text, "is_finished": True, "event_type": "stream-end", "finish_reason": reason}


def _openai(answer: Answer) -> Fields:
    message = {"role": "assistant", "content": _text(answer)}
    reason = "length" if _is_cut(answer) else "stop"
    usage = answer.usage
    return {
        "id": f"chatcmpl-{answer.identity[:24]}",
        "object": "chat.completion",
        "model": answer.model,
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        "usage": {
            "prompt_tokens": usage.input_tokens,
            "completion_tokens": usage.output_tokens,
            "total_tokens": usage.input_tokens + usage.output_tokens,
        },
    }


def _openai_chunk(answer: Answer, text: str, _made: int, is_last: bool) -> Fields:
    reason = ("length" if _is_cut(answer) else "stop") if is_last else None
    choice = {"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": reason}
    return {"id": f"chatcmpl-{answer.identity[:24]}", "object": "chat.completion.chunk", "choices": [choice]}


_OPENAI: Final = Family(_openai, _openai_chunk)
_FAMILIES: Final[Mapping[str, Family]] = MappingProxyType(
    {
        "amazon.nova": Family(converse_body, None),
        "amazon.titan-text": Family(_titan, _titan_chunk),
        "meta.llama": Family(_llama, _llama_chunk),
        "mistral.": Family(_mistral, _mistral_chunk),
        "cohere.command": Family(_cohere, _cohere_chunk),
    }
)
"""By a part of the model's id; all others speak like OpenAI."""
