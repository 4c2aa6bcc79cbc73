"""What is shipped to run Glassline as a service: units and compose file, read as systemd and Docker would read them."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.config import load_config
from proxy.config.schema import Config
from tests.harness.process import ROOT

UNITS = ROOT / "deploy" / "systemd"
HARDENING = {
    "CapabilityBoundingSet": "",
    "LimitCORE": "0",
    "LimitNOFILE": "65536",
    "LockPersonality": "yes",
    "MemoryDenyWriteExecute": "yes",
    "NoNewPrivileges": "yes",
    "PrivateDevices": "yes",
    "PrivateTmp": "yes",
    "ProtectHome": "yes",
    "ProtectKernelModules": "yes",
    "ProtectKernelTunables": "yes",
    "ProtectSystem": "strict",
    "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX",
    "RestrictNamespaces": "yes",
    "RestrictSUIDSGID": "yes",
    "SystemCallArchitectures": "native",
    "UMask": "0077",
}
LONGEST_STOP_S = Config().timeouts.pre_stop + Config().timeouts.drain + 3


def unit(name: str) -> dict[str, list[str]]:
    """Return the values of each directive."""
    found: dict[str, list[str]] = defaultdict(list)
    for line in (UNITS / name).read_text().splitlines():
        if line and line[0] not in "#;[":
            key, _, value = line.partition("=")
            found[key].append(value)
    return found


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
    return found


@pytest.mark.parametrize(("directive", "value"), HARDENING.items())
def test_the_service_gives_up_what_it_does_not_need(directive: str, value: str) -> None:
    assert unit("glassline.service")[directive] == [value]


def test_the_service_is_an_ordinary_user_that_writes_its_state_alone() -> None:
    service = unit("glassline.service")
    assert service["DynamicUser"] == ["yes"]
    assert service["StateDirectory"] == ["glassline"]
    assert not service["ReadWritePaths"]
    # systemd.exec(5): with DynamicUser=, the name below /var/lib is a symbolic link, which Glassline refuses.
    assert "--data-dir /var/lib/private/glassline " in service["ExecStart"][0]


def test_the_service_has_the_time_to_stop_that_it_needs() -> None:
    assert float(unit("glassline.service")["TimeoutStopSec"][0]) > LONGEST_STOP_S


def test_the_service_speaks_the_protocol_and_does_not_repeat_what_cannot_work() -> None:
    service = unit("glassline.service")
    assert (service["Type"], service["NotifyAccess"], service["KillMode"]) == (["notify"], ["main"], ["mixed"])
    assert service["RestartPreventExitStatus"] == ["78"]
    assert unit("glassline.socket")["FileDescriptorName"] == ["data"]


@pytest.fixture
def systemd_analyze(tmp_path: Path) -> list[str]:
    """The command, in a directory with the units, whose programs are ones that exist here."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("not run: systemd-analyze is missing")
    for file in UNITS.iterdir():
        text = re.sub(r"/opt/glassline/bin/glassline", "/bin/true", file.read_text())
        (tmp_path / file.name).write_text(text)
    return [program]


def test_systemd_understands_the_units(systemd_analyze: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [*systemd_analyze, "verify", "--man=no", *(str(tmp_path / file.name) for file in UNITS.iterdir())],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    complaints = [line for line in done.stderr.splitlines() if "glassline" in line]
    assert (done.returncode, complaints) == (0, [])


def test_systemd_finds_the_service_little_exposed(systemd_analyze: list[str], tmp_path: Path) -> None:
    command = [*systemd_analyze, "security", "--offline=yes", "--no-pager", str(tmp_path / "glassline.service")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    found = re.search(r"Overall exposure level for glassline.service: ([\d.]+)", done.stdout)
    assert found, done.stdout + done.stderr
    print(found[0])
    assert float(found[1]) <= 2.0


def test_the_container_can_write_its_data_and_nothing_else() -> None:
    service = compose()["services"]["glassline"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["user"] == "10001:10001"
    assert [volume["target"] for volume in service["volumes"]] == ["/data"]
    assert [each.partition(":")[0] for each in service["tmpfs"]] == ["/tmp"]  # noqa: S108 - in the container
    assert "privileged" not in service
    assert not {"cap_add", "devices", "pid", "ipc", "network_mode"} & set(service)


def test_the_container_has_an_init_limits_and_the_time_to_stop_that_it_needs() -> None:
    service = compose()["services"]["glassline"]
    assert service["init"] is True
    assert float(service["stop_grace_period"].removesuffix("s")) > LONGEST_STOP_S
    assert {"mem_limit", "pids_limit", "ulimits"} <= set(service)


def test_the_container_gets_secrets_as_files_and_publishes_no_port_to_everybody() -> None:
    service = compose()["services"]["glassline"]
    assert service["secrets"] == ["openai_key"]
    assert not any("KEY" in str(each).upper() for each in service.get("environment", ()))
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert ":latest" not in (ROOT / "deploy" / "compose.yaml").read_text()


def test_each_step_of_the_installation_is_given() -> None:
    """The unit checks its configuration before it starts, and the container mounts its secret: both must be there."""
    steps = (ROOT / "docs" / "deployment.md").read_text()
    for file in ("/etc/glassline/config.yaml", "deploy/secrets/openai_key", "dist/glassline-*.whl"):
        assert file in steps
    load_config(ROOT / "config.example.yaml", {})


def test_the_shipped_configuration_can_be_used(tmp_path: Path) -> None:
    secret = tmp_path / "openai_key"
    secret.write_text("sk-from-a-file\n")
    text = (ROOT / "deploy" / "config.yaml").read_text().replace("/run/secrets/openai_key", str(secret))
    (tmp_path / "config.yaml").write_text(text)
    key = load_config(tmp_path / "config.yaml", {}).upstreams["openai"].api_key
    assert key is not None
    assert key.get_secret_value() == "sk-from-a-file"
