"""A desk: one dialect of the simulated provider, and what it is handed.

The application takes a request, finds the first desk that claims it, and lets that desk answer. The desk knows paths,
shapes and words; it knows nothing of sockets, faults, pace or the truth log, which are the same for every dialect.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import msgspec

from proxy.simulator.directives import Directives
from proxy.simulator.rejection import RejectionError
from proxy.simulator.reply import Plain, Reply
from proxy.simulator.truth import Request

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, with what its body says."""

    request: Request
    content: Mapping[str, object]
    """What the desk decoded of the body; empty for bodies that are not decoded, and while nothing is known yet."""
    model: str
    """The model asked for; '' if none is."""
    wishes: Directives
    identity: str
    """Hexadecimal digest of seed, route and body: the source of everything that looks random."""


class Desk(Protocol):
    """What a dialect must be able to do. A refusal is raised as RejectionError; nothing else may be raised."""

    def claims(self, request: Request, /) -> bool:
        """Say whether the request is this dialect's to answer."""

    def read(self, request: Request) -> tuple[Mapping[str, object], str]:
        """Return the decoded body (`read_json`, unless the dialect knows better) and the model asked for."""

    def reply(self, asked: Asked) -> Reply:
        """Answer."""

    def rejection_for(self, status: int, code: str | None = None) -> RejectionError:
        """Return the refusal that this provider gives with a status; `code` replaces its usual one."""

    def wrong_key(self, key: str) -> RejectionError:
        """Return the refusal of a missing ('') or unknown credential."""

    def reject(self, rejection: RejectionError) -> Plain:
        """Spell a refusal in the dialect's envelope; `rejection.body`, if given, is used as it is."""

    def headers(self, asked: Asked) -> Headers:
        """Return the response headers of this provider; content-type and the reply's own are added by the caller."""


def read_json(request: Request) -> Mapping[str, object]:
    """Decode a JSON object; {} for an empty body. Raises RejectionError (400) for anything else."""
    if not request.body:
        return {}
    try:
        content = msgspec.json.decode(request.body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RejectionError(400, f"We could not parse the JSON body of your request. ({error})") from error
    if not isinstance(content, dict):
        raise RejectionError(400, "The JSON body of your request must be an object.")
    return content


def request_id(asked: Asked) -> str:
    """Return hexadecimal digits for a request id: they follow from the request, and the number tells repetitions apart."""
    return f"{asked.identity[:24]}{asked.request.n:08x}"


def text_of(value: object) -> str:
    """Return the value if it is text, or else ''."""
    return value if isinstance(value, str) else ""
