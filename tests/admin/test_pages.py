"""The frame of the dashboard over real HTTP: what is there before any script, and how its files are served."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import apsw
import brotli
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.admin.assets import FOLDER, Assets
from proxy.admin.pages import PAGES
from proxy.admin.people import safe_next
from proxy.admin.segments import read_segment, segment
from proxy.admin.shell import Frame, Opening, render
from proxy.ports import Ports
from proxy.store.answered import answered_as
from proxy.store.query import Plan
from proxy.store.reading import StoreReader
from tests.admin.conftest import Admin
from tests.admin.test_server import StartAdmin

BROWSER = {"accept": "text/html,application/xhtml+xml,*/*"}


def told(page: httpx.Response, kind: str) -> dict[str, object]:
    """Return what stands in a data block of a page."""
    found = re.search(rf'<script type="{kind}"[^>]*>(.*?)</script>', page.text)
    assert found
    value: dict[str, object] = json.loads(found[1])
    return value


def test_every_page_is_there_and_names_files_that_are_there(recorded: Path, start_admin: StartAdmin) -> None:
    admin = start_admin(recorded)
    for page in PAGES:
        answer = admin.client.get(re.sub(r"\{\w+\}", "x", page.path))
        assert (answer.status_code, f"<h1>{page.title}</h1>" in answer.text) == (200, True), page.path
        for address in re.findall(r'(?:src|href)="(/static/[^"]+)"', answer.text):
            assert admin.client.get(address).status_code == 200, address
    assert {page.chunk for page in PAGES} <= {path.stem for path in FOLDER.glob("page-*.js")}


def test_whether_all_is_well_is_said_before_any_script(recorded: Path, start_admin: StartAdmin) -> None:
    admin = start_admin(recorded)
    before_scripts = re.sub(r"<script.*?</script>", "", admin.get("/").text)
    status = admin.get("/api/status").json()
    # How far the recorder is behind is another number each time: nobody records here.
    sentence = re.sub(r"[\d.]+", "", status["headline"]["text"])
    assert sentence in re.sub(r"[\d.]+", "", before_scripts)
    for tile in status["tiles"]:
        assert all(said in before_scripts for said in (tile["label"], tile["word"], tile["text"], tile["rule"]))


def test_pages_know_who_looks(recorded: Path, start_admin: StartAdmin) -> None:
    boot = told(start_admin(recorded, "listen: {port: 18999}").get("/"), "application/json")
    assert (boot["user"], boot["role"], boot["by"], boot["base"]) == ("anyone", "admin", "open", "")
    assert (boot["gateway"], boot["auth"]) == ("http://localhost:18999", "passthrough")


def test_pages_name_the_port_on_which_the_traffic_is_taken(recorded: Path, start_admin: StartAdmin) -> None:
    admin = start_admin(recorded, "listen: {port: 0}")
    Ports(data=28999, admin=1, pid=1).announce(recorded)
    assert told(admin.get("/"), "application/json")["gateway"] == "http://localhost:28999"


def test_the_policy_lets_run_what_is_in_the_page_and_nothing_else(recorded: Path, start_admin: StartAdmin) -> None:
    admin = start_admin(recorded)
    page = admin.get("/")
    policy = dict(part.strip().partition(" ")[::2] for part in page.headers["content-security-policy"].split(";"))
    inline = re.findall(r"<script(?![^>]*(?:src=|application/json))[^>]*>(.*?)</script>", page.text)
    digests = [f"'sha256-{base64.b64encode(hashlib.sha256(each.encode()).digest()).decode()}'" for each in inline]
    assert policy["script-src"].split() == ["'self'", *digests]
    assert policy["connect-src"] == policy["font-src"] == policy["worker-src"] == "'self'"
    assert policy["require-trusted-types-for"] == "'script'"
    nonces = {re.search(r"'nonce-(.*)'", admin.get("/").headers["content-security-policy"])[1] for _ in range(3)}  # type: ignore[index]
    assert len(nonces) == 3, "a new one for each page"


def test_every_module_is_mapped_to_an_address_that_is_kept_for_ever(recorded: Path, start_admin: StartAdmin) -> None:
    admin = start_admin(recorded)
    imports = told(admin.get("/"), "importmap")["imports"]
    assert isinstance(imports, dict)
    assert set(imports) == {f"/static/{path.name}" for path in FOLDER.glob("*.js")}
    for plain, exact in imports.items():
        assert "immutable" in admin.client.get(exact).headers["cache-control"]
        assert admin.client.get(plain).headers["cache-control"] == "no-cache"
    assert admin.client.get("/static/index.js?v=0123456789abcdef").headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("coding", ["br", "gzip", "identity"])
def test_a_file_is_the_same_however_it_is_packed(coding: str, recorded: Path, start_admin: StartAdmin) -> None:
    admin = start_admin(recorded)
    with admin.client.stream("GET", "/static/style.css", headers={"accept-encoding": coding}) as answer:
        body = b"".join(answer.iter_raw())
    unpack = {"br": brotli.decompress, "gzip": gzip.decompress, "identity": bytes}[coding]
    assert unpack(body) == (FOLDER / "style.css").read_bytes()
    assert answer.headers.get("content-encoding", "identity") == coding
    assert answer.headers["content-type"] == "text/css; charset=utf-8"
    again = admin.client.get(
        "/static/style.css", headers={"accept-encoding": coding, "if-none-match": answer.headers["etag"]}
    )
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("name", ["x.py", ".npmrc", "SOURCE_HASH", "none.js", "%2e%2e", "a%2fb.js"])
def test_nothing_but_the_files_of_the_build_can_be_asked_for(
    name: str, recorded: Path, start_admin: StartAdmin
) -> None:
    assert start_admin(recorded).client.get(f"/static/{name}").status_code in (400, 404)


def test_a_file_that_is_built_anew_is_served_anew(tmp_path: Path) -> None:
    (tmp_path / "index.js").write_text("1")
    assets = Assets(tmp_path)
    before = assets.address("index.js")
    (tmp_path / "index.js").write_text("two")
    assert assets.address("index.js") != before
    (tmp_path / "index.js").unlink()
    assert assets.find("index.js") is None


def test_without_a_build_the_page_says_what_to_do(tmp_path: Path) -> None:
    boot = {"form": "", "user": "", "base": ""}
    page = render(Frame("Overview", "page-overview", boot, "ok", Opening("ok", "Everything is OK")), Assets(tmp_path))
    assert "make ui" in page.html
    assert "Everything is OK" in page.html


def test_answers_are_packed_for_who_can_unpack_them(recorded: Path, start_admin: StartAdmin) -> None:
    admin = start_admin(recorded)
    for path in ("/", "/api/requests", "/metrics"):
        packed = admin.client.get(path, headers={"accept-encoding": "gzip"})
        assert packed.headers["content-encoding"] == "gzip", path
        assert "content-encoding" not in admin.client.get(path, headers={"accept-encoding": "identity"}).headers
    assert packed.num_bytes_downloaded < len(packed.content) / 3


def test_a_page_that_is_not_there_is_told_to_a_browser_in_the_frame(recorded: Path, start_admin: StartAdmin) -> None:
    admin = start_admin(recorded)
    page = admin.client.get("/nothing/here", headers=BROWSER)
    assert (page.status_code, "<h1>No such page</h1>" in page.text) == (404, True)
    assert admin.client.get("/nothing/here").json()["error"]["code"] == "not_found"
    assert admin.client.get("/api/nothing", headers=BROWSER).json()["error"]["code"] == "not_found"


def test_an_api_s_address_on_this_port_says_where_the_data_port_is(recorded: Path, start_admin: StartAdmin) -> None:
    admin = start_admin(recorded, "listen: {port: 18999}")
    for path in ("/v1", "/v1/chat/completions"):
        answer = admin.client.get(path, headers=BROWSER)
        assert (answer.status_code, "http://localhost:18999/v1" in answer.text) == (404, True)


# --- ways from an id -------------------------------------------------------------------------------------------------


def led_to(admin: Admin, path: str) -> str:
    answer = admin.client.get(path, headers=BROWSER)
    assert answer.status_code == 302, path
    return answer.headers["location"]


def test_an_id_leads_to_its_request_whoever_gave_it(recorded: Path, start_admin: StartAdmin) -> None:
    database = apsw.Connection(str(recorded / "records.db"))
    database.execute("UPDATE exchanges SET response_id = 'chatcmpl-' || seq")
    ours, theirs = database.execute("SELECT id, response_id FROM exchanges ORDER BY seq LIMIT 1 OFFSET 7").fetchall()[0]
    database.close()
    admin = start_admin(recorded)
    assert led_to(admin, f"/go/req/{ours}") == f"/requests/{ours}"
    assert led_to(admin, f"/go/req/{theirs}") == f"/requests/{ours}"
    assert admin.client.get("/go/req/chatcmpl-none", headers=BROWSER).status_code == 404


def test_ids_lead_to_sessions_and_traces(recorded: Path, start_admin: StartAdmin) -> None:
    admin = start_admin(recorded)
    assert led_to(admin, "/go/session/ticket-40917") == "/sessions/ticket-40917"
    odd = 'a/b "c" %~x'
    assert led_to(admin, f"/go/session/{segment(odd)}") == f"/sessions/{segment(odd)}"
    where = urlsplit(led_to(admin, "/go/trace/4bf92f3577b34da6"))
    assert (where.path, parse_qs(where.query)["q"]) == ("/requests", ['trace:"4bf92f3577b34da6"'])


def test_a_trace_is_shown_from_its_first_request_on(recorded: Path, start_admin: StartAdmin) -> None:
    database = apsw.Connection(str(recorded / "records.db"))
    database.execute("UPDATE exchanges SET trace_id = 'long-ago' WHERE seq IN (3, 5)")
    ((first,),) = database.execute("SELECT min(started_at) FROM exchanges WHERE seq IN (3, 5)").fetchall()
    database.close()
    where = urlsplit(led_to(start_admin(recorded), "/go/trace/long-ago"))
    assert parse_qs(where.query)["from"] == [str(first)]


def test_a_trace_that_cannot_be_looked_for_leads_to_the_list_all_the_same(
    recorded: Path, start_admin: StartAdmin
) -> None:
    where = urlsplit(led_to(start_admin(recorded), f"/go/trace/{'a' * 5000}"))
    assert (where.path, parse_qs(where.query)["from"]) == ("/requests", ["now-90d"])


def test_an_id_that_is_too_long_ago_is_not_found_instead_of_failing(recorded: Path) -> None:
    reader = StoreReader(recorded / "records.db", time_limit_s=0)
    try:
        question: Plan[str | None] = answered_as("chatcmpl-none")
        assert reader.run(question) is None
    finally:
        reader.close()


@given(st.text(min_size=1))
def test_every_id_survives_being_a_segment_of_a_path(text: str) -> None:
    known = text.encode(errors="replace").decode()
    written = segment(known)
    assert re.fullmatch(r"[A-Za-z0-9_:.~-]+", written)
    assert written not in (".", "..")
    assert read_segment(written) == known


# --- mounted elsewhere, and after a login -----------------------------------------------------------------------------


def test_everything_is_mounted_under_the_base_path(recorded: Path, start_admin: StartAdmin) -> None:
    admin = start_admin(recorded, "admin: {base_path: /tools/glass/}")
    page = admin.get("/tools/glass/")
    assert page.status_code == 200
    assert told(page, "application/json")["base"] == "/tools/glass"
    addresses = re.findall(r'(?:src|href|action)="(/[^"]*)"', page.text)
    assert addresses
    assert all(address.startswith("/tools/glass/") for address in addresses)
    assert admin.get("/tools/glass/api/status").status_code == 200
    assert admin.get("/tools/glass").status_code == 200
    assert led_to(admin, "/tools/glass/go/session/x") == "/tools/glass/sessions/x"
    assert admin.get("/api/status").status_code == 200, "a proxy in front may have taken the path off"
    assert admin.get("/tools/glassy").status_code == 404


def test_a_login_leads_back_to_where_somebody_wanted_to_go(
    recorded: Path, tmp_path: Path, start_admin: StartAdmin
) -> None:
    (tmp_path / "password").write_text("correct horse\n")
    admin = start_admin(recorded, f"admin: {{base_path: /glass, password_file: {tmp_path / 'password'}}}")
    turned_away = admin.client.get("/glass/requests?q=status:500", headers=BROWSER)
    assert turned_away.status_code == 401
    to_login = re.search(r'href="([^"]+)"', turned_away.text)
    assert to_login
    form = admin.client.get(to_login[1])
    assert admin.client.get(re.findall(r'href="(/glass/static/style\.css[^"]*)"', form.text)[0]).status_code == 200
    fields = dict(re.findall(r'name="(form|next)" value="([^"]*)"', form.text))
    answer = admin.client.post(
        "/glass/login",
        data={"user": "admin", "password": "correct horse", **fields},
        headers={"origin": f"http://127.0.0.1:{admin.port}"},
    )
    assert (answer.status_code, answer.headers["location"]) == (303, "/glass/requests?q=status:500")
    assert all("Path=/glass/" in line for line in answer.headers.get_list("set-cookie"))
    page = admin.client.get("/glass/requests")
    assert (page.status_code, 'action="/glass/logout"' in page.text) == (200, True)


@given(st.text() | st.from_regex(r"/{0,2}[\\/.a-z:%?&=;]{0,12}", fullmatch=True))
def test_nobody_is_led_to_another_host_after_a_login(wanted: str) -> None:
    leads = safe_next(wanted)
    parts = urlsplit(f"http://here{leads}")
    assert leads.startswith("/")
    assert not leads.startswith(("//", "/\\"))
    assert (parts.netloc, leads.isprintable(), leads.isascii()) == ("here", True, True)


@pytest.mark.parametrize(
    ("cookie", "theme"), [("dark", ' data-theme="dark"'), ("light", ' data-theme="light"'), ('"><b>', "")]
)
def test_the_first_thing_drawn_has_the_theme_that_was_chosen(
    cookie: str, theme: str, recorded: Path, start_admin: StartAdmin
) -> None:
    page = start_admin(recorded).client.get("/", headers={"cookie": f"glassline_theme={cookie}"})
    assert page.text.startswith(f'<!doctype html><html lang="en"{theme}>')
