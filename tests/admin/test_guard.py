from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.admin.guard import Access, check_exposure, host_name, load_access, refuse
from proxy.config import Config, parse_config
from proxy.errors import ConfigError

LOCAL = Access("127.0.0.1")
ANYWHERE = ".".join("0000")
REMOTE = Access(ANYWHERE, b"correct horse")
JSON = (b"content-type", b"application/json")


def exposed(password_file: Path | None = None) -> Config:
    named = f", password_file: {password_file}" if password_file else ""
    return parse_config(f"admin: {{host: {ANYWHERE}{named}}}")


def basic(password: str) -> tuple[bytes, bytes]:
    return b"authorization", b"Basic " + base64.b64encode(b"anyone:" + password.encode())


def status(access: Access, method: str, *headers: tuple[bytes, bytes], path: str = "/status") -> int:
    refusal = refuse(access, method, path, headers)
    return refusal.status if refusal else 200


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8081", "127.0.0.1:8081", "[::1]:8081", "LOCALHOST.", "127.0.0.9"]
)
def test_loopback_names_are_served(host: str) -> None:
    assert status(LOCAL, "GET", (b"host", host.encode())) == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8081", "127.0.0.1.evil.example", "10.0.0.1", "localhost@evil", "[::2]", "", ":80"],
)
def test_a_rebound_name_is_refused(host: str) -> None:
    assert status(LOCAL, "GET", (b"host", host.encode())) == 421


def test_one_host_header_is_needed() -> None:
    assert status(LOCAL, "GET") == 421
    assert status(LOCAL, "GET", (b"host", b"localhost"), (b"host", b"localhost")) == 421


def test_the_configured_name_is_served() -> None:
    assert status(Access("panel.internal"), "GET", (b"host", b"panel.internal:8081")) == 200


def test_a_password_guards_everything_but_the_health_check() -> None:
    host = (b"host", b"glassline.internal")
    assert status(REMOTE, "GET", host) == 401
    assert status(REMOTE, "GET", host, basic("wrong horse")) == 401
    assert status(REMOTE, "GET", host, (b"authorization", b"Basic !!!")) == 401
    assert status(REMOTE, "GET", host, basic("correct horse")) == 200
    assert status(REMOTE, "GET", host, path="/healthz") == 200
    assert status(REMOTE, "GET", host, path="/metrics") == 401


def test_changes_must_be_json_from_our_own_origin() -> None:
    host = (b"host", b"localhost:8081")
    assert status(LOCAL, "POST", host) == 415
    assert status(LOCAL, "POST", host, (b"content-type", b"text/plain")) == 415
    assert status(LOCAL, "POST", host, JSON) == 200
    assert status(LOCAL, "POST", host, JSON, (b"origin", b"http://localhost:8081")) == 200
    assert status(LOCAL, "DELETE", host, JSON, (b"origin", b"http://localhost:9999")) == 403
    assert status(LOCAL, "DELETE", host, JSON, (b"origin", b"null")) == 403
    assert status(LOCAL, "POST", host, JSON, (b"origin", b"http://localhost:8081.evil.example")) == 403


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
