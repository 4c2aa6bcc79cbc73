"""Who answers: one row for each provider that an application can reach without configuring it.

A row says where a provider is, which wire it speaks, how it wants to be authenticated, and under which id the price
table knows it. How bytes speak is `proxy.wire`'s matter; a new provider on a known wire is a row here and nothing else.
Configuration overrides any of it; `row_for` says what holds where it is silent. Rows are facts with a date: see
`source`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, Literal

from proxy.config.schema import Config, Upstream
from proxy.errors import ConfigError

__all__ = [
    "GENERIC",
    "PROVIDERS",
    "Auth",
    "IncludeUsage",
    "Provider",
    "Wire",
    "check_upstreams",
    "costs_nothing",
    "row_for",
]

Auth = Literal["bearer", "x-api-key", "api-key", "x-goog-api-key", "none"]
"""How a provider wants its key: `Authorization: Bearer`, or the header of that name; none: it wants no key."""
Wire = Literal["openai", "anthropic", "gemini", "azure", "bedrock", "vertex", "ollama"]
"""The API spoken below a base URL."""
IncludeUsage = Literal["auto", "never"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One provider."""

    name: str
    """Name of the upstream, first segment of its path on the data port."""
    base_url: str | None
    """What an SDK would be given as its base URL, without a slash at the end; `{region}` is filled in. None: everybody
    has another, so the configuration must say it."""
    default_region: str | None = None
    """Stands for `{region}` where the configuration names none."""
    wire: Wire
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
        name="azure",
        base_url=None,  # https://<resource>.openai.azure.com
        wire="azure",
        auth="api-key",
        price_id="azure",
        include_usage="auto",  # versions before 2024-09-01-preview refuse it
        source="openai 3.52.0 (PyPI), AzureOpenAI: captured requests of both URL families",
        seen=_SEEN,
    ),
    Provider(
        name="bedrock",
        base_url="https://bedrock-runtime.{region}.amazonaws.com",
        default_region="us-east-1",
        wire="bedrock",
        auth="bearer",  # Bedrock API keys; a signature where the configuration has `aws`
        price_id="aws",
        include_usage="never",  # usage always comes
        source="botocore 1.44.5 (PyPI), endpoint rules of bedrock-runtime",
        seen="2026-11-21",
    ),
    Provider(
        name="vertex",
        base_url="https://{region}-aiplatform.googleapis.com",
        default_region="global",  # has a host of its own, without the prefix
        wire="vertex",
        auth="bearer",
        price_id="google",
        include_usage="never",  # usage comes with every chunk
        source="google-genai 3.4.0 (PyPI), base URLs and default location",
        seen="2026-11-21",
    ),
    Provider(
        name="ollama",
        base_url="http://127.0.0.1:11434",  # /api is its own, /v1 its OpenAI-compatible side
        wire="ollama",
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
        include_usage="never",  # its timings would ride on the event that is taken out; they say the same
        is_local=True,
        source="llama-server, from general knowledge",
        seen=_SEEN,
    ),
)

PROVIDERS: Final[Mapping[str, Provider]] = MappingProxyType({row.name: row for row in _ROWS})
"""The built-in providers by name."""

GENERIC: Final = Provider(
    name="generic",
    base_url=None,
    wire="openai",
    auth="bearer",
    price_id=None,
    include_usage="auto",  # a server that refuses it gets the client's own bytes and is not asked again
    source="what every OpenAI-compatible server has in common",
    seen=_SEEN,
)
"""What is assumed of an upstream that only the configuration knows."""
_SELLERS: Final = frozenset(("azure", "bedrock", "vertex"))
"""Wires that nobody but their provider speaks, so that the prices are known with the wire."""


def row_for(name: str, wire: str | None) -> Provider:
    """Return what is known of the upstream called `name`; failing that, of servers that speak `wire`."""
    known = PROVIDERS.get(name)
    if known is not None and wire in (None, known.wire):
        return known
    alike = next((row for row in _ROWS if row.wire == wire and wire != "openai"), GENERIC)
    if alike.wire in _SELLERS:
        return alike
    url = known.base_url if known is not None else None
    price_id = known.price_id if known is not None else None
    return replace(alike, base_url=url, price_id=price_id, is_local=known is not None and known.is_local)


def costs_nothing(name: str, upstream: Upstream) -> bool:
    """Say whether an upstream's requests are free: by the operator's word, or a built-in local server where it stands."""
    return upstream.free or (row_for(name, upstream.wire).is_local and upstream.base_url is None)


def check_upstreams(config: Config) -> None:
    """Raise ConfigError for upstreams that nobody could find: named and unknown, or without an address."""
    names = {row.name for row in _ROWS if row.base_url is not None} | set(config.upstreams)
    lines = [
        f"upstreams.{name}.base_url: is needed, since only you know where it is"
        for name, upstream in config.upstreams.items()
        if upstream.base_url is None and row_for(name, upstream.wire).base_url is None
    ]
    if config.default_upstream not in names:
        lines.append(f"default_upstream: no upstream is called `{config.default_upstream}`")
    for index, key in enumerate(config.keys):
        unknown = [name for name in key.upstreams if name not in names]
        lines += [f"keys[{index}].upstreams: no upstream is called `{name}`" for name in unknown]
    if lines:
        raise ConfigError(lines)
