"""What a caller says about a request: read from headers, ours first, then those of other gateways, then trace context.

Identity claimed here is recorded. It decides nothing unless the key's configuration trusts it. Nonsense in a header of
ours is refused, since its sender means us; nonsense in any other header is as if it were not there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote

import msgspec

from proxy.errors import BadRequest
from proxy.framing import PRIVATE_PREFIX, RequestHead
from proxy.gateway.dialects import FAMILIES, METADATA, SESSIONS, Alias, find_alias
from proxy.gateway.rate_policy import RatePolicy, read_rate_policy

_TRACEPARENT: Final = re.compile(rb"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}(?:-.*)?")
_BAGGAGE: Final = {
    "session.id": "session",
    "user.id": "user",
    "enduser.id": "user",
    "deployment.environment": "environment",
}
"""Names of OpenTelemetry's conventions."""
_VENDOR_SESSION: Final = re.compile(rb"x-[a-z0-9-]+-session-id")
_ON: Final = frozenset(("true", "1", "yes", "on", "enabled"))
_OFF: Final = frozenset(("false", "0", "no", "off", "disabled"))
_MAX_VALUE: Final = 256
"""Characters kept of a claimed identity."""
_MAX_NAME: Final = 64
_MAX_TAGS: Final = 64
_MAX_JSON: Final = 8 * 1024
"""Bytes of a JSON header that are read."""


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
    rate_policy: RatePolicy | None = None
    """A limit that the caller asks for itself; None: none, or none that can be read."""


_NOTHING: Final = Claims()


def read_claims(head: RequestHead, secret: bytes = b"") -> Claims:
    """Read what the headers say. Raises BadRequest for nonsense in a header of ours.

    `secret`: the caller's key, crossed out wherever it is said: some name their users by it.
    """
    lowered = head.lowered
    if secret:
        lowered = {name: value.replace(secret, b"***") for name, value in lowered.items()}
    attempt = _attempt(lowered)
    said = _Said()
    said.take_own(lowered)
    for name, value in lowered.items():
        if name.startswith(FAMILIES) and (alias := find_alias(name)) is not None:
            said.take_alias(alias, name, value)
    said.take_context(lowered)
    if said.is_silent:
        return _NOTHING if attempt == 1 else Claims(attempt=attempt)
    return said.claims(attempt)


def _attempt(lowered: dict[bytes, bytes]) -> int:
    retry = lowered.get(b"x-stainless-retry-count", b"0")
    return 1 + int(retry) if retry.isdigit() and len(retry) < 4 else 1


