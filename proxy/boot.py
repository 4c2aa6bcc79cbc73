"""The life of the machine: what tells a process that died alone from one that died with everything around it.

A killed process leaves all that it wrote. A machine that lost power leaves what was synced, and of the rest nobody can
say whether it ever was.
"""

from __future__ import annotations

import contextlib
import os
import time
from functools import cache
from pathlib import Path
from typing import Final

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
UNKNOWN: Final = "00000000"
"""Where the system has no name for its life (only Linux does): all lives are taken for one."""


@cache
def boot_id() -> str:
    """Return eight characters that are the same until the machine starts anew."""
    with contextlib.suppress(OSError):
        return _BOOT_ID.read_text(encoding="ascii").strip()[:8]
    return UNKNOWN


def process_age_s() -> float | None:
    """Return for how long this process has existed, the start of Python included. None: only Linux says it."""
    with contextlib.suppress(OSError):
        # Its name, the second field, may contain anything; the start, in ticks since the machine's, is the 22nd.
        fields = Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return None
