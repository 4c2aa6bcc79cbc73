"""The admin application: the routes behind their guard."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from proxy.admin.guard import Access, Guard
from proxy.admin.instruments import Instruments
from proxy.admin.keys import KeyStore
from proxy.admin.routes import Desk


def create_app(instruments: Instruments, keys: KeyStore) -> Starlette:
    """Return the application without a guard: for the UNIX socket, which only its owner can open."""
    return Starlette(routes=Desk(instruments, keys).routes(), exception_handlers={HTTPException: _no_route})


async def _no_route(request: Request, error: Exception) -> Response:  # noqa: ARG001 - Starlette calls it
    if not isinstance(error, HTTPException):
        raise error
    status, headers = error.status_code, error.headers
    code, message = ("not_found", "no such page") if status == 404 else ("bad_method", "not with this method")
    return JSONResponse({"error": {"code": code, "message": message}}, status, headers=headers)


def guarded(app: ASGIApp, access: Access) -> ASGIApp:
    """Return the application as the port serves it."""
    return Guard(app, access)
