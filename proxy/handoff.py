"""What a supervisor leaves to the program that replaces it in the same process: descriptors and children.

A replacement keeps its pid, so children stay its children and a service manager notices nothing. Fields are only ever
added, each with a default: the two programs may be of different versions.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, MutableMapping
from typing import Final

import msgspec

from proxy.errors import EnvironmentUnusable

VARIABLE: Final = "GLASSLINE_HANDOFF"


class Heirloom(msgspec.Struct, frozen=True):
    """A child that goes on working."""

    role: str
    pid: int
    control: int = -1
    """Descriptor of its control socket; -1: none."""
    slot: int = -1
    """Its slot of the stats board; -1: none."""
    is_retiring: bool = False
    """It was told to drain already."""


class Handoff(msgspec.Struct, frozen=True):
    """Everything that survives."""

    pid: int
    lock: int
    stats: int
    data: tuple[int, ...]
    admin: int
    data_address: tuple[str, int]
    admin_address: tuple[str, int]
    generation: int = 1
    children: tuple[Heirloom, ...] = ()


def leave(handoff: Handoff) -> str:
    """Return the text for VARIABLE, and let the descriptors survive the replacement."""
    _let_through(handoff, is_inheritable=True)
    return msgspec.json.encode(handoff).decode()


def take(environment: MutableMapping[str, str]) -> Handoff | None:
    """Return what a predecessor left in this very process; None: there was none. Raises EnvironmentUnusable."""
    text = environment.pop(VARIABLE, None)
    if text is None:
        return None
    try:
        handoff = msgspec.json.decode(text, type=Handoff)
    except msgspec.MsgspecError as error:
        raise EnvironmentUnusable(f"{VARIABLE}: {error}") from error
    if handoff.pid != os.getpid():
        return None
    _let_through(handoff, is_inheritable=False)
    return handoff


def keep(handoff: Handoff) -> None:
    """Undo `leave`: the replacement did not happen."""
    _let_through(handoff, is_inheritable=False)


def _let_through(handoff: Handoff, *, is_inheritable: bool) -> None:
    for number in _descriptors(handoff):
        os.set_inheritable(number, is_inheritable)


def _descriptors(handoff: Handoff) -> Iterable[int]:
    yield from (handoff.lock, handoff.stats, handoff.admin, *handoff.data)
    yield from (child.control for child in handoff.children if child.control >= 0)
