"""Which handler answers which method and path, for a provider of many endpoints."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from proxy.simulator.desk import Asked
from proxy.simulator.reply import Reply

Handler = Callable[..., Reply]
"""Takes what was asked, and the ids in the path in their order."""
Row = tuple[str, str, Handler]
"""Method, path with `{}` where an id stands, handler."""


class Switchboard:
    """Finds handlers."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows = [(method, re.compile(path.replace("{}", "([^/]+)")), handler) for method, path, handler in rows]

    def answer(self, asked: Asked) -> Reply | None:
        """Let the handler of the request answer it; None: there is none."""
        for method, path, handler in self._rows:
            if method == asked.request.method and (match := path.fullmatch(asked.request.route)):
                return handler(asked, *match.groups())
        return None
