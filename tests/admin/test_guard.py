from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message, Receive, Scope, Send

from proxy.admin.guard import (
    DEFAULT_CONTENT_POLICY,
    SECURITY_HEADERS,
    Access,
    Doors,
    Guard,
    Headers,
    Refusal,
    by_name,
    check_exposure,
    host_name,
    judge_change,
    judge_host,
    judge_source,
    load_access,
    to_login,
    wants_page,
)
from proxy.admin.identity import Identity
from proxy.config import Config, parse_config
from proxy.errors import ConfigError, StoreError

LOCAL = Access("127.0.0.1")
ANYWHERE = ".".join("0000")
REMOTE = Access(ANYWHERE, password=b"correct horse")
JSON = (b"content-type", b"application/json")
FORM = (b"content-type", b"application/x-www-form-urlencoded")
HOST = (b"host", b"localhost:8081")
Header = tuple[bytes, bytes]


def exposed(password_file: Path | None = None) -> Config:
    named = f", password_file: {password_file}" if password_file else ""
    return parse_config(f"admin: {{host: {ANYWHERE}{named}}}")


def host_status(access: Access, *headers: Header, path: str = "/status") -> int:
    refusal = judge_host(access, path, by_name(headers))
    return refusal.status if refusal else 200


def change_status(method: str, headers: Iterable[Header], *, is_form: bool = False, has_session: bool = False) -> int:
    refusal = judge_change(method, by_name(headers), is_form=is_form, has_session=has_session)
    return refusal.status if refusal else 200


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8081", "127.0.0.1:8081", "[::1]", "[::1]:8", "LOCALHOST.", "127.0.0.9"]
)
def test_loopback_names_are_served(host: str) -> None:
    assert host_status(LOCAL, (b"host", host.encode())) == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8081",
        "127.0.0.1.evil.example",
        "10.0.0.1",
        "localhost@evil",
        "localhost?evil",
        "localhost#evil",
        "localhost/",
        "[::2]",
        "[::1",
        "[::1]80",
        "[::1]:x1",
        "localhost:",
        "localhost:x",
        "",
        ":80",
    ],
)
def test_a_rebound_name_is_refused(host: str) -> None:
    assert host_status(LOCAL, (b"host", host.encode())) == 421


def test_one_host_header_is_needed() -> None:
    assert host_status(LOCAL) == 421
    assert host_status(LOCAL, (b"host", b"localhost"), (b"host", b"localhost")) == 421


def test_the_configured_names_are_served() -> None:
    panel = Access("panel.internal", ("panel.example",))
    assert host_status(panel, (b"host", b"panel.internal:8081")) == 200
    assert host_status(panel, (b"host", b"PANEL.example.")) == 200
    assert host_status(panel, (b"host", b"other.example")) == 421


def test_a_port_with_a_password_takes_any_name_unless_some_are_listed() -> None:
    assert host_status(REMOTE, (b"host", b"glassline.internal")) == 200
    listed = Access(ANYWHERE, ("panel.example",), b"correct horse")
    assert host_status(listed, (b"host", b"panel.example")) == 200
    assert host_status(listed, (b"host", b"glassline.internal")) == 421


def test_the_health_check_needs_no_name() -> None:
    assert host_status(LOCAL, (b"host", b"10.1.2.3:8081"), path="/healthz") == 200


def test_reading_needs_no_proof_of_where_it_is_from() -> None:
    for method in ("GET", "HEAD", "OPTIONS"):
        assert change_status(method, [HOST, (b"origin", b"http://evil.example")], has_session=True) == 200


