"""What becomes of a request: how long it takes, and now and then what goes wrong. From a visit to two journal frames."""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from proxy.records import Begin, End, Headers, Outcome, join_headers
from tests.dashboard.seed.dialects import Message, Spoken, error_body, spell
from tests.dashboard.seed.shop import Visit


class Exchange(NamedTuple):
    """What the journal is told."""

    begin: Begin
    end: End
    request: bytes
    response: bytes

    @property
    def ended_ms(self) -> int:
        """When it was over, Unix ms."""
        return self.begin.started_at_ms + self.end.ended_us // 1000


@dataclass(frozen=True, slots=True)
class _Fate:
    """A way to fail."""

    share: float
    """Of all requests."""
    outcome: Outcome = "completed"
    status: int | None = None
    code: str = ""
    message: str = ""
    is_ours: bool = False
    """The error was made by Glassline."""
    is_retried: bool = False


_FATES: Final[dict[str, _Fate]] = {
    "rate_limit_exceeded": _Fate(
        0.0016,
        status=429,
        code="rate_limit_exceeded",
        message="Rate limit reached for requests: limit 10000 per minute. Please try again in 1.2s.",
        is_retried=True,
    ),
    "server_error": _Fate(
        0.0008, status=500, code="server_error", message="The server had an error while processing your request."
    ),
    "overloaded": _Fate(0.0007, status=529, code="overloaded_error", message="Overloaded", is_retried=True),
    "context_length_exceeded": _Fate(
        0.0003,
        status=400,
        code="context_length_exceeded",
        message="This model's maximum context length is 128000 tokens. However, your messages resulted in 131072 tokens.",
    ),
    "timeout": _Fate(
        0.0002,
        outcome="timeout",
        status=504,
        code="upstream_timeout",
        message="the upstream sent nothing for 30 s",
        is_ours=True,
    ),
    "unreachable": _Fate(
        0.0001,
        outcome="upstream_error",
        status=502,
        code="upstream_unreachable",
        message="the upstream could not be reached: connection refused",
        is_ours=True,
    ),
}
_LEAVES: Final = 0.006
"""Of streams: the client closes."""
_BREAKS: Final = 0.0004
_CUT_SHORT: Final = 0.004
"""Answers that end at the limit of their length."""
_REFUSES: Final = 0.003
_PACE: Final[dict[str, tuple[float, float]]] = {
    "gpt-5-mini": (0.52, 96),
    "gpt-4.1": (0.44, 84),
    "gpt-4.1-nano": (0.28, 150),
    "gpt-4o": (0.6, 80),
    "gpt-5": (1.35, 70),
    "claude-sonnet-4-5": (0.95, 66),
    "claude-opus-4-1": (1.9, 38),
    "gemini-2.5-flash": (0.4, 180),
    "text-embedding-3-large": (0.11, 1e9),
    "fjell-queries-8b": (0.12, 420),
}
"""Median seconds to the first token, and tokens a second."""
_JSON: Final = (b"content-type", b"application/json")
_SSE: Final = (b"content-type", b"text/event-stream; charset=utf-8")


def exchanges(visit: Visit, chance: random.Random) -> list[Exchange]:
    """Return what the journal is told of a request, and of its second attempt where there is one."""
    name = visit.fails or _dice(visit, chance)
    fate = _FATES.get(name)
    if fate is None:
        return [_answered(visit, chance)]
    failed = _failed(visit, fate, chance)
    if not fate.is_retried or visit.fails:
        return [failed]
    again = replace(visit, started_ms=failed.ended_ms + chance.randrange(600, 2400), attempt=visit.attempt + 1)
    if chance.random() < 0.5:  # by Glassline, and not by the application
        again = replace(again, retry_of=failed.begin.id)
    return [failed, *exchanges(again, chance)]


def refused(visit: Visit, code: str, message: str, chance: random.Random) -> Exchange:
    """Return a request that Glassline did not forward."""
    fate = _Fate(0, "refused", 429, code, message, is_ours=True)
    return _failed(visit, fate, chance)


