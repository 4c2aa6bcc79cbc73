"""Make a seed and say where it is: `python -m tests.dashboard.seed [ROWS]`."""

from __future__ import annotations

import sys
import time

from tests.dashboard.seed import MILLION, seeded


def main() -> None:
    """Make it and print where it is."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else MILLION
    start = time.monotonic()
    seed = seeded(rows)
    print(f"{seed.directory} after {time.monotonic() - start:.1f} s")


if __name__ == "__main__":
    main()
