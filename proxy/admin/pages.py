"""The pages of the dashboard: each address answers with the frame, in which the scripts then show the page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from proxy import __version__
from proxy.admin.answers import NotFoundError, page_answer
from proxy.admin.assets import Assets, answer_asset
from proxy.admin.authentication import Stores, read_cookie
from proxy.admin.declared import DeclaredRoute, asker
from proxy.admin.gauges import State as Judged
from proxy.admin.guard import by_name
from proxy.admin.instruments import Instruments
from proxy.admin.segments import read_segment, segment
from proxy.admin.shell import Frame, Opening, ShownTile, State, render
from proxy.admin.tiles import Tile
from proxy.admin.verdict import Level
from proxy.admin.watch import Observed, Watch
from proxy.errors import ClientError, StoreError
from proxy.store import query as ask
from proxy.store.answered import answered_as
from proxy.store.filter import parse_filter
from proxy.store.listing import Sort

THEME_COOKIE: Final = "glassline_theme"
_OLDEST_FIRST: Final = Sort(is_descending=False)
_STATES: Final[dict[Level, State]] = {"ok": "ok", "degraded": "warn", "failing": "bad"}
_SHAPES: Final[dict[Judged, State]] = {
    "ok": "ok",
    "warning": "warn",
    "silent": "warn",
    "critical": "bad",
    "unjudged": "none",
    "none": "none",
}


@dataclass(frozen=True, slots=True)
class PageRoute:
    """One page."""

    path: str
    title: str
    chunk: str
    """Name of its module in the build."""


PAGES: Final = (
    PageRoute("/", "Overview", "page-overview"),
    PageRoute("/requests", "Requests", "page-requests"),
    PageRoute("/requests/{id}", "Request", "page-request"),
    PageRoute("/sessions", "Sessions", "page-sessions"),
    PageRoute("/sessions/{id}", "Session", "page-session"),
    PageRoute("/users", "Users", "page-users"),
    PageRoute("/users/{id}", "User", "page-user"),
    PageRoute("/cost", "Cost", "page-cost"),
    PageRoute("/budgets", "Budgets", "page-budgets"),
    PageRoute("/budgets/{name}", "Budget", "page-budgets"),
    PageRoute("/playground", "Playground", "page-playground"),
    PageRoute("/keys", "Keys", "page-keys"),
    PageRoute("/keys/{name}", "Key", "page-keys"),
    PageRoute("/settings", "Settings", "page-settings"),
    PageRoute("/settings/{section}", "Settings", "page-settings"),
)
NO_PAGE: Final = PageRoute("", "No such page", "")


class Pages:
    """The frame of every page, the files it loads, and the ways to a page from an id."""

    def __init__(
        self,
        instruments: Instruments,
        stores: Stores,
        watch: Watch,
        *,
        base: str,
        gateway: Callable[[], str],
        auth: str,
    ) -> None:
        """`base`: the path under which all this is mounted; `gateway`: says where the traffic goes, for snippets.

        `auth`: whether callers' own credentials pass, as in the configuration.
        """
        self._read = instruments
        self._stores = stores
        self._watch = watch
        self._base = base
        self._gateway = gateway
        self._auth = auth
        self._assets = Assets(base=base)

    def routes(self) -> list[DeclaredRoute]:
        """Return the routes of the pages."""
        return [
            *(DeclaredRoute(page.path, self._showing(page), least="viewer") for page in PAGES),
            DeclaredRoute("/static/{name}", self.asset, least="public"),
            DeclaredRoute("/go/req/{id}", self.go_request, least="viewer"),
            DeclaredRoute("/go/session/{id}", self.go_session, least="viewer"),
            DeclaredRoute("/go/trace/{id}", self.go_trace, least="viewer"),
            DeclaredRoute("/v1", self.hint, least="viewer"),
            DeclaredRoute("/v1/{path:path}", self.hint, least="viewer"),
        ]

    async def asset(self, request: Request) -> Response:
        """A file of the build."""
        answer = await answer_asset(self._assets, request)
        if answer is None:
            raise NotFoundError("no such file")
        return answer

    async def no_page(self, request: Request) -> Response:
        """Say in the frame that nothing is shown at an address."""
        return await self._show(NO_PAGE, request, status=404)

    async def go_request(self, request: Request) -> Response:
        """Lead to a request by our id, the start of it, or the id that the provider gave to its answer."""
        wanted = read_segment(request.path_params["id"])
        async with self._read.store() as store:
            row = await store.run(ask.request(wanted)) if store else None
            found = row.id if row else await store.run(answered_as(wanted)) if store else None
        if found is None:
            return await self.no_page(request)
        return self._to(f"/requests/{segment(found)}")

    async def go_session(self, request: Request) -> Response:
        """Lead to a session."""
        return self._to(f"/sessions/{segment(read_segment(request.path_params['id']))}")

    async def go_trace(self, request: Request) -> Response:
        """Lead to the requests of a trace."""
        wanted = read_segment(request.path_params["id"]).replace('"', "")
        q = f'trace:"{wanted}"'
        return self._to(f"/requests?{urlencode({'q': q, 'from': await self._first(q) or 'now-90d'})}")

    async def _first(self, q: str) -> int | None:
        """Return when the first request that a filter means started, Unix ms. None: there is none, or no time to look."""
        try:
            question = ask.page(parse_filter(q), sort=_OLDEST_FIRST, limit=1)
            async with self._read.store() as store:
                rows = (await store.run(question)).rows if store else ()
        except (ClientError, StoreError):
            return None
        return rows[0].started_at if rows else None

    async def hint(self, _: Request) -> Response:
        """Tell who came to the wrong port with an API's address."""
        raise NotFoundError(f"this is the admin port: applications talk to the data port, {self._gateway()}/v1")

    def _showing(self, page: PageRoute) -> Callable[[Request], Awaitable[Response]]:
        async def show(request: Request) -> Response:
            return await self._show(page, request)

        return show

    async def _show(self, page: PageRoute, request: Request, *, status: int = 200) -> Response:
        seen = await self._watch.observed()
        frame = Frame(
            page.title,
            page.chunk,
            self._boot(request, seen),
            _STATES[seen.verdict],
            opening_of(seen, self._base) if page.path == "/" else None,
            read_cookie(by_name(request.scope["headers"]), THEME_COOKIE),
        )
        rendered = render(frame, self._assets)
        return page_answer(rendered.html, rendered.policy, status=status)

    def _boot(self, request: Request, seen: Observed) -> dict[str, Any]:
        who = asker(request)
        return {
            "user": who.name,
            "role": who.role,
            "by": who.kind,
            "base": self._base,
            "version": __version__,
            "now": self._read.clock.wall_ms(),
            "form": self._stores.sessions.form_token(who.session) if who.session else "",
            "gateway": self._gateway(),
            "auth": self._auth,
            "level": seen.verdict,
        }

    def _to(self, path: str) -> Response:
        return Response(status_code=302, headers={"location": self._base + path})


def opening_of(seen: Observed, base: str) -> Opening:
    """Return what the overview says first."""
    said = seen.headline
    link = None
    if said.link is not None:
        asked = {"q": said.link.q, "from": said.link.start, "to": said.link.end}
        link = (
            said.link.label,
            f"{base}/requests?{urlencode({name: value for name, value in asked.items() if value})}",
        )
    return Opening(_SHAPES[said.state], said.text, said.detail, link, [_tile(tile) for tile in seen.tiles])


def _tile(tile: Tile) -> ShownTile:
    return ShownTile(
        tile.label,
        _SHAPES[tile.state],
        tile.word,
        tile.text,
        tile.difference,
        tile.is_worse,
        tile.note,
        tile.sample,
        tile.rule,
    )
