"""What a page of somebody else can make a browser send, and what it gets for it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from html.parser import HTMLParser

import httpx
import pytest

from tests.conftest import StartGlassline
from tests.faults.auth.scene import PASSWORD, guarded_config, hand_out, state_of
from tests.harness import Glassline
from tests.harness.client import exchange
from tests.harness.stage import with_upstream
from tests.harness.upstream import ScriptedUpstream

JSON = {"content-type": "application/json"}
FORM = {"content-type": "application/x-www-form-urlencoded"}
CHANGES = (
    ("POST", "/api/keys", b'{"name":"intruder"}'),
    ("DELETE", "/api/keys/app", b""),
    ("POST", "/api/settings/users", b'{"name":"intruder","role":"admin","password":"let me in"}'),
    ("PATCH", "/api/settings/users/the-viewer", b'{"role":"admin"}'),
    ("DELETE", "/api/settings/users/the-viewer", b""),
    ("POST", "/api/tokens", b'{"name":"intruder","role":"admin"}'),
    ("DELETE", "/api/tokens/viewer", b""),
)


class Fields(HTMLParser):
    """The hidden fields of a page's forms."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: dict[str, str] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "input" and given.get("type") == "hidden":
            self.found[given["name"] or ""] = given["value"] or ""


@dataclass(frozen=True)
class Browser:
    """A browser that is logged in as an admin."""

    glassline: Glassline
    client: httpx.Client

    @property
    def origin(self) -> str:
        return self.glassline.admin_url

    def attempt(self, headers: dict[str, str], change: tuple[str, str, bytes]) -> int:
        method, path, body = change
        return self.client.request(method, path, content=body, headers=headers).status_code


def log_in(client: httpx.Client, name: str, password: str, origin: str) -> httpx.Response:
    """Fill in the login form."""
    fields = Fields(client.get("/login").text).found
    headers = {"origin": origin, "sec-fetch-site": "same-origin"}
    return client.post("/login", data={"user": name, "password": password, **fields}, headers=headers)


@pytest.fixture(scope="module")
def glassline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Glassline]:
    directory = tmp_path_factory.mktemp("origins")
    with closing(
        Glassline(directory, with_upstream(guarded_config(directory / "secrets"), "http://127.0.0.1:9"))
    ) as made:
        hand_out(made.start())
        yield made


@pytest.fixture
def browser(glassline: Glassline) -> Iterator[Browser]:
    with httpx.Client(base_url=glassline.admin_url, timeout=20, trust_env=False) as client:
        assert log_in(client, "the-admin", f"admin {PASSWORD}", glassline.admin_url).status_code == 303
        yield Browser(glassline, client)


def test_a_session_opens_what_its_user_may(browser: Browser) -> None:
    assert browser.client.get("/api/me").json() == {"name": "the-admin", "role": "admin", "by": "session"}
    assert "Log out" in browser.client.get("/").text
    assert browser.attempt(JSON | {"origin": browser.origin}, CHANGES[0]) == 201


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param(JSON, id="no origin at all"),
        pytest.param(JSON | {"origin": "null"}, id="a sandboxed frame"),
        pytest.param(JSON | {"origin": "http://evil.example"}, id="another site"),
        pytest.param(JSON | {"origin": "http://localhost:3000"}, id="another port"),
        pytest.param(JSON | {"origin": "http://127.0.0.1.evil.example"}, id="a name that begins like ours"),
        pytest.param(JSON | {"sec-fetch-site": "cross-site"}, id="cross-site"),
        pytest.param(JSON | {"sec-fetch-site": "same-site"}, id="another port, as browsers say it"),
        pytest.param({"content-type": "text/plain", "origin": "ORIGIN"}, id="JSON as text"),
        pytest.param({"origin": "ORIGIN"}, id="no content type"),
        pytest.param(FORM | {"origin": "http://evil.example"}, id="a form"),
        pytest.param({"content-type": "multipart/form-data; boundary=x", "origin": "ORIGIN"}, id="a file"),
    ],
)
def test_another_site_changes_nothing_with_a_session(browser: Browser, headers: dict[str, str]) -> None:
    before = state_of(browser.glassline.data_dir)
    sent = {name: value.replace("ORIGIN", browser.origin) for name, value in headers.items()}
    for change in CHANGES:
        assert browser.attempt(sent, change) in (403, 415), change
    assert state_of(browser.glassline.data_dir) == before


def test_a_preflight_is_told_nothing(browser: Browser) -> None:
    asked = {
        "origin": "http://evil.example",
        "access-control-request-method": "DELETE",
        "access-control-request-headers": "content-type",
    }
    for _, path, _ in CHANGES:
        answer = browser.client.options(path, headers=asked)
        assert answer.status_code == 405
        assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_reading_with_another_origin_gets_no_permission_to_look(browser: Browser) -> None:
    answer = browser.client.get("/api/settings/users", headers={"origin": "http://evil.example"})
    assert not [name for name in answer.headers if name.startswith("access-control-")]
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"


