"""The secrets that a caller presents: where they stand, how they are told apart, and how they are kept from leaving.

A provider's key arrives in one of six places: `Authorization` (Bearer, Basic or an AWS signature), `x-api-key`,
`api-key`, `x-goog-api-key`, the query, and for browsers a WebSocket subprotocol; keys of other gateways have headers of
their own. Which of them an upstream would take is not ours to know. So every one of them is looked up, and where a
credential is lent, every one of them is taken away.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote_to_bytes

from proxy.framing import ADDRESSES, PRIVATE_PREFIX, HeaderList, RequestHead
from proxy.gateway.dialects import FAMILIES, OWN_CREDENTIALS, find_alias

CREDENTIALS: Final = frozenset((b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key", b"x-amz-security-token"))
"""Headers in which a provider's key arrives."""
SIGNATURE: Final = frozenset((b"x-amz-date", b"x-amz-content-sha256"))
"""Headers that belong to an AWS signature and mean nothing without it."""
_SUBPROTOCOLS: Final = b"sec-websocket-protocol"
_KEY_PROTOCOL: Final = b"openai-insecure-api-key."
"""Browsers cannot set headers on a WebSocket; OpenAI's SDK puts the key here (openai-node 6.49)."""
TICKET: Final = b"glassline_ticket"
"""Field of the query by which a client goes on with an upload whose address we gave it."""
ERRAND: Final = PRIVATE_PREFIX + b"ticket"
"""Header by which the admin port of this installation says whose errand a request is."""
_IN_QUERY: Final = frozenset(
    (
        TICKET,
        b"key",
        b"$key",  # Google's system parameters have two spellings each
        b"api_key",
        b"api-key",
        b"apikey",
        b"subscription-key",  # Azure API Management
        b"access_token",
        b"oauth_token",
        b"x-amz-credential",
        b"x-amz-security-token",
    )
)
_MASKED_IN_QUERY: Final = _IN_QUERY | {
    b"upload_id",
    b"x-amz-signature",
    b"x-goog-signature",
    b"sig",
    b"signature",
    b"token",
    b"auth_token",
    b"authorization",
    b"client_secret",
    b"password",
}
_SECRET_NAME: Final = re.compile(
    rb"(?:^|-)(?:(?:proxy-)?authorization|(?:api|auth|access|functions|subscription)-?key|token|"
    rb"(?:access|auth|security|refresh)token|secret|password|set-cookie|cookie)$"
)
"""Names of headers that hold a secret, `-` for `_`."""
_BETWEEN_WORDS: Final = re.compile(rb"[\s,]+")
_MAX_WORDS: Final = 16
_URL_SAFE: Final = re.compile(rb"[-_]")
_AWS: Final = b"AWS4-"


def read_credentials(head: RequestHead) -> tuple[bytes, ...]:
    """Return all that may be a key of the caller, without schemes, each once."""
    found = dict.fromkeys(_all_credentials(head))
    found.pop(b"", None)
    return tuple(found)


def _all_credentials(head: RequestHead) -> Iterator[bytes]:
    for name, value in head.headers:
        key = name.lower()
        if key in CREDENTIALS or key in OWN_CREDENTIALS:
            yield from _spellings(value)
        elif key == _SUBPROTOCOLS:
            yield from (each[len(_KEY_PROTOCOL) :] for each in _tokens(value) if _is_key_protocol(each))
    query = head.target.partition(b"?")[2]
    for name, value in query_fields(query):
        if name in _IN_QUERY:
            yield unquote_to_bytes(value.replace(b"+", b" ")).partition(b"/")[0]
            yield unquote_to_bytes(value)


def _spellings(value: bytes) -> Iterator[bytes]:
    """Return a header's value as it is, its words, and what stands inside one: some servers take the first, some the last."""
    yield value
    words = _BETWEEN_WORDS.split(value, _MAX_WORDS)
    if len(words) > 1:
        yield from words
    if words[0].lower() == b"basic":
        yield from (part for word in words[1:] for part in _basic(word))
    elif value.startswith(_AWS):
        yield value.partition(b"Credential=")[2].partition(b"/")[0]


def _basic(encoded: bytes) -> Iterator[bytes]:
    try:
        plain = base64.b64decode(encoded.rstrip(b"=") + b"==", altchars=b"-_" if _URL_SAFE.search(encoded) else None)
        user, _, password = plain.partition(b":")
    except (binascii.Error, ValueError):
        return
    yield user
    yield password


def _tokens(value: bytes) -> list[bytes]:
    return [token.strip(b" \t") for token in value.split(b",")]


def _is_key_protocol(token: bytes) -> bool:
    return token.lower().startswith(_KEY_PROTOCOL)


