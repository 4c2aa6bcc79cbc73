"""The admin application: declared routes, behind the guard on the port, without one on the UNIX socket."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from proxy.admin.answers import Endpoint, border, error_answer
from proxy.admin.audit import AuditLog
from proxy.admin.authentication import Door, Stores, built_in_account
from proxy.admin.budgets import BudgetDesk
from proxy.admin.callers import Callers
from proxy.admin.cost import CostDesk
from proxy.admin.database import AppDatabase
from proxy.admin.declared import DeclaredRoute
from proxy.admin.detail import DetailDesk
from proxy.admin.errands import Messenger
from proxy.admin.estimate import Estimator
from proxy.admin.feedback import FeedbackDesk, FeedbackJournal
from proxy.admin.guard import Access, Doors, Guard, by_name, is_every_address, is_loopback, wants_page
from proxy.admin.identity import LOCAL
from proxy.admin.instruments import Instruments
from proxy.admin.key_desk import KeyDesk
from proxy.admin.keys import KeyStore
from proxy.admin.live import Live
from proxy.admin.overview import OverviewDesk
from proxy.admin.packed import Packed
from proxy.admin.pages import Pages
from proxy.admin.people import People
from proxy.admin.playground import Playground
from proxy.admin.requests import RequestLists
from proxy.admin.routes import Desk
from proxy.admin.sessions import SessionStore
from proxy.admin.settings import Settings
from proxy.admin.tokens import TokenStore
from proxy.admin.twins import Twins
from proxy.admin.users import UserStore
from proxy.admin.views import Views, ViewStore
from proxy.admin.watch import Watch
from proxy.config import Config, Listen
from proxy.gates.failures import Failures
from proxy.ports import Ports


@dataclass(frozen=True, slots=True)
class House:
    """Everything behind the admin port."""

    config: Config
    keys: KeyStore
    messenger: Messenger
    views: ViewStore
    feedback: FeedbackJournal
    stores: Stores
    door: Door
    access: Access


def build_house(config: Config, access: Access, database: AppDatabase) -> House:
    """Return the stores of app.db and the door in front of them."""
    stores = Stores(
        UserStore(database, has_built_in=access.password is not None),
        TokenStore(database),
        SessionStore(database, idle_s=config.admin.session_idle, lifetime_s=config.admin.session_lifetime),
        AuditLog(database),
    )
    failures = Failures(config.limits.failed_auth_per_minute)
    door = Door(built_in_account(access, database.pepper), stores, failures, clock=database.clock)
    keys = KeyStore(database, taken=[key.name for key in config.keys])
    messenger = Messenger(database.data_dir, config.listen, database.pepper, clock=database.clock)
    feedback = FeedbackJournal(database.data_dir, config.record.journal_max_gb)
    return House(config, keys, messenger, ViewStore(database), feedback, stores, door, access)


def declared_routes(instruments: Instruments, house: House, watch: Watch, pages: Pages) -> list[DeclaredRoute]:
    """Return every route of the admin port."""
    config, keys, messenger, twins = house.config, house.keys, house.messenger, Twins()
    return [
        *RequestLists(instruments, twins).routes(),
        *Live(instruments).routes(),
        *Views(house.views).routes(),
        *Desk(instruments, house.door, house.stores, watch).routes(),
        *OverviewDesk(instruments, watch, config, messenger).routes(),
        *CostDesk(instruments, config, twins).routes(),
        *BudgetDesk(instruments, config, twins).routes(),
        *DetailDesk(instruments).routes(),
        *FeedbackDesk(house.feedback, instruments.clock).routes(),
        *Callers(instruments, twins).routes(),
        *People(house.door, house.stores, house.access.base_path).routes(),
        *KeyDesk(config, instruments, keys, messenger, twins).routes(),
        *Playground(config, instruments, keys, messenger, Estimator(config.pricing)).routes(),
        *Settings(config, instruments, twins).routes(),
        *pages.routes(),
    ]


def build_pages(instruments: Instruments, house: House, watch: Watch) -> Pages:
    """Return the pages of the dashboard."""
    config, base = house.config, house.access.base_path
    gateway = partial(gateway_address, config.listen, instruments.data_dir)
    return Pages(instruments, house.stores, watch, base=base, gateway=gateway, auth=config.auth)


def gateway_address(listen: Listen, data_dir: Path) -> str:
    """Return where the traffic goes, for people. The port that is free, or systemd's, is known when it is served."""
    host = "localhost" if is_loopback(listen.host) or is_every_address(listen.host) else listen.host
    name = f"[{host}]" if ":" in host else host
    ports = Ports.read(data_dir)
    return f"{'https' if listen.tls else 'http'}://{name}:{ports.data if ports else listen.port}"


def create_app(routes: Sequence[DeclaredRoute], no_page: Endpoint | None = None) -> Starlette:
    """Return the application; it serves nothing that is not declared, and nobody whom nobody has identified.

    `no_page`: tells a browser that nothing is shown at an address.
    """
    if any(not isinstance(route, DeclaredRoute) for route in routes):
        raise TypeError("every route declares its least role: use DeclaredRoute")

    async def no_route(request: Request, error: Exception) -> Response:
        if not isinstance(error, HTTPException):
            raise error
        if no_page is not None and error.status_code == 404 and _wants_page(request):
            return await border(no_page)(request)
        known = {404: ("not_found", "no such page"), 405: ("bad_method", "not with this method")}
        answer = error_answer(error.status_code, *known.get(error.status_code, ("bad_question", error.detail)))
        answer.headers.update(error.headers or {})
        return answer

    app = Starlette(
        routes=list(routes),
        exception_handlers={HTTPException: no_route},
        middleware=[Middleware(Packed)],
    )
    app.router.redirect_slashes = False
    return app


def guarded(app: ASGIApp, routes: Sequence[DeclaredRoute], house: House) -> ASGIApp:
    """Return the application as the port serves it."""
    doors = Doors(
        frozenset(route.path for route in routes if route.least == "public"),
        frozenset(route.path for route in routes if route.is_form),
    )
    return Guard(app, house.access, doors, house.door.identify)


def for_owner(app: ASGIApp) -> ASGIApp:
    """Return the application as the UNIX socket serves it: only the owner of the data directory can open that."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await app({**scope, "identity": LOCAL}, receive, send)

    return serve


def _wants_page(request: Request) -> bool:
    is_of_programs = request.url.path.startswith(("/api/", "/static/"))
    return not is_of_programs and wants_page(request.method, by_name(request.scope["headers"]))