def _dice(visit: Visit, chance: random.Random) -> str:
    roll = chance.random()
    for name, fate in _FATES.items():
        if (name == "overloaded") is (visit.app.wire == "anthropic") or name not in (
            "overloaded",
            "rate_limit_exceeded",
        ):
            roll -= fate.share
            if roll < 0:
                return name
    return ""


def _failed(visit: Visit, fate: _Fate, chance: random.Random) -> Exchange:
    spoken = spell(visit.talk)
    took_us = 30_000_000 if fate.outcome == "timeout" else round(chance.lognormvariate(12.4, 0.5))
    if fate.outcome == "refused":
        took_us = chance.randrange(300, 900)
    status = fate.status or 500
    body = error_body(visit.talk.dialect, status, fate.code, fate.message)
    is_forwarded = fate.outcome != "refused"
    end = End(
        outcome=fate.outcome,
        status=status,
        head=join_headers(_response_headers(visit, is_streamed=False)),
        error_code=fate.code if fate.is_ours else None,
        error_message=fate.message if fate.is_ours else None,
        request_size=len(spoken.request),
        response_size=len(body),
        request_complete_us=chance.randrange(40, 160),
        dispatched_us=chance.randrange(170, 420) if is_forwarded else None,
        response_head_us=None if fate.is_ours else took_us - 900,
        ended_us=took_us,
        overhead_us=chance.randrange(150, 380),
    )
    return Exchange(_begin(visit, chance), end, spoken.request, body)


