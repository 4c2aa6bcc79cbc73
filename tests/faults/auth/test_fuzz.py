"""Requests made up from our own description of the API: none of them makes the server fail."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any

import httpx
import pytest

from tests.faults.auth.fuzz import OPEN, check_described, fuzz
from tests.faults.auth.scene import admin_client, guarded_config, hand_out
from tests.harness import Glassline
from tests.harness.stage import with_upstream


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    directory = tmp_path_factory.mktemp("fuzz")
    config = with_upstream(guarded_config(directory / "secrets"), "http://127.0.0.1:9")
    with ExitStack() as stack:
        glassline = stack.enter_context(closing(Glassline(directory, config))).start()
        yield stack.enter_context(admin_client(glassline, hand_out(glassline).admin))


def test_no_request_makes_the_server_fail(client: httpx.Client) -> None:
    statuses = fuzz(client, 500)
    assert statuses[200] > 10
    assert sum(statuses[status] for status in range(400, 500)) > 10


def test_an_answer_that_is_not_as_described_is_noticed() -> None:
    told = httpx.Response(200, json={"status": 7})
    as_json: dict[str, Any] = {"200": {"content": {"application/json": {"schema": OPEN}}}}
    as_other: dict[str, Any] = {"200": {"content": {"a/b": {}}}}
    for responses in (as_json, as_other):
        with pytest.raises(AssertionError):
            check_described(told, responses)
    with pytest.raises(KeyError):
        check_described(told, {"201": {}})


def test_the_admin_is_still_there_after_all_of_it(client: httpx.Client) -> None:
    assert client.get("/api/me").json()["role"] == "admin"
