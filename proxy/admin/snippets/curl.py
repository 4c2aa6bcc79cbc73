"""curl, for any POSIX shell."""

from __future__ import annotations

import base64
import shlex
from typing import Final

from proxy.admin.snippets.call import ADDRESS, Call

_LONGEST_ARGUMENT: Final = 100_000
"""Linux takes 128 KB for one argument of a program."""
_LINE: Final = 76


def curl(call: Call) -> str:
    """Return a command that sends the request again, byte for byte."""
    call.check()
    lines = [f'curl -sS -X {shlex.quote(call.method)} "${{GLASSLINE_URL:-{ADDRESS}}}"{_address(call)}']
    lines += [f"-H {_header(name, value, variable)}" for name, value, variable in call.sent_headers]
    body = call.body
    if not body:
        return _joined(lines)
    if not _is_text(body):
        return f"base64 -d <<'END' | {_joined([*lines, '--data-binary @-'], _encoded(body))}"
    quoted = shlex.quote(body.decode())
    if len(body) <= _LONGEST_ARGUMENT:
        return _joined([*lines, f"--data-raw {quoted}"])
    # What the shell prints itself may be of any length.
    return f"printf %s {quoted} | {_joined([*lines, '--data-binary @-'])}"


def _joined(lines: list[str], document: str = "") -> str:
    if not document:
        return " \\\n  ".join(lines) + "\n"
    # The document begins on the line behind the command, which therefore is one line.
    return " ".join(lines) + f"\n{document}END\n"


def _address(call: Call) -> str:
    text = shlex.quote(call.target)
    for number, (name, value) in enumerate(call.query):
        text += shlex.quote(("&" if number else "?") + name)
        text += f'"${call.variable}"' if value is None else shlex.quote(value) if value else ""
    return text


def _header(name: str, value: str, variable: str | None) -> str:
    if variable is None and not value:
        return shlex.quote(f"{name};")  # how curl sends a header without a value
    text = shlex.quote(f"{name}: {value}")
    return text if variable is None else f'{text}"${variable}"'


def _is_text(body: bytes) -> bool:
    if b"\0" in body:
        return False
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def _encoded(body: bytes) -> str:
    text = base64.b64encode(body).decode()
    return "".join(f"{text[at : at + _LINE]}\n" for at in range(0, len(text), _LINE))
