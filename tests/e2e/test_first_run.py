"""Before the first request: the way to the provider can be tried from the dashboard, and what was tried is recorded."""

from __future__ import annotations

from pathlib import Path

import httpx

from tests.harness.stage import Stage


def test_a_test_request_goes_through_the_data_port_and_is_the_first_record(tmp_path: Path) -> None:
    with Stage(tmp_path, is_warm=True) as stage:
        glassline = stage.glassline(stage.simulator().url)
        with httpx.Client(base_url=f"http://127.0.0.1:{glassline.admin_port}", trust_env=False) as admin:
            assert admin.get("/api/status").json()["headline"]["text"] == "No requests yet"
            origin = {"origin": str(admin.base_url).rstrip("/")}
            answer = admin.post("/api/test_request", json={}, headers=origin).raise_for_status().json()
            glassline.wait_for_rows(1)
            (row,) = admin.get("/api/requests").json()["requests"]
        assert (row["id"], row["status"], row["path"]) == (answer["id"], answer["status"], "/models")
        assert row["tags"] == {"test": "first-run"}
