from __future__ import annotations

import io
import json
from pathlib import Path

import httpx
import pytest

from proxy.cli import main
from tests.conftest import StartGlassline
from tests.faults.auth.scene import basic


def with_input(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_users_and_tokens_are_in_force_when_the_command_returns(
    start_glassline: StartGlassline, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    glassline = start_glassline("http://127.0.0.1:9")
    place = ["-c", str(glassline.config_file), "--data-dir", str(glassline.data_dir)]

    def status(authorization: str = "") -> int:
        headers = {"authorization": authorization} if authorization else {}
        return httpx.get(f"{glassline.admin_url}/api/settings/users", headers=headers, trust_env=False).status_code

    assert status() == 200, "nobody is asked"
    with_input(monkeypatch, "correct horse\n")
    assert main(["users", "add", "ann", "--role", "admin", *place]) == 0
    assert (status(), status(basic("ann", "correct horse"))) == (401, 200)
    with_input(monkeypatch, "another horse\n")
    assert main(["users", "passwd", "ann", *place]) == 0
    assert (status(basic("ann", "correct horse")), status(basic("ann", "another horse"))) == (401, 200)
    with_input(monkeypatch, "third horse\n")
    assert main(["users", "add", "bob", "--role", "viewer", *place]) == 0
    assert status(basic("bob", "third horse")) == 403
    assert main(["users", "role", "bob", "--role", "admin", *place]) == 0
    assert status(basic("bob", "third horse")) == 200
    assert main(["users", "remove", "bob", *place]) == 0
    assert status(basic("bob", "third horse")) == 401
    capsys.readouterr()
    assert main(["tokens", "create", "ci", "--role", "admin", "--expires", "30d", *place]) == 0
    token = capsys.readouterr().out.strip()
    assert status(f"Bearer {token}") == 200
    assert main(["tokens", "list", "--json", *place]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    shown = json.loads(line)
    assert (shown["name"], shown["role"], shown["last_four"], shown["revoked_ms"]) == ("ci", "admin", token[-4:], None)
    assert token not in line
    assert shown["used_ms"] is not None
    assert main(["tokens", "revoke", "ci", *place]) == 0
    assert status(f"Bearer {token}") == 401
    assert "third horse" not in glassline.stderr


def test_without_a_server_the_commands_do_it_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir()
    place = ["--data-dir", str(tmp_path / "data")]
    with_input(monkeypatch, "short\n")
    assert main(["users", "add", "ann", "--role", "admin", *place]) == 1
    assert "password: needs 8 to 4096 bytes" in capsys.readouterr().err
    with_input(monkeypatch, "correct horse\n")
    assert main(["users", "add", "ann", "--role", "admin", *place]) == 0
    assert main(["users", "remove", "ann", *place]) == 1
    assert main(["users", "list", *place]) == 0
    said = capsys.readouterr()
    assert "last admin" in said.err
    assert "ann" in said.out
    assert main(["tokens", "create", "ci", "--expires", "never", *place]) == 1
    assert "expires: not a duration" in capsys.readouterr().err
    assert main(["tokens", "create", "ci", *place]) == 0
    assert main(["tokens", "create", "ci", *place]) == 1
    assert main(["tokens", "revoke", "ci", *place]) == 0
    assert main(["tokens", "list", *place]) == 0
    assert "revoked" in capsys.readouterr().out


def test_a_password_is_asked_for_twice_on_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir()
    answers = iter(["correct horse", "correct house", "correct horse", "correct horse"])
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("getpass.getpass", lambda _prompt: next(answers))
    add = ["users", "add", "ann", "--role", "admin", "--data-dir", str(tmp_path / "data")]
    assert main(add) == 1
    assert "two different passwords" in capsys.readouterr().err
    assert main(add) == 0
