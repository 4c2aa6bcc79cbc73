from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.security.canaries import Planted, Search, canaries, may_hold


@pytest.mark.parametrize(
    ("encrypted", "bodies"),
    [(False, "all"), (False, "none"), (True, "all")],
    ids=["plain", "without bodies", "encrypted"],
)
def test_no_secret_is_found_in_anything_that_was_written_or_shown(tmp_path: Path, encrypted: bool, bodies: str) -> None:
    found = canaries(tmp_path / "run", encrypted=encrypted, bodies=bodies)
    assert found["hits"] == {}
    assert found["places"] > 150


def test_a_secret_that_is_there_is_found(tmp_path: Path) -> None:
    planted = Planted()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "records.db").write_text(f"{planted.prompt} {planted.provider_key}")
    (tmp_path / "glassline.stderr").write_text(f"{planted.prompt} {planted.admin_password.encode().hex()}")
    (tmp_path / "config.yaml").write_text(planted.virtual_key)
    for encrypted, prompts in ((False, {"glassline.stderr"}), (True, {"glassline.stderr", "data/records.db"})):
        search = Search(planted)
        search.look_at_files(tmp_path, may_hold(encrypted=encrypted, bodies="all"))
        assert search.hits == {
            "prompt": prompts,
            "provider_key": {"data/records.db"},
            "admin_password": {"glassline.stderr"},
        }
