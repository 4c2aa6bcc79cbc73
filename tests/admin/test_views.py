"""Saved views: one's own are one's own, and what everybody sees is changed by editors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from proxy.admin.database import AppDatabase
from proxy.admin.users import UserRequest, UserStore
from proxy.admin.views import MOST_VIEWS
from tests.admin.conftest import Admin

StartAdmin = Callable[..., Admin]
PASSWORD = "correct horse"
VIEW = {"page": "requests", "name": "Failures", "query": "q=failed%3Atrue&from=now-1h"}


@pytest.fixture
def admin(tmp_path: Path, start_admin: StartAdmin) -> Admin:
    """Start an admin process that knows four people."""
    with AppDatabase(tmp_path / "data") as database:
        users = UserStore(database, has_built_in=False)
        for name, role in [("root", "admin"), ("eve", "editor"), ("vic", "viewer"), ("val", "viewer")]:
            users.add(UserRequest.model_validate({"name": name, "role": role, "password": PASSWORD}))
    return start_admin(tmp_path / "data")


def ask(admin: Admin, who: str, method: str, path: str = "/api/views", **body: Any) -> httpx.Response:
    return admin.client.request(
        method, path, json=body or None, auth=(who, PASSWORD), headers={"content-type": "application/json"}
    )


def seen(admin: Admin, name: str) -> list[str]:
    return [view["name"] for view in ask(admin, name, "GET").json()["views"]]


def test_a_view_is_seen_by_whoever_kept_it(admin: Admin) -> None:
    made = ask(admin, "vic", "POST", **VIEW)
    assert made.status_code == 201
    assert made.json() | VIEW == made.json()
    assert seen(admin, "vic") == ["Failures"]
    assert seen(admin, "val") == seen(admin, "root") == []
    place = f"/api/views/{made.json()['id']}"
    for name in ("val", "root"):
        assert ask(admin, name, "PATCH", place, name="Mine").status_code == 404
        assert ask(admin, name, "DELETE", place).status_code == 404
    assert ask(admin, "vic", "PATCH", place, name="Mine", query="q=x").json()["query"] == "q=x"
    assert ask(admin, "vic", "DELETE", place).json()["name"] == "Mine"
    assert seen(admin, "vic") == []


def test_who_comes_later_with_the_same_name_inherits_no_views(admin: Admin) -> None:
    ask(admin, "vic", "POST", **VIEW).raise_for_status()
    ask(admin, "root", "DELETE", "/api/settings/users/vic").raise_for_status()
    again = {"name": "Vic", "role": "viewer", "password": PASSWORD}
    ask(admin, "root", "POST", "/api/settings/users", **again).raise_for_status()
    ask(admin, "root", "POST", "/api/settings/users", **again | {"name": "other"}).raise_for_status()
    assert seen(admin, "Vic") == []

    def with_token() -> list[str]:
        token = ask(admin, "root", "POST", "/api/tokens", name="wall", role="viewer").json()["token"]
        headers = {"authorization": f"Bearer {token}"}
        admin.client.post("/api/views", json=VIEW | {"name": token[-4:]}, headers=headers).raise_for_status()
        found = admin.client.get("/api/views", headers=headers).json()["views"]
        ask(admin, "root", "DELETE", "/api/tokens/wall").raise_for_status()
        return [view["name"] for view in found]

    assert len(with_token()) == len(with_token()) == 1


def test_what_everybody_sees_is_changed_by_editors(admin: Admin) -> None:
    assert ask(admin, "vic", "POST", **VIEW, is_shared=True).status_code == 403
    made = ask(admin, "eve", "POST", **VIEW, is_shared=True).json()
    assert seen(admin, "vic") == ["Failures"]
    place = f"/api/views/{made['id']}"
    assert ask(admin, "vic", "PATCH", place, name="Mine").status_code == 403
    assert ask(admin, "vic", "DELETE", place).status_code == 403
    assert ask(admin, "root", "PATCH", place, name="All failures").status_code == 200
    assert ask(admin, "eve", "DELETE", place).status_code == 200


def test_two_views_of_a_page_are_not_called_the_same(admin: Admin) -> None:
    assert ask(admin, "vic", "POST", **VIEW).status_code == 201
    assert ask(admin, "vic", "POST", **VIEW).status_code == 409
    assert ask(admin, "val", "POST", **VIEW).status_code == 201
    other = ask(admin, "vic", "POST", **VIEW | {"name": "Slow"}).json()
    assert ask(admin, "vic", "PATCH", f"/api/views/{other['id']}", name="Failures").status_code == 409
    assert ask(admin, "vic", "POST", **VIEW | {"page": "cost"}).status_code == 201
    pages = ask(admin, "vic", "GET", "/api/views?page=cost").json()["views"]
    assert [view["page"] for view in pages] == ["cost"]


@pytest.mark.parametrize(
    "wrong",
    [{"page": "nowhere"}, {"name": " "}, {"name": "x" * 81}, {"query": "q" * 8193}, {"colour": "red"}, {"query": None}],
)
def test_what_is_no_view_is_told(admin: Admin, wrong: dict[str, Any]) -> None:
    assert ask(admin, "vic", "POST", **VIEW | wrong).status_code == 400


def test_a_change_that_changes_nothing_and_a_place_that_is_none_are_told(admin: Admin) -> None:
    made = ask(admin, "vic", "POST", **VIEW).json()
    place = f"/api/views/{made['id']}"
    answer = admin.client.patch(place, json={}, auth=("vic", PASSWORD))
    assert answer.status_code == 400
    for nowhere in ("/api/views/x", "/api/views/999", "/api/views/99999999999999999999"):
        assert ask(admin, "vic", "DELETE", nowhere).status_code == 404


def test_nobody_keeps_endless_views(admin: Admin) -> None:
    for number in range(MOST_VIEWS):
        assert ask(admin, "vic", "POST", **VIEW | {"name": f"v{number}"}).status_code == 201
    assert ask(admin, "vic", "POST", **VIEW).status_code == 409
