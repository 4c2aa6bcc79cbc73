"""Who may speak to the admin port: host names, origins, the password.

A web page that a user of this machine visits can send requests to loopback addresses, and by DNS rebinding read the
answers under its own host name. So the Host header must name us; changes must be JSON from our own origin; no answer
carries CORS headers. A port that others can reach demands a password, and then any host name will do, since a
rebound page has no credentials for it.

Pure functions over header values, and one ASGI middleware that applies them.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from proxy.errors import ConfigError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from proxy.config import Admin, Config

LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})
OPEN_PATHS: Final = frozenset({"/healthz"})
"""Asked by orchestrators that know neither name nor password; the answer says nothing but that we live."""
MAX_PASSWORD_BYTES: Final = 4096
SECURITY_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
DEFAULT_CONTENT_POLICY: Final = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; sandbox")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not served."""

    status: int
    reason: str
    headers: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class Access:
    """What a request must show."""

    host: str
    """The configured host of the admin port."""
    password: bytes | None = None
    """None: no password is asked for."""


def is_loopback(host: str) -> bool:
    """Say whether only this machine can reach `host`."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_exposure(config: Config) -> None:
    """Raise ConfigError when others could reach the admin port without a password, or the password is unusable."""
    load_access(config.admin)


def load_access(admin: Admin) -> Access:
    """Return what the admin port demands. Raises ConfigError."""
    if admin.password_file is None:
        if not is_loopback(admin.host):
            raise ConfigError([f"admin.password_file: must be set, since others can reach the admin host {admin.host}"])
        return Access(admin.host)
    try:
        password = admin.password_file.read_bytes()[: MAX_PASSWORD_BYTES + 1].strip()
    except OSError as error:
        raise ConfigError([f"admin.password_file: {admin.password_file}: {error.strerror}"]) from error
    if not 8 <= len(password) <= MAX_PASSWORD_BYTES:
        raise ConfigError([f"admin.password_file: {admin.password_file}: the password needs 8 to 4096 bytes"])
    return Access(admin.host, password)


def refuse(access: Access, method: str, path: str, headers: Iterable[tuple[bytes, bytes]]) -> Refusal | None:
    """Return why this request must not be served; None: it may."""
    if path in OPEN_PATHS:
        return None
    fields: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        fields.setdefault(name, []).append(value)
    host = _only(fields, b"host")
    if host is None or not names_us(access, host):
        return Refusal(421, "this host name is not served here")
    if access.password is not None and not knows_password(access.password, _only(fields, b"authorization")):
        return Refusal(401, "password required", ((b"www-authenticate", b'Basic realm="glassline", charset="UTF-8"'),))
    if method not in ("GET", "HEAD", "OPTIONS"):
        return _refuse_change(fields, host)
    return None


def _refuse_change(fields: Mapping[bytes, list[bytes]], host: bytes) -> Refusal | None:
    media_type = (_only(fields, b"content-type") or b"").split(b";")[0].strip().lower()
    if media_type != b"application/json":
        return Refusal(415, "content-type must be application/json")
    if b"origin" in fields and not is_same_origin(_only(fields, b"origin"), host):
        return Refusal(403, "changes are accepted from the same origin only")
    return None


def names_us(access: Access, host_header: bytes) -> bool:
    """Say whether a Host header names this server."""
    host = host_name(host_header)
    if host is None:
        return False
    if access.password is not None and not is_loopback(access.host):
        return True
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


def is_same_origin(origin: bytes | None, host: bytes) -> bool:
    """Say whether an Origin header names the host that the request was sent to."""
    if origin is None:
        return False
    scheme, _, authority = origin.lower().partition(b"://")
    return scheme in (b"http", b"https") and authority == host.lower()


def knows_password(password: bytes, authorization: bytes | None) -> bool:
    """Say whether Basic credentials carry `password`, whatever the user name."""
    scheme, _, encoded = (authorization or b"").partition(b" ")
    if scheme.lower() != b"basic":
        return False
    try:
        _, _, given = base64.b64decode(encoded.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(given, password)


def _only(fields: Mapping[bytes, list[bytes]], name: bytes) -> bytes | None:
    values = fields.get(name, [])
    return values[0] if len(values) == 1 else None


class Guard:
    """ASGI middleware: refuse what `refuse` refuses, and put the security headers on every answer."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = refuse(self._access, scope["method"], scope["path"], scope["headers"])
        if refusal is not None:
            await _answer(refusal, _hardened(send))
            return
        await self._app(scope, receive, _hardened(send))


def _hardened(send: Send) -> Send:
    async def send_hardened(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message["headers"])
            present = {name for name, _ in headers}
            wanted = (*SECURITY_HEADERS, DEFAULT_CONTENT_POLICY)
            message = {**message, "headers": headers + [field for field in wanted if field[0] not in present]}
        await send(message)

    return send_hardened


async def _answer(refusal: Refusal, send: Send) -> None:
    body = refusal.reason.encode() + b"\n"
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
        *refusal.headers,
    ]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
