"""Logs on stderr: readable text, or JSON lines for machines. Never a secret, never a prompt.

Everything that is written passes one border, tracebacks, warnings and what nobody caught included. There known secrets
and whatever looks like one are replaced, and what is longer than 8 KB is cut. What can move a cursor, reverse the
writing or begin a line is escaped, so a stranger's bytes cannot forge an event: in JSON an event is one line; in text
it is a line that begins with the time, and each further line of a traceback begins with blanks.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
from collections.abc import Iterable
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Literal

from proxy.secrets import MASK, Scrubber, Secret

LogFormat = Literal["text", "json"]
MAX_EVENT_BYTES: Final = 8 * 1024
_MAX_TEXT: Final = 16 * 1024
"""Characters of one message that are looked at, for time's sake."""
_CUT: Final = "…[cut]"
_LOOKS_SECRET: Final = re.compile(
    r"""
    \b(?:sk|rk|pk|ek)[-_](?:ant-|proj-|svcacct-|admin-|or-|live_|test_)?[A-Za-z0-9_-]{16,}   # OpenAI, Anthropic, …
    | \bgl[t]?-[A-Za-z0-9_-]{20,}                               # our own
    | \bAIza[0-9A-Za-z_-]{30,}                                  # Google
    | \b(?:AKIA|ASIA)[0-9A-Z]{16}\b                             # AWS
    | \bgh[pousr]_[A-Za-z0-9]{20,} | \bxox[abeoprs]-[A-Za-z0-9-]{10,} | \bhf_[A-Za-z0-9]{20,}
    | (?<![A-Za-z0-9_-])ey[A-Za-z0-9_-]{10,}\.ey[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*   # JWT
    | -----BEGIN\ [A-Z ]*PRIVATE\ KEY-----[\s\S]*?(?:-----END[^-]*-----|$)
    | (?i:\b(?:bearer|basic)\s+)(?P<credential>(?=\S*[0-9A-Z])[A-Za-z0-9+/=._~-]{8,})
    """,
    re.VERBOSE,
)


class _Border:
    """What every line passes."""

    def __init__(self) -> None:
        self._known = Scrubber()

    def hide(self, secrets: Iterable[Secret]) -> None:
        self._known = Scrubber(secrets)

    def scrub(self, text: str) -> str:
        """Return `text` without known secrets and without what looks like one."""
        return _LOOKS_SECRET.sub(_crossed_out, self._known.scrub_text(text)[:_MAX_TEXT])


_border = _Border()


def set_up(log_format: LogFormat = "text", *, level: int = logging.INFO) -> None:
    """Send the program's logs to stderr in the given form, and what nobody caught with them."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter() if log_format == "json" else _TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # It tells every request that it makes for us at `info`, address and all.
    logging.getLogger("httpx").setLevel(max(level, logging.WARNING))
    logging.captureWarnings(capture=True)
    sys.excepthook = _log_uncaught
    threading.excepthook = lambda args: _log_uncaught(args.exc_type, args.exc_value, args.exc_traceback)


def hide(secrets: Iterable[Secret]) -> None:
    """Replace these secrets in every line from now on, and no longer those of an earlier call."""
    _border.hide(secrets)


def scrub(text: str) -> str:
    """Return `text` as it may be shown: without known secrets and without what looks like one."""
    return _border.scrub(text)


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "pid": record.process,
            "message": _cut_json(_border.scrub(_message(record)), MAX_EVENT_BYTES // 2),
        }
        if record.exc_info:
            room = MAX_EVENT_BYTES - len(json.dumps(entry)) - 32
            entry["traceback"] = _cut_json(_border.scrub(self.formatException(record.exc_info)), room)
        return json.dumps(entry, ensure_ascii=True)


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        lines = [f"{time} {record.levelname.lower():7} {_escaped(_border.scrub(_message(record)))}"]
        if record.exc_info:
            trace = _border.scrub(self.formatException(record.exc_info))
            lines += (f"  {_escaped(line)}" for line in trace.split("\n"))
        return _cut_utf8("\n".join(lines))


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception as error:  # noqa: BLE001 - an argument that cannot be printed must not cost the line
        return f"{record.msg} [{type(error).__name__} while printing its arguments]"


def _escaped(text: str) -> str:
    return (
        text
        if text.isprintable()
        else "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    )


def _cut_json(text: str, room: int) -> str:
    """Return the beginning of a text, or for a traceback's sake its two ends, that JSON spells in `room` bytes."""
    spelled = len(json.dumps(text))
    if spelled <= room:
        return text
    half = max(0, len(text) * (room - 16) // spelled // 2)
    cut = text[:half] + _CUT + text[len(text) - half :]
    while len(json.dumps(cut)) > room and half > 0:
        half = half * 3 // 4
        cut = text[:half] + _CUT + text[len(text) - half :]
    return cut


def _cut_utf8(text: str) -> str:
    data = text.encode("utf-8", "backslashreplace")
    if len(data) < MAX_EVENT_BYTES:
        return data.decode()
    half = MAX_EVENT_BYTES // 2 - 16
    return data[:half].decode("utf-8", "ignore") + _CUT + data[-half:].decode("utf-8", "ignore")


def _crossed_out(match: re.Match[str]) -> str:
    credential = match["credential"]
    return MASK if credential is None else match[0][: -len(credential)] + MASK


def _log_uncaught(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> Any:
    if issubclass(kind, KeyboardInterrupt):
        return
    shown = (kind, error, trace) if error is not None else None
    logging.getLogger("glassline").critical("ended by what nobody expected", exc_info=shown)
