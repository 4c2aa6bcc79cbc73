"""Ways to get in without being let in, tried on every route of both ports.

The routes come from the applications' own tables, so a new one is probed from the day it is declared. A probe has
succeeded when the answer is none of the refusals, when anything in app.db changed, or when a provider heard of it.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from proxy.admin.declared import DeclaredRoute
from proxy.admin.pages import PAGES
from proxy.config import parse_config
from proxy.gateway.routing import build_targets
from tests.faults.auth.scene import CONFIGURED_KEY, PASSWORD, Credentials, all_routes, hand_out, state_of
from tests.harness import Glassline
from tests.harness.client import RawClient

REFUSALS: Final = frozenset({400, 401, 403, 404, 405, 414, 415, 421, 429, 431, 501})
"""501: the admin port speaks no WebSocket."""
NAMES: Final = {
    "id": "0198f2b1-7c3e-7abc-8000-000000000001",
    "name": "app",
    "section": "users",
    "path": "models",
    "side": "request",
}
BODIES: Final = {
    "/api/keys": b'{"name":"intruder"}',
    "/api/settings/users": b'{"name":"intruder","role":"admin","password":"let me in please"}',
    "/api/settings/users/{name}": b'{"role":"admin","password":"let me in please"}',
    "/api/tokens": b'{"name":"intruder","role":"admin"}',
    "/logout": b"form=1",
}
DATA_PATHS: Final = (
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/responses"),
    ("GET", "/v1/models"),
    ("POST", "/v1/messages"),
    ("POST", "/v1beta/models/gemini-2.5-flash:generateContent"),
    ("POST", "/upload/v1beta/files"),
    ("POST", "/openai/deployments/d/chat/completions?api-version=1"),
    ("POST", "/bedrock/model/m/converse"),
    ("POST", "/ollama/api/chat"),
    ("POST", "/t/team:search/v1/chat/completions"),
    ("GET", "/-/me"),
)
CHAT: Final = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}'


@dataclass(frozen=True)
class Probe:
    """One request as it goes over the wire."""

    name: str
    request: bytes


@dataclass(frozen=True)
class Door:
    """One route to try: a method, a path whose names are filled in, a body that it would take."""

    method: str
    path: str
    body: bytes = b""
    is_form: bool = False

    def write(
        self,
        *headers: bytes,
        method: str = "",
        path: str = "",
        host: bytes = b"localhost",
        body: bytes | None = None,
        version: bytes = b"HTTP/1.1",
    ) -> bytes:
        """Return a request to it, changed as told."""
        content = self.body if body is None else body
        media_type = b"application/x-www-form-urlencoded" if self.is_form else b"application/json"
        verb = method or self.method
        lines = [
            f"{verb} {path or self.path} ".encode("latin-1") + version,
            b"Host: " + host,
            *headers,
            b"Connection: close",
        ]
        if content or verb not in ("GET", "HEAD", "OPTIONS"):
            lines += [b"Content-Type: " + media_type, b"Content-Length: %d" % len(content)]
        return b"\r\n".join(lines) + b"\r\n\r\n" + content


def auth_bypass(glassline: Glassline, scratch: Path) -> dict[str, Any]:
    """Try every way on every route; `glassline` runs with `scene.guarded_config`.

    Returns how many probes were sent to how many routes, and those that succeeded.
    """
    known = hand_out(glassline)
    before = state_of(glassline.data_dir)
    routes = all_routes(scratch)
    doors = [(route, _door(route)) for route in routes if route.least != "public"]
    successes: list[str] = []
    sent = 0
    pages = {page.path for page in PAGES}
    for number, (route, door) in enumerate(doors):
        # Pages have one endpoint in common: of each but the first, a third of the probes will do.
        some = slice(number % 3, None, 3) if route.path in pages - {"/"} else slice(None)
        for probe in [*_anybody(door, known), *_too_lowly(route, door, known)][some]:
            sent += 1
            status = ask(glassline.admin_port, probe.request)
            if status not in REFUSALS:
                successes.append(f"admin {door.method} {door.path}: {probe.name}: {status}")
    data_doors = _data_doors(glassline)
    for number, door in enumerate(data_doors):
        # Upstreams differ in nothing but their name: of those that are no dialect's own, a third of the probes will do.
        is_whole = number < len(DATA_PATHS) or os.environ.get("GLASSLINE_LONG")
        some = slice(None) if is_whole else slice(number % 3, None, 3)
        for probe in list(_strangers(door, known))[some]:
            sent += 1
            status = ask(glassline.port, probe.request)
            if status not in REFUSALS:
                successes.append(f"data {door.method} {door.path}: {probe.name}: {status}")
    if state_of(glassline.data_dir) != before:
        successes.append("something was changed")
    return {"probes": sent, "routes": len(doors) + len(data_doors), "successes": successes}


def ask(port: int, request: bytes) -> int:
    """Send bytes, return the status of the last answer; 400 where the server hung up without a word."""
    with RawClient(port, timeout_s=10) as client:
        client.send(request)
        raw = client.read_all().raw
    statuses = [int(found) for found in re.findall(rb"(?:^|\r\n|[^\r\n])HTTP/1\.1 (\d{3}) ", raw)]
    passed = [status for status in statuses if status not in REFUSALS and status != 100]
    return passed[0] if passed else statuses[-1] if statuses else 400 if not raw else 200


def _door(route: DeclaredRoute) -> Door:
    method = next(iter((route.methods or {"GET"}) - {"HEAD"}))
    path = re.sub(r"\{(\w+)\}", lambda match: NAMES.get(match[1], "1"), route.path_format)
    body = BODIES.get(route.path, b"") if method in ("POST", "PATCH") else b""
    return Door(method, path, body, route.is_form)


def _anybody(door: Door, known: Credentials) -> Iterator[Probe]:
    """Yield what somebody tries who has no credential, or had one."""
    yield Probe("no credential", door.write())
    for number, value in enumerate(_wrong_values(known)):
        yield Probe(f"wrong value {number}", door.write(b"Authorization: " + value))
    token = known.admin.encode()
    for name, header in {
        "two authorizations": b"Authorization: Bearer x\r\nAuthorization: Bearer " + token,
        "two authorizations, right first": b"Authorization: Bearer " + token + b"\r\nAuthorization: Basic eDp5",
        "another header": b"X-Api-Key: " + token,
        "proxy header": b"Proxy-Authorization: Bearer " + token,
        "underscore header": b"Authorization_: Bearer " + token,
        "space before the colon": b"Authorization : Bearer " + token,
        "folded": b"Authorization: Bearer\r\n " + token,
        "bare token as cookie": b"Cookie: token=" + token + b"; authorization=Bearer " + token,
        "token as session": b"Cookie: glassline_session=" + token,
        "guessed session": b"Cookie: glassline_session=" + b"A" * 43,
        "empty session": b"Cookie: glassline_session=",
        "forwarded for": b"X-Forwarded-For: 127.0.0.1\r\nX-Real-IP: 127.0.0.1\r\nForwarded: for=127.0.0.1;host=localhost",
        "forwarded user": b"X-Forwarded-User: admin\r\nRemote-User: admin\r\nX-Remote-User: admin\r\nX-Webauth-User: admin",
        "forwarded host": b"X-Forwarded-Host: localhost\r\nX-Forwarded-Prefix: /healthz\r\nX-Forwarded-Proto: https",
        "original url": b"X-Original-URL: /healthz\r\nX-Rewrite-URL: /healthz\r\nX-Original-Method: GET",
        "role header": b"X-Role: admin\r\nX-Glassline-Role: admin\r\nX-Admin: true",
        "browser": b"Accept: text/html\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: navigate",
    }.items():
        yield Probe(name, door.write(header))
    mark = "&" if "?" in door.path else "?"
    for field in ("token", "access_token", "key", "authorization", "role"):
        yield Probe(f"{field} in the query", door.write(path=f"{door.path}{mark}{field}={known.admin}"))
    yield Probe("token in the body", door.write(body=b'{"token":"%s","role":"admin"}' % token))
    yield from _roundabout(door)


def _wrong_values(known: Credentials) -> Iterator[bytes]:
    token = known.admin.encode()
    yield from (b"", b" ", b"Bearer", b"Bearer ", b"bearer  " + token, b"Bearer  " + token, b"Bearer\t" + token, token)
    yield from (b"Token " + token, b"Basic " + token, b"Basic", b"Basic !!!", b"Basic " + b"A" * 10_240, b"Digest x")
    yield from (b"Bearer " + token + b"x", b"Bearer " + token[:-1], b"Bearer " + token[:20], b"Bearer " + token.upper())
    yield from (b"Bearer " + token + b"\x00", b"Bearer " + token + b"\n", b"Bearer " + token + b"\x0b")
    yield from (
        b"Bearer " + b"x" * 10_240,
        b"Bearer glt-" + b"A" * 43,
        b"Bearer \xd9\xa1\xd9\xa2\xd9\xa3",
        b"Bearer \xff\xfe",
    )
    yield from (b"Bearer ' OR '1'='1", b'Bearer " OR 1=1 --', b"Bearer %", b"Bearer _", b"Bearer *", b"Bearer glt-%")
    yield from (
        b"Bearer null",
        b"Bearer undefined",
        b"Bearer true",
        b"Bearer [object Object]",
        b"Bearer " + token + b"," + token,
    )
    yield from (b"Bearer " + known.revoked.encode(), b"Bearer " + known.expired.encode())
    yield from (b"Bearer " + known.key.encode(), b"Bearer " + CONFIGURED_KEY.encode(), b"Bearer " + PASSWORD.encode())
    for pair in (
        b"admin:",
        b":",
        b"admin",
        b"admin:" + PASSWORD.encode()[:-1],
        b"admin:" + PASSWORD.encode() + b" ",
        b"admin:" + PASSWORD.encode() + b"\x00",
        b"admin:" + PASSWORD.upper().encode(),
        b"the-viewer:" + PASSWORD.encode(),
        b"the-admin:' OR 1=1 --",
        b"%:%",
    ):
        yield b"Basic " + base64.b64encode(pair)


def _roundabout(door: Door) -> Iterator[Probe]:
    """Yield requests that say one thing to whoever judges and another to whoever serves, or hope to."""
    path, tail = door.path, door.path.lstrip("/")
    for number, trick in enumerate(
        (
            f"//{tail}",
            f"/./{tail}",
            f"/x/../{tail}",
            f"/healthz/../{tail}",
            f"/login/../{tail}",
            f"/%2e/{tail}",
            f"/healthz/%2e%2e/{tail}",
            f"/healthz/..%2f{tail}",
            f"/%2f{tail}",
            path.replace("/api/", "/api%2f"),
            f"{path}/",
            f"{path}/.",
            f"{path}.",
            f"{path};x",
            f"{path};/healthz",
            f"{path}%00",
            f"{path}%20",
            f"{path}%3f",
            f"{path}.json",
            f"{path}/healthz",
            path.upper(),
            path.replace("/", "\\"),
            f"{path}?/healthz",
            f"{path}#/healthz",
            f"http://localhost{path}",
            f"http://localhost/healthz@{tail}",
            f"http://localhost:1/healthz/..{path}",
            f"{path}?_method=GET",
        )
    ):
        if trick.upper() != "/":
            yield Probe(f"path {number} {trick}", door.write(path=trick))
    for host in (
        b"localhost?",
        b"localhost#",
        b"localhost/healthz",
        b"admin@localhost",
        b"evil.example",
        b"127.0.0.1:1:2",
        b"",
    ):
        yield Probe(f"host {host!r}", door.write(host=host))
    for method in ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "PROPFIND", "get"):
        override = b"X-HTTP-Method-Override: " + door.method.encode()
        yield Probe(f"as {method}", door.write(override, b"X-Method-Override: GET", method=method))
    yield Probe("HTTP/1.0", door.write(version=b"HTTP/1.0"))
    yield Probe("HTTP/0.9", f"GET {path}\r\n\r\n".encode())
    upgrade = (b"Upgrade: websocket", b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
    yield Probe("WebSocket", door.write(*upgrade).replace(b"Connection: close", b"Connection: Upgrade"))
    # The second request would be the one that is not allowed: an answer to it must not be a success.
    second = door.write()
    yield Probe(
        "smuggled behind a length", _smuggle(second, b"Content-Length: 0\r\nTransfer-Encoding: chunked", b"0\r\n\r\n")
    )
    yield Probe("smuggled behind two lengths", _smuggle(second, b"Content-Length: 0\r\nContent-Length: 5", b""))
    yield Probe("smuggled behind a bare line feed", _smuggle(second, b"X: y\nContent-Length: 0", b""))


def _smuggle(second: bytes, framing: bytes, body: bytes) -> bytes:
    return b"POST /login HTTP/1.1\r\nHost: localhost\r\n" + framing + b"\r\n\r\n" + body + second


def _too_lowly(route: DeclaredRoute, door: Door, known: Credentials) -> Iterator[Probe]:
    """Yield what somebody tries whose role is too low."""
    tokens = {"viewer": known.viewer, "editor": known.editor, "admin": known.admin}
    ladder = list(tokens)
    for role in ladder[: ladder.index(route.least)]:
        bearer = b"Authorization: Bearer " + tokens[role].encode()
        yield Probe(f"{role}'s token", door.write(bearer))
        yield Probe(f"{role}'s password", door.write(b"Authorization: " + _password_of(role)))
        for header in (
            b"X-Role: admin",
            b"X-HTTP-Method-Override: GET",
            b"X-Original-URL: /api/me",
            b"X-Forwarded-User: admin",
            b"Cookie: glassline_session=x; role=admin",
        ):
            yield Probe(f"{role} with {header!r}", door.write(bearer, header))
        yield Probe(f"{role} with a role in the query", door.write(bearer, path=f"{door.path}?role=admin&as=admin"))
        for fields in (b'"role":"admin"', b'"spent_nano_usd":0', b'"cap":1e9', b'"project_id":1', b'"least":"viewer"'):
            yield Probe(f"{role} assigns {fields!r}", door.write(bearer, body=b"{" + fields + b"}"))


def _password_of(role: str) -> bytes:
    return b"Basic " + base64.b64encode(f"the-{role}:{role} {PASSWORD}".encode())


def _data_doors(glassline: Glassline) -> list[Door]:
    """Return a way to every upstream that the configuration knows, and one to every dialect's operations."""
    targets = build_targets(parse_config(glassline.config_file.read_text()))
    named = [("GET", f"/{name}/v1/models") for name in targets]
    return [Door(method, path, CHAT if method == "POST" else b"") for method, path in (*DATA_PATHS, *named)]


