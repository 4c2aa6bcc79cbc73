"""Writes answers, and remembers the prompts that it was asked to keep."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from proxy.simulator.answer import Answer, Choice, Usage, compose
from proxy.simulator.anthropic.ask import blocks_of, offers_search, read_ask, thinking_budget
from proxy.simulator.anthropic.breakpoints import Block, BreakpointCache
from proxy.simulator.anthropic.models import dated_name
from proxy.simulator.ask import Ask
from proxy.simulator.counting import TokenCounter
from proxy.simulator.directives import Directives


@dataclass(frozen=True, slots=True)
class Written:
    """An answer, and what Anthropic says beside it."""

    answer: Answer
    searches: int = 0
    speed: str | None = None
    region: str = "not_available"
    is_batch: bool = False

    @property
    def choice(self) -> Choice:
        """The only alternative there is."""
        return self.answer.choices[0]

    @property
    def usage(self) -> Usage:
        """What is billed, cache and searches included."""
        return self.answer.usage


@dataclass(frozen=True, slots=True)
class Question:
    """A request, with what decides its answer."""

    content: Mapping[str, object]
    model: str
    owner: str
    """Whose cache it reads."""
    digest: str
    """Of the request's body."""
    identity: str
    wishes: Directives
    is_streaming: bool = False
    is_batch: bool = False


class Author:
    """Writes answers."""

    def __init__(self, counter: TokenCounter) -> None:
        self._counter = counter
        self._cache = BreakpointCache()

    def write(self, question: Question) -> Written:
        """Write the answer. Raises RejectionError for what Anthropic refuses."""
        content = question.content
        ask = read_ask(content, question.model, is_streaming=question.is_streaming)
        searches = 1 if offers_search(content) and not ask.follows_tool else 0
        answer = self.answer(ask, question, blocks_of(content))
        extra = (("web_searches", searches),) if searches else ()
        usage = answer.usage.plus(0, 0, extra)
        region = content.get("inference_geo")
        return Written(
            replace(answer, usage=usage),
            searches,
            "fast" if content.get("speed") == "fast" else None,
            region if isinstance(region, str) else "not_available",
            question.is_batch,
        )

    def answer(self, ask: Ask, question: Question, blocks: Sequence[Block]) -> Answer:
        """Write an answer to what was understood of a request."""
        count = self._counter.text_counter(ask.model)
        tokens = self._counter.prompt(ask.kind, question.content, ask.model, question.digest)
        prompt = self._cache.take(question.owner, blocks, tokens, count)
        rng = random.Random(question.identity)
        wishes = _with_thinking(question, rng)
        answer = compose(ask, wishes, prompt, question.identity, rng, count)
        usage = replace(answer.usage, extra=prompt.extra)
        return replace(answer, model=dated_name(ask.model), usage=usage)

    def count(self, content: Mapping[str, object], model: str, digest: str) -> int:
        """Count the tokens of a prompt."""
        blocks_of(content)
        return self._counter.prompt("messages", content, model, digest)


def _with_thinking(question: Question, rng: random.Random) -> Directives:
    """Let the model think, if the application wants it to and nobody else decided."""
    budget, wishes = thinking_budget(question.content), question.wishes
    if budget is None or wishes.reasoning is not None or wishes.hidden_reasoning is not None:
        return wishes
    return replace(wishes, reasoning=min(budget, rng.randint(16, 64)))
