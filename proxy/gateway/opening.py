"""What can be known of a request from its head, worked out once for each caller.

An application sends nearly the same head with every request: only `Content-Length` differs. So a head is looked up with
that one line cut out; only an unknown one is parsed, judged, routed and masked. What is remembered depends on nothing
but the bytes and the configuration, and is forgotten with it.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec

from proxy.errors import BadRequest
from proxy.framing import RequestHead, read_request_head
from proxy.gateway.claims import Claims, read_claims
from proxy.gateway.credentials import (
    ERRAND,
    TICKET,
    is_signed,
    is_told,
    read_credentials,
    read_ticket,
    recorded_headers,
    target_without_credentials,
)
from proxy.gateway.heads import request_head
from proxy.gateway.paths import speaker
from proxy.gateway.refusal import Refusal
from proxy.gateway.routing import Route, Router
from proxy.gateway.socket.handshake import is_upgrade
from proxy.operations import WEBSOCKET
from proxy.records import Begin, BeginTemplate

if TYPE_CHECKING:
    from proxy.config import Limits
    from proxy.gates.keys import KeyPolicy
    from proxy.gateway.gate import Gate
    from proxy.gateway.signature import Signer

MAX_OPENINGS: Final = 1024
"""Heads that are remembered: some 4 KB each. Callers with a new trace id each time simply take the longer way."""
MAX_REMEMBERED_BYTES: Final = 8 * 1024
"""A longer head is read each time: anybody may send one, and each is kept in five forms."""
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
    is_upgrade: bool = False
    """It asks to become a WebSocket."""
    is_limited: bool = False
    """A limit may apply: nothing goes before it has been read and judged."""
    signer: Signer | None = None
    """Signs the request; then its whole body is collected."""
    is_lent: bool = False
    """The caller's own credentials do not leave."""


class Openings:
    """The memory of heads, for one configuration."""

    def __init__(self, gate: Gate, router: Router, limits: Limits) -> None:
        self._gate = gate
        self._router = router
        self._limits = limits
        self._body_bytes = int(limits.body_mb * 1024 * 1024)
        self._known: dict[bytes, Opening] = {}

    def find(self, head: bytes) -> tuple[Opening, int | None]:
        """Return what `head` means and its Content-Length. Raises BadRequest."""
        return self.recall(head) or self._learn(head)

    def recall(self, head: bytes) -> tuple[Opening, int | None] | None:
        """Return what `head` means and its Content-Length; None: it was not read before."""
        match = _LENGTH.search(head)
        if match is None:
            known = self._known.get(head)
            return (known, None) if known is not None and known.head.content_length is None else None
        start, end = match.span()
        known = self._known.get(head[:start] + head[end:])
        # A length beside chunks is for the parser to refuse.
        return (known, int(match[1])) if known is not None and known.head.content_length is not None else None

    def _learn(self, head: bytes) -> tuple[Opening, int | None]:
        match = _LENGTH.search(head)
        key = head if match is None else head[: match.start()] + head[match.end() :]
        opening = self._read(head)
        length = opening.head.content_length
        if TICKET in head or ERRAND in opening.head.lowered or opening.is_upgrade:
            return opening, length  # The one expires, the other has a key that never comes again.
        if len(head) > MAX_REMEMBERED_BYTES:
            return opening, length
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
        method = WEBSOCKET if is_upgrade(head) else head.method.decode("latin-1")
        route = self._router.find(head.target, method, speaks=speaker(head.lowered))
        try:
            return self._understand(head, route)
        except BadRequest as error:
            if route is None:
                raise
            return _refused(head, route, Refusal(error.code, error.status, str(error)))

    def _understand(self, head: RequestHead, route: Route | None) -> Opening:
        policy, secret = self._gate.find_key(read_credentials(head))
        claims = read_claims(head, secret)
        if policy is None and route is not None:
            policy = self._redeem(head, route)
        if route is None:
            return Opening(head, None, policy, claims, None, 0, b"", b"", None)
        credential = self._gate.lent_credential(policy, route.target)
        signer = route.target.signer if credential is not None else None
        path, host = route.upstream_path, route.target.host_header
        if credential is not None:
            path = target_without_credentials(path)
            if is_told(path, secret):
                raise BadRequest("a key must not stand in the path")
        write_head = partial(request_head, head, path=path, host=host, credential=credential, secret=secret)
        refusal = self._gate.judge_caller(policy, route.target.name, secret)
        return Opening(
            head=head,
            route=route,
            policy=policy,
            claims=claims,
            refusal=refusal or _judge_signature(head, route, credential),
            window_bytes=self._body_bytes if signer else self._gate.window_for(policy, route, head.method),
            upstream_head=write_head(),
            identity_head=write_head(identity_encoding=True),
            template=BeginTemplate(_begin(head, route, policy, claims, secret)),
            is_upgrade=is_upgrade(head),
            is_limited=self._gate.limits(policy),
            signer=signer,
            is_lent=credential is not None,
        )

    def _redeem(self, head: RequestHead, route: Route) -> KeyPolicy | None:
        """Return the policy of the key that a ticket stands for; None: there is no ticket, or it holds no more."""
        now_s = int(time.time())
        if (ticket := read_ticket(head.target)) is not None:
            target = target_without_credentials(route.upstream_path)
            return self._gate.redeem_ticket(ticket, route.target.name, target, now_s)
        if (claim := head.lowered.get(ERRAND)) is not None:
            return self._gate.redeem_errand(claim.decode("latin-1"), route.target.name, now_s)
        return None


def _refused(head: RequestHead, route: Route, refusal: Refusal) -> Opening:
    """Return the opening of a request that is refused for what its head says."""
    # Which key counts, or where else one stands, is what could not be told: what might hold one is not recorded.
    path = route.recorded_path.encode()
    is_key_told = any(is_told(path, secret) for secret in read_credentials(head))
    begin = _begin(head, replace(route, tags=()), None, Claims(), b"")
    begin = msgspec.structs.replace(begin, path="***" if is_key_told else begin.path, headers=())
    return Opening(head, route, None, Claims(), refusal, 0, b"", b"", BeginTemplate(begin))


def _judge_signature(head: RequestHead, route: Route, credential: bytes | None) -> Refusal | None:
    """Refuse an AWS signature that cannot hold: it was made for our host, and goes to Amazon's."""
    if credential is not None or not is_signed(head) or ".amazonaws.com" not in route.target.origin.host:
        return None
    return Refusal(
        "invalid_key",
        401,
        "An AWS signature covers the host it was made for and cannot be forwarded. Send a Bedrock API key as bearer"
        " token, or a virtual key, for which Glassline signs with the credentials of `upstreams.<name>.aws`.",
    )


def _begin(head: RequestHead, route: Route, policy: KeyPolicy | None, claims: Claims, secret: bytes) -> Begin:
    tags = dict(claims.tags)
    tags.update((_hidden(name, secret), _hidden(value, secret)) for name, value in route.tags)
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
        path=_hidden(route.recorded_path, secret),
        headers=recorded_headers(head.headers, secret),
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


def _hidden(text: str, secret: bytes) -> str:
    return text.replace(secret.decode("latin-1"), "***") if secret else text
