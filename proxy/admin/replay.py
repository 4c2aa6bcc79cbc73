"""Replay: what of a stored request can be sent again, and what stands in the way.

Sent again is the body that was stored, byte for byte or with edits, and the few headers that decide how it is
understood. Never a credential, an address or anything that belonged to the connection: those are the data port's to
give. What was changed or cut before it was stored is not what the client sent, so it is not sent again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from proxy import wire
from proxy.errors import ClientError
from proxy.operations import DIALECTS_OF, Operation, find_operation
from proxy.records import Begin, Body, End, Exchange, Reading, Timeline, join_headers
from proxy.store.query import RequestRow
from proxy.store.row import StoredBody
from proxy.wire.decode import content_codings, decode

RESENT_HEADERS: Final = frozenset({"content-type", "anthropic-version", "anthropic-beta", "openai-beta"})
"""Headers that say how a body is to be understood; no other header of a record is sent again."""
_BILLINGS: Final = frozenset({"tokens", "units"})
"""What asks a model and is answered at once; all else changes something at the provider, or reads it."""
_PATH: Final = re.compile(r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*)?(?:\?[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?")
_HIDDEN: Final = "***"
_MODEL_IN_PATH: Final = re.compile(r"(?<=/)(models|tunedModels|endpoints|deployments|model)/([^/:?]+)")


class ReplayError(ClientError):
    """This cannot be sent again, or not so; the sentence says why."""


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer says, as far as it came."""

    text: str
    """Visible text of all choices."""
    reasoning: str
    tool_calls: list[dict[str, str | None]]
    finish_reason: str | None
    error: str | None
    """What the provider complains about; None: nothing."""
    model: str | None
    is_whole: bool
    """The answer came to its end."""


def said(reading: Reading) -> Said:
    """Return what a reading understood of an answer."""
    error = reading.error_message or reading.error_type
    return Said(
        text=reading.output_text or "",
        reasoning=reading.reasoning_text or "",
        tool_calls=[{"id": call.id, "name": call.name, "arguments": call.arguments} for call in reading.tool_calls],
        finish_reason=next((reason for reason in reading.finish_reasons if reason), None),
        error=error,
        model=reading.model,
        is_whole=reading.has_ended is not False,
    )


def read_answer(
    wire_name: str, path: str, request: bytes, status: int | None, headers: tuple[tuple[bytes, bytes], ...], body: bytes
) -> Said:
    """Return what the bytes of an answer say, or the first of them: whatever the API."""
    exchange = Exchange(
        begin=Begin(
            id="",
            started_at_ms=0,
            upstream="",
            wire=wire_name,
            provider=None,
            is_free=False,
            method="POST",
            path=path,
            headers=((b"content-type", b"application/json"),),
        ),
        end=End(outcome="completed", status=status, head=join_headers(headers)),
        request=Body(request, len(request), b"\0" * 32),
        response=Body(body, len(body), b"\0" * 32),
        timeline=Timeline(),
    )
    return said(wire.read(exchange))


def operation_of(row: RequestRow) -> Operation:
    """Return what a stored request asked for. Raises ReplayError when that is nothing to ask again."""
    operation = find_operation(row.wire, row.method, row.path)
    if operation is None:
        raise ReplayError("Nobody knows what this path does, so it is not sent again.")
    if row.method != "POST" or operation.billing not in _BILLINGS:
        raise ReplayError(f"Only requests that ask a model can be sent again, and this one is `{operation.endpoint}`.")
    return operation


def request_text(body: StoredBody) -> bytes:
    """Return the body that a client sent, without content coding. Raises ReplayError when it is not there whole."""
    if body.edit:
        raise ReplayError(
            "This body was redacted before it was stored: a replay would send the placeholders, not what was said."
        )
    if body.head is None and body.size:
        raise ReplayError(f"The body is no longer there, or was never kept ({body.size:,} bytes passed).")
    if not body.is_whole:
        raise ReplayError(f"Only the beginning of the body was kept, and {body.size:,} bytes passed.")
    raw = tuple((name.encode("latin-1", "replace"), value.encode("latin-1", "replace")) for name, value in body.headers)
    decoded = decode(body.head or b"", content_codings(raw))
    if decoded.problem is not None:
        raise ReplayError(f"The body cannot be decoded: {decoded.problem}.")
    return decoded.data


