"""What each server does differently, as data: where its usage stands, how it is spelled, what it adds and refuses.

Sources: types of groq 1.7, mistralai 3.7, openrouter 1.3 and together 3.1; litellm 1.109 for xAI and Perplexity; the
servers' own documentation for the others; seen 2026-11. The same habits stand as captures in `tests/captures/`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from proxy.simulator.answer import Usage
from proxy.simulator.rejection import RejectionError

Fields = dict[str, object]
Place = Literal["asked", "own", "finish", "every", "x_groq", "never"]
"""Where the usage of a stream stands: asked: in a chunk of its own if it was asked for; own: in one in any case;
finish: on the chunk that finishes; every: on every chunk, growing; x_groq: inside that; never: nowhere."""


def _counts(usage: Usage) -> Fields:
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }


def _detailed(usage: Usage) -> Fields:
    return _counts(usage) | {
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def _nothing(_usage: Usage) -> Fields:
    return {}


def _wrapped(rejection: RejectionError) -> Fields:
    kind = rejection.kind or "invalid_request_error"
    return {"error": {"message": rejection.message, "type": kind, "param": rejection.param, "code": rejection.code}}


@dataclass(frozen=True, slots=True)
class Server:
    """The habits of one server."""

    place: Place = "asked"
    spell: Callable[[Usage], Fields] = _counts
    """Writes the usage object."""
    beside: Callable[[Usage], Fields] = _nothing
    """What stands on a whole answer, or on the chunk that finishes."""
    is_beside_usage: bool = False
    """Where a chunk of its own has the usage, it stands there instead."""
    reasoning: str = "reasoning_content"
    """Name of the field for reasoning that is shown."""
    comment: bytes = b""
    """Sent before the first event, to keep the connection alive."""
    blanks: bytes = b""
    """Sent before a body of one piece, to the same end."""
    forbidden: frozenset[str] = frozenset()
    """Fields of a request that are refused."""
    refuse: Callable[[RejectionError], Fields] = _wrapped
    headers: Callable[[Usage], Mapping[str, str]] = lambda _usage: {}
    """Headers of an answer of one piece."""


def _groq(usage: Usage) -> Fields:
    times = {"queue_time": 0.05, "prompt_time": 0.004, "completion_time": 0.15, "total_time": 0.154}
    return _counts(usage) | times


def _deepseek(usage: Usage) -> Fields:
    missed = usage.input_tokens - usage.cached_tokens
    return _detailed(usage) | {"prompt_cache_hit_tokens": usage.cached_tokens, "prompt_cache_miss_tokens": missed}


def _openrouter(usage: Usage) -> Fields:
    cost = (usage.input_tokens * 150 + usage.output_tokens * 600) / 10**9
    spent = {"cost": cost, "is_byok": False, "cost_details": {"upstream_inference_cost": None}}
    return _detailed(usage) | spent


def _xai(usage: Usage) -> Fields:
    """Write a completion that leaves the reasoning out, and a total that does not."""
    ticks = usage.input_tokens * 3_000 + usage.output_tokens * 5_000
    shown = usage.output_tokens - usage.reasoning_tokens
    return _detailed(usage) | {"completion_tokens": shown, "num_sources_used": 0, "cost_in_usd_ticks": ticks}


def _perplexity(usage: Usage) -> Fields:
    read, written = usage.input_tokens / 10**6, usage.output_tokens / 10**6
    parts = {"input_tokens_cost": read, "output_tokens_cost": written, "request_cost": 0.005}
    return _counts(usage) | {"search_context_size": "low", "cost": parts | {"total_cost": read + written + 0.005}}


def _fireworks_headers(usage: Usage) -> Mapping[str, str]:
    return {
        "fireworks-prompt-tokens": str(usage.input_tokens),
        "fireworks-cached-prompt-tokens": str(usage.cached_tokens),
        "fireworks-server-time-to-first-token": "0.2",
    }


def _timings(usage: Usage) -> Fields:
    fresh = usage.input_tokens - usage.cached_tokens
    times = {"prompt_ms": 30.9, "predicted_ms": 66.5}
    counts = {"cache_n": usage.cached_tokens, "prompt_n": fresh, "predicted_n": usage.output_tokens}
    return {"timings": counts | times}


def _times(_usage: Usage) -> Fields:
    return {"time_info": {"queue_time": 0.0001, "prompt_time": 0.002, "completion_time": 0.01, "total_time": 0.014}}


def _stats(_usage: Usage) -> Fields:
    stats = {"tokens_per_second": 51.4, "time_to_first_token": 0.11, "generation_time": 0.95, "stop_reason": "eosFound"}
    return {"stats": stats, "runtime": {"name": "llama.cpp", "version": "1.3.0"}}


def _mistral_refusal(rejection: RejectionError) -> Fields:
    if rejection.status != 422:
        code = {"type": rejection.kind or "invalid_request_error", "param": rejection.param, "code": rejection.code}
        return {"object": "error", "message": rejection.message, **code}
    loc = ["body", rejection.param or ""]
    return {"detail": [{"type": "extra_forbidden", "loc": loc, "msg": rejection.message, "input": {}}]}


def _vllm_refusal(rejection: RejectionError) -> Fields:
    kind = "NotFoundError" if rejection.status == 404 else "BadRequestError"
    return {"object": "error", "message": rejection.message, "type": kind, "param": None, "code": rejection.status}


def _openrouter_refusal(rejection: RejectionError) -> Fields:
    return {"error": {"code": rejection.status, "message": rejection.message, "metadata": {}}, "user_id": "user_1"}


SERVERS: Final[Mapping[str, Server]] = {
    "groq": Server(place="x_groq", spell=_groq, reasoning="reasoning"),
    "deepseek": Server(place="finish", spell=_deepseek, comment=b": keep-alive\n\n", blanks=b"\n\n\n"),
    "mistral": Server(place="finish", forbidden=frozenset({"stream_options"}), refuse=_mistral_refusal),
    "openrouter": Server(
        place="own",
        spell=_openrouter,
        reasoning="reasoning",
        comment=b": OPENROUTER PROCESSING\n\n",
        refuse=_openrouter_refusal,
    ),
    "xai": Server(spell=_xai),
    "together": Server(place="finish", reasoning="reasoning"),
    "fireworks": Server(spell=_detailed, headers=_fireworks_headers),
    "perplexity": Server(place="every", spell=_perplexity),
    "cerebras": Server(place="finish", spell=_detailed, beside=_times, reasoning="reasoning"),
    "vllm": Server(place="every", refuse=_vllm_refusal),
    "llamacpp": Server(beside=_timings, is_beside_usage=True),
    "lmstudio": Server(spell=_detailed, beside=_stats),
}
