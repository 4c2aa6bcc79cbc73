"""What must be known of a request body before it may go: model, stream or not, how much it can cost at most.

`peek` reads one body once, and only the fields that decide. Hostile values never raise and never make a request look
cheaper than it is: what is no positive whole number does not count as a limit, and what an upstream might read as one
(`"n": "5"`) does. What two upstreams may read differently, such as a field that stands twice, is for `confusing_field`
to find and for the gateway to refuse. `unseen` bounds what the bytes do not: pictures, stored conversations, tools.

One module for each dialect; `values`, `members` and `marks` are what they share.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from proxy.gates.admission import anthropic, bedrock, form, gemini, ollama, openai
from proxy.gates.admission.marks import without_pictures
from proxy.gates.admission.members import Decisive
from proxy.gates.admission.peek import CONTEXT_TOKENS, PICTURE_TOKENS, TOOL_CALLS, Peek, Unseen
from proxy.gates.admission.values import MAX_COUNT
from proxy.operations import Dialect, Operation

__all__ = [
    "CONTEXT_TOKENS",
    "MAX_COUNT",
    "PICTURE_TOKENS",
    "TOOL_CALLS",
    "Peek",
    "Unseen",
    "confusing_field",
    "must_be_readable",
    "peek",
    "unseen",
]

_LONGEST_MODEL: Final = 512
_PEEKS: Final[Mapping[Dialect, Callable[[bytes, Operation], Peek | None]]] = MappingProxyType(
    {"anthropic": anthropic.peek, "gemini": gemini.peek, "ollama": ollama.peek, "bedrock": bedrock.peek}
)
_DECISIVE: Final[Mapping[Dialect, Decisive]] = MappingProxyType(
    {
        "openai": openai.DECISIVE,
        "anthropic": anthropic.DECISIVE,
        "gemini": gemini.DECISIVE,
        "ollama": ollama.DECISIVE,
        "bedrock": bedrock.DECISIVE,
    }
)


def peek(body: bytes, operation: Operation | None, content_type: bytes = b"") -> Peek | None:
    """Read what admission needs of `body`; None: it is nothing that can be read in only one way.

    `operation` decides which fields count; None: nobody knows what is asked for, so the cautious reading of all.
    """
    if content_type and form.is_form(content_type):
        # No API takes a form for what it bills by the token; a server that did would be read wrong here.
        is_generation = operation is not None and operation.billing == "tokens"
        seen = None if is_generation else form.peek(body, content_type, operation)
    elif operation is None or operation.dialect == "openai":
        seen = openai.peek(body, operation)
    else:
        seen = _PEEKS[operation.dialect](body, operation)
    if seen is not None and operation is not None and operation.model is not None:
        return _with_model(seen, operation.model)
    return seen


def _with_model(seen: Peek, model: str) -> Peek:
    """Return `seen` with the model that the path names: Azure, Gemini and Bedrock ignore what the body says."""
    return seen if seen.model == model else msgspec.structs.replace(seen, model=model[:_LONGEST_MODEL])


def unseen(body: bytes, operation: Operation | None, seen: Peek) -> Unseen:
    """Return an upper bound of what a request can consume beyond its own bytes and its own output."""
    if seen.file_bytes or seen.file_tokens:
        return Unseen(seen.file_tokens)
    text = without_pictures(body)
    found = _unseen(text, operation, seen)
    return found if text is body else msgspec.structs.replace(found, picture_bytes=len(body) - len(text))


def _unseen(body: bytes, operation: Operation | None, seen: Peek) -> Unseen:
    if operation is None or operation.dialect == "openai":
        return openai.unseen(body, operation, seen)
    if operation.dialect == "anthropic":
        return anthropic.unseen(body, seen)
    if operation.dialect == "gemini":
        return gemini.unseen(body, seen)
    return ollama.unseen(body) if operation.dialect == "ollama" else bedrock.unseen(body, operation, seen)


def must_be_readable(operation: Operation | None) -> bool:
    """Say whether a limit needs the body of such a request: it has a bound, and only the body says which."""
    if operation is None or operation.endpoint.endswith("_socket"):
        return False
    return operation.billing == "tokens" or operation.endpoint in openai.BOUNDED_UNITS


def confusing_field(body: bytes, operation: Operation | None, content_type: bytes = b"") -> str | None:
    """Return the name of a deciding field that stands twice or in another case; None: there is none.

    None as well for what `peek` cannot read either; a form with such a field is one of those. Raises BadRequest for more
    members than anybody needs.
    """
    if content_type and form.is_form(content_type):
        return None
    return _DECISIVE["openai" if operation is None else operation.dialect].confusing(body)
