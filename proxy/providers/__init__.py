"""Who answers: one row for each provider that an application can reach without configuring it.

A row says where a provider is, which wire it speaks, how it wants to be authenticated, and under which id the price
table knows it. How bytes speak is `proxy.wire`'s matter; a new provider on a known wire is a row here and nothing else.
Configuration overrides any of it. Rows are facts with a date: see `source`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

__all__ = ["PROVIDERS", "Auth", "IncludeUsage", "Provider"]

Auth = Literal["bearer", "x-api-key", "api-key", "x-goog-api-key", "none"]
"""How a provider wants its key: `Authorization: Bearer`, or the header of that name; none: it wants no key."""
IncludeUsage = Literal["auto", "never"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One provider."""

    name: str
    """Name of the upstream, first segment of its path on the data port."""
    base_url: str
    """What an SDK would be given as its base URL, without a slash at the end."""
    wire: Literal["openai", "anthropic", "gemini"]
    """The API dialect spoken below the base URL."""
    auth: Auth
    price_id: str | None
    """Provider id in genai-prices. None: it has no prices there."""
    include_usage: IncludeUsage
    """Whether `stream_options.include_usage` may be inserted into streamed requests; `never`: it is refused, or usage
    comes unasked, or the wire has no such thing."""
    is_local: bool = False
    """It runs on the operator's own machine: plain http, a private address, no bill."""
    is_reasoning_apart: bool = False
    """Its `completion_tokens` leave out the reasoning tokens, which are billed like them."""
    source: str
    """Where the row comes from."""
    seen: str
    """ISO date on which that was read."""


_SEEN: Final = "2026-11-20"

_ROWS: Final = (
    Provider(
        name="openai",
        base_url="https://api.openai.com/v1",
        wire="openai",
        auth="bearer",
        price_id="openai",
        include_usage="auto",
        source="openai 3.52.0 (PyPI), default base URL and captured requests",
        seen=_SEEN,
    ),
    Provider(
        name="anthropic",
        base_url="https://api.anthropic.com",  # its SDK adds /v1
        wire="anthropic",
        # The SDK sends `Authorization: Bearer` since 2.0; the documented API takes an API key under this name.
        auth="x-api-key",
        price_id="anthropic",
        include_usage="never",  # usage always comes
        source="anthropic 2.11.0 (PyPI), default base URL and captured requests",
        seen=_SEEN,
    ),
    Provider(
        name="gemini",
        base_url="https://generativelanguage.googleapis.com",  # its SDK adds /v1beta
        wire="gemini",
        auth="x-goog-api-key",
        price_id="google",
        include_usage="never",  # usage comes with every chunk
        source="google-genai 3.4.0 (PyPI), default base URL and captured requests",
        seen=_SEEN,
    ),
    Provider(
        name="groq",
        base_url="https://api.groq.com/openai/v1",
        wire="openai",
        auth="bearer",
        price_id="groq",
        include_usage="never",  # usage comes unasked, in x_groq of the last chunk
        source="groq 1.7.0 (PyPI), default base URL and types",
        seen=_SEEN,
    ),
    Provider(
        name="deepseek",
        base_url="https://api.deepseek.com",  # takes paths with /v1 and without
        wire="openai",
        auth="bearer",
        price_id="deepseek",
        include_usage="auto",
        source="api-docs.deepseek.com, “Your First API Call” and “Create Chat Completion”",
        seen=_SEEN,
    ),
    Provider(
        name="mistral",
        base_url="https://api.mistral.ai/v1",
        wire="openai",
        auth="bearer",
        price_id="mistral",
        include_usage="never",  # answers 422 extra_forbidden; usage comes unasked
        source="mistralai 3.7.0 (PyPI); litellm issue 11696 for the refusal",
        seen=_SEEN,
    ),
    Provider(
        name="openrouter",
        base_url="https://openrouter.ai/api/v1",
        wire="openai",
        auth="bearer",
        price_id="openrouter",
        include_usage="never",  # its SDK documents the option as without effect: usage and cost come unasked
        source="openrouter 1.3.84 (PyPI)",
        seen=_SEEN,
    ),
    Provider(
        name="xai",
        base_url="https://api.x.ai/v1",
        wire="openai",
        auth="bearer",
        price_id="x-ai",
        include_usage="auto",
        is_reasoning_apart=True,
        source="litellm 1.109.1 (PyPI), xai chat transformation",
        seen=_SEEN,
    ),
    Provider(
        name="together",
        base_url="https://api.together.xyz/v1",
        wire="openai",
        auth="bearer",
        price_id="together",
        include_usage="never",  # usage comes unasked, in the last chunk
        source="together 3.1.1 (PyPI)",
        seen=_SEEN,
    ),
    Provider(
        name="fireworks",
        base_url="https://api.fireworks.ai/inference/v1",
        wire="openai",
        auth="bearer",
        price_id="fireworks",
        include_usage="auto",
        source="docs.fireworks.ai, “OpenAI compatibility”",
        seen="2026-11-21",
    ),
    Provider(
        name="perplexity",
        base_url="https://api.perplexity.ai",
        wire="openai",
        auth="bearer",
        price_id="perplexity",
        include_usage="never",  # usage and cost come unasked
        source="genai-prices 0.2.3 for the host; an SDK is given this and /v1 for its Responses-shaped API",
        seen="2026-11-21",
    ),
    Provider(
        name="cerebras",
        base_url="https://api.cerebras.ai/v1",
        wire="openai",
        auth="bearer",
        price_id="cerebras",
        include_usage="auto",
        source="cerebras-cloud-sdk package notes and docs.pipecat.ai, Cerebras",
        seen="2026-11-21",
    ),
    Provider(
        name="ollama",
        base_url="http://127.0.0.1:11434/v1",  # its OpenAI-compatible side
        wire="openai",
        auth="none",
        price_id=None,
        include_usage="auto",
        is_local=True,
        source="ollama 0.6.3 (PyPI) for the port; docs.ollama.com, “OpenAI compatibility”",
        seen=_SEEN,
    ),
    Provider(
        name="vllm",
        base_url="http://127.0.0.1:8000/v1",
        wire="openai",
        auth="bearer",  # a server started with --api-key checks it, others ignore it
        price_id=None,
        include_usage="auto",
        is_local=True,
        source="default port of `vllm serve`, from general knowledge",
        seen=_SEEN,
    ),
    Provider(
        name="lmstudio",
        base_url="http://127.0.0.1:1234/v1",
        wire="openai",
        auth="none",
        price_id=None,
        include_usage="auto",
        is_local=True,
        source="lmstudio.ai/docs, “OpenAI Compatible Endpoints”",
        seen="2026-11-21",
    ),
    Provider(
        name="llamacpp",
        # Its own default port is 8080, which is ours: start it with --port 8082.
        base_url="http://127.0.0.1:8082/v1",
        wire="openai",
        auth="bearer",  # a server started with --api-key checks it, others ignore it
        price_id=None,
        include_usage="auto",
        is_local=True,
        source="llama-server, from general knowledge",
        seen=_SEEN,
    ),
)

PROVIDERS: Final[Mapping[str, Provider]] = MappingProxyType({row.name: row for row in _ROWS})
"""The built-in providers by name."""