def query_fields(query: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Return the fields of a query: names as a server reads them, lower case; values as sent."""
    for field in query.split(b"&"):
        name, _, value = field.partition(b"=")
        yield unquote_to_bytes(name.replace(b"+", b" ")).lower(), value


def read_ticket(target: bytes) -> str | None:
    """Return the ticket in a request target; None: there is none."""
    if TICKET not in target:
        return None
    fields = dict(query_fields(target.partition(b"?")[2]))
    return fields.get(TICKET, b"").decode("latin-1") or None


def is_signed(head: RequestHead) -> bool:
    """Say whether the request carries an AWS signature, which covers the host it was sent to."""
    return head.lowered.get(b"authorization", b"").startswith(_AWS)


# --- what leaves -------------------------------------------------------------------------------------------------


def without_credentials(name: bytes, value: bytes, secret: bytes) -> bytes | None:
    """Return the value with which a header may leave when a credential is lent; None: it may not.

    `name`: lower case. `secret`: the caller's key; a header that repeats it stays here whatever its name.
    """
    if name in CREDENTIALS or name in SIGNATURE:
        return None
    if name == _SUBPROTOCOLS:
        kept = (token for token in _tokens(value) if not (_is_key_protocol(token) or _repeats(token, secret)))
        return b", ".join(kept) or None
    return None if _repeats(value, secret) else value


def without_our_cookies(value: bytes) -> bytes:
    """Return a Cookie header without those of the admin port: browsers send a host's cookies to all of its ports."""
    if b"glassline_" not in value:
        return value
    kept = (each.strip(b" ") for each in value.split(b";") if not each.strip(b" ").startswith(b"glassline_"))
    return b"; ".join(kept)


def _repeats(value: bytes, secret: bytes) -> bool:
    return bool(secret) and secret in value


def is_told(target: bytes, secret: bytes) -> bool:
    """Say whether a path and query tell the caller's key, as they are or as a server decodes them."""
    return _repeats(target, secret) or _repeats(unquote_to_bytes(target), secret)


def target_without_credentials(target: bytes) -> bytes:
    """Return path and query without the fields of the query that carry a key."""
    path, mark, query = target.partition(b"?")
    if not mark:
        return target
    kept = [field for field in query.split(b"&") if next(query_fields(field))[0] not in _IN_QUERY]
    return path + mark + b"&".join(kept) if kept else path


def credential_line(auth: str, secret: bytes) -> bytes:
    """Return the header line that carries `secret` in the scheme `auth`; none for an upstream that wants no key."""
    if auth == "bearer":
        return b"authorization: Bearer " + secret + b"\r\n"
    return auth.encode() + b": " + secret + b"\r\n" if auth not in ("none", "sigv4") else b""


# --- what is recorded --------------------------------------------------------------------------------------------


def mask_query(query: bytes) -> bytes:
    """Return `query` with every key in it crossed out, all else as it was."""
    return b"&".join(
        field.partition(b"=")[0] + b"=***"
        if b"=" in field and next(query_fields(field))[0] in _MASKED_IN_QUERY
        else field
        for field in query.split(b"&")
    )


def recorded_headers(headers: HeaderList, secret: bytes = b"") -> tuple[tuple[bytes, bytes], ...]:
    """Return the request headers worth keeping, masked: those that are not ours."""
    return mask_headers([each for each in headers if not each[0].lower().startswith(PRIVATE_PREFIX)], secret)


def mask_headers(headers: HeaderList, secret: bytes = b"") -> tuple[tuple[bytes, bytes], ...]:
    """Return `headers` with every credential reduced to its last four characters.

    Of the headers of other gateways those stay readable that say something we understand; others may hold keys.
    `secret`: the caller's key, masked wherever it stands.
    """
    return tuple((name, _mask_header(name.lower(), value, secret)) for name, value in headers)


def _mask_header(name: bytes, value: bytes, secret: bytes) -> bytes:
    if name == _SUBPROTOCOLS:
        return b", ".join(
            _KEY_PROTOCOL + b"***" if _is_key_protocol(token) else _masked(token) if _repeats(token, secret) else token
            for token in _tokens(value)
        )
    hides = _SECRET_NAME.search(name.replace(b"_", b"-")) or _repeats(value, secret)
    if hides or (name.startswith(FAMILIES) and find_alias(name) is None):
        return _masked(value)
    if name in ADDRESSES:
        address, mark, query = value.partition(b"?")
        return address + mark + mask_query(query)
    return value


def _masked(value: bytes) -> bytes:
    scheme, space, _ = value.partition(b" ")
    kept = scheme + b" " if space and len(scheme) <= 10 else b""
    return kept + b"***" + (value[-4:] if len(value) >= 24 else b"")