def _answered(visit: Visit, chance: random.Random) -> Exchange:
    talk, roll = visit.talk, chance.random()
    talk.created_s = visit.started_ms // 1000
    if talk.id == "0":
        talk.id = f"{chance.getrandbits(96):024x}"
    if talk.answer.text and not talk.answer.calls and talk.schema is None:
        if roll < _CUT_SHORT:
            talk.finish, cut = "length", talk.answer.text[: len(talk.answer.text) * 2 // 3]
            talk.answer = talk.answer._replace(text=cut)
        elif roll < _CUT_SHORT + _REFUSES:
            talk.finish, talk.answer = "refusal", Message("assistant", "I'm sorry, but I can't help with that.")
    spoken = spell(talk)
    return exchange(visit, spoken, chance)


def exchange(visit: Visit, spoken: Spoken, chance: random.Random) -> Exchange:
    """Return a request that was answered with these pieces, as far as its client waited for them."""
    first_s, speed = _PACE.get(visit.talk.model, (0.5, 80.0))
    is_streamed, roll = visit.talk.is_streamed, chance.random()
    first_us = round(first_s * math.exp(chance.gauss(0, 0.42)) * 1e6)
    writing_us = round(spoken.output_tokens / (speed * math.exp(chance.gauss(0, 0.18))) * 1e6)
    pieces, outcome = spoken.pieces, "completed"
    if is_streamed and len(pieces) > 6 and roll < _LEAVES + _BREAKS:
        outcome = "client_closed" if roll < _LEAVES else "upstream_reset"
        pieces = pieces[: chance.randrange(3, len(pieces) - 2)]
    times = _times(pieces, first_us, writing_us * len(pieces) // len(spoken.pieces), chance) if is_streamed else ()
    ended_us = (times[-1][1] if times else first_us + writing_us) + chance.randrange(200, 900)
    body = b"".join(pieces)
    end = End(
        outcome=outcome,  # type: ignore[arg-type]  # one of two literals
        status=200,
        head=join_headers(_response_headers(visit, is_streamed=is_streamed)),
        error_code="upstream_reset" if outcome == "upstream_reset" else None,
        error_message="the upstream closed the connection in the middle of its answer"
        if outcome == "upstream_reset"
        else None,
        request_size=len(spoken.request),
        response_size=len(body),
        times=b"".join(struct.pack("<QQ", *pair) for pair in times),
        request_complete_us=chance.randrange(40, 160),
        dispatched_us=chance.randrange(170, 420),
        connect_us=chance.randrange(9_000, 42_000) if chance.random() < 0.06 else None,
        response_head_us=first_us - min(first_us // 3, 4_000),
        ended_us=ended_us,
        overhead_us=chance.randrange(150, 420),
    )
    return Exchange(_begin(visit, chance, spoken), end, spoken.request, body)


def _times(
    pieces: Sequence[bytes], first_us: int, writing_us: int, chance: random.Random
) -> tuple[tuple[int, int], ...]:
    """Return when the pieces came: evenly but for a few hesitations."""
    pairs, end, at_us = [], 0, first_us
    step = writing_us / max(1, len(pieces))
    for piece in pieces:
        end += len(piece)
        pairs.append((end, at_us))
        at_us += round(step * (chance.random() + 0.5) * (6 if chance.random() < 0.02 else 1))
    return tuple(pairs)


def _begin(visit: Visit, chance: random.Random, spoken: Spoken | None = None) -> Begin:
    app, prompt = visit.app, visit.app.prompt
    body = spoken or spell(visit.talk)
    fields: dict[str, Any] = {"prompt_name": prompt[0], "prompt_version": prompt[1]} if prompt else {}
    return Begin(
        id=identifier(visit.started_ms, chance),
        started_at_ms=visit.started_ms,
        upstream=app.upstream,
        wire=app.wire,
        provider={"gemini": "google"}.get(app.upstream, app.upstream),
        is_free=False,
        method="POST",
        path=body.path,
        headers=_request_headers(visit, len(body.request)),
        key=app.name,
        user=visit.user,
        session=visit.session,
        trace_id=visit.trace_id,
        environment=app.environment,
        tags=visit.tags,
        attempt=visit.attempt,
        retry_of=visit.retry_of,
        mutated=("include_usage",)
        if app.name == "support-bot" and visit.talk.is_streamed and visit.turn % 9 == 0
        else (),
        **fields,
    )


def identifier(at_ms: int, chance: random.Random) -> str:
    """Return a UUIDv7 of that time."""
    text = (
        f"{at_ms:012x}7{chance.getrandbits(12):03x}{0x8000 | chance.getrandbits(14):04x}{chance.getrandbits(48):012x}"
    )
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


_CLIENTS: Final[dict[str, Headers]] = {
    "openai": (
        (b"authorization", b"Bearer ***"),
        (b"accept", b"application/json"),
        (b"user-agent", b"OpenAI/Python 3.52.0"),
        (b"x-stainless-lang", b"python"),
        (b"x-stainless-runtime-version", b"3.13.2"),
    ),
    "anthropic": (
        (b"x-api-key", b"***"),
        (b"anthropic-version", b"2026-10-21"),
        (b"accept", b"application/json"),
        (b"user-agent", b"Anthropic/Python 2.11.0"),
    ),
    "gemini": ((b"x-goog-api-key", b"***"), (b"user-agent", b"google-genai-sdk/3.4.0 gl-python/3.13.2")),
}


def _request_headers(visit: Visit, size: int) -> Headers:
    return (
        (b"host", b"glassline.fjell.example"),
        *_CLIENTS[visit.app.wire],
        _JSON,
        (b"content-length", b"%d" % size),
        *(((b"x-stainless-retry-count", b"%d" % (visit.attempt - 1)),) if visit.attempt > 1 else ()),
    )


def _response_headers(visit: Visit, *, is_streamed: bool) -> Headers:
    kind = _SSE if is_streamed else _JSON
    if visit.app.wire == "anthropic":
        return (
            kind,
            (b"request-id", b"req_011CSHoEeqs5C35K2UUqR7Fy"),
            (b"anthropic-ratelimit-requests-remaining", b"3999"),
        )
    if visit.app.wire == "gemini":
        return (kind, (b"server", b"scaffolding on HTTPServer2"), (b"x-gemini-service-tier", b"standard"))
    return (
        kind,
        (b"x-request-id", b"req_5f0ea5a1b9c24e1e8b1f"),
        (b"openai-processing-ms", b"412"),
        (b"x-ratelimit-remaining-requests", b"9998"),
        (b"x-ratelimit-remaining-tokens", b"1998712"),
    )
