"""Who may speak to the admin port: host names, origins, the kind of a change.

A web page that a user of this machine visits can send requests to loopback addresses, and by DNS rebinding read the
answers under its own host name. So the Host header must name us; changes must be JSON from our own origin; no answer
carries CORS headers. A port that others can reach demands a password, and then any host name will do unless the
configuration lists some, since a rebound page has no credentials for it.

Pure functions over header values, and one ASGI middleware that applies them, asks the door who it is, and puts the
security headers on every answer.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import msgspec

from proxy.admin.identity import MAX_PASSWORD_BYTES, MIN_PASSWORD_BYTES
from proxy.errors import ConfigError, OurError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from proxy.admin.identity import Identity
    from proxy.config import Admin, Config

Headers = Mapping[bytes, Sequence[bytes]]
Identify = Callable[[Headers, str], Awaitable["Identity | Refusal"]]
LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})
NAMELESS_PATHS: Final = frozenset({"/healthz"})
"""Asked by orchestrators that know neither name nor password; the answer says nothing but that we live."""
SECURITY_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    # Not `no-referrer`: under it, browsers send `Origin: null` with our own forms (Fetch, "serialize a request origin").
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
    (b"cache-control", b"no-store"),
)
DEFAULT_CONTENT_POLICY: Final = (
    b"content-security-policy",
    b"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox",
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not served."""

    status: int
    code: str
    reason: str
    headers: tuple[tuple[bytes, bytes], ...] = ()
    page: bytes = b""
    """Shown instead of the reason."""