@pytest.mark.parametrize(
    ("expected", "said"),
    [
        (200, {}),
        (200, {"site": b"same-origin", "mode": b"cors", "dest": b"empty"}),
        (200, {"site": b"none", "mode": b"navigate", "dest": b"document"}),
        (200, {"site": b"cross-site", "mode": b"navigate", "dest": b"document"}),
        (403, {"site": b"cross-site", "mode": b"no-cors", "dest": b"empty"}),
        (403, {"site": b"cross-site", "mode": b"navigate", "dest": b"iframe"}),
        (403, {"site": b"same-site", "mode": b"cors", "dest": b"empty"}),
        (403, {"site": b"same-site"}),
    ],
)
def test_another_page_may_lead_here_and_ask_nothing(expected: int, said: dict[str, bytes]) -> None:
    # It could read no answer, but see how long a search took, and have reports worked out.
    refusal = judge_source(by_name((b"sec-fetch-" + name.encode(), value) for name, value in said.items()))
    assert (200 if refusal is None else refusal.status) == expected


@pytest.mark.parametrize(
    ("expected", "headers"),
    [
        (200, [JSON]),
        (200, [(b"content-type", b"Application/JSON; charset=utf-8")]),
        (200, [JSON, (b"origin", b"http://localhost:8081")]),
        (200, [JSON, (b"origin", b"HTTPS://LocalHost:8081")]),
        (200, [JSON, (b"sec-fetch-site", b"same-origin")]),
        (200, [JSON, (b"sec-fetch-site", b"none")]),
        (415, []),
        (415, [(b"content-type", b"text/plain")]),
        (415, [FORM]),
        (415, [JSON, JSON]),
        (403, [JSON, (b"origin", b"http://localhost:9999")]),
        (403, [JSON, (b"origin", b"http://localhost:8081.evil.example")]),
        (403, [JSON, (b"origin", b"null")]),
        (403, [JSON, (b"origin", b"ftp://localhost:8081")]),
        (403, [JSON, (b"origin", b"")]),
        (403, [JSON, (b"origin", b"http://localhost:8081"), (b"origin", b"http://evil.example")]),
        (403, [JSON, (b"sec-fetch-site", b"cross-site")]),
        (403, [JSON, (b"sec-fetch-site", b"same-site")]),
        (403, [JSON, (b"origin", b"http://localhost:8081"), (b"sec-fetch-site", b"cross-site")]),
    ],
)
def test_changes_must_be_json_from_our_own_origin(expected: int, headers: list[Header]) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE", "BREW"):
        assert change_status(method, [HOST, *headers]) == expected


@pytest.mark.parametrize("kind", ["form", "session"])
def test_what_a_browser_sends_must_say_where_it_is_from(kind: str) -> None:
    is_form, has_session = kind == "form", kind == "session"
    media_type = FORM if is_form else JSON
    for expected, more in (
        (403, []),
        (403, [(b"origin", b"http://evil.example")]),
        (200, [(b"origin", b"http://localhost:8081")]),
        (200, [(b"sec-fetch-site", b"same-origin")]),
    ):
        assert change_status("POST", [HOST, media_type, *more], is_form=is_form, has_session=has_session) == expected


def test_a_browser_is_shown_the_way_to_the_login_page_and_a_script_is_not() -> None:
    page = (b"accept", b"text/html,application/xhtml+xml")
    assert wants_page("GET", by_name([page]))
    assert not wants_page("POST", by_name([page]))
    assert not wants_page("GET", by_name([(b"accept", b"*/*")]))
    assert not wants_page("GET", by_name([]))
    assert not wants_page("GET", by_name([page, (b"authorization", b"Basic eDp5")])), "it has its own window open"


@given(st.binary(max_size=60))
def test_a_host_header_of_any_bytes_is_read_or_refused(header: bytes) -> None:
    name = host_name(header)
    assert name is None or (name.isascii() and "/" not in name and "@" not in name)


@pytest.mark.parametrize(
    ("header", "name"),
    [(b"A-b_c.d:1", "a-b_c.d"), (b"a/b", None), (b"a@b", None), (b"a?b", None), (b"a b", None), (b".", None)],
)
def test_a_host_name_is_letters_digits_and_what_joins_them(header: bytes, name: str | None) -> None:
    assert host_name(header) == name


