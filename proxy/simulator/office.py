"""Made-up applications, and what they would ask a provider next. No sockets: `traffic` sends it.

A conversation is a generator: it yields a call and is sent the message that answered it, or None if none came.
How a simulated provider is to shape an answer travels in `x-simulate`; any other provider ignores that header.
"""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

from proxy.simulator.prose import write_prose

Message = dict[str, Any]
"""A message of the chat API, as JSON."""
Talk = Generator["Call", Message | None, None]

_CONTINUES = 0.6
"""Chance that the next request continues a conversation instead of starting one."""
_LEAVES = 0.03
_MISHAPS = {
    "": 955,
    "status=429; retry-after=1": 20,
    "status=500": 8,
    "status=503": 5,
    "cut=12": 6,
    "error=8": 6,
}
"""Directives of what goes wrong, in a thousand requests; mostly nothing."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request of a conversation."""

    path: str
    """Below the base URL."""
    body: Mapping[str, Any]
    feature: str
    """What part of the application asks; becomes a tag."""
    prompt: str = ""
    """Name and version of the prompt template in use; '' for none."""
    shape: str = ""
    """Directives about the answer."""

    @property
    def is_streamed(self) -> bool:
        """Whether the answer comes as events."""
        return self.body.get("stream") is True


@dataclass(frozen=True, slots=True)
class App:
    """One application, as its team would describe it."""

    name: str
    key: str
    """Sent as the bearer token."""
    users: int
    """How many people use it."""
    weight: float
    """Its share of new conversations."""
    open: Callable[[random.Random], Talk]
    """Starts a conversation."""


@dataclass(frozen=True, slots=True)
class Visit:
    """A call, who makes it, and what befalls it."""

    conversation: Conversation
    call: Call
    headers: Mapping[str, str]
    leaves_after: int | None
    """The client leaves after so many lines of the answer. None: it stays to the end."""


@dataclass(slots=True)
class Conversation:
    """A conversation under way."""

    app: App
    user: str
    session: str
    talk: Talk
    next_call: Call = field(init=False)

    def __post_init__(self) -> None:
        """Let the conversation say its first word."""
        self.next_call = next(self.talk)

    def hear(self, answer: Message | None) -> bool:
        """Take the answer to the last call; say whether the conversation goes on."""
        try:
            self.next_call = self.talk.send(answer)
        except StopIteration:
            return False
        return True