_TO_LOGIN_HEADERS: Final = (
    # A scheme that makes no browser open its own window for passwords.
    (b"www-authenticate", b'Bearer realm="glassline"'),
    (
        b"content-security-policy",
        b"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
)


@dataclass(frozen=True, slots=True)
class Access:
    """What a request must show."""

    host: str
    """The configured host of the admin port."""
    names: tuple[str, ...] = ()
    """Other names under which it may be asked for."""
    password: bytes | None = None
    """None: there is no `admin.password_file`."""
    base_path: str = ""
    """Under which everything is mounted: empty, or `/glassline`."""


@dataclass(frozen=True, slots=True)
class Doors:
    """The routes that differ: those that everybody may ask for, and those that take forms."""

    public: frozenset[str] = frozenset()
    forms: frozenset[str] = frozenset()

    def are_open(self, path: str) -> bool:
        """Say whether everybody may ask for a path; a public route may end with one name that varies."""
        return path in self.public or f"{path.rpartition('/')[0]}/{{name}}" in self.public


def is_loopback(host: str) -> bool:
    """Say whether only this machine can reach `host`."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_every_address(host: str) -> bool:
    """Say whether `host` stands for all addresses of this machine."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def check_exposure(config: Config) -> None:
    """Raise ConfigError when others could reach the admin port without a password, or the password is unusable."""
    load_access(config.admin)


def load_access(admin: Admin) -> Access:
    """Return what the admin port demands. Raises ConfigError."""
    names = tuple(name.lower().rstrip(".") for name in admin.hosts)
    if admin.password_file is None:
        if not is_loopback(admin.host):
            raise ConfigError([f"admin.password_file: must be set, since others can reach the admin host {admin.host}"])
        return Access(admin.host, names, base_path=admin.base_path)
    try:
        password = admin.password_file.read_bytes()[: MAX_PASSWORD_BYTES + 1].strip()
    except OSError as error:
        raise ConfigError([f"admin.password_file: {admin.password_file}: {error.strerror}"]) from error
    if not MIN_PASSWORD_BYTES <= len(password) <= MAX_PASSWORD_BYTES:
        raise ConfigError([f"admin.password_file: {admin.password_file}: the password needs 8 to 4096 bytes"])
    return Access(admin.host, names, password, admin.base_path)


def by_name(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, list[bytes]]:
    """Return header values by name."""
    fields: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        fields.setdefault(name, []).append(value)
    return fields


def judge_host(access: Access, path: str, fields: Headers) -> Refusal | None:
    """Return why a request must not be served under the name by which it was asked for; None: it may."""
    if path in NAMELESS_PATHS:
        return None
    host = _only(fields, b"host")
    if host is None or not names_us(access, host):
        return Refusal(421, "wrong_host", "this host name is not served here")
    return None


def judge_source(fields: Headers) -> Refusal | None:
    """Return why what another page asks for must not be answered; None: it may, or no page asks.

    It could not read the answer, but it could measure how long a search took, and start what is long. It may lead
    somebody here: that asks for a document.
    """
    site, mode, wanted = (_only(fields, b"sec-fetch-" + name) for name in (b"site", b"mode", b"dest"))
    if site in (None, b"same-origin", b"none") or (mode == b"navigate" and wanted == b"document"):
        return None
    return Refusal(403, "wrong_origin", "other pages are not answered")


def judge_change(method: str, fields: Headers, *, is_form: bool, has_session: bool) -> Refusal | None:
    """Return why a change must not be made; None: it may, or it is none.

    What comes with a cookie or from a form must prove that it is from our own pages; a script without either may
    leave out the headers that only browsers send, but not send other ones.
    """
    if method in ("GET", "HEAD", "OPTIONS"):
        return None
    wanted = b"application/x-www-form-urlencoded" if is_form else b"application/json"
    media_type = (_only(fields, b"content-type") or b"").split(b";")[0].strip().lower()
    if media_type != wanted:
        return Refusal(415, "wrong_media_type", f"content-type must be {wanted.decode()}")
    site = fields.get(b"sec-fetch-site", ())
    origin = fields.get(b"origin", ())
    is_ours = all(is_same_origin(each, _only(fields, b"host") or b"") for each in origin) and all(
        each in (b"same-origin", b"none") for each in site
    )
    if not is_ours or ((is_form or has_session) and not (origin or site)):
        return Refusal(403, "wrong_origin", "changes are accepted from the same origin only")
    return None


def names_us(access: Access, host_header: bytes) -> bool:
    """Say whether a Host header names this server."""
    host = host_name(host_header)
    if host is None:
        return False
    if host in access.names:
        return True
    if access.password is not None and not is_loopback(access.host):
        return not access.names
    return host in LOOPBACK_NAMES or host == access.host.lower() or is_loopback(host)


def host_name(host_header: bytes) -> str | None:
    """Return the name in a Host header, lower case, without port and closing dot; None: malformed."""
    try:
        text = host_header.decode("ascii").lower()
    except UnicodeDecodeError:
        return None
    if text.startswith("["):
        name, bracket, port = text[1:].partition("]")
        if not bracket or not (port == "" or (port[0] == ":" and port[1:].isdigit())):
            return None
        try:
            return str(ipaddress.IPv6Address(name))
        except ValueError:
            return None
    name, colon, port = text.partition(":")
    if (colon and not port.isdigit()) or not name:
        return None
    name = name.removesuffix(".")
    return name if name and all(c.isalnum() or c in "-._" for c in name) else None


def is_same_origin(origin: bytes, host: bytes) -> bool:
    """Say whether an Origin header names the host that the request was sent to."""
    scheme, _, authority = origin.lower().partition(b"://")
    return scheme in (b"http", b"https") and authority == host.lower()


def _only(fields: Headers, name: bytes) -> bytes | None:
    values = fields.get(name, ())
    return values[0] if len(values) == 1 else None


class Guard:
    """ASGI middleware: refuse what may not come in, say who it is, put the security headers on every answer."""

    def __init__(self, app: ASGIApp, access: Access, doors: Doors, identify: Identify) -> None:
        self._app = app
        self._access = access
        self._doors = doors
        self._identify = identify

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; its `scope` says who it is from."""
        if scope["type"] != "http":
            return  # nothing else is spoken here
        send = _hardened(send)
        scope = under(self._access.base_path, scope)
        fields = by_name(scope["headers"])
        try:
            found = await self._admit(scope, fields)
        except OurError as error:
            found = Refusal(503, "unavailable", str(error), ((b"retry-after", b"1"),))
        if isinstance(found, Refusal):
            if found.status == 401 and wants_page(scope["method"], fields):
                found = to_login(self._access.base_path, scope)
            await _answer(found, send, is_head=scope["method"] == "HEAD")
            return
        scope["identity"] = found
        await self._app(scope, receive, send)

    async def _admit(self, scope: Scope, fields: Headers) -> Identity | Refusal | None:
        path, method = scope["path"], scope["method"]
        if (refusal := judge_host(self._access, path, fields) or judge_source(fields)) is not None:
            return refusal
        address = (scope.get("client") or ("",))[0]
        is_form = path in self._doors.forms
        if self._doors.are_open(path):
            return judge_change(method, fields, is_form=is_form, has_session=False)
        who = await self._identify(fields, address)
        if isinstance(who, Refusal):
            return who
        return judge_change(method, fields, is_form=is_form, has_session=who.kind == "session") or who


def wants_page(method: str, fields: Headers) -> bool:
    """Say whether a browser goes somewhere: it should see a way to log in, and not its own window for passwords."""
    asks = fields.get(b"accept", (b"",))[0].lower().startswith(b"text/html")
    return method == "GET" and asks and b"authorization" not in fields


def under(base_path: str, scope: Scope) -> Scope:
    """Return a request without the path under which we are mounted; a proxy in front may have taken it off already."""
    path = scope["path"]
    if not base_path or not (path == base_path or path.startswith(f"{base_path}/")):
        return scope
    return {**scope, "path": path[len(base_path) :] or "/"}


def to_login(base_path: str, scope: Scope) -> Refusal:
    """Return the page that leads to the login page, and from there back to where somebody wanted to go."""
    query = scope.get("query_string", b"").decode("latin-1")
    wanted = scope["path"] + (f"?{query}" if query else "")
    address = escape(f"{base_path}/login" + (f"?next={quote(wanted, safe='')}" if wanted != "/" else ""))
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Glassline</title>'
        f'<meta http-equiv="refresh" content="0;url={address}"></head>'
        f'<body><p><a href="{address}">Log in</a></p></body></html>'
    )
    return Refusal(401, "unauthorized", "log in", _TO_LOGIN_HEADERS, page.encode())


def _hardened(send: Send) -> Send:
    async def send_hardened(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message["headers"])
            present = {name for name, _ in headers}
            wanted = (*SECURITY_HEADERS, DEFAULT_CONTENT_POLICY)
            message = {**message, "headers": headers + [field for field in wanted if field[0] not in present]}
        await send(message)

    return send_hardened


async def _answer(refusal: Refusal, send: Send, *, is_head: bool) -> None:
    body, media_type = refusal.page, b"text/html; charset=utf-8"
    if not body:
        body = msgspec.json.encode({"error": {"code": refusal.code, "message": refusal.reason}})
        media_type = b"application/json"
    headers = [
        (b"content-type", media_type),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
        *refusal.headers,
    ]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if is_head else body})
