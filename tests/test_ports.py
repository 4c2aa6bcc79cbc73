"""The file that says where a Glassline listens."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.ports import Ports, ports_file, withdraw_ports


def test_what_is_announced_can_be_read_until_it_is_withdrawn(tmp_path: Path) -> None:
    assert Ports.read(tmp_path) is None
    Ports(1, 2, 3).announce(tmp_path)
    assert Ports.read(tmp_path) == Ports(data=1, admin=2, pid=3)
    assert ports_file(tmp_path).stat().st_mode & 0o777 == 0o600
    withdraw_ports(tmp_path)
    assert Ports.read(tmp_path) is None
    withdraw_ports(tmp_path)


def test_the_same_ports_announced_again_are_another_file(tmp_path: Path) -> None:
    Ports(1, 2, 3).announce(tmp_path)
    before = ports_file(tmp_path).stat().st_ino
    Ports(1, 2, 3).announce(tmp_path)
    assert ports_file(tmp_path).stat().st_ino != before, "by this a restart is seen"
    assert [path.name for path in ports_file(tmp_path).parent.iterdir()] == ["ports.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"data": 1}', '{"data": "1", "admin": 2, "pid": 3}', "\0"])
def test_a_file_that_cannot_be_understood_says_nothing(tmp_path: Path, text: str) -> None:
    ports_file(tmp_path).parent.mkdir()
    ports_file(tmp_path).write_text(text)
    assert Ports.read(tmp_path) is None
