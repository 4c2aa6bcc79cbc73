"""The endpoints about people: logging in and out, users, tokens, the audit."""

from __future__ import annotations

import asyncio
import hmac
import secrets
from typing import Final
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import Response

from proxy.admin.answers import QuestionError, json_answer, page_answer, read_model, small_body, whole_number
from proxy.admin.assets import Assets
from proxy.admin.authentication import FORM_COOKIE, SESSION_COOKIE, Door, Stores, read_cookie
from proxy.admin.declared import DeclaredRoute, asker
from proxy.admin.guard import Refusal, by_name
from proxy.admin.login import LOGIN_POLICY, LoginForm, login_page
from proxy.admin.tokens import TokenRequest
from proxy.admin.users import UserChange, UserRequest
from proxy.framing import is_normal_path

MAX_LINES: Final = 1000
MAX_NEXT: Final = 4096
_WRONG: Final = "That user name and password do not belong together."
_STALE: Final = "This form was too old: please try again."


class People:
    """The endpoints, over the door and the stores behind it."""

    def __init__(self, door: Door, stores: Stores, base: str = "") -> None:
        """`base`: the path under which all this is mounted."""
        self._door = door
        self._stores = stores
        self._base = base
        self._assets = Assets(base=base)

    def routes(self) -> list[DeclaredRoute]:
        """Return the routes about people."""
        return [
            DeclaredRoute("/login", self.login_form, least="public"),
            DeclaredRoute("/login", self.login, least="public", method="POST", is_form=True),
            DeclaredRoute("/logout", self.logout, least="viewer", method="POST", is_form=True),
            DeclaredRoute("/api/me", self.me, least="viewer"),
            DeclaredRoute("/api/settings/users", self.users, least="admin"),
            DeclaredRoute("/api/settings/users", self.add_user, least="admin", method="POST"),
            DeclaredRoute("/api/settings/users/{name}", self.change_user, least="admin", method="PATCH"),
            DeclaredRoute("/api/settings/users/{name}", self.remove_user, least="admin", method="DELETE"),
            DeclaredRoute("/api/tokens", self.tokens, least="admin"),
            DeclaredRoute("/api/tokens", self.create_token, least="admin", method="POST"),
            DeclaredRoute("/api/tokens/{name}", self.revoke_token, least="admin", method="DELETE"),
            DeclaredRoute("/api/audit", self.audit, least="admin"),
        ]

    async def login_form(self, request: Request) -> Response:
        """The login page."""
        return self._form(request, wanted=request.query_params.get("next", ""))

    async def login(self, request: Request) -> Response:
        """Begin a session with a user name and a password."""
        fields = await _form_fields(request)
        cookie = read_cookie(by_name(request.scope["headers"]), FORM_COOKIE)
        wanted = fields.get("next", "")
        if not self._is_ours(fields.get("form", ""), cookie.encode()):
            return self._form(request, _STALE, status=400, wanted=wanted)
        address = request.client.host if request.client else ""
        password = fields.get("password", "").encode()
        who = await self._door.by_password(fields.get("user", ""), password, address)
        if isinstance(who, Refusal):
            problem = _WRONG if who.status == 401 else f"{who.reason.capitalize()}."
            answer = self._form(request, problem, status=who.status, wanted=wanted)
            answer.raw_headers.extend(field for field in who.headers if field[0] == b"retry-after")
            return answer
        account = self._door.account(who.name)
        if account is None:
            return self._form(request, _WRONG, status=401, wanted=wanted)
        made = await asyncio.to_thread(self._stores.sessions.begin, who, account.stamp)
        answer = Response(status_code=303, headers={"location": self._base + safe_next(wanted)})
        _set_cookie(answer, request, SESSION_COOKIE, made, path=f"{self._base}/")
        _set_cookie(answer, request, FORM_COOKIE, "", path=f"{self._base}/login")
        return answer

    async def logout(self, request: Request) -> Response:
        """End the session."""
        who = asker(request)
        fields = await _form_fields(request)
        if not self._is_ours(fields.get("form", ""), who.session):
            raise QuestionError("this form is not ours")
        await asyncio.to_thread(self._stores.sessions.end, who)
        answer = Response(status_code=303, headers={"location": f"{self._base}/login"})
        _set_cookie(answer, request, SESSION_COOKIE, "", path=f"{self._base}/")
        return answer

    async def me(self, request: Request) -> Response:
        """Who asks, and what they may."""
        who = asker(request)
        return json_answer({"name": who.name, "role": who.role, "by": who.kind})

    async def users(self, _: Request) -> Response:
        """Every user."""
        found = await asyncio.to_thread(self._stores.users.all)
        return json_answer({"users": [user.model_dump(mode="json") for user in found]})

    async def add_user(self, request: Request) -> Response:
        """Make a user."""
        wanted = await read_model(UserRequest, request)
        made = await asyncio.to_thread(self._stores.users.add, wanted, asker(request))
        return json_answer(made.model_dump(mode="json"), status=201)

    async def change_user(self, request: Request) -> Response:
        """Give a user another role or password."""
        wanted = await read_model(UserChange, request)
        if wanted == UserChange():
            raise QuestionError("nothing to change: name a role or a password")
        name = request.path_params["name"]
        changed = await asyncio.to_thread(self._stores.users.change, name, wanted, asker(request))
        self._stores.sessions.reload()
        return json_answer(changed.model_dump(mode="json"))

    async def remove_user(self, request: Request) -> Response:
        """Remove a user; the answer names the tokens they made, which stay in force."""
        removed = await asyncio.to_thread(self._stores.users.remove, request.path_params["name"], asker(request))
        self._stores.sessions.reload()
        tokens = await asyncio.to_thread(self._stores.tokens.all)
        left = [each.name for each in tokens if each.created_by == removed.name and each.revoked_ms is None]
        return json_answer({**removed.model_dump(mode="json"), "tokens_in_force": left})

    async def tokens(self, _: Request) -> Response:
        """Every token ever made; never a secret."""
        found = await asyncio.to_thread(self._stores.tokens.all)
        return json_answer({"tokens": [token.model_dump(mode="json") for token in found]})

    async def create_token(self, request: Request) -> Response:
        """Make a token; the answer is the only one that holds it."""
        wanted = await read_model(TokenRequest, request)
        made = await asyncio.to_thread(self._stores.tokens.create, wanted, asker(request))
        return json_answer(made.model_dump(mode="json"), status=201)

    async def revoke_token(self, request: Request) -> Response:
        """End a token."""
        ended = await asyncio.to_thread(self._stores.tokens.revoke, request.path_params["name"], asker(request))
        return json_answer(ended.model_dump(mode="json"))

    async def audit(self, request: Request) -> Response:
        """Who did what, newest first."""
        limit = whole_number(request, "limit", 100, 1, MAX_LINES) or 1
        before = whole_number(request, "before", None, 0, (1 << 63) - 1)
        lines = await asyncio.to_thread(lambda: self._stores.audit.lines(limit=limit, before=before))
        return json_answer({"audit": lines, "next_before": lines[-1].id if len(lines) == limit else None})

    def _form(self, request: Request, problem: str = "", *, status: int = 200, wanted: str = "") -> Response:
        cookie = secrets.token_urlsafe(32)
        form = LoginForm(
            self._stores.sessions.form_token(cookie.encode()),
            base=self._base,
            style=self._assets.address("style.css"),
            wanted=safe_next(wanted),
            problem=problem,
            has_users=self._door.has_users,
        )
        answer = page_answer(login_page(form), LOGIN_POLICY, status=status)
        _set_cookie(answer, request, FORM_COOKIE, cookie, path=f"{self._base}/login")
        return answer

    def _is_ours(self, given: str, about: bytes) -> bool:
        expected = self._stores.sessions.form_token(about)
        return bool(about) and hmac.compare_digest(given.encode(), expected.encode())


def safe_next(wanted: str) -> str:
    """Return the page that somebody wanted before they logged in; what could lead elsewhere leads to the overview."""
    path = wanted.partition("?")[0]
    is_ours = wanted.startswith("/") and wanted.isascii() and wanted.isprintable() and len(wanted) <= MAX_NEXT
    return wanted if is_ours and is_normal_path(path.encode()) and not path.startswith("/login") else "/"


async def _form_fields(request: Request) -> dict[str, str]:
    body = await small_body(request)
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=8)
    except ValueError:
        raise QuestionError("this is no form of ours") from None
    return {name: values[0] for name, values in fields.items() if len(values) == 1}


def _set_cookie(answer: Response, request: Request, name: str, value: str, *, path: str) -> None:
    """Set a cookie that no script reads and no other site sends; '' ends it.

    The claim that TLS was spoken in front of us can only make the client's own cookie stricter.
    """
    forwarded = request.headers.get("x-forwarded-proto", "").rpartition(",")[2].strip().lower()
    origin = request.headers.get("origin", "").lower()
    answer.set_cookie(
        name,
        value,
        max_age=None if value else 0,
        path=path,
        httponly=True,
        samesite="strict",
        secure=forwarded == "https" or origin.startswith("https://"),
    )
