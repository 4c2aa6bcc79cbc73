"""Who asks, and what they say about the request: read from headers that are then not forwarded.

Identity claimed here is recorded. It decides nothing unless the key's configuration trusts it.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from proxy.errors import BadRequest
from proxy.gateway.framing import PRIVATE_PREFIX, HeaderList, RequestHead

CREDENTIALS: Final = (b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key")
"""Headers in which a provider's key arrives, in the order in which we look (research: six places, two of them later)."""
_SECRET_HEADERS: Final = frozenset((*CREDENTIALS, b"proxy-authorization", b"cookie", b"set-cookie"))
_TRACEPARENT: Final = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")
_MAX_VALUE: Final = 256
"""Characters kept of a claimed identity."""


class Claims(msgspec.Struct, frozen=True):
    """What the caller says about a request."""

    user: str | None = None
    session: str | None = None
    trace_id: str | None = None
    parent_id: str | None = None
    environment: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    prompt_name: str | None = None
    prompt_version: str | None = None
    no_store: str = ""
    timeout_s: float | None = None
    attempt: int = 1


_NOTHING: Final = Claims()


def read_claims(head: RequestHead) -> Claims:
    """Read every header of ours, W3C trace context and the SDKs' retry counter. Raises BadRequest for nonsense."""
    lowered = head.lowered
    retry = lowered.get(b"x-stainless-retry-count", b"0")
    attempt = 1 + int(retry) if retry.isdigit() and len(retry) < 4 else 1
    trace = lowered.get(b"traceparent")
    if trace is None and not any(name.startswith(PRIVATE_PREFIX) for name in lowered):
        return _NOTHING if attempt == 1 else Claims(attempt=attempt)
    match = _TRACEPARENT.fullmatch(trace) if trace is not None else None
    prompt_name, _, prompt_version = (_text(lowered, b"prompt") or "").partition("@")
    return Claims(
        user=_text(lowered, b"user"),
        session=_text(lowered, b"session"),
        trace_id=_text(lowered, b"trace-id") or (match[1].decode() if match else None),
        parent_id=_text(lowered, b"parent-id") or (match[2].decode() if match else None),
        environment=_text(lowered, b"environment"),
        tags=_tags(_text(lowered, b"tags")),
        prompt_name=prompt_name or None,
        prompt_version=prompt_version or None,
        no_store=_no_store(_text(lowered, b"no-store")),
        timeout_s=_seconds(_text(lowered, b"timeout")),
        attempt=attempt,
    )


def _text(lowered: dict[bytes, bytes], name: bytes) -> str | None:
    value = lowered.get(PRIVATE_PREFIX + name)
    return value.decode("utf-8", "replace")[:_MAX_VALUE] or None if value is not None else None


def _tags(text: str | None) -> tuple[tuple[str, str], ...]:
    if not text:
        return ()
    pairs = []
    for part in text.split(","):
        name, equals, value = part.strip().partition("=")
        if not name or not equals:
            raise BadRequest("x-glassline-tags is written a=b,c=d")
        pairs.append((name, value))
    return tuple(pairs)


def _no_store(text: str | None) -> str:
    if text is None:
        return ""
    if text not in ("request", "response", "all"):
        raise BadRequest("x-glassline-no-store is request, response or all")
    return text


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError as error:
        raise BadRequest("x-glassline-timeout is a number of seconds") from error
    if not 0 < seconds < 1e6:
        raise BadRequest("x-glassline-timeout is a number of seconds")
    return seconds


def read_credentials(lowered: dict[bytes, bytes]) -> list[bytes]:
    """Return the secrets with which the caller presents itself, without their scheme.

    All of them: which one an upstream takes is not ours to know, so none may hide another.
    """
    found = []
    for name in CREDENTIALS:
        value = lowered.get(name)
        if value:
            parts = value.split(None, 1)
            is_bearer = name == b"authorization" and len(parts) == 2 and parts[0].lower() == b"bearer"
            found.append(parts[1].strip() if is_bearer else value)
    return found


def mask_secrets(headers: HeaderList) -> tuple[tuple[bytes, bytes], ...]:
    """Return `headers` with every credential reduced to its last four characters."""
    return tuple(
        (name, _masked(value)) if name.lower() in _SECRET_HEADERS else (name, value) for name, value in headers
    )


def _masked(value: bytes) -> bytes:
    scheme, space, _ = value.partition(b" ")
    kept = scheme + b" " if space and len(scheme) <= 10 else b""
    return kept + b"***" + (value[-4:] if len(value) >= 24 else b"")


def credential_headers(auth: str, secret: bytes) -> bytes:
    """Return the header lines that carry `secret` in the scheme `auth`."""
    if auth == "bearer":
        return b"authorization: Bearer " + secret + b"\r\n"
    return auth.encode() + b": " + secret + b"\r\n" if auth != "none" else b""
