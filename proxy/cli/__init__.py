"""The command line: one module for each command, loaded only when its command runs.

`main` is the border at which exceptions become one clear line on stderr and an exit code:
0 ok, 1 failed, 2 usage, 78 configuration or environment unusable.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Final

from proxy.cli.parser import build_parser
from proxy.errors import ConfigError, EnvironmentUnusable, GlasslineError

OK: Final = 0
FAILED: Final = 1
UNUSABLE: Final = 78
"""EX_CONFIG of sysexits.h: a supervisor that sees it need not try again."""
INTERRUPTED: Final = 130
"""What a shell reports for a program that Ctrl-C ended."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    parsed = build_parser().parse_args(arguments)
    try:
        return int(importlib.import_module(parsed.module).run(parsed))
    except ConfigError as error:
        return _complain(error.lines, UNUSABLE)
    except EnvironmentUnusable as error:
        return _complain([str(error)], UNUSABLE)
    except GlasslineError as error:
        return _complain([str(error)], FAILED)
    except BrokenPipeError:
        # The reader of our output has seen enough, as `head` does. Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except KeyboardInterrupt:
        return INTERRUPTED


def _complain(lines: Sequence[str], code: int) -> int:
    for line in lines:
        print(f"glassline: {line}" if code != UNUSABLE else line, file=sys.stderr)
    return code
