"""A recorded request, ready to be sent again."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from proxy.conversation.document import read_document
from proxy.errors import ClientError

ADDRESS: Final = "http://localhost:8080"
"""Of the data port; `GLASSLINE_URL` says another."""
MASK: Final = "***"
_LARGEST: Final = 4 * 1024 * 1024
_LEFT_OUT: Final = re.compile(
    r"host|content-length|transfer-encoding|connection|keep-alive|te|trailer|upgrade|proxy-.*|expect|user-agent"
    r"|accept-encoding|cookie|content-encoding|x-glassline-.*|x-stainless-.*|traceparent|tracestate|baggage|x-forwarded-.*"
    r"|forwarded|via|x-request-id|x-real-ip",
    re.IGNORECASE,
)
"""What a client or a server on the way says by itself."""
_VARIABLES: Final = {
    "anthropic": "ANTHROPIC_API_KEY",
    "gemini": "GEMINI_API_KEY",
    "bedrock": "AWS_BEARER_TOKEN_BEDROCK",
}
_NOT_A_NAME: Final = re.compile(r"[^A-Z0-9]+")


class SnippetError(ClientError):
    """A request that cannot be written down so that it would be sent as it was."""


@dataclass(frozen=True, slots=True)
class Call:
    """What was sent."""

    method: str
    upstream: str
    path: str
    """Below the upstream's base URL, with its query; credentials masked."""
    dialect: str
    endpoint: str
    model: str | None
    """That the path names."""
    headers: Sequence[tuple[str, str]]
    """As recorded: credentials masked."""
    body: bytes
    """Decoded."""

    def check(self) -> None:
        """Raise SnippetError if it is too large to be pasted anywhere."""
        if len(self.body) > _LARGEST:
            raise SnippetError(f"the body has {len(self.body):,} bytes: download it instead")

    @property
    def variable(self) -> str:
        """The environment variable that SDKs of this API read their key from."""
        return _VARIABLES.get(self.dialect, "OPENAI_API_KEY")

    @property
    def document(self) -> Any:
        """The body as JSON; None: it is none."""
        return read_document(self.body)

    @property
    def target(self) -> str:
        """The path on the data port, without its query."""
        path = self.path.partition("?")[0]
        return f"/{quote(self.upstream)}{'' if path.startswith('/') else '/'}{path}"

    @property
    def query(self) -> list[tuple[str, str | None]]:
        """Names and values of the query as they are spelled; None: a credential stood there."""
        _, mark, query = self.path.partition("?")
        fields = [field.partition("=") for field in query.split("&")] if mark else []
        return [(name + equals, None if MASK in value else value) for name, equals, value in fields]

    @property
    def sent_headers(self) -> list[tuple[str, str, str | None]]:
        """Name, value and, where a credential stood, the environment variable that goes behind the value."""
        found: list[tuple[str, str, str | None]] = []
        for name, value in self.headers:
            if _LEFT_OUT.fullmatch(name):
                continue
            if MASK not in value:
                found.append((name, value, None))
                continue
            scheme, space, _ = value.partition(" ")
            is_key = name.lower() in ("authorization", "x-api-key", "api-key", "x-goog-api-key")
            variable = self.variable if is_key else _NOT_A_NAME.sub("_", name.upper()).strip("_") or "SECRET"
            found.append((name, f"{scheme} " if space and MASK not in scheme else "", variable))
        return found