def test_reading_changes_nothing(browser: Browser) -> None:
    before = state_of(browser.glassline.data_dir)
    for _, path, _ in CHANGES:
        for query in ("", "?_method=DELETE", "?method=POST&name=x&role=admin"):
            browser.client.get(path + query, headers={"x-http-method-override": "DELETE"})
    browser.client.get("/logout")
    assert browser.client.get("/api/me").is_success
    assert state_of(browser.glassline.data_dir) == before


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost:8081", 200),
        ("LOCALHOST", 200),
        ("localhost.", 200),
        ("127.0.0.1", 200),
        ("[::1]:8081", 200),
        ("evil.example", 421),
        ("evil.example:8081", 421),
        ("EVIL.example.", 421),
        ("localhost.evil.example", 421),
        ("127.0.0.1.nip.io", 421),
        ("192.168.1.10", 421),
        ("localhost:8081@evil.example", 421),
        ("localhost, evil.example", 421),
        ("", 421),
    ],
)
def test_a_rebound_name_reads_nothing_even_with_a_session(browser: Browser, host: str, expected: int) -> None:
    cookie = "; ".join(f"{name}={value}" for name, value in browser.client.cookies.items())
    request = f"GET /api/me HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n"
    status = exchange(browser.glassline.admin_port, request.encode()).status
    assert status == expected or (expected == 421 and status == 400), "an odd one is refused before it is looked up"


def test_the_forms_need_their_token_and_their_cookie(glassline: Glassline) -> None:
    origin = {"origin": glassline.admin_url}
    right = {"user": "the-admin", "password": f"admin {PASSWORD}"}
    with httpx.Client(base_url=glassline.admin_url, timeout=20, trust_env=False) as client:
        token = Fields(client.get("/login").text).found["form"]
        assert client.post("/login", data=right, headers=origin).status_code == 400
        client.get("/login")
        assert client.post("/login", data=right | {"form": token}, headers=origin).status_code == 400, "of another form"
        token = Fields(client.get("/login").text).found["form"]
        assert client.post("/login", data=right | {"form": token}, headers={"origin": "null"}).status_code == 403
        assert client.post("/login", data=right | {"form": token}).status_code == 403
        client.cookies.clear()
        assert client.post("/login", data=right | {"form": token}, headers=origin).status_code == 400
        assert client.get("/api/me").status_code == 401


def test_logging_out_needs_the_form_of_the_page(browser: Browser) -> None:
    origin = {"origin": browser.origin}
    assert browser.client.post("/logout", data={"form": "x"}, headers=origin).status_code == 400
    assert browser.client.get("/api/me").is_success
    fields = Fields(browser.client.get("/").text).found
    stolen = dict(browser.client.cookies)
    assert browser.client.post("/logout", data=fields, headers=origin).status_code == 303
    assert browser.client.get("/api/me").status_code == 401
    with httpx.Client(base_url=browser.origin, cookies=stolen, trust_env=False) as thief:
        assert thief.get("/api/me").status_code == 401, "it ended here, not only in the browser"


def test_the_cookie_is_for_nobody_s_script_and_no_other_site(glassline: Glassline) -> None:
    with httpx.Client(base_url=glassline.admin_url, timeout=20, trust_env=False) as client:
        answer = log_in(client, "the-viewer", f"viewer {PASSWORD}", glassline.admin_url)
        behind_tls = client.get("/login", headers={"x-forwarded-proto": "https"})
    (session,) = [cookie for cookie in answer.headers.get_list("set-cookie") if cookie.startswith("glassline_session=")]
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(session.split("; "))
    assert len(session.partition("=")[2].partition(";")[0]) == 43
    assert "Secure" not in session
    assert behind_tls.headers["set-cookie"].endswith("; Secure")


def test_an_answer_cannot_be_framed(browser: Browser) -> None:
    for path in ("/", "/login", "/api/me"):
        answer = browser.client.get(path)
        assert answer.headers["x-frame-options"] == "DENY"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


def test_a_browser_without_a_session_is_led_to_the_login_page(glassline: Glassline) -> None:
    answer = httpx.get(f"{glassline.admin_url}/", headers={"accept": "text/html,*/*"})
    assert answer.status_code == 401
    assert "url=/login" in answer.text
    assert "Basic" not in answer.headers["www-authenticate"], "no window of the browser's own"
    assert "script" not in answer.text


def test_an_open_port_lets_no_other_site_in_either(start_glassline: StartGlassline) -> None:
    glassline = start_glassline("http://127.0.0.1:9")
    with httpx.Client(base_url=glassline.admin_url, timeout=20, trust_env=False) as client:
        assert client.get("/api/me").json()["role"] == "admin"
        for headers in (FORM, {"content-type": "text/plain"}, JSON | {"origin": "http://evil.example"}):
            assert client.post("/api/keys", content=b'{"name":"x"}', headers=headers).status_code in (403, 415)
        assert client.get("/api/me", headers={"host": "evil.example"}).status_code == 421
        assert client.get("/api/keys").json() == {"auth": "passthrough", "keys": []}


def test_the_cookie_never_leaves_for_a_provider(start_glassline: StartGlassline) -> None:
    """A browser sends the cookies of localhost to every port of it."""
    with ScriptedUpstream() as upstream:
        glassline = start_glassline(upstream.url)
        for cookie in ("glassline_session=secret", "a=1; glassline_session=secret; b=2", "a=1"):
            httpx.get(f"{glassline.url}/v1/models", headers={"cookie": cookie, "authorization": "Bearer sk-0123456789"})
    assert all(b"glassline_session" not in request for request in upstream.requests)
    sent = [re.findall(rb"(?i)\r\ncookie: ([^\r]*)", request) for request in upstream.requests]
    assert sent == [[], [b"a=1; b=2"], [b"a=1"]]
