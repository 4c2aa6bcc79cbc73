from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from proxy.admin.app import create_app
from proxy.admin.declared import DeclaredRoute
from proxy.admin.identity import ROLES
from tests.conftest import StartGlassline
from tests.faults.auth.probes import Door, ask, auth_bypass
from tests.faults.auth.scene import admin_client, all_routes, guarded_config, hand_out
from tests.harness.client import exchange, post
from tests.harness.upstream import ScriptedUpstream


@pytest.mark.timeout(300)  # sixteen thousand probes
def test_no_way_leads_around_a_credential_on_any_route_of_either_port(
    start_glassline: StartGlassline, tmp_path: Path
) -> None:
    with ScriptedUpstream() as upstream:
        glassline = start_glassline(upstream.url, guarded_config(tmp_path / "secrets"))
        start = time.monotonic()
        result = auth_bypass(glassline, tmp_path / "scratch")
        print(f"{result['probes']} probes on {result['routes']} routes in {time.monotonic() - start:.1f} s")
        assert result["successes"] == []
        assert result["routes"] >= 40
        assert result["probes"] >= 60 * result["routes"]
        assert upstream.requests == [], "no provider heard of it"


def test_the_right_credentials_open_what_the_probes_could_not(start_glassline: StartGlassline, tmp_path: Path) -> None:
    """Without this, a server that refuses everybody would pass."""
    with ScriptedUpstream() as upstream:
        glassline = start_glassline(upstream.url, guarded_config(tmp_path / "secrets"))
        known = hand_out(glassline)
        bearer = b"Authorization: Bearer " + known.viewer.encode()
        assert ask(glassline.admin_port, Door("GET", "/status").write(bearer)) == 200, "as the probes ask"
        for route in all_routes(tmp_path / "scratch"):
            if route.methods == {"GET", "HEAD"} and "{" not in route.path and route.path != "/v1":
                allowed = ROLES[ROLES.index(route.least) :] if route.least != "public" else ROLES
                for role in ROLES:
                    client = admin_client(glassline, getattr(known, role))
                    # Some answers never end; some questions need a parameter.
                    with client as asking, asking.stream("GET", route.path) as answer:
                        assert (answer.status_code in (200, 400)) == (role in allowed), (route.path, role)
        assert exchange(glassline.port, post("/v1/chat/completions", b"{}", key=known.key)).status == 200
        assert len(upstream.requests) == 1


def test_every_route_declares_its_least_role(tmp_path: Path) -> None:
    app = create_app(all_routes(tmp_path))
    assert isinstance(app, Starlette)
    undeclared = [route for route in app.routes if not isinstance(route, DeclaredRoute)]
    assert undeclared == []
    public = {route.path for route in app.routes if isinstance(route, DeclaredRoute) and route.least == "public"}
    assert public == {"/healthz", "/login", "/static/{name}"}, "everything else asks who it is"


def test_a_route_that_declares_nothing_cannot_be_registered() -> None:
    async def endpoint(_: object) -> None: ...

    with pytest.raises(TypeError, match="declares its least role"):
        create_app([Route("/new", endpoint)])  # type: ignore[list-item] # what somebody might forget
    with pytest.raises(TypeError, match="least"):
        DeclaredRoute("/new", endpoint)  # type: ignore[call-arg,arg-type]


def test_only_the_first_of_two_requests_on_a_connection_has_its_credential(
    start_glassline: StartGlassline, tmp_path: Path
) -> None:
    with ScriptedUpstream() as upstream:
        glassline = start_glassline(upstream.url, guarded_config(tmp_path / "secrets"))
        known = hand_out(glassline)
        for port, path, credential in (
            (glassline.admin_port, "/status", known.viewer),
            (glassline.port, "/-/me", known.key),
        ):
            first = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {credential}\r\n\r\n"
            second = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            answer = exchange(port, (first + second).encode())
            assert re.findall(rb"HTTP/1\.1 (\d+)", answer.raw) == [b"200", b"401"]