def resent_headers(body: StoredBody) -> dict[str, str]:
    """Return the headers of a stored request that are sent again."""
    found = {name.lower(): value for name, value in body.headers if name.lower() in RESENT_HEADERS}
    return {name: value for name, value in found.items() if _HIDDEN not in value and value.isascii()}


def clean_path(path: str) -> str:
    """Return a recorded path without the fields of its query that held a credential. Raises ReplayError."""
    front, _, query = path.partition("?")
    kept = "&".join(field for field in query.split("&") if field and _HIDDEN not in field)
    cleaned = f"{front}?{kept}" if kept else front
    if not _PATH.fullmatch(cleaned):
        raise ReplayError("The path of this request cannot be sent again as it was recorded.")
    return cleaned


def speaks(upstream_wire: str, operation: Operation) -> bool:
    """Say whether an upstream understands requests of this kind: nothing is translated."""
    return operation.dialect in DIALECTS_OF.get(upstream_wire, ())


def with_model(path: str, body: bytes, operation: Operation, model: str) -> tuple[str, bytes]:
    """Return path and body as a request for another model: some APIs name it in the path. Raises ReplayError."""
    if operation.model is not None:
        return _MODEL_IN_PATH.sub(lambda found: f"{found[1]}/{path_model(model)}", path, count=1), body
    tree = json_object(body)
    if tree.get("model") == model:
        return path, body
    return path, msgspec.json.encode(tree | {"model": model})


def path_model(model: str) -> str:
    """Return the name of a model as a path may hold it. Raises ReplayError."""
    if not re.fullmatch(r"[A-Za-z0-9._@-]{1,256}", model):
        raise ReplayError("model: this API names it in the path, so it is letters, digits and . _ @ -")
    return model


def edited(body: bytes, changes: list[dict[str, Any]]) -> bytes:
    """Return a body with changes made to it, each in what the one before left. Raises ReplayError.

    A change is `{"at": ["messages", 2, "content"], "value": …}`, `{"at": […], "remove": true}`, or, of a list,
    `{"at": ["messages"], "from": 1, "count": 2, "value": […]}`.
    """
    if not changes:
        return body
    tree = json_object(body)
    for number, change in enumerate(changes):
        try:
            _change(tree, change)
        except (KeyError, IndexError, TypeError, ValueError):
            raise ReplayError(f"changes[{number}]: there is no such place in the body") from None
    return msgspec.json.encode(tree)


def _change(tree: Any, change: Mapping[str, Any]) -> None:
    at = change["at"]
    if "from" in change:
        for step in at:
            tree = tree[step]
        start, count = change["from"], change["count"]
        if not isinstance(tree, list) or not 0 <= start <= start + count <= len(tree):
            raise ValueError("no such stretch")
        tree[start : start + count] = change["value"]
        return
    *steps, last = at
    for step in steps:
        tree = tree[step]
    if isinstance(tree, list) and not 0 <= last < len(tree):
        raise IndexError(last)
    if change.get("remove"):
        del tree[last]
    else:
        tree[last] = change["value"]


def json_object(body: bytes) -> dict[str, Any]:
    """Return a body that is a JSON object. Raises ReplayError."""
    try:
        tree = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError, ValueError) as error:
        raise ReplayError(f"The body is not JSON: {error}") from None
    if not isinstance(tree, dict):
        raise ReplayError("The body is not a JSON object.")
    return tree


def is_stream(body: bytes, operation: Operation) -> bool:
    """Say whether the answer was asked for as a stream."""
    try:
        return operation.is_streaming or msgspec.json.decode(body, type=_Streams).stream is True
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return operation.is_streaming


class _Streams(msgspec.Struct):
    stream: Any = False
