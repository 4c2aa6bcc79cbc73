"""Which operation a request is: what its method and path say before any body is read.

One table for both who decides (gates, gateway) and who understands (wire): a path means the same to all of them. A row
names the dialect that the *client* speaks, which need not be the upstream's own: many servers answer `/v1/messages`
beside `/v1/chat/completions`. Rows of the upstream's own dialect are tried first. Sources: the
paths in openai 3.52.0, anthropic 2.11.0, google-genai 3.4.0 and ollama 0.6.3, 2026-11-20. A path nobody knows is no operation: it is relayed and recorded unparsed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Final, Literal
from urllib.parse import unquote

__all__ = ["DIALECTS_OF", "OPERATIONS", "WEBSOCKET", "Billing", "Dialect", "Operation", "find_operation"]

Dialect = Literal["openai", "anthropic", "gemini", "ollama", "bedrock"]
"""How requests, answers and errors are spelled."""
Billing = Literal["tokens", "units", "later", "nothing"]
"""What an operation makes the provider bill.

tokens: input and output that a body bounds; units: pictures, minutes, characters, searches; later: a job whose answer
says nothing of its cost yet (batches, background work); nothing: reading, listing, counting.
"""
WEBSOCKET: Final = "WEBSOCKET"
"""Stands for the method of a request that became a WebSocket: its path means something else than a GET of it."""
_ANY: Final = "*"


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of one dialect."""

    dialect: Dialect
    endpoint: str
    """As records name it: chat, responses, messages, images_generate, …"""
    billing: Billing
    model: str | None = None
    """Model that the path names; None: the body names it, or nobody does."""
    is_streaming: bool = False
    """The path alone asks for a stream."""


DIALECTS_OF: Final[Mapping[str, tuple[Dialect, ...]]] = MappingProxyType(
    {
        "openai": ("openai", "anthropic", "gemini", "ollama", "bedrock"),
        "azure": ("openai", "anthropic"),
        "anthropic": ("anthropic", "openai"),
        "gemini": ("gemini", "openai"),
        "vertex": ("gemini", "anthropic", "openai"),
        "ollama": ("ollama", "openai", "anthropic"),
        "bedrock": ("bedrock", "anthropic", "openai"),
        "none": (),
    }
)
"""The dialects of each `wire` of the configuration, the likeliest first."""

