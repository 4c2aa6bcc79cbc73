"""Twins: every list of the API as a file, `.csv` and `.jsonl`, with exactly what is on the screen.

A list hands over its rows page by page, each page one question with the time limit of all questions; a page is written
when the client has taken the one before. So a file of millions of rows takes the memory of one page, and nobody's
questions wait for it. A file that could not be finished breaks off instead of ending, so that nobody takes it for whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from proxy.admin.answers import HeldStream, QuestionError
from proxy.admin.declared import DeclaredRoute
from proxy.admin.identity import Least
from proxy.admin.sheets import Csv, Row, jsonl
from proxy.errors import StoreBusy

T = TypeVar("T")
Pages = AsyncGenerator[Sequence[Row], None]
MOST_FILES: Final = 8
"""Written at a time: who asks for more waits for one of them to end."""
_MEDIA: Final = {"csv": "text/csv; charset=utf-8", "jsonl": "application/jsonl; charset=utf-8"}
_PATIENCE: Final = 30
_PAUSE_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Listing:
    """A list as its twins see it."""

    name: str
    """Of the file."""
    columns: Callable[[Request], Sequence[str]]
    """What stands in a row, in its order; nothing: rows are written as they are. Raises ClientError."""
    pages: Callable[[Request], Pages]
    """The rows that the request's parameters mean, in their order. Raises ClientError and StoreError."""


class Twins:
    """Makes the routes of all lists: what they share is how many files are written at a time."""

    def __init__(self) -> None:
        self._open = 0

    def routes(self, path: str, listing: Listing, *, least: Least) -> list[DeclaredRoute]:
        """Return the routes of the twins of the list at `path`."""
        return [
            DeclaredRoute(f"{path}.{form}", self._endpoint(listing, form), least=least) for form in ("csv", "jsonl")
        ]

    def _endpoint(self, listing: Listing, form: str) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            return await self._answer(listing, form, request)

        return answer

    async def _answer(self, listing: Listing, form: str, request: Request) -> Response:
        if self._open >= MOST_FILES:
            raise StoreBusy("too many files are being written: ask again in a moment")
        self._open += 1
        try:
            columns = listing.columns(request)
            pages = listing.pages(request)
            # Here, so that a mistake is answered as one and not in the middle of a file.
            first = await _first(pages)
        except BaseException:
            self._leave()
            raise
        headers = {"content-disposition": f'attachment; filename="{listing.name}.{form}"'}
        written = self._written(form, columns, first, pages)
        return HeldStream(written, self._leave, headers=headers, media_type=_MEDIA[form])

    def _leave(self) -> None:
        self._open -= 1

    async def _written(
        self, form: str, columns: Sequence[str], first: Sequence[Row], pages: Pages
    ) -> AsyncIterator[str]:
        sheet = Csv(columns)
        if form == "csv":
            yield sheet.title()
        write = sheet.lines if form == "csv" else lambda rows: jsonl(rows, columns or None)
        yield write(first)
        async with aclosing(pages) as rest:
            async for rows in rest:
                yield write(rows)


async def _first(pages: Pages) -> Sequence[Row]:
    """Return the first page. Not `anext(pages, ())`: in Python 3.11 that fails when a generator ends without waiting."""
    async for rows in pages:
        return rows
    return ()


def chosen(request: Request, known: Iterable[str], standard: Sequence[str]) -> list[str]:
    """Return the columns that `cols` names, each once. Raises QuestionError."""
    asked = request.query_params.get("cols", "")
    if not asked:
        return list(standard)
    known = list(known)
    wanted = list(dict.fromkeys(filter(None, asked.split(","))))
    for name in wanted:
        if name not in known and not name.startswith("meta."):
            raise QuestionError(f"cols: {name} is none of {', '.join(known)}")
    return wanted


async def patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask until there is time for it: a file that has begun can wait. Raises StoreBusy when that takes too long."""
    for _ in range(_PATIENCE):
        try:
            return await ask()
        except StoreBusy:
            await asyncio.sleep(_PAUSE_S)
    return await ask()
