"""Saved views: a page of the dashboard with its parameters, under a name, for oneself or for everybody.

Everybody sees and changes their own; what everybody sees is changed by editors. A token has views of its own. While nobody
is asked who they are, all are one person.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final, Literal

import apsw
from pydantic import BaseModel, ConfigDict, StringConstraints
from starlette.requests import Request
from starlette.responses import Response

from proxy.admin.answers import ForbiddenError, NotFoundError, QuestionError, RefusedError, json_answer, read_model
from proxy.admin.database import AppDatabase
from proxy.admin.declared import DeclaredRoute, asker
from proxy.admin.identity import Identity

MOST_VIEWS: Final = 200
"""Of one owner."""
_SHARED: Final = ""
_COLUMNS: Final = "id, page, name, query, owner = '', created_by, created_ms, changed_ms"

ViewName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80)]
Query = Annotated[str, StringConstraints(max_length=8192)]
Page = Literal["requests", "sessions", "users", "cost", "budgets"]


class ViewRequest(BaseModel):
    """A view that is to be kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    page: Page
    name: ViewName
    query: Query
    """The parameters of the page, as they stand in its address."""
    is_shared: bool = False
    """Everybody sees it."""


class ViewChange(BaseModel):
    """What is to be different; None: as it was."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ViewName | None = None
    query: Query | None = None


class View(ViewRequest):
    """A view that is kept."""

    id: int
    created_by: str
    created_ms: int
    """Unix ms."""
    changed_ms: int
    """Unix ms."""


class ViewStore:
    """The views of app.db."""

    def __init__(self, database: AppDatabase) -> None:
        self._database = database

    def seen_by(self, who: Identity, page: str | None = None) -> list[View]:
        """Return the views of somebody and those of everybody, by name; `page`: only of this one."""
        rows = self._database.read(
            f"SELECT {_COLUMNS} FROM views WHERE owner IN (?1, '') AND (?2 IS NULL OR page = ?2)"  # noqa: S608 (constants)
            " ORDER BY name COLLATE NOCASE, id",
            who.actor,
            page,
        )
        return [_view(row) for row in rows]

    def add(self, wanted: ViewRequest, who: Identity) -> View:
        """Keep a view. Raises RefusedError, StoreError."""
        owner = _SHARED if wanted.is_shared else who.actor
        now = self._database.clock.wall_ms()
        with self._database.alone():
            ((count,),) = self._database.read("SELECT count(*) FROM views WHERE owner = ?", owner)
            if count >= MOST_VIEWS:
                raise RefusedError(f"there are {MOST_VIEWS} views already: remove one first")
            with self._database.change() as connection:
                try:
                    connection.execute(
                        "INSERT INTO views (owner, page, name, query, created_by, created_ms, changed_ms)"
                        " VALUES (?, ?, ?, ?, ?, ?, ?)",
                        (owner, wanted.page, wanted.name, wanted.query, who.actor, now, now),
                    )
                except apsw.ConstraintError:
                    raise RefusedError(f"a view of this page is called {wanted.name} already") from None
                id_ = connection.last_insert_rowid()
        return self._one(id_, who)

    def change(self, id_: int, wanted: ViewChange, who: Identity) -> View:
        """Change a view. Raises NotFoundError, ForbiddenError, RefusedError, StoreError."""
        with self._database.alone():
            view = self._own(id_, who)
            with self._database.change() as connection:
                try:
                    connection.execute(
                        "UPDATE views SET name = ?, query = ?, changed_ms = ? WHERE id = ?",
                        (
                            view.name if wanted.name is None else wanted.name,
                            view.query if wanted.query is None else wanted.query,
                            self._database.clock.wall_ms(),
                            id_,
                        ),
                    )
                except apsw.ConstraintError:
                    raise RefusedError(f"a view of this page is called {wanted.name} already") from None
        return self._one(id_, who)

    def remove(self, id_: int, who: Identity) -> View:
        """Forget a view; return what it was. Raises NotFoundError, ForbiddenError, StoreError."""
        with self._database.alone():
            view = self._own(id_, who)
            with self._database.change() as connection:
                connection.execute("DELETE FROM views WHERE id = ?", (id_,))
        return view

    def _own(self, id_: int, who: Identity) -> View:
        view = self._one(id_, who)
        if view.is_shared:
            require_editor(who)
        return view

    def _one(self, id_: int, who: Identity) -> View:
        rows = self._database.read(
            f"SELECT {_COLUMNS} FROM views WHERE id = ? AND owner IN (?, '')",  # noqa: S608 (constants)
            id_,
            who.actor,
        )
        if not rows:
            raise NotFoundError("there is no such view")
        return _view(rows[0])


class Views:
    """The endpoints."""

    def __init__(self, store: ViewStore) -> None:
        self._store = store

    def routes(self) -> list[DeclaredRoute]:
        """Return the routes about views; whoever sees a page may keep it for themselves."""
        return [
            DeclaredRoute("/api/views", self.all, least="viewer"),
            DeclaredRoute("/api/views", self.add, least="viewer", method="POST"),
            DeclaredRoute("/api/views/{id}", self.change, least="viewer", method="PATCH"),
            DeclaredRoute("/api/views/{id}", self.remove, least="viewer", method="DELETE"),
        ]

    async def all(self, request: Request) -> Response:
        """One's own views and those of everybody."""
        found = await asyncio.to_thread(self._store.seen_by, asker(request), request.query_params.get("page"))
        return json_answer({"views": [_shape(view) for view in found]})

    async def add(self, request: Request) -> Response:
        """Keep a view."""
        wanted, who = await read_model(ViewRequest, request), asker(request)
        if wanted.is_shared:
            require_editor(who)
        return json_answer(_shape(await asyncio.to_thread(self._store.add, wanted, who)), status=201)

    async def change(self, request: Request) -> Response:
        """Give a view another name or other parameters."""
        wanted = await read_model(ViewChange, request)
        if wanted == ViewChange():
            raise QuestionError("nothing to change: say name or query")
        return json_answer(_shape(await asyncio.to_thread(self._store.change, _id(request), wanted, asker(request))))

    async def remove(self, request: Request) -> Response:
        """Forget a view."""
        return json_answer(_shape(await asyncio.to_thread(self._store.remove, _id(request), asker(request))))


def require_editor(who: Identity) -> None:
    """Raise ForbiddenError when somebody may not change what everybody sees."""
    if not who.may("editor"):
        raise ForbiddenError(f"what everybody sees is changed by editors, and {who.name} has the role {who.role}")


def _id(request: Request) -> int:
    text = request.path_params["id"]
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise NotFoundError("there is no such view")
    return int(text)


def _view(row: tuple[Any, ...]) -> View:
    id_, page, name, query, is_shared, created_by, created_ms, changed_ms = row
    return View(
        id=id_,
        page=page,
        name=name,
        query=query,
        is_shared=bool(is_shared),
        created_by=created_by,
        created_ms=created_ms,
        changed_ms=changed_ms,
    )


def _shape(view: View) -> dict[str, Any]:
    return view.model_dump(mode="json")