# (method, path, endpoint, billing, asks for a stream). Paths are matched at their end, because a base URL may stop
# short of the version. The first match counts.
_OPENAI: Final = (
    ("POST", r"(?:deployments/(?P<model>[^/]+)/)?chat/completions", "chat", "tokens", False),
    ("POST", r"(?:deployments/(?P<model>[^/]+)/)?completions", "completions", "tokens", False),
    ("POST", r"responses/compact", "responses_compact", "tokens", False),
    ("POST", r"responses/input_tokens", "responses_input_tokens", "nothing", False),
    ("POST", r"responses/[^/]+/cancel", "responses_cancel", "nothing", False),
    ("GET", r"responses/[^/]+/input_items", "responses_input_items", "nothing", False),
    ("GET", r"responses/[^/]+", "responses_retrieve", "nothing", False),
    ("DELETE", r"responses/[^/]+", "responses_delete", "nothing", False),
    ("POST", r"responses", "responses", "tokens", False),
    (WEBSOCKET, r"responses", "responses_socket", "tokens", True),
    (WEBSOCKET, r"realtime(?:/translations|/calls/[^/]+)?", "realtime_socket", "tokens", True),
    (WEBSOCKET, r"live(?:/sessions(?:/[^/]+/(?:attach|fork))?)?", "live_socket", "units", True),
    ("POST", r"(?:deployments/(?P<model>[^/]+)/)?embeddings", "embeddings", "tokens", False),
    ("POST", r"moderations", "moderations", "nothing", False),
    ("POST", r"decisions", "decisions", "tokens", False),
    ("POST", r"(?:deployments/(?P<model>[^/]+)/)?images/generations", "images_generate", "units", False),
    ("POST", r"(?:deployments/(?P<model>[^/]+)/)?images/edits", "images_edit", "units", False),
    ("POST", r"(?:deployments/(?P<model>[^/]+)/)?images/variations", "images_variation", "units", False),
    ("POST", r"(?:deployments/(?P<model>[^/]+)/)?audio/speech", "speech", "units", False),
    ("POST", r"(?:deployments/(?P<model>[^/]+)/)?audio/transcriptions", "transcriptions", "units", False),
    ("POST", r"(?:deployments/(?P<model>[^/]+)/)?audio/translations", "translations", "units", False),
    ("POST", r"batches", "batches", "later", False),
    (_ANY, r"batches(?:/.+)?", "batches", "nothing", False),
    ("GET", r"files/[^/]+/content", "files_content", "nothing", False),
    (_ANY, r"files(?:/.+)?", "files", "nothing", False),
    (_ANY, r"uploads(?:/.+)?", "uploads", "nothing", False),
    # Not by POST: that is how another dialect spends (`models/x:generateContent`), which an upstream may serve as well.
    ("GET", r"models(?:/.+)?", "models", "nothing", False),
    ("DELETE", r"models(?:/.+)?", "models", "nothing", False),
    ("POST", r"fine_tuning/jobs", "fine_tuning", "later", False),
    ("POST", r"fine_tuning/alpha/graders/run", "graders", "units", False),
    (_ANY, r"fine_tuning(?:/.+)?", "fine_tuning", "nothing", False),
    (_ANY, r"vector_stores(?:/.+)?", "vector_stores", "nothing", False),
    (_ANY, r"conversations(?:/.+)?", "conversations", "nothing", False),
    (_ANY, r"chat/completions(?:/.+)?", "chat_stored", "nothing", False),
    (_ANY, r"audio/voice(?:s|_consents)(?:/.+)?", "voices", "nothing", False),
    (_ANY, r"videos/[^/]+/content", "videos_content", "nothing", False),
    ("POST", r"videos(?:/(?:edits|extensions)|/[^/]+/remix)?", "videos", "units", False),
    (_ANY, r"videos(?:/.+)?", "videos", "nothing", False),
    ("POST", r"containers", "containers", "units", False),
    (_ANY, r"containers(?:/.+)?", "containers", "nothing", False),
    ("POST", r"evals/[^/]+/runs", "evals", "later", False),
    (_ANY, r"evals(?:/.+)?", "evals", "nothing", False),
    (
        "POST",
        r"realtime/(?:translations/)?(?:client_secrets|sessions|transcription_sessions)",
        "realtime_secrets",
        "nothing",
        False,
    ),
    ("POST", r"realtime/calls", "realtime_calls", "units", False),
    ("POST", r"realtime/calls/[^/]+/[^/]+", "realtime_calls", "nothing", False),
    ("POST", r"live/sessions", "live_sessions", "units", False),
    (_ANY, r"live/sessions/[^/]+/[^/]+", "live_sessions", "nothing", False),
    ("POST", r"threads/(?:[^/]+/)?runs(?:/[^/]+/submit_tool_outputs)?", "runs", "later", False),
    ("POST", r"agents/sessions", "agents", "later", False),
    ("GET", r"agents/sessions/[^/]+/events", "agents", "nothing", True),
    ("POST", r"agents/sessions/[^/]+/events", "agents", "later", False),
    ("POST", r"agents/automations/[^/]+/invocations", "agents", "later", False),
    ("POST", r"chatkit/sessions", "chatkit_secrets", "nothing", False),
    (_ANY, r"(?:agents|vaults|chatkit)(?:/.+)?", "agents", "nothing", False),
    (_ANY, r"threads/[^/]+/runs/[^/]+(?:/cancel)?", "runs", "nothing", False),
    (_ANY, r"(?:assistants|threads)(?:/.+)?", "assistants", "nothing", False),
    (
        _ANY,
        r"(?:organization|projects|webhook_endpoints|webhook_event_types)(?:/.+)?",
        "administration",
        "nothing",
        False,
    ),
    (_ANY, r"(?:skills|safety|content_provenance_checks)(?:/.+)?", "other", "nothing", False),
)
_ANTHROPIC: Final = (
    ("POST", r"messages/count_tokens", "count_tokens", "nothing", False),
    ("POST", r"messages/batches", "message_batches", "later", False),
    ("GET", r"messages/batches/[^/]+/results", "message_batch_results", "nothing", False),
    (_ANY, r"messages/batches(?:/.+)?", "message_batches", "nothing", False),
    ("POST", r"messages", "messages", "tokens", False),
    ("POST", r"models/count-tokens:rawPredict", "count_tokens", "nothing", False),
    ("POST", r"models/(?P<model>[^/:]+):rawPredict", "messages", "tokens", False),
    ("POST", r"models/(?P<model>[^/:]+):streamRawPredict", "messages", "tokens", True),
    ("GET", r"files/[^/]+/content", "files_content", "nothing", False),
    (_ANY, r"files(?:/.+)?", "files", "nothing", False),
    (_ANY, r"models(?:/[^/:]+)?", "models", "nothing", False),
    # Agents that work at Anthropic's: who sends an event sets them to work, and the bill comes by other ways. Only
    # reading is called free, because other APIs have paths like these.
    ("POST", r"(?:sessions/[^/]+/events|dreams)", "sessions", "later", False),
    ("GET", r"(?:sessions|dreams)(?:/.+)?", "sessions", "nothing", False),
    (
        "GET",
        r"(?:agents|deployments|deployment_runs|environments|memory_stores|skills|tunnels|user_profiles|vaults)(?:/.+)?",
        "other",
        "nothing",
        False,
    ),
    (_ANY, r"organizations(?:/.+)?", "administration", "nothing", False),
)
_GENERATORS: Final = "(?:models|tunedModels|endpoints)"
_GEMINI: Final = (
    # Vertex calls what somebody tuned or deployed an endpoint; who it is, the answer says.
    ("POST", rf"{_GENERATORS}/(?P<model>[^/:]+):generateContent", "generate_content", "tokens", False),
    ("POST", rf"{_GENERATORS}/(?P<model>[^/:]+):streamGenerateContent", "generate_content", "tokens", True),
    ("POST", r"(?:models|endpoints)/(?P<model>[^/:]+):(?:countTokens|computeTokens)", "count_tokens", "nothing", False),
    ("POST", r"models/(?P<model>[^/:]+):(?:embedContent|batchEmbedContents)", "embeddings", "tokens", False),
    ("POST", r"(?:models|endpoints)/(?P<model>[^/:]+):predict", "predict", "units", False),
    ("POST", r"models/(?P<model>[^/:]+):predictLongRunning", "videos", "later", False),
    ("POST", r"models/(?P<model>[^/:]+):fetchPredictOperation", "videos", "nothing", False),
    ("POST", r"models/(?P<model>[^/:]+):(?:batchGenerateContent|asyncBatchEmbedContent)", "batches", "later", False),
    ("POST", r"batchPredictionJobs", "batches", "later", False),
    ("GET", r"(?<!openai/)(?:batches|batchPredictionJobs)", "batches", "nothing", False),
    (_ANY, r"(?<!openai/)(?:batches|batchPredictionJobs)/.+", "batches", "nothing", False),
    ("POST", r"interactions", "interactions", "tokens", False),
    (_ANY, r"interactions/.+", "interactions", "nothing", False),
    ("POST", r"cachedContents", "cached_contents", "units", False),
    (_ANY, r"cachedContents(?:/.+)?", "cached_contents", "nothing", False),
    ("GET", r"files/[^/]+:download", "files_content", "nothing", False),
    (_ANY, r"(?:upload/v[^/]+/)?(?<!openai/)files(?:/.+)?", "files", "nothing", False),
    (_ANY, r"models(?:/[^/:]+)?(?:/operations/.+)?", "models", "nothing", False),
    (WEBSOCKET, r"ws/google\.ai\.generativelanguage\.[^/]+", "live_socket", "tokens", True),
    (WEBSOCKET, r"ws/google\.cloud\.aiplatform\.[^/]+/BidiGenerateContent", "live_socket", "tokens", True),
)
_OLLAMA: Final = (
    ("POST", r"api/chat", "chat", "tokens", False),
    ("POST", r"api/generate", "completions", "tokens", False),
    ("POST", r"api/(?:embed|embeddings)", "embeddings", "tokens", False),
    (_ANY, r"api/(?:tags|ps|show|version|create|copy|delete|pull|push|blobs/[^/]+)", "models", "nothing", False),
)
_BEDROCK: Final = (
    ("POST", r"model/(?P<model>.+)/converse", "converse", "tokens", False),
    ("POST", r"model/(?P<model>.+)/converse-stream", "converse", "tokens", True),
    ("POST", r"model/(?P<model>.+)/invoke", "invoke", "tokens", False),
    ("POST", r"model/(?P<model>.+)/invoke-with-response-stream", "invoke", "tokens", True),
    ("POST", r"model/(?P<model>.+)/count-tokens", "count_tokens", "nothing", False),
    ("POST", r"model/(?P<model>.+)/invoke-with-bidirectional-stream", "speech_socket", "tokens", True),
    ("POST", r"guardrail/[^/]+/version/[^/]+/apply", "guardrails", "units", False),
    ("POST", r"guardrail-checks/invoke", "guardrails", "units", False),
    ("POST", r"async-invoke", "async_invoke", "later", False),
    ("GET", r"async-invoke(?:/.+)?", "async_invoke", "nothing", False),
)

