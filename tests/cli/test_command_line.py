from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from proxy import __version__
from proxy.cli import main
from proxy.cli.parser import build_parser
from proxy.cli.settings import load_settings

PYTHON = [sys.executable, "-m", "proxy"]


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No configuration of the surroundings gets in the way."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GLASSLINE_CONFIG", raising=False)


def glassline(*arguments: str) -> subprocess.CompletedProcess[str]:
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root}
    return subprocess.run(
        [*PYTHON, *arguments], capture_output=True, text=True, timeout=60, check=False, env=environment
    )


def test_help_is_there_at_once_and_loads_no_library() -> None:
    code = (
        "import sys; sys.argv = ['glassline', '--help']\n"
        "from proxy.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'pydantic', 'msgspec', 'apsw', 'sqlite3', 'starlette', 'uvicorn', 'httpx', 'yaml', 'asyncio'}\n"
        "sys.exit(','.join(sorted(heavy & sys.modules.keys())) or 0)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False, env=environment
    )
    assert (result.returncode, result.stderr) == (0, "")
    durations = []
    for _ in range(5):
        start = time.perf_counter()
        assert glassline("--help").returncode == 0
        durations.append(time.perf_counter() - start)
    assert min(durations) < 0.3, "0.07 s on an idle machine; tests run beside others"


def test_every_command_of_the_interface_has_help() -> None:
    text = build_parser().format_help()
    commands = [
        "serve",
        "check",
        "simulate",
        "demo",
        "requests",
        "cost",
        "keys",
        "budgets",
        "backup",
        "doctor",
        "migrate",
    ]
    assert all(f"    {command} " in text for command in commands)


def test_the_version_is_the_package_s() -> None:
    assert glassline("--version").stdout == f"glassline {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [[], ["nonsense"], ["serve", "--port", "70000"], ["requests"], ["serve", "--workers", "0"], ["requests", "show"]],
)
def test_a_usage_mistake_exits_with_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as error:
        main(arguments)
    assert error.value.code == 2


def test_check_prints_one_line_for_each_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.yaml").write_text("listen: {port: 99999}\nupstreams: {openai: {base_ur: x}}\n")
    assert main(["check"]) == 78
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("config.yaml: listen.port: ")
    assert lines[1] == "config.yaml: upstreams.openai.base_ur: unknown key; did you mean `base_url`?"


def test_check_says_how_a_variable_stands_inside_braces(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.yaml").write_text("keys:\n  - {name: app, key: ${APP_KEY}, models: [gpt-5]}\n")
    assert main(["check"]) == 78
    assert capsys.readouterr().err.rstrip().endswith("; inside braces, ${VAR} needs quotes")
    (tmp_path / "config.yaml").write_text(
        'keys:\n  - {name: app, key: "${APP_KEY:-sk-glassline-01}", models: [gpt-5]}\n'
    )
    assert main(["check"]) == 0


def test_check_shows_how_a_region_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.yaml").write_text("upstreams: {bedrock: {region: US East}}\n")
    assert main(["check"]) == 78
    assert "upstreams.bedrock.region: must be a region" in capsys.readouterr().err
    (tmp_path / "config.yaml").write_text("upstreams: {bedrock: {region: eu-central-1}}\n")
    assert main(["check"]) == 0


def test_check_finds_an_admin_port_that_others_could_reach(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.yaml").write_text("admin: {host: 0.0.0.0}\n")
    for command in ("check", "serve"):
        assert main([command]) == 78
        assert "admin.password_file" in capsys.readouterr().err
    assert main(["serve", "-c", "config.yaml", "--admin-host", "::"]) == 78


def test_check_finds_upstreams_that_nobody_could_find(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.yaml").write_text(
        "default_upstream: nobody\nupstreams: {azure: {api_key: k}, house: {wire: anthropic}, eu: {wire: bedrock}}\n"
        "keys: [{name: app, key: sk-glassline-0123456789, upstreams: [openai, opnai]}]\n"
    )
    for command in ("check", "serve"):
        assert main([command]) == 78
        assert capsys.readouterr().err.splitlines() == [
            "upstreams.azure.base_url: is needed, since only you know where it is",
            "upstreams.house.base_url: is needed, since only you know where it is",
            "default_upstream: no upstream is called `nobody`",
            "keys[0].upstreams: no upstream is called `opnai`",
        ]


def test_check_praises_what_can_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check"]) == 0
    assert "defaults" in capsys.readouterr().out
    (tmp_path / "other.yaml").write_text("workers: 2\n")
    assert main(["check", "-c", "other.yaml"]) == 0
    assert capsys.readouterr().out == "other.yaml: ok\n"
    assert main(["check", "-c", "missing.yaml"]) == 78
    assert capsys.readouterr().err == "missing.yaml: No such file or directory\n"


def test_options_override_the_file_and_the_file_the_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "named.yaml").write_text("listen: {port: 1234, host: 127.0.0.2}\nworkers: 3\n")
    monkeypatch.setenv("GLASSLINE_CONFIG", "named.yaml")
    arguments = build_parser().parse_args(["serve", "--port", "0", "--admin-port", "7", "--data-dir", "d"])
    config = load_settings(arguments)
    assert (config.listen.port, config.listen.host, config.workers) == (0, "127.0.0.2", 3)
    assert (config.admin.port, str(config.data_dir)) == (7, "d")


def test_doctor_tells_its_own_port_from_one_that_another_program_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as ours, socket.create_server(("127.0.0.1", 0)) as foreign:
        ports = {"data": ours.getsockname()[1], "admin": 1, "pid": os.getpid()}
        (tmp_path / "data" / "run").mkdir(parents=True, mode=0o700)
        (tmp_path / "data" / "run" / "ports.json").write_text(json.dumps(ports))
        config = tmp_path / "config.yaml"
        config.write_text(f"listen: {{port: {ports['data']}}}\nadmin: {{port: {foreign.getsockname()[1]}}}\n")
        main(["doctor", "--json", "-c", str(config), "--data-dir", str(tmp_path / "data")])
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    levels = {each["subject"]: each["level"] for each in found}
    assert (levels["data port"], levels["admin port"]) == ("ok", "warning")


def test_doctor_says_what_stands_in_the_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json", "--data-dir", str(tmp_path / "data")]) == 0
    findings = {row["subject"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert {"python", "sqlite", "data directory", "free disk", "open files", "dependencies"} <= set(findings)
    (tmp_path / "config.yaml").write_text("nonsense: 1\n")
    assert main(["doctor"]) == 78
    assert "nonsense: unknown key" in capsys.readouterr().out