def _strangers(door: Door, known: Credentials) -> Iterator[Probe]:
    """Yield wrong keys in every place where a dialect has its key, and ways around showing one."""
    yield Probe("no key", door.write())
    key = known.key.encode()
    wrong = {
        "empty": b"",
        "unknown": b"sk-unknown-0123456789abcdef",
        "revoked": known.revoked_key.encode(),
        "right but for its end": key[:-1] + (b"A" if key[-1:] != b"A" else b"B"),
        "prefix": key[:20],
        "longer": key + b"x",
        "upper case": key.upper(),
        "quoted": b'"' + key + b'"',
        "SQL": b"' OR '1'='1",
        "wildcard": b"%",
        "10 KB": b"x" * 10_240,
        "digits of another script": b"\xd9\xa1\xd9\xa2\xd9\xa3",
        "an admin token": known.admin.encode(),
        "NUL": key + b"\x00",
    }
    places = {
        "bearer": b"Authorization: Bearer %b",
        "bare": b"Authorization: %b",
        "x-api-key": b"x-api-key: %b",
        "api-key": b"api-key: %b",
        "x-goog-api-key": b"x-goog-api-key: %b",
        "x-amz-security-token": b"x-amz-security-token: %b",
        "x-glassline-key": b"x-glassline-key: %b",
        "helicone-auth": b"Helicone-Auth: Bearer %b",
        "x-litellm-api-key": b"x-litellm-api-key: %b",
        "subprotocol": b"Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.%b",
        "signature": b"Authorization: AWS4-HMAC-SHA256 Credential=%b/20260101/us-east-1/bedrock/aws4_request, Signature=0",
        "underscored": b"x_api_key: %b",
    }
    for place, form in places.items():
        for what, value in wrong.items():
            yield Probe(f"{what} as {place}", door.write(form % value))
    for what in ("unknown", "revoked", "SQL"):
        encoded = base64.b64encode(b":" + wrong[what])
        yield Probe(f"{what} as Basic", door.write(b"Authorization: Basic " + encoded))
        mark = "&" if "?" in door.path else "?"
        quoted = wrong[what].decode().replace(" ", "+")
        yield Probe(f"{what} in the query", door.write(path=f"{door.path}{mark}key={quoted}&api_key={quoted}"))
    yield Probe("a right key as a cookie", door.write(b"Cookie: key=" + key + b"; authorization=Bearer " + key))
    yield Probe("a right key behind a comment", door.write(b"X-Comment: " + key))
    yield Probe("a right key in the body", door.write(body=b'{"api_key":"%b","model":"m","messages":[]}' % key))
    yield Probe("two authorizations", door.write(b"Authorization: Bearer x\r\nAuthorization: Bearer y"))
    yield Probe(
        "forwarded", door.write(b"X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-User: team\r\nX-Original-URL: /healthz")
    )
    for method in ("HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"):
        yield Probe(f"as {method}", door.write(b"X-HTTP-Method-Override: GET", method=method))
    tail = door.path.lstrip("/")
    for trick in (f"//{tail}", f"/healthz/../{tail}", f"/./{tail}", f"/%2e%2e/{tail}", f"/healthz/%2e%2e/{tail}"):
        yield Probe(f"path {trick}", door.write(path=trick))
    yield Probe("absolute form", door.write(path=f"http://localhost{door.path}"))
    yield Probe("smuggled", _smuggle(door.write(), b"Content-Length: 0\r\nTransfer-Encoding: chunked", b"0\r\n\r\n"))
    upgrade = (b"Upgrade: websocket", b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
    yield Probe("WebSocket", door.write(*upgrade).replace(b"Connection: close", b"Connection: Upgrade"))