class _Said:
    """What was read so far; the first to say something is believed."""

    __slots__ = ("_omitted", "_policy", "_tags", "_timeout", "_words")

    def __init__(self) -> None:
        self._words: dict[str, str] = {}
        self._tags: dict[str, str] = {}
        self._omitted: set[str] = set()
        self._timeout: float | None = None
        self._policy: RatePolicy | None = None

    @property
    def is_silent(self) -> bool:
        return not (self._words or self._tags or self._omitted or self._timeout or self._policy)

    def claims(self, attempt: int) -> Claims:
        words = self._words
        return Claims(
            user=words.get("user"),
            session=words.get("session"),
            trace_id=words.get("trace_id"),
            parent_id=words.get("parent_id"),
            environment=words.get("environment"),
            tags=tuple(self._tags.items()),
            prompt_name=words.get("prompt"),
            prompt_version=words.get("prompt_version"),
            no_store=self._no_store(),
            timeout_s=self._timeout,
            attempt=attempt,
            rate_policy=self._policy,
        )

    def _no_store(self) -> str:
        if not self._omitted:
            return ""
        return self._omitted.copy().pop() if len(self._omitted) == 1 else "all"

    def _say(self, claim: str, text: str) -> None:
        if text:
            self._words.setdefault(claim, text[:_MAX_VALUE])

    def _tag(self, name: str, value: str) -> None:
        if name and len(self._tags) < _MAX_TAGS:
            self._tags.setdefault(name[:_MAX_NAME], value[:_MAX_VALUE])

    # --- headers of ours ---------------------------------------------------------------------------------------

    def take_own(self, lowered: dict[bytes, bytes]) -> None:
        """Take every header of ours. Raises BadRequest."""
        for name, value in lowered.items():
            if name.startswith(PRIVATE_PREFIX):
                self._take_own(name[len(PRIVATE_PREFIX) :], _text(value))

    def _take_own(self, name: bytes, text: str) -> None:
        if name in (b"user", b"session", b"environment"):
            self._say(name.decode(), text)
        elif name in (b"trace-id", b"parent-id"):
            self._say(name.decode().replace("-", "_"), text)
        elif name == b"tags":
            for key, value in _own_tags(text):
                self._tag(key, value)
        elif name == b"prompt":
            prompt, _, version = text.partition("@")
            self._say("prompt", prompt)
            self._say("prompt_version", version)
        elif name == b"no-store":
            self._omitted.add(_own_part(text))
        elif name == b"timeout":
            self._timeout = _own_seconds(text)

    # --- headers of other gateways -----------------------------------------------------------------------------

    def take_alias(self, alias: Alias, header: bytes, value: bytes) -> None:
        """Take a header that the table knows; what cannot be read says nothing."""
        text = _text(value)
        match alias.claim:
            case "tag":
                self._tag(alias.name or header[len(alias.header) :].decode("latin-1"), text)
            case "tags":
                for name, of in _listed(text):
                    self._tag(name, of)
            case "metadata":
                self._take_metadata(value)
            case "omit":
                if text.strip().lower() in (_ON if alias.form == "if_true" else _OFF):
                    self._omitted.add(alias.name)
            case "timeout":
                self._timeout = self._timeout or _seconds(text, 1000 if alias.form == "milliseconds" else 1)
            case "rate_policy":
                self._policy = self._policy or read_rate_policy(text)
            case claim:
                self._say(claim, text)

    def _take_metadata(self, value: bytes) -> None:
        for name, item in _json_fields(value):
            claim = METADATA.get(name)
            if claim is not None:
                self._say(claim, item)
            else:
                self._tag(name, item)

    # --- what belongs to the upstream as well, and is forwarded ------------------------------------------------

    def take_context(self, lowered: dict[bytes, bytes]) -> None:
        """Take W3C trace context, baggage, and the session that an agent tells its provider."""
        trace = lowered.get(b"traceparent")
        if trace is not None and (match := _TRACEPARENT.fullmatch(trace)) is not None:
            self._say("trace_id", match[1].decode())
            self._say("parent_id", match[2].decode())
        baggage = lowered.get(b"baggage")
        if baggage is not None:
            for member in _text(baggage, 8192).split(",")[:_MAX_TAGS]:
                name, _, value = member.partition(";")[0].partition("=")
                if (claim := _BAGGAGE.get(name.strip())) is not None:
                    self._say(claim, unquote(value.strip()))
        if "session" not in self._words:
            self._take_session(lowered)

    def _take_session(self, lowered: dict[bytes, bytes]) -> None:
        for name in SESSIONS:
            if name in lowered:
                self._say("session", _text(lowered[name]))
        for name, value in lowered.items():
            if name.endswith(b"-session-id") and not name.startswith(FAMILIES) and _VENDOR_SESSION.fullmatch(name):
                self._say("session", _text(value))


def _text(value: bytes, most: int = _MAX_VALUE) -> str:
    return value.decode("utf-8", "replace")[:most]


def _own_tags(text: str) -> Iterator[tuple[str, str]]:
    for part in text.split(",") if text else ():
        name, equals, value = part.strip().partition("=")
        if not name or not equals:
            raise BadRequest("x-glassline-tags is written a=b,c=d")
        yield name, value


def _own_part(text: str) -> str:
    if text not in ("request", "response", "all"):
        raise BadRequest("x-glassline-no-store is request, response or all")
    return text


def _own_seconds(text: str) -> float:
    seconds = _seconds(text, 1)
    if seconds is None:
        raise BadRequest("x-glassline-timeout is a number of seconds")
    return seconds


def _seconds(text: str, per_second: int) -> float | None:
    try:
        seconds = float(text) / per_second
    except ValueError:
        return None
    return seconds if 0 < seconds < 1e6 else None


def _listed(text: str) -> Iterator[tuple[str, str]]:
    """Read `a,b:c,d=e`: what has no value of its own is a switch."""
    for part in text.split(","):
        name, _, value = re.sub(r"[:=]", "\0", part.strip(), count=1).partition("\0")
        yield name.strip(), value.strip() or "true"


def _json_fields(value: bytes) -> Iterator[tuple[str, str]]:
    if len(value) > _MAX_JSON:
        return
    try:
        fields = msgspec.json.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return
    for name, item in fields.items() if isinstance(fields, dict) else ():
        if isinstance(item, str):
            yield name, item
        elif item is not None:
            yield name, msgspec.json.encode(item).decode()