_Row = tuple[str, re.Pattern[str], Operation]


def _compiled(dialect: Dialect, rows: Iterable[tuple[str, str, str, Billing, bool]]) -> tuple[_Row, ...]:
    return tuple(
        (
            method,
            re.compile(f"(?:^|/){path}$", re.IGNORECASE),
            Operation(dialect, endpoint, billing, None, is_streaming),
        )
        for method, path, endpoint, billing, is_streaming in rows
    )


_ROWS: Final[Mapping[Dialect, tuple[_Row, ...]]] = MappingProxyType(
    {
        "openai": _compiled("openai", _OPENAI),
        "anthropic": _compiled("anthropic", _ANTHROPIC),
        "gemini": _compiled("gemini", _GEMINI),
        "ollama": _compiled("ollama", _OLLAMA),
        "bedrock": _compiled("bedrock", _BEDROCK),
    }
)
OPERATIONS: Final = tuple(operation for rows in _ROWS.values() for _, _, operation in rows)
"""Every operation known, several times where it has several paths."""


def find_operation(wire: str, method: str, path: str) -> Operation | None:
    """Return the operation of a request to an upstream that speaks `wire`; None: nobody knows it.

    `method`: upper case, or WEBSOCKET. `path`: below the base URL, with or without a query, as sent.
    """
    return _find(wire, method, path.partition("?")[0])


@lru_cache(maxsize=1024)
def _find(wire: str, method: str, path: str) -> Operation | None:
    # As an upstream may read it: a limit must not be passed by another spelling of the same path.
    path = unquote(path).rstrip("/")
    for dialect in DIALECTS_OF.get(wire, ()):
        for its_method, pattern, operation in _ROWS[dialect]:
            if its_method in (method, _ANY) and (match := pattern.search(path)) is not None:
                return _with_model(operation, match)
    return None


def _with_model(operation: Operation, match: re.Match[str]) -> Operation:
    model = match.groupdict().get("model")
    if model is None:
        return operation
    return Operation(operation.dialect, operation.endpoint, operation.billing, model, operation.is_streaming)
