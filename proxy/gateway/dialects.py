"""The headers by which applications tell other gateways about a request, as one table.

Whoever comes from one of those gateways keeps the headers. Each row says which header means which claim and how its
value is written; `proxy.gateway.claims` reads them. Every header of these families stays here, known or not: they were
meant for a gateway, and some carry keys. Rows are facts: litellm 1.109.1 `litellm_pre_call_utils.py`, Helicone
`HeliconeHeaders.ts`, Portkey `globals.ts`, Bifrost `supported-headers`, Cloudflare's header glossary, braintrust-proxy;
seen 2026-11-20.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

FAMILIES: Final = (b"helicone-", b"x-litellm-", b"x-portkey-", b"x-bf-", b"cf-aig-", b"x-bt-")
"""Prefixes of headers that never leave."""
OWN_CREDENTIALS: Final = frozenset(
    (
        b"x-glassline-key",
        b"helicone-auth",
        b"x-litellm-api-key",
        b"x-portkey-api-key",
        b"x-bf-vk",
        b"cf-aig-authorization",
    )
)
"""Where a key for the gateway itself stands, beside one for the provider."""

Claim = Literal[
    "user",
    "session",
    "trace_id",
    "parent_id",
    "environment",
    "prompt",
    "prompt_version",
    "timeout",
    "omit",
    "rate_policy",
    "tag",
    "tags",
    "metadata",
]
"""What a header says. omit: which part is not to be stored; tag: one, of the name given; tags: a list; metadata: JSON."""
Form = Literal["text", "seconds", "milliseconds", "if_true", "if_false", "list", "json"]
"""How a value is written; if_true, if_false: a switch that counts when it is on, or off."""


@dataclass(frozen=True, slots=True)
class Alias:
    """One header, or with a `-` at its end all headers that begin so."""

    header: bytes
    claim: Claim
    form: Form = "text"
    name: str = ""
    """Of the tag, where it is not the rest of the header; of the part to omit: request, response or all."""


ALIASES: Final = (
    Alias(b"helicone-user-id", "user"),
    Alias(b"helicone-session-id", "session"),
    Alias(b"helicone-session-name", "tag", name="session_name"),
    Alias(b"helicone-session-path", "tag", name="session_path"),
    Alias(b"helicone-request-id", "tag", name="request_id"),
    Alias(b"helicone-prompt-id", "prompt"),
    Alias(b"helicone-prompt-name", "prompt"),
    Alias(b"helicone-prompt-version", "prompt_version"),
    Alias(b"helicone-property-environment", "environment"),
    Alias(b"helicone-property-", "tag"),
    Alias(b"helicone-omit-request", "omit", "if_true", "request"),
    Alias(b"helicone-omit-response", "omit", "if_true", "response"),
    Alias(b"helicone-ratelimit-policy", "rate_policy"),
    Alias(b"x-litellm-end-user-id", "user"),
    Alias(b"x-litellm-customer-id", "user"),
    Alias(b"x-litellm-session-id", "session"),
    Alias(b"x-litellm-trace-id", "trace_id"),
    Alias(b"x-litellm-call-id", "tag", name="request_id"),
    Alias(b"x-litellm-agent-id", "tag", name="agent"),
    Alias(b"x-litellm-tags", "tags", "list"),
    Alias(b"x-litellm-spend-logs-metadata", "metadata", "json"),
    Alias(b"x-litellm-timeout", "timeout", "seconds"),
    Alias(b"x-litellm-enable-message-redaction", "omit", "if_true", "all"),
    Alias(b"x-portkey-trace-id", "trace_id"),
    Alias(b"x-portkey-parent-span-id", "parent_id"),
    Alias(b"x-portkey-span-name", "tag", name="span"),
    Alias(b"x-portkey-metadata", "metadata", "json"),
    Alias(b"x-portkey-request-timeout", "timeout", "milliseconds"),
    Alias(b"x-portkey-debug", "omit", "if_false", "all"),
    Alias(b"x-bf-customer-id", "user"),
    Alias(b"x-bf-customer-name", "tag", name="customer"),
    Alias(b"x-bf-session-id", "session"),
    Alias(b"x-bf-maxim-session-id", "session"),
    Alias(b"x-bf-maxim-trace-id", "trace_id"),
    Alias(b"x-bf-dim-", "tag"),
    Alias(b"x-bf-prom-", "tag"),
    Alias(b"x-bf-disable-content-logging", "omit", "if_true", "all"),
    Alias(b"cf-aig-event-id", "trace_id"),
    Alias(b"cf-aig-metadata", "metadata", "json"),
    Alias(b"cf-aig-request-timeout", "timeout", "milliseconds"),
    Alias(b"cf-aig-collect-log", "omit", "if_false", "all"),
    Alias(b"cf-aig-collect-log-payload", "omit", "if_false", "all"),
    Alias(b"x-bt-parent", "parent_id"),
    Alias(b"x-bt-span-id", "tag", name="span_id"),
    Alias(b"x-bt-project-id", "tag", name="project"),
    Alias(b"x-bt-org-name", "tag", name="organisation"),
)

METADATA: Final[dict[str, Claim]] = {
    "_user": "user",
    "user": "user",
    "user_id": "user",
    "userId": "user",
    "_environment": "environment",
    "environment": "environment",
    "_prompt": "prompt",
    "session_id": "session",
    "sessionId": "session",
    "trace_id": "trace_id",
}
"""Fields of a JSON header that are claims; all others are tags. Those with an underscore are Portkey's reserved ones."""

SESSIONS: Final = (b"session-id", b"session_id", b"thread-id", b"conversation_id", b"conversation-id")
"""Names under which coding agents tell their provider the session (Codex); read and forwarded."""


_EXACT: Final = {row.header: row for row in ALIASES if not row.header.endswith(b"-")}
_PREFIXES: Final = tuple(row for row in ALIASES if row.header.endswith(b"-"))


def find_alias(header: bytes) -> Alias | None:
    """Return the row of a header, lower case; None: it says nothing that we understand."""
    found = _EXACT.get(header)
    if found is None:
        found = next((row for row in _PREFIXES if header.startswith(row.header)), None)
    return found
