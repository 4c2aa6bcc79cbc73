"""Keys, tokens and users on the command line: entries that are read from options, shown once, and listed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from proxy.cli.table import Cell, Column, Screen
from proxy.errors import ClientError

Entry = TypeVar("Entry", bound=BaseModel)


def read_entry(kind: type[Entry], wanted: Mapping[str, object]) -> Entry:
    """Return what the options ask for. Raises ClientError: what is wrong, without the values."""
    try:
        return kind.model_validate(wanted)
    except ValidationError as error:
        items = error.errors(include_url=False, include_input=False, include_context=False)
        reasons = (f"{'.'.join(map(str, item['loc']))}: {item['msg'].removeprefix('Value error, ')}" for item in items)
        raise ClientError("; ".join(reasons)) from None


def show_new(made: BaseModel, words: str, secret: str, *, as_json: bool) -> None:
    """Show an entry with its secret, which alone goes to stdout, so that a script can take it."""
    if as_json:
        Screen().line(made.model_dump_json())
        return
    print(f"{words}, shown once and never again:", file=sys.stderr)
    Screen().line(secret)


def list_entries(
    stored: Sequence[Entry],
    titles: Sequence[str],
    cells: Callable[[Entry], Sequence[Cell | str]],
    *,
    as_json: bool,
    others: Sequence[Sequence[Cell | str]] = (),
) -> None:
    """List entries, as lines of JSON or as a table, in which `others` stand below."""
    screen = Screen()
    if as_json:
        for entry in stored:
            screen.line(entry.model_dump_json())
        return
    screen.table([Column(title) for title in titles], [*map(cells, stored), *others])