class Office:
    """All applications at work."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(f"office {seed}")
        self._sessions = itertools.count(1)
        self._waiting: list[Conversation] = []

    def next_visit(self) -> Visit:
        """Return the next request; its answer must be given to `hear`, once."""
        conversation = self._pick()
        call = conversation.next_call
        leaves = call.is_streamed and self._rng.random() < _LEAVES
        return Visit(
            conversation, call, self._headers(conversation, call), self._rng.randint(6, 60) if leaves else None
        )

    def hear(self, visit: Visit, answer: Message | None) -> None:
        """Take the message that answered a request; None if none came."""
        if visit.conversation.hear(answer):
            self._waiting.append(visit.conversation)

    def _pick(self) -> Conversation:
        if self._waiting and self._rng.random() < _CONTINUES:
            return self._waiting.pop(self._rng.randrange(len(self._waiting)))
        (app,) = self._rng.choices(APPS, [app.weight for app in APPS])
        user = f"user-{self._rng.randint(1, app.users)}"
        return Conversation(app, user, f"{app.name}-{next(self._sessions)}", app.open(self._rng))

    def _headers(self, conversation: Conversation, call: Call) -> dict[str, str]:
        (mishap,) = self._rng.choices(list(_MISHAPS), list(_MISHAPS.values()))
        directives = (call.shape, "ttft=0.15..1.2; pace=35..120", mishap)
        headers = {
            "authorization": f"Bearer {conversation.app.key}",
            "x-glassline-user": conversation.user,
            "x-glassline-session": conversation.session,
            "x-glassline-environment": "staging" if self._rng.random() < 0.1 else "production",
            "x-glassline-tags": f"app={conversation.app.name},feature={call.feature}",
            "x-glassline-prompt": call.prompt,
            "x-simulate": "; ".join(directive for directive in directives if directive),
        }
        return {name: value for name, value in headers.items() if value}


def _support(rng: random.Random) -> Talk:
    """Yield the turns of a chat whose history grows."""
    turns: list[Message] = [{"role": "system", "content": _SUPPORT_RULES}]
    model = rng.choice(("gpt-4o-mini", "gpt-4o-mini", "gpt-5-mini"))
    for question in rng.sample(_SUPPORT_QUESTIONS, rng.randint(1, 5)):
        turns.append({"role": "user", "content": question.format(order=f"A-{rng.randint(1000, 9999)}")})
        # Only some teams know the option that makes a stream report its usage.
        options = {"stream_options": {"include_usage": True}} if model == "gpt-5-mini" else {}
        body = {"model": model, "messages": list(turns), "stream": True, "max_completion_tokens": 800, **options}
        answer = yield Call("chat/completions", body, "chat", "support-reply@3", f"tokens={rng.randint(30, 180)}")
        if answer is None:
            return
        turns.append(answer)


def _documents(rng: random.Random) -> Talk:
    """Yield questions, each with the passages that a search found for it."""
    for _ in range(rng.randint(1, 3)):
        passages = "\n\n".join(f"[{number}] {_text(rng, rng.randint(80, 240))}" for number in range(1, 6))
        body = {
            "model": rng.choice(("gpt-4.1", "gpt-4.1", "gpt-5")),
            "instructions": _DOCUMENT_RULES,
            "input": f"{passages}\n\nQuestion: {rng.choice(_DOCUMENT_QUESTIONS)}",
            "stream": rng.random() < 0.7,
            "max_output_tokens": 1200,
        }
        yield Call("responses", body, "answer", "answer-with-sources@7", f"tokens={rng.randint(60, 260)}")


def _agent(rng: random.Random) -> Talk:
    """Yield the steps of an agent that calls tools until it knows enough."""
    turns: list[Message] = [
        {"role": "system", "content": "You are a travel planner. Use the tools, then answer in one paragraph."},
        {"role": "user", "content": rng.choice(_AGENT_TASKS)},
    ]
    model = rng.choice(("gpt-4o", "gpt-5", "o3"))
    steps = rng.randint(2, 6)
    for step in range(steps):
        shape = f"tools={rng.randint(1, 2)}" if step < steps - 1 else f"tools=0; tokens={rng.randint(80, 200)}"
        body = {"model": model, "messages": list(turns), "tools": _TOOLS, "max_completion_tokens": 2000}
        answer = yield Call("chat/completions", body, "plan", "", shape)
        if answer is None:
            return
        turns.append(answer)
        for call in answer.get("tool_calls") or ():
            found = json.dumps({"result": _text(rng, rng.randint(10, 60))})
            turns.append({"role": "tool", "tool_call_id": call["id"], "content": found})


def _indexer(rng: random.Random) -> Talk:
    """Yield batches of texts to embed."""
    for _ in range(rng.randint(1, 4)):
        texts = [_text(rng, rng.randint(40, 160)) for _ in range(rng.randint(4, 24))]
        yield Call("embeddings", {"model": "text-embedding-3-small", "input": texts}, "index")


def _tickets(rng: random.Random) -> Talk:
    """Yield tickets to sort, each answered in JSON."""
    for _ in range(rng.randint(1, 3)):
        ticket = rng.choice(_SUPPORT_QUESTIONS).format(order="A-1047")
        turns = [{"role": "system", "content": "Sort the ticket."}, {"role": "user", "content": ticket}]
        body = {"model": "gpt-4o-mini", "messages": turns, "response_format": _TICKET, "max_tokens": 60}
        yield Call("chat/completions", body, "triage", "ticket-triage@1")


def _text(rng: random.Random, tokens: int) -> str:
    return "".join(write_prose(rng, tokens))


APPS = (
    App("support", "demo-support-4f1c9a27", 40, 5, _support),
    App("docs", "demo-docs-b83e6d10", 15, 3, _documents),
    App("travel", "demo-travel-09ad77e2", 8, 2, _agent),
    App("indexer", "demo-indexer-51c2f8b6", 1, 1, _indexer),
    App("triage", "demo-triage-d7740e3b", 3, 2, _tickets),
)
"""Five teams, each with a key of its own."""

_SUPPORT_RULES = (
    "You are the support assistant of a shop for window glass. Be friendly and brief. Never promise a refund; "
    "offer to connect the customer with a colleague instead. Answer in the language of the customer."
)
_SUPPORT_QUESTIONS = (
    "Where is my order {order}? It should have been here yesterday.",
    "One pane of order {order} arrived broken. What now?",
    "Can I still change the delivery address of {order}?",
    "Which glass do you recommend for a south-facing roof window?",
    "How do I measure a round window?",
    "Your invoice for {order} names the wrong company.",
    "Does the double glazing also keep the noise out?",
    "Merci, et comment nettoyer le verre dépoli ?",
)
_DOCUMENT_RULES = (
    f"Answer from the passages alone and cite them as [n]. House style:\n{_text(random.Random('style'), 1400)}"
)
"""Long and always the same, as such instructions are: what a prompt cache is good for."""
_DOCUMENT_QUESTIONS = (
    "What changed between the two versions of the contract?",
    "Who has to approve an exception?",
    "How long are backups kept, and where?",
    "Which of these reports contradict each other?",
)
_AGENT_TASKS = (
    "Find me a train from Lisbon to Porto on Friday evening and a quiet hotel.",
    "Plan three days in Oslo for two people who like architecture.",
    "Is it cheaper to fly to Berlin on Monday or on Tuesday?",
)
_TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": description,
            "parameters": {
                "type": "object",
                "properties": {argument: {"type": "string"} for argument in arguments},
                "required": arguments,
            },
        },
    }
    for name, description, arguments in (
        ("search_trains", "Finds trains between two cities.", ["city", "date"]),
        ("search_hotels", "Finds hotels in a city.", ["location", "date"]),
        ("get_weather", "The weather forecast of a city.", ["city", "date"]),
    )
]
_TICKET = {
    "type": "json_schema",
    "json_schema": {
        "name": "ticket",
        "schema": {
            "type": "object",
            "properties": {
                "category": {"type": "string", "enum": ["delivery", "damage", "advice", "invoice"]},
                "urgency": {"type": "integer"},
                "order_id": {"type": "string"},
            },
        },
    },
}