def test_others_reach_the_admin_port_only_with_a_password(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^admin\.password_file: must be set"):
        check_exposure(exposed())
    secret = tmp_path / "password"
    with pytest.raises(ConfigError, match="No such file"):
        check_exposure(exposed(secret))
    secret.write_text("short\n")
    with pytest.raises(ConfigError, match="8 to 4096 bytes"):
        check_exposure(exposed(secret))
    secret.write_text("long enough\n")
    assert load_access(exposed(secret).admin).password == b"long enough"
    for host in ("localhost", "LOCALHOST.", "127.0.0.9", "::1"):
        check_exposure(parse_config(f"admin: {{host: '{host}'}}"))


def test_names_are_compared_in_lower_case_and_without_the_closing_dot(tmp_path: Path) -> None:
    config = "admin: {host: localhost, hosts: [Panel.Example., XX]"
    assert load_access(parse_config(config + "}").admin) == Access("localhost", ("panel.example", "xx"))
    secret = tmp_path / "password"
    secret.write_text("long enough")
    known = load_access(parse_config(config + f", password_file: {secret}}}").admin)
    assert known == Access("localhost", ("panel.example", "xx"), b"long enough")


@pytest.mark.parametrize(("size", "is_taken"), [(7, False), (8, True), (4096, True), (4097, False)])
def test_a_password_is_taken_whole_or_not_at_all(size: int, is_taken: bool, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("p" * size)
    if is_taken:
        assert load_access(exposed(secret).admin).password == b"p" * size
    else:
        with pytest.raises(ConfigError, match="8 to 4096 bytes"):
            load_access(exposed(secret).admin)


ANN = Identity("ann", "viewer", "session")
ROBOT = Identity("robot", "admin", "token")
LOCKED = Refusal(401, "unauthorized", "log in")
WHO: dict[bytes | None, Identity | Refusal] = {b"ann": ANN, b"robot": ROBOT, None: LOCKED}


async def served(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with who it is; `/framed` says itself how it may be framed."""
    body = scope["identity"].name.encode() if scope["identity"] else await _whole(receive)
    headers = [(b"x-frame-options", b"SAMEORIGIN")] if scope["path"] == "/framed" else []
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _whole(receive: Receive) -> bytes:
    body: bytes = (await receive())["body"]
    return b"nobody sent " + body


async def identify(fields: Headers, address: str) -> Identity | Refusal:
    if address != "192.0.2.7":
        raise StoreError("the users cannot be read")
    return WHO[fields.get(b"x-who", (None,))[0]]


def answer(
    method: str, path: str, headers: dict[str, str] | None = None, *, address: str = "192.0.2.7", body: bytes = b""
) -> httpx.Response:
    """Ask a guarded application in this process."""
    guard = Guard(served, LOCAL, Doors(frozenset({"/login", "/healthz"}), frozenset({"/login", "/form"})), identify)

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(guard, client=(address, 40_000))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8081") as client:
            return await client.request(method, path, headers=headers, content=body)

    return asyncio.run(ask())


def test_who_was_recognised_is_told_to_the_application_and_every_answer_is_hardened() -> None:
    told = answer("GET", "/status", {"x-who": "ann"})
    assert (told.status_code, told.content) == (200, b"ann")
    assert set(told.headers.raw) == {*SECURITY_HEADERS, DEFAULT_CONTENT_POLICY}
    framed = answer("GET", "/framed", {"x-who": "ann"}).headers
    assert framed.get_list("x-frame-options") == ["SAMEORIGIN"]
    assert len(framed.raw) == len(SECURITY_HEADERS) + 1


@pytest.mark.parametrize(
    ("status", "code", "headers"),
    [
        (421, "wrong_host", {"x-who": "ann", "host": "evil.example"}),
        (401, "unauthorized", {}),
        (401, "unauthorized", {"accept": "*/*"}),
    ],
)
def test_a_refusal_says_why_and_closes_the_connection(status: int, code: str, headers: dict[str, str]) -> None:
    refused = answer("GET", "/status", headers)
    assert (refused.status_code, refused.json()["error"]["code"]) == (status, code)
    assert refused.json()["error"]["message"]
    assert (refused.headers["content-type"], refused.headers["connection"]) == ("application/json", "close")
    assert refused.headers["content-length"] == str(len(refused.content))
    assert set(refused.headers.raw) >= {*SECURITY_HEADERS, DEFAULT_CONTENT_POLICY}
    head = answer("HEAD", "/status", headers)
    assert (head.status_code, head.content) == (status, b"")
    assert head.headers["content-length"] == str(len(refused.content))


def test_a_browser_that_is_not_logged_in_sees_a_page_that_leads_there() -> None:
    page = answer("GET", "/status", {"accept": "text/html"})
    assert page.status_code == 401
    assert 'href="/login?next=%2Fstatus"' in page.text
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert set(page.headers.raw) >= {*SECURITY_HEADERS, *to_login("", {"path": "/"}).headers}
    other = answer("GET", "/status", {"accept": "text/html", "host": "evil.example"})
    assert (other.status_code, other.headers["content-type"]) == (421, "application/json")


def test_what_everybody_may_see_is_shown_to_everybody() -> None:
    assert answer("GET", "/login").status_code == 200
    assert answer("GET", "/login", {"host": "evil.example"}).status_code == 421
    assert answer("GET", "/healthz", {"host": "10.1.2.3"}).status_code == 200


def test_no_body_is_sent_to_who_asks_for_a_head() -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        pytest.fail("nobody needs to know what it sends")

    guard = Guard(served, LOCAL, Doors(), identify)
    asyncio.run(guard({"type": "http", "method": "HEAD", "path": "/", "headers": []}, receive, send))
    assert [message.get("body") for message in sent] == [None, b""]


def test_nobody_comes_in_while_users_cannot_be_read() -> None:
    refused = answer("GET", "/status", {"x-who": "ann"}, address="192.0.2.8")
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert refused.json()["error"] == {"code": "unavailable", "message": "the users cannot be read"}


FORM_TYPE = {"content-type": "application/x-www-form-urlencoded"}
JSON_TYPE = {"content-type": "application/json"}
OURS = {"origin": "http://localhost:8081"}


@pytest.mark.parametrize(
    ("status", "path", "headers"),
    [
        (200, "/login", FORM_TYPE | OURS),
        (403, "/login", FORM_TYPE),
        (415, "/login", JSON_TYPE | OURS),
        (200, "/healthz", JSON_TYPE),
        (401, "/status", JSON_TYPE | OURS),
        (200, "/status", JSON_TYPE | OURS | {"x-who": "ann"}),
        (403, "/status", JSON_TYPE | {"x-who": "ann"}),
        (200, "/status", JSON_TYPE | {"x-who": "robot"}),
        (403, "/form", FORM_TYPE | {"x-who": "robot"}),
        (200, "/form", FORM_TYPE | OURS | {"x-who": "robot"}),
    ],
)
def test_a_change_is_judged_by_its_route_and_by_how_somebody_was_recognised(
    status: int, path: str, headers: dict[str, str]
) -> None:
    told = answer("POST", path, headers, body=b"{}")
    assert told.status_code == status
    if status == 200:
        assert told.text == headers.get("x-who", "nobody sent {}")


def test_what_is_no_http_is_left_alone() -> None:
    async def fail(*_: object) -> None:
        pytest.fail("it was served")

    guard = Guard(fail, LOCAL, Doors(), identify)
    asyncio.run(guard({"type": "websocket", "headers": [], "path": "/"}, fail, fail))  # type: ignore[arg-type]
