from __future__ import annotations

import threading
from pathlib import Path

import pytest

from proxy.errors import EnvironmentUnusable
from proxy.pepper import load_pepper
from proxy.secrets import Secret


def test_everyone_who_comes_at_once_gets_the_same_pepper(tmp_path: Path) -> None:
    start, found = threading.Barrier(16), list[Secret]()

    def come() -> None:
        start.wait()
        found.append(load_pepper(tmp_path / "data"))

    threads = [threading.Thread(target=come) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 16
    assert len({pepper.reveal() for pepper in found}) == 1
    assert len(found[0].reveal()) == 32
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["pepper"]
    assert (tmp_path / "data" / "pepper").stat().st_mode & 0o777 == 0o600


def test_a_damaged_pepper_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "pepper").write_bytes(b"torn")
    with pytest.raises(EnvironmentUnusable, match="holds 4 bytes instead of 32"):
        load_pepper(tmp_path)
    assert (tmp_path / "pepper").read_bytes() == b"torn"
