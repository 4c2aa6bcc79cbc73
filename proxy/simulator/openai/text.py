"""OpenAI's answers in text: chat, completions and responses, streamed or not."""

from __future__ import annotations

import random
from dataclasses import replace

from proxy.simulator.answer import Answer, Usage, compose
from proxy.simulator.ask import Ask
from proxy.simulator.counting import TokenCounter
from proxy.simulator.desk import Asked
from proxy.simulator.openai.chat import chat_body, chat_events, chat_failure
from proxy.simulator.openai.completions import completions_body, completions_events
from proxy.simulator.openai.responses import responses_body, responses_events, responses_failure
from proxy.simulator.prompt_cache import PromptCache
from proxy.simulator.reply import Plain, Reply, Stream


class Author:
    """Writes answers, and remembers the prompts it read."""

    def __init__(self, counter: TokenCounter) -> None:
        self._counter = counter
        self._cache = PromptCache()

    def write(self, asked: Asked, ask: Ask, identity: str = "") -> Answer:
        """Write the answer; its ids are made of `identity`, by default the request's."""
        count = self._counter.text_counter(ask.model)
        tokens = self._counter.prompt(ask.kind, asked.content, ask.model, asked.request.sha256)
        cached = self._cache.take(asked.request.credential, asked.content, tokens, count)
        prompt = Usage(tokens, cached)
        return compose(ask, asked.wishes, prompt, identity or asked.identity, random.Random(asked.identity), count)


def spell(ask: Ask, answer: Answer) -> Reply:
    """Put an answer on the wire of the endpoint it was asked at."""
    return _stream(ask, answer) if ask.is_streaming else Plain(200, body_of(ask, answer), answer.usage)


def body_of(ask: Ask, answer: Answer) -> bytes:
    """Return the body of an answer that is not streamed."""
    if ask.kind == "completions":
        return completions_body(answer)
    return responses_body(ask, answer) if ask.kind == "responses" else chat_body(answer)


def _stream(ask: Ask, answer: Answer) -> Stream:
    prompt = replace(answer.usage, output_tokens=0, reasoning_tokens=0)
    if ask.kind == "completions":
        return Stream(completions_events(answer, includes_usage=ask.includes_usage), prompt, chat_failure)
    if ask.kind == "responses":
        return Stream(responses_events(ask, answer), prompt, responses_failure)
    events = chat_events(answer, includes_usage=ask.includes_usage, is_padded=ask.is_padded)
    return Stream(events, prompt, chat_failure)
