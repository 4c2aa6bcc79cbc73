"""A terminal taken over for a while: the other screen, no cursor, single keys; given back however it ends."""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import tty
from collections.abc import Sequence
from types import FrameType, TracebackType
from typing import Final, Self

_ENTER: Final = "\x1b[?1049h\x1b[?25l"
"""The other screen, without a cursor."""
_LEAVE: Final = "\x1b[?25h\x1b[?1049l"
_HOME: Final = "\x1b[H"
_TO_END_OF_LINE: Final = "\x1b[K"
_TO_END_OF_SCREEN: Final = "\x1b[J"


class Terminal:
    """Standard input and output, while they are a terminal."""

    def __init__(self) -> None:
        self._input, self._output = sys.stdin.fileno(), sys.stdout.fileno()
        self._before: list[object] = []
        self._wake, self._woken = os.pipe()

    def __enter__(self) -> Self:
        self._before = termios.tcgetattr(self._input)
        tty.setcbreak(self._input)
        os.set_blocking(self._woken, False)
        signal.signal(signal.SIGWINCH, self._resized)
        signal.signal(signal.SIGTERM, _ended)
        self._write(_ENTER)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGWINCH, signal.SIG_DFL)
        self._write(_LEAVE)
        termios.tcsetattr(self._input, termios.TCSADRAIN, self._before)  # type: ignore[arg-type]  # what tcgetattr gave
        os.close(self._wake)
        os.close(self._woken)

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows."""
        return tuple(os.get_terminal_size(self._output))  # type: ignore[return-value]  # a pair

    def show(self, lines: Sequence[str]) -> None:
        """Show these lines and nothing else, without flicker."""
        self._write(_HOME + "".join(f"{line}{_TO_END_OF_LINE}\n" for line in lines[:-1]))
        self._write(f"{lines[-1] if lines else ''}{_TO_END_OF_LINE}{_TO_END_OF_SCREEN}")

    def wait(self, seconds: float) -> str:
        """Wait for a key or a new size; return the key, '' for none."""
        ready, _, _ = select.select([self._input, self._wake], [], [], seconds)
        if self._wake in ready:
            os.read(self._wake, 1024)
        if self._input in ready:
            return os.read(self._input, 64).decode("utf-8", "replace") or "q"
        return ""

    def _write(self, text: str) -> None:
        data = text.encode()
        while data:
            data = data[os.write(self._output, data) :]

    def _resized(self, _number: int, _frame: FrameType | None) -> None:
        os.write(self._woken, b"\0")


def _ended(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
