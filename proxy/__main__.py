"""`python -m proxy` and the command `glassline`."""

from __future__ import annotations

import logging
import sys

from proxy import cli
from proxy.logs import set_up


def main() -> int:
    """Run one command; what nobody caught is told as any log line is: without secrets."""
    set_up(level=logging.WARNING)
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
