"""What a client says in a session that decides about a limit: which model shall answer.

A URL names the model of some sessions, a message that of others, and of responses over a WebSocket each request its
own. As for bodies, nothing that two readers could understand in two ways may pass where a limit applies.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from proxy.gates.admission import peek
from proxy.gates.admission.members import Decisive
from proxy.gates.admission.openai import FIELDS
from proxy.gates.admission.values import UNREADABLE, name
from proxy.operations import Operation

NAMED_IN_MESSAGES: Final = frozenset(
    {("openai", "responses_socket"), ("openai", "live_socket"), ("gemini", "live_socket")}
)
"""Dialect and endpoint of the sessions whose models are named by messages; of all others the URL names it."""
_REQUEST: Final = Operation("openai", "responses", "tokens")
_DECISIVE: Final[Mapping[str, Decisive]] = MappingProxyType(
    {
        "openai": Decisive(
            frozenset((*FIELDS, "type", "stream_id", "session", "response", "audio")),
            {"session": frozenset(("model", "type", "delegation"))},
        ),
        "gemini": Decisive(frozenset(("setup",)), {"setup": frozenset(("model",))}),
    }
)


class _Delegate(msgspec.Struct):
    model: Any = None


class _Delegation(msgspec.Struct):
    responses: _Delegate | None = None
    decisions: _Delegate | None = None


class _Settings(msgspec.Struct):
    model: Any = None
    delegation: _Delegation | None = None


class _Message(msgspec.Struct):
    type: Any = None
    session: _Settings | None = None
    setup: _Settings | None = None


_MESSAGE: Final = msgspec.json.Decoder(_Message)


def confusing_member(text: bytes, operation: Operation) -> str | None:
    """Return the name of a member that can be understood in two ways; None: there is none.

    Raises BadRequest for more members than anybody needs.
    """
    decisive = _DECISIVE.get(operation.dialect)
    return decisive.confusing(text) if decisive is not None else None


def models_named(text: bytes, operation: Operation) -> tuple[str | None, ...]:
    """Return the models that a message asks for; None among them: it asks for one that cannot be read."""
    try:
        message = _MESSAGE.decode(text)
    except UNREADABLE:
        return (None,)
    if operation.endpoint == "responses_socket":
        return _of_request(text) if message.type in (None, "response.create") else ()
    settings = message.setup if operation.dialect == "gemini" else message.session
    if settings is None:
        return ()
    named = [settings.model, *_delegates(settings.delegation)]
    return tuple(_plain(each, operation) for each in named if each is not None)


def _of_request(text: bytes) -> tuple[str | None, ...]:
    seen = peek(text, _REQUEST)
    return (None,) if seen is None else (seen.model, *seen.other_models)


def _delegates(delegation: _Delegation | None) -> tuple[Any, ...]:
    if delegation is None:
        return ()
    return tuple(each.model for each in (delegation.responses, delegation.decisions) if each is not None)


def _plain(model: object, operation: Operation) -> str | None:
    text = name(model)
    return text.rpartition("/")[2] if text is not None and operation.dialect == "gemini" else text
