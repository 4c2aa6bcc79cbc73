from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.admin.guard import (
    Access,
    by_name,
    check_exposure,
    host_name,
    judge_change,
    judge_host,
    load_access,
    wants_page,
)
from proxy.config import Config, parse_config
from proxy.errors import ConfigError

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
    "host", ["localhost", "localhost:8081", "127.0.0.1:8081", "[::1]:8081", "LOCALHOST.", "127.0.0.9"]
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


@pytest.mark.parametrize(
    ("expected", "headers"),
    [
        (200, [JSON]),
        (200, [(b"content-type", b"Application/JSON; charset=utf-8")]),
        (200, [JSON, (b"origin", b"http://localhost:8081")]),
        (200, [JSON, (b"sec-fetch-site", b"same-origin")]),
        (415, []),
        (415, [(b"content-type", b"text/plain")]),
        (415, [FORM]),
        (415, [JSON, JSON]),
        (403, [JSON, (b"origin", b"http://localhost:9999")]),
        (403, [JSON, (b"origin", b"http://localhost:8081.evil.example")]),
        (403, [JSON, (b"origin", b"null")]),
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
    assert not wants_page("GET", by_name([page, (b"authorization", b"Basic eDp5")])), "it has its own window open"


@given(st.binary(max_size=60))
def test_a_host_header_of_any_bytes_is_read_or_refused(header: bytes) -> None:
    name = host_name(header)
    assert name is None or (name.isascii() and "/" not in name and "@" not in name)


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
    check_exposure(parse_config("admin: {host: localhost}"))
