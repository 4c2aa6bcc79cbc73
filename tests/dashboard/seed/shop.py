"""The made-up shop's applications, and all that they ask within one day.

Sessions begin through the day as people wake and sleep; each is a list of talks with the pauses between them. Nothing
here knows of journals or clocks beyond the numbers it is given, and the same seed makes the same day.
"""

from __future__ import annotations

import json
import random
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Final

from tests.dashboard.seed import talks
from tests.dashboard.seed.dialects import Message, Talk, ToolUse, input_tokens, output_tokens

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
_BY_HOUR: Final = (6, 5, 4, 4, 5, 8, 16, 34, 62, 84, 92, 90, 80, 86, 93, 90, 82, 70, 58, 52, 46, 36, 22, 12)
"""How many sessions begin in each hour (UTC), in no unit."""
_Step = tuple[float, Talk]
"""Seconds since the answer before, and what is asked then."""
RUNAWAY: Final = "s-9f31c0"
"""The session that cost most by far, yesterday evening: an agent that read the same file again and again."""
UNLUCKY: Final = "noor.haddad"
"""A user of the support bot who had several failures today."""
UNLUCKY_SESSION: Final = "s-77140a"


@dataclass(frozen=True, slots=True)
class App:
    """An application of the shop; its name is that of its key."""

    name: str
    upstream: str
    wire: str
    sessions: int
    """How many begin in a day."""
    users: int
    """How many people use it; 0: no person does."""
    team: str
    feature: str
    version: str
    prompt: tuple[str, str] | None
    talk: Callable[[random.Random], Iterator[_Step]]
    names_sessions: bool = True
    hours: Sequence[int] = _BY_HOUR
    environment: str | None = "production"


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One request of one session."""

    app: App
    started_ms: int
    talk: Talk
    user: str | None
    session: str | None
    trace_id: str | None
    turn: int
    attempt: int = 1
    retry_of: str | None = None
    """Id of the first attempt."""
    fails: str = ""
    """Name of the fate that befalls it whatever the dice say; '' for none."""
    tags: dict[str, str] = field(default_factory=dict)


@cache
def people() -> tuple[str, ...]:
    """Return the names of all users, the same ones in the same order."""
    names = [f"{first}.{last}" for last in talks.LAST_NAMES for first in talks.FIRST_NAMES]
    random.Random("people").shuffle(names)
    return tuple(names)


def day(end_ms: int, scale: float, chance: random.Random) -> Iterator[Visit]:
    """Yield the requests of the 24 hours before `end_ms`, session by session."""
    for app in APPS:
        for _ in range(max(1, round(app.sessions * scale))):
            yield from _session(app, _beginning(app, end_ms, chance), chance)
    yield from _runaway(end_ms)
    yield from _unlucky(end_ms, chance)


def _beginning(app: App, end_ms: int, chance: random.Random) -> int:
    (hour,) = chance.choices(range(24), app.hours)
    at = end_ms - end_ms % DAY_MS + hour * HOUR_MS + chance.randrange(HOUR_MS)
    return at if at < end_ms else at - DAY_MS


def _session(app: App, at_ms: int, chance: random.Random) -> Iterator[Visit]:
    user = None
    if app.users:
        # Some people ask all day, most once in a while.
        user = people()[int(app.users * chance.random() ** 2.2)]
    session = f"s-{chance.getrandbits(32):08x}" if app.names_sessions else None
    trace = f"{chance.getrandbits(128):032x}" if app.wire == "anthropic" else None
    for turn, (pause_s, talk) in enumerate(app.talk(chance), 1):
        at_ms += round(pause_s * 1000)
        yield visit(app, at_ms, talk, user=user, session=session, trace_id=trace, turn=turn)
        at_ms += 1500 + output_tokens(talk) * 12


def visit(app: App, at_ms: int, talk: Talk, **fields: object) -> Visit:
    """Return a request of an application."""
    tags = {"team": app.team, "feature": app.feature, "version": app.version}
    return Visit(app=app, started_ms=at_ms, talk=talk, tags=tags, **fields)  # type: ignore[arg-type]  # few names, all typed above


# --- what the applications ask -----------------------------------------------------------------------------------------


def _slots(chance: random.Random) -> dict[str, str]:
    return {
        "order": f"FF-{chance.randrange(10_000, 99_999)}",
        "item": chance.choice(talks.ITEMS),
        "city": chance.choice(talks.CITIES),
        "amount": f"{chance.randrange(9, 240)}.{chance.choice(('00', '50', '90'))} EUR",
        "day": chance.choice(talks.DAYS),
    }


def _filled(text: str, slots: dict[str, str]) -> str:
    for name, value in slots.items():
        text = text.replace("{" + name + "}", value)
    return text


def _support(chance: random.Random) -> Iterator[_Step]:
    model, served = chance.choice((("gpt-5-mini", "gpt-5-mini-2025-08-07"),) * 4 + (("gpt-4.1", "gpt-4.1-2025-04-14"),))
    turns = [Message("system", talks.SUPPORT_RULES)]
    slots = _slots(chance)
    for question, answer in chance.sample(talks.SUPPORT, chance.choice((1, 2, 2, 3, 3, 4, 5, 6))):
        turns.append(Message("user", _filled(question, slots)))
        said = Message("assistant", _filled(answer, slots))
        looks_up = "{order}" in question and chance.random() < 0.5
        if looks_up:
            call = ToolUse(f"call_{chance.getrandbits(48):012x}", "find_order", f'{{"order":"{slots["order"]}"}}')
            asking = Message("assistant", calls=(call,))
            yield (
                chance.uniform(4, 70),
                _chat(model, served, turns, asking, finish="tools", tools=("find_order", "hand_over")),
            )
            found = {"order": slots["order"], "state": "sent", "city": slots["city"], "items": [slots["item"]]}
            turns += [asking, Message("tool", json.dumps(found), answers=call.id)]
        pause = 0.3 if looks_up else chance.uniform(4, 90)
        yield pause, _chat(model, served, turns, said, is_streamed=True, tools=("find_order", "hand_over"))
        turns.append(said)


def _chat(model: str, served: str, turns: Sequence[Message], answer: Message, **more: object) -> Talk:
    talk = Talk(dialect="chat", model=model, served=served, messages=tuple(turns), answer=answer, **more)  # type: ignore[arg-type]
    return _cached(talk, least=256)


def _cached(talk: Talk, *, least: int) -> Talk:
    """Say that the provider remembered all but the newest turn, if that is enough to remember."""
    before = replace(talk, messages=talk.messages[:-2], tools=talk.tools)
    known = input_tokens(before) // 128 * 128 if len(talk.messages) > 3 else 0
    talk.cached = known if known >= least else 0
    return talk


def _documents(chance: random.Random) -> Iterator[_Step]:
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        question, answer = chance.choice(talks.DOCUMENTS)
        passages = [talks.PASSAGES[chance.randrange(len(talks.PASSAGES))] for _ in range(6)]
        text = "\n\n".join(f"[{number}] {passage * 3}" for number, passage in enumerate(passages, 1))
        turns = (Message("system", talks.DOCUMENT_RULES), Message("user", f"{text}\n\nQuestion: {question}"))
        thinking = (
            "The question is about one rule; I compare the passages that name it." if chance.random() < 0.3 else ""
        )
        talk = Talk(
            dialect="responses",
            model="gpt-5",
            served="gpt-5-2025-08-07",
            messages=turns,
            answer=Message("assistant", answer, thinking=thinking),
            is_streamed=chance.random() < 0.7,
            reasoning=chance.choice((128, 192, 320, 512, 768)),
            parameters={"max_output_tokens": 1200, "reasoning": {"effort": "low", "summary": "auto"}},
        )
        yield chance.uniform(5, 120), talk


def _review(chance: random.Random) -> Iterator[_Step]:
    task, verdict = chance.choice(talks.REVIEWS)
    turns = [Message("system", talks.REVIEW_RULES + "\n\n" + talks.CODE * 4), Message("user", task)]
    steps = chance.choice((2, 3, 4, 5, 6, 8, 11))
    written = 0
    for step in range(steps):
        is_last = step == steps - 1
        name, arguments = chance.choice(talks.REVIEW_TOOLS)
        call = ToolUse(f"toolu_{chance.getrandbits(60):015x}", name, arguments)
        thinking = "I should look at the code that writes the marker before I guess." if step == 0 else ""
        answer = (
            Message("assistant", verdict)
            if is_last
            else Message("assistant", "" if step else "Let me read the code first.", calls=(call,), thinking=thinking)
        )
        talk = Talk(
            dialect="messages",
            model="claude-sonnet-4-5",
            served="claude-sonnet-4-5-20250929",
            messages=tuple(turns),
            answer=answer,
            finish="stop" if is_last else "tools",
            is_streamed=True,
            letters_per_event=40,
            tools=("read_file", "search", "run_tests", "git_log"),
            parameters={"max_tokens": 8192, "thinking": {"type": "enabled", "budget_tokens": 2048}},
        )
        given = input_tokens(talk)
        talk.cached, talk.written = written, max(0, given - written - 40) if step < steps - 1 else 0
        written += talk.written
        yield (0.4 if step else chance.uniform(1, 40)), talk
        result = talks.CODE * chance.randint(1, 5)
        turns += [answer, Message("tool", result, answers=call.id)]


def _travel(chance: random.Random) -> Iterator[_Step]:
    task, answer = chance.choice(talks.TRIPS)
    turns = [Message("system", "You plan trips. Use the tools; never invent a timetable."), Message("user", task)]
    for name, arguments, result in chance.sample(talks.TRIP_TOOLS, chance.randint(1, 2)):
        asking = Message("assistant", calls=(ToolUse(f"{name}#{chance.getrandbits(16)}", name, arguments),))
        yield chance.uniform(0.2, 9), _trip(turns, asking, finish="tools")
        turns += [asking, Message("tool", result, answers=asking.calls[0].id)]
    yield 0.4, _trip(turns, Message("assistant", answer), is_streamed=True)


def _trip(turns: Sequence[Message], answer: Message, **more: object) -> Talk:
    tools = ("search_trains", "search_hotels", "get_weather")
    talk = Talk(dialect="gemini", model="gemini-2.5-flash", messages=tuple(turns), answer=answer, tools=tools, **more)  # type: ignore[arg-type]
    talk.reasoning = 40 if answer.calls else 180
    return talk


_TICKET: Final = {
    "type": "object",
    "properties": {"topic": {"type": "string"}, "urgency": {"type": "integer"}, "order": {"type": ["string", "null"]}},
    "required": ["topic", "urgency", "order"],
    "additionalProperties": False,
}


def _triage(chance: random.Random) -> Iterator[_Step]:
    ticket, answer = chance.choice(talks.TRIAGE)
    slots = _slots(chance)
    turns = (Message("system", talks.TRIAGE_RULES), Message("user", _filled(ticket, slots)))
    said = Message("assistant", _filled(answer, slots))
    parameters = {"max_completion_tokens": 60, "temperature": 0}
    yield (
        0,
        Talk(
            dialect="chat",
            model="gpt-4.1-nano",
            served="gpt-4.1-nano-2025-04-14",
            messages=turns,
            answer=said,
            schema=_TICKET,
            parameters=parameters,
        ),
    )


def _index(chance: random.Random) -> Iterator[_Step]:
    texts = tuple(Message("user", chance.choice(talks.PASSAGES)) for _ in range(chance.randint(1, 12)))
    talk = Talk(dialect="embeddings", model="text-embedding-3-large", messages=texts, answer=Message("assistant"))
    talk.input_tokens = sum(len(text.text) for text in texts) // 4
    yield 0, talk


def _claims(chance: random.Random) -> Iterator[_Step]:
    turns = (
        Message("system", "Describe the damage in one sentence and name the part."),
        Message("user", "Is this covered?", image=picture(chance.randrange(6))),
    )
    said = Message("assistant", "The left shoulder strap is torn at the seam; that is covered by the warranty.")
    yield 0, Talk(dialect="chat", model="gpt-4o", served="gpt-4o-2024-08-06", messages=turns, answer=said)


def _nightly(chance: random.Random) -> Iterator[_Step]:
    text, _ = chance.choice(talks.DOCUMENTS)
    turns = (Message("user", f"Write three search queries for: {text}"),)
    said = Message("assistant", "1. travel policy exception\n2. approval limit 400 EUR\n3. cost centre head approval")
    yield 0, Talk(dialect="chat", model="fjell-queries-8b", messages=turns, answer=said)


@cache
def picture(number: int) -> bytes:
    """Return a PNG of 96 by 64 pixels."""
    rows = b"".join(
        b"\0" + bytes(v for x in range(96) for v in ((x * 2 + number * 30) % 256, (y * 3) % 256, 120 + number * 20))
        for y in range(64)
    )
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", 96, 64, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    framed = [struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


_NIGHT: Final = (0, 0, 60, 40, *(0,) * 20)
_EVEN: Final = (1,) * 24
_OFFICE: Final = (0, 0, 0, 0, 0, 2, 20, 60, 90, 100, 95, 70, 60, 90, 100, 90, 60, 30, 12, 10, 8, 4, 1, 0)

APPS: Final = (
    App("support-bot", "openai", "openai", 4400, 1500, "service", "chat", "4.12.0", ("support-reply", "13"), _support),
    App(
        "search-team", "openai", "openai", 6000, 640, "knowledge", "answer", "2.3.1", ("cite-passages", "7"), _documents
    ),
    App("ticket-triage", "openai", "openai", 8400, 0, "service", "triage", "1.9.4", ("triage", "4"), _triage, False),
    App(
        "code-review",
        "anthropic",
        "anthropic",
        640,
        46,
        "platform",
        "review",
        "0.8.2",
        ("review", "2"),
        _review,
        True,
        _OFFICE,
    ),
    App("trip-planner", "gemini", "gemini", 1000, 420, "growth", "plan", "1.0.6", None, _travel, False),
    App("indexer", "openai", "openai", 4300, 0, "knowledge", "index", "2.3.1", None, _index, False, _EVEN),
    App(
        "claims-photos",
        "openai",
        "openai",
        900,
        300,
        "service",
        "photo",
        "0.4.0",
        None,
        _claims,
        False,
        _OFFICE,
        "staging",
    ),
    App("nightly-eval", "groq", "openai", 700, 0, "knowledge", "eval", "2.3.1", None, _nightly, False, _NIGHT),
)
BY_NAME: Final = {app.name: app for app in APPS}


# --- what stands out ---------------------------------------------------------------------------------------------------


def _runaway(end_ms: int) -> Iterator[Visit]:
    app, at_ms = BY_NAME["code-review"], end_ms - end_ms % DAY_MS - 4 * HOUR_MS - 20 * 60_000
    turns = [Message("system", talks.REVIEW_RULES), Message("user", "Find out why the import of the catalogue stalls.")]
    file = "".join(f"{line:5}  {text}\n" for line, text in enumerate((talks.CODE * 24).splitlines(), 1))
    for turn in range(1, 25):
        call = ToolUse(f"toolu_9f31c0{turn:03}", "read_file", '{"path":"catalogue/import.py"}')
        is_last = turn == 24
        said = (
            "I have read `catalogue/import.py` two dozen times and cannot say more than that it is long."
            if is_last
            else ""
        )
        thinking = "I am not sure that I saw the whole file. I should read it again." if turn % 6 == 1 else ""
        answer = Message("assistant", said, calls=() if is_last else (call,), thinking=thinking)
        talk = Talk(
            dialect="messages",
            model="claude-opus-4-1",
            served="claude-opus-4-1-20250805",
            messages=tuple(turns),
            answer=answer,
            finish="stop" if is_last else "tools",
            is_streamed=True,
            tools=("read_file", "search"),
        )
        talk.id = f"9f31c0{turn:03}"
        yield visit(app, at_ms, talk, user="tomasz.nowak", session=RUNAWAY, trace_id="9f31c0" + "0" * 26, turn=turn)
        turns += [answer, Message("tool", file, answers=call.id)]
        at_ms += 21_000


def _unlucky(end_ms: int, chance: random.Random) -> Iterator[Visit]:
    app, day_ms = BY_NAME["support-bot"], end_ms - end_ms % DAY_MS
    fates = (
        "server_error",
        "rate_limit_exceeded",
        "server_error",
        "context_length_exceeded",
        "timeout",
        "server_error",
        "",
    )
    for number, fate in enumerate(fates):
        turns = (
            Message("system", talks.SUPPORT_RULES),
            Message("user", f"Please cancel FF-7714{number}, I ordered it twice."),
        )
        said = Message("assistant", f"Done: FF-7714{number} is cancelled, and nothing will be charged.")
        talk = _chat("gpt-5-mini", "gpt-5-mini-2025-08-07", turns, said, is_streamed=True)
        at_ms = day_ms + 9 * HOUR_MS + number * 17 * 60_000 + chance.randrange(60_000)
        if at_ms < end_ms - 60_000:
            yield visit(
                app, at_ms, talk, user=UNLUCKY, session=UNLUCKY_SESSION, trace_id=None, turn=number + 1, fails=fate
            )
