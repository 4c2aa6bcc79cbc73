"""How many files a process may have open: each connection is one, and its way to the upstream another."""

from __future__ import annotations

import contextlib
import resource
import sys
from typing import Final

_BESIDE: Final = 1000
"""Databases, journals, connections that wait for reuse or are being turned away."""


def descriptors_for(connections: int) -> int:
    """Return how many open files a gateway with so many connections needs."""
    return 2 * connections + _BESIDE


def most_descriptors() -> int:
    """Return how many open files a process of this user can be allowed."""
    return _number(resource.getrlimit(resource.RLIMIT_NOFILE)[1])


def allow_descriptors(wanted: int) -> int:
    """Allow this process and those it starts `wanted` open files, as far as the system lets it; return what it got."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = min(wanted, _number(hard))
    if _number(soft) < most:
        with contextlib.suppress(OSError, ValueError):  # macOS has a lower limit of its own
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return _number(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def _number(limit: int) -> int:
    return sys.maxsize if limit == resource.RLIM_INFINITY else limit
