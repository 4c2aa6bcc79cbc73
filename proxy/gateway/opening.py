"""What can be known of a request from its head, worked out once for each caller.

An application sends nearly the same head with every request: only `Content-Length` differs. So a head is looked up with
that one line cut out; only an unknown one is parsed, judged, routed and masked. What is remembered depends on nothing
but the bytes and the configuration, and is forgotten with it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from proxy.errors import BadRequest
from proxy.gateway.framing import RequestHead, read_request_head
from proxy.gateway.heads import recorded_headers, request_head
from proxy.gateway.identity import Claims, mask_secrets, read_claims
from proxy.gateway.refusal import Refusal
from proxy.gateway.routing import Route, Router
from proxy.records import Begin, BeginTemplate

if TYPE_CHECKING:
    from proxy.config import Limits
    from proxy.gates.keys import KeyPolicy
    from proxy.gateway.gate import Gate

MAX_OPENINGS: Final = 1024
"""Heads that are remembered: some 4 KB each. Callers with a new trace id each time simply take the longer way."""
_LENGTH: Final = re.compile(rb"\r\n[Cc]ontent-[Ll]ength: ([0-9]{1,18})(?=\r\n)")


@dataclass(frozen=True, slots=True)
class Opening:
    """The head of a request, understood; `route` None: nothing to forward."""

    head: RequestHead
    """Its `content_length` is that of the first request; use the one that `Openings.find` returns."""
    route: Route | None
    policy: KeyPolicy | None
    claims: Claims
    refusal: Refusal | None
    """What the credential and the upstream alone forbid."""
    window_bytes: int
    """Body bytes to collect before forwarding; 0: none."""
    upstream_head: bytes
    """Head to send, up to its framing."""
    identity_head: bytes
    """The same, asking for an answer without content coding."""
    template: BeginTemplate | None


class Openings:
    """The memory of heads, for one configuration."""

    def __init__(self, gate: Gate, router: Router, limits: Limits) -> None:
        self._gate = gate
        self._router = router
        self._limits = limits
        self._known: dict[bytes, Opening] = {}

    def find(self, head: bytes) -> tuple[Opening, int | None]:
        """Return what `head` means and its Content-Length. Raises BadRequest."""
        match = _LENGTH.search(head)
        if match is not None:
            key = head[: match.start()] + head[match.end() :]
            known = self._known.get(key)
            # A length beside chunks is for the parser to refuse.
            if known is not None and not known.head.is_chunked:
                return known, int(match[1])
        else:
            key = head
            known = self._known.get(key)
            if known is not None and known.head.content_length is None:
                return known, None
        opening = self._read(head)
        length = opening.head.content_length
        if match is None and length is not None:
            return opening, length  # A spelling that cannot be cut out.
        if len(self._known) >= MAX_OPENINGS:
            self._known.clear()
        self._known[key] = opening
        return opening, length

    def _read(self, raw: bytes) -> Opening:
        limits = self._limits
        head = read_request_head(raw, max_lines=limits.header_lines, max_url=limits.url_bytes)
        if len(raw) - len(head.target) > limits.header_bytes:
            raise BadRequest("the request head is too large", status=431, code="too_large")
        method = head.method.decode("latin-1")
        route = self._router.find(head.target, method, is_anthropic=b"anthropic-version" in head.lowered)
        claims = read_claims(head)
        policy = self._gate.find_key(head.lowered)
        if route is None:
            return Opening(head, None, policy, claims, None, 0, b"", b"", None)
        credential = self._gate.lent_credential(policy, route.target)
        path, host = route.upstream_path, route.target.host_header
        return Opening(
            head=head,
            route=route,
            policy=policy,
            claims=claims,
            refusal=self._gate.judge_caller(policy, route.target.name),
            window_bytes=self._gate.window_for(policy, route, head.method),
            upstream_head=request_head(head, path=path, host=host, credential=credential),
            identity_head=request_head(head, path=path, host=host, credential=credential, identity_encoding=True),
            template=BeginTemplate(_begin(head, route, policy, claims)),
        )


def _begin(head: RequestHead, route: Route, policy: KeyPolicy | None, claims: Claims) -> Begin:
    tags = dict(claims.tags)
    tags.update(route.tags)
    if policy is not None:
        tags.update(policy.tags)
    return Begin(
        id="",
        started_at_ms=0,
        upstream=route.target.name,
        wire=route.target.wire,
        provider=route.target.provider,
        is_free=route.target.is_free,
        method=head.method.decode("ascii"),
        path=route.recorded_path,
        headers=mask_secrets(recorded_headers(head.headers)),
        key=policy.name if policy is not None else None,
        user=claims.user,
        session=claims.session,
        trace_id=claims.trace_id,
        parent_id=claims.parent_id,
        environment=claims.environment,
        tags=tags,
        prompt_name=claims.prompt_name,
        prompt_version=claims.prompt_version,
        attempt=claims.attempt,
        no_store=claims.no_store,
    )
