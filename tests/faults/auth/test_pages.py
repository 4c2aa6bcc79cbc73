"""Stored text is shown as text, on every page and in every table, whatever it holds."""

from __future__ import annotations

import csv
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

import apsw
import httpx
import pytest

from proxy.cli import main
from tests.admin.test_server import StartAdmin
from tests.faults.auth.payloads import FORMULAS, SCRIPTS
from tests.faults.auth.recorded import record_texts
from tests.faults.auth.scene import all_routes
from tests.harness.client import exchange

HARMLESS_TAGS = {
    *(
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "h1",
        "h2",
        "span",
        "p",
        "strong",
        "ul",
        "li",
        "section",
        "code",
    ),
    *("table", "thead", "tbody", "tr", "th", "td", "a", "form", "input", "button", "label"),
    *("aside", "header", "main", "article", "div", "b", "i", "small", "svg", "path", "noscript", "link", "script"),
}


class Document(HTMLParser):
    """Everything in a page that could do something."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: set[tuple[str, str]] = set()
        self.scripts: list[dict[str, str]] = []
        self.icons: set[str] = set()
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        given = {name: value or "" for name, value in attrs}
        if tag == "script":
            self.scripts.append(dict(given))
            given.pop("src", None)
        if given.get("rel") == "icon":
            self.icons.add(given.pop("href"))
        self.attributes |= set(given.items())

    def handle_data(self, data: str) -> None:
        self.text += data


def assert_harmless(document: Document) -> None:
    assert document.tags <= HARMLESS_TAGS
    assert not [name for name, _ in document.attributes if name.startswith("on") or name in ("style", "srcdoc", "src")]
    for name, value in document.attributes:
        if name in ("href", "action", "formaction"):
            parts = urlsplit(value)
            assert (parts.scheme, parts.netloc) == ("", ""), value
            assert value.startswith("/"), value
    for script in document.scripts:
        is_data = script.get("type") in ("application/json", "importmap")
        assert is_data or (script["type"] == "module" and script["src"].startswith("/static/index.js")), script
    assert all(icon.startswith("data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg'") for icon in document.icons)


def assert_strict_policy(answer: httpx.Response) -> None:
    policy = dict(part.strip().partition(" ")[::2] for part in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["frame-ancestors"] == "'none'"
    assert policy["base-uri"] == "'none'"
    assert policy["form-action"] in ("'none'", "'self'")
    assert re.fullmatch(r"'self' 'sha256-[\w+/]{43}='", policy.get("script-src", f"'self' 'sha256-{'x' * 43}='"))
    assert ("script-src" in policy) == (policy.get("require-trusted-types-for") == "'script'")
    assert "unsafe" not in answer.headers["content-security-policy"]


def test_two_hundred_scripts_in_every_field_run_on_no_page(tmp_path: Path, start_admin: StartAdmin) -> None:
    assert len(SCRIPTS) == 200
    data_dir = tmp_path / "data"
    record_texts(data_dir, SCRIPTS)
    database = apsw.Connection(str(data_dir / "records.db"))
    admin = start_admin(data_dir)
    assert len(admin.get("/api/requests", limit="1000").json()["requests"]) == 200
    seen = set[str]()
    for start in range(0, 200, 25):
        texts = SCRIPTS[start : start + 25]
        for text in texts:  # why records were lost stands in the verdict
            labels = json.dumps({"reason": text})
            database.execute("INSERT INTO counters VALUES ('glassline_records_lost_total', ?, 1)", (labels,))
        page = admin.get("/")
        assert page.status_code == 200
        assert_strict_policy(page)
        document = Document(page.text)
        assert_harmless(document)
        seen |= {text for text in texts if text in document.text}
        database.execute("DELETE FROM counters WHERE name = 'glassline_records_lost_total'")
    database.close()
    assert len(seen) > 150, "the texts are really there, but for those with characters that HTML cannot say"


def test_bodies_full_of_scripts_are_downloads(tmp_path: Path, start_admin: StartAdmin) -> None:
    record_texts(tmp_path / "data", SCRIPTS[:20])
    admin = start_admin(tmp_path / "data")
    for row in admin.get("/api/requests").json()["requests"]:
        for side in ("request", "response"):
            answer = admin.get(f"/api/requests/{row['id']}/{side}_body")
            assert answer.headers["content-type"] == "application/octet-stream"
            assert answer.headers["content-disposition"].startswith("attachment")
            assert "sandbox" in answer.headers["content-security-policy"]


def test_a_script_as_user_name_does_not_come_back_in_the_login_page(tmp_path: Path, start_admin: StartAdmin) -> None:
    admin = start_admin(tmp_path / "data")
    origin = {"origin": f"http://127.0.0.1:{admin.port}"}
    for text in SCRIPTS:
        answer = admin.client.post("/login", data={"user": text, "password": text, "form": text}, headers=origin)
        assert answer.status_code == 400
        assert_strict_policy(answer)
        assert_harmless(Document(answer.text))
        assert text not in answer.text


def test_every_answer_has_the_security_headers(tmp_path: Path, start_admin: StartAdmin) -> None:
    record_texts(tmp_path / "data", SCRIPTS[:1])
    (tmp_path / "password").write_text("correct horse")
    admin = start_admin(tmp_path / "data", f"admin: {{password_file: {tmp_path / 'password'}}}")
    answers = []
    for auth in (None, ("admin", "correct horse"), ("admin", "wrong horse")):
        for route in all_routes(tmp_path / "scratch"):
            for method in ("GET", "POST", "DELETE", "OPTIONS", "HEAD", "PUT"):
                if (auth, method, route.path) == (auth, "DELETE", "/logout"):
                    continue
                path = re.sub(r"\{\w+\}", "x", route.path_format)
                # Some answers never end.
                with admin.client.stream(method, path, auth=auth, headers={"accept": "text/html"}) as answer:
                    answers.append(answer)
    answers.append(admin.client.get("/nothing", headers={"host": "evil.example"}))
    assert {answer.status_code for answer in answers} >= {200, 401, 403, 404, 405, 415, 421} - {403}
    for answer in answers:
        assert_strict_policy(answer)
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in answer.headers
        assert "server" not in answer.headers
    garbage = exchange(admin.port, b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
    assert garbage.status == 400
    assert b"content-security-policy: default-src 'none'" in garbage.head


def test_the_health_check_says_nothing_but_ok(tmp_path: Path, start_admin: StartAdmin) -> None:
    admin = start_admin(tmp_path / "data")
    assert admin.get("/healthz").content == b"ok\n"


def test_formulas_are_text_in_exported_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record_texts(tmp_path / "data", FORMULAS)
    place = ["--data-dir", str(tmp_path / "data"), "--format", "csv"]
    assert main(["requests", "export", *place]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out, newline="")))
    assert len(rows) == len(FORMULAS)
    cells = [cell for row in rows for cell in row.values()]
    assert not [cell for cell in cells if cell.lstrip(" ")[:1] in ("=", "+", "@", "\t", "\r", "\n")]
    negative = [cell for cell in cells if cell.lstrip(" ").startswith("-")]
    assert not [cell for cell in negative if not cell.lstrip("- ").replace(".", "").isdigit()]
    assert {row["user"] for row in rows} == {text if text.startswith("x") else "'" + text for text in FORMULAS}
