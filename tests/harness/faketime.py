"""The wall clock of processes, moved or stopped by libfaketime; their monotonic clock goes on as it is."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Final

import pytest

from tests.harness.process import ROOT

_PLACES: Final = (ROOT / ".cache" / "debian" / "usr" / "lib", Path("/usr/lib"))


def library() -> Path:
    """Return libfaketime; skip when it is missing, but fail under CI."""
    found = [path for place in _PLACES for path in place.glob("*/faketime/libfaketimeMT.so.1")]
    if not found:
        missing = "not run: libfaketime is missing, so no clock can be set (tests/system/install.sh)"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    return found[0]


def environment(**clock: str) -> dict[str, str]:
    """Return the environment of processes whose wall clock is as libfaketime's variables say, without `FAKETIME_`."""
    return {
        "LD_PRELOAD": str(library()),
        **{"FAKETIME_" + name if name else "FAKETIME": value for name, value in clock.items()},
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }


def standing_at(moment: datetime) -> dict[str, str]:
    """Return the environment of processes for which it is always the same moment (UTC)."""
    return environment(**{"": moment.strftime("%Y-%m-%d %H:%M:%S")}) | {"TZ": "UTC"}


def starting_at(moment: datetime) -> dict[str, str]:
    """Return the environment of processes whose clock begins at a moment (UTC), and goes on from there."""
    return environment(**{"": moment.strftime("@%Y-%m-%d %H:%M:%S")}) | {"TZ": "UTC"}
