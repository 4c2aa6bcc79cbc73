"""What is installed, built and shipped is what is written down, and the code keeps out of what scanners look for."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from proxy.cli.doctor import unexpected_path_files
from tests.harness.process import ROOT, clean_environment

LOCKS = ["requirements.lock", "requirements-dev.lock", "requirements-build.lock", "requirements-audit.lock"]
OPEN_LICENCES = re.compile(r"MIT|BSD|Apache|PSF|MPL|Mozilla|ISC|public domain|OSI approved", re.IGNORECASE)
SECRETS = {
    "OpenAI or Anthropic": r"\bsk-(?:ant-|proj-)?[A-Za-z0-9_-]{32,}",
    "AWS": r"\bAKIA[0-9A-Z]{16}\b",
    "GitHub": r"\bgh[pousr]_[A-Za-z0-9]{30,}",
    "Google": r"\bAIza[0-9A-Za-z_-]{35}",
    "Slack": r"\bxox[baprs]-[0-9A-Za-z-]{10,}",
    "PyPI": r"\bpypi-[A-Za-z0-9_-]{40,}",
    "private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    "JWT": r"\beyJ[A-Za-z0-9_-]{20,}\.eyJ[A-Za-z0-9_-]{20,}",
}
EXECUTING = {"execute", "executemany", "executescript"}


def locked(name: str) -> dict[str, tuple[str, set[str]]]:
    """Return version and hashes by package name."""
    found = {}
    for entry in re.split(r"(?m)^(?=[A-Za-z0-9])", (ROOT / name).read_text())[1:]:
        match = re.match(r"([A-Za-z0-9_.-]+)(?:\[[^]]*\])?==([^\s;]+)", entry)
        assert match, entry
        package = re.sub(r"[-_.]+", "-", match[1]).lower()
        found[package] = (match[2], set(re.findall(r"--hash=sha256:([0-9a-f]{64})", entry)))
    return found


# --- what is installed ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lock", LOCKS)
def test_nothing_is_locked_without_hashes(lock: str) -> None:
    assert {name for name, (_, hashes) in locked(lock).items() if not hashes} == set()


@pytest.mark.parametrize("place", [".ci/environment", ".ci/tools.sh", "Dockerfile"])
def test_packages_are_installed_by_hash_and_without_code_of_their_own(place: str) -> None:
    text = re.sub(r"\\\n\s*", " ", (ROOT / place).read_text())
    installs = [line for line in re.findall(r"install [^&\n|]*", text) if " -r " in line]
    assert installs
    for line in installs:
        assert "--require-hashes" in line, line
        assert "--only-binary :all:" in line, line


@pytest.mark.timeout(300)
def test_the_bill_of_materials_and_the_licences_are_those_of_the_lock_file(tmp_path: Path) -> None:
    for name in ("one", "two"):
        subprocess.run([str(ROOT / ".ci" / "sbom"), str(tmp_path / name)], check=True, timeout=220)
    text = (tmp_path / "one" / "sbom.json").read_text()
    assert (tmp_path / "two" / "sbom.json").read_text() == text, "the same lock gives the same bytes"
    bill = json.loads(text)
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    listed = {}
    for component in bill["components"]:
        hashes = {each["content"] for place in component["externalReferences"] for each in place.get("hashes", ())}
        listed[component["name"]] = (component["version"], hashes)
        assert component["purl"] == f"pkg:pypi/{component['name']}@{component['version']}"
    assert listed == locked("requirements.lock")
    assert (tmp_path / "one" / "licences.md").read_text() == (ROOT / "docs" / "licences.md").read_text(), "make sbom"


def test_every_licence_is_open() -> None:
    text = (ROOT / "docs" / "licences.md").read_text()
    rows = re.findall(r"(?m)^\| ([a-z0-9-]+) \| ([^ |]+) \| (.+) \|$", text)
    assert {name for name, _, _ in rows} - {"package"} == set(locked("requirements.lock"))
    assert [row for row in rows if row[0] != "package" and not OPEN_LICENCES.search(row[2])] == []
    assert not re.search(r"\bA?GPL", text)


def test_an_audit_that_cannot_look_is_not_green() -> None:
    nowhere = {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9", "NO_PROXY": ""}
    done = subprocess.run(
        [str(ROOT / ".ci" / "audit"), "requirements-build.lock"],
        env=clean_environment() | nowhere,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode != 0
    assert re.search(r"could not be looked up|nothing was looked up", done.stderr.splitlines()[-1])


def test_an_audit_is_strict() -> None:
    script = (ROOT / ".ci" / "audit").read_text()
    assert "--strict --require-hashes --disable-pip" in script
    assert not re.search(r"--ignore-vuln|--skip|\|\| true", script)


# --- what runs at every start --------------------------------------------------------------------------------------


def test_no_file_runs_code_at_the_start_of_python_that_no_package_put_there(tmp_path: Path) -> None:
    assert list(unexpected_path_files([Path(path) for path in sys.path if path.endswith("site-packages")])) == []
    (tmp_path / "paths.pth").write_text("# a comment\n/somewhere\n")
    (tmp_path / "litellm_init.pth").write_text("import os; os.system('true')\n")
    (tmp_path / "tab.pth").write_text("import\tos\n")
    found = [path.name for path in unexpected_path_files([tmp_path])]
    assert found == ["litellm_init.pth", "tab.pth"], "those that only name directories run nothing"


def test_doctor_says_so() -> None:
    command = [sys.executable, "-m", "proxy", "doctor", "--json", "--data-dir", "unused"]
    done = subprocess.run(
        command, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=60, check=False
    )
    findings = [json.loads(line) for line in done.stdout.splitlines()]
    assert [each["level"] for each in findings if each["subject"] == "start of python"] == ["ok"]


# --- what is built -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The wheel, built twice."""
    built = []
    for number in range(2):
        target = tmp_path_factory.mktemp(f"wheel-{number}")
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
        subprocess.run(
            [*command, "--wheel-dir", str(target), str(ROOT)], env=clean_environment(), timeout=100, check=True
        )
        built += list(target.glob("*.whl"))
    return built


def test_the_wheel_holds_the_source_tree_and_nothing_else(wheels: list[Path]) -> None:
    with zipfile.ZipFile(wheels[0]) as wheel:
        shipped = {
            name: hashlib.sha256(wheel.read(name)).hexdigest() for name in wheel.namelist() if ".dist-info/" not in name
        }
    sources = {
        str(path.relative_to(ROOT)): hashlib.sha256(path.read_bytes()).hexdigest()
        for package in ("proxy", "pricing")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert shipped == sources


def test_the_same_sources_give_the_same_wheel(wheels: list[Path]) -> None:
    first, second = (hashlib.sha256(path.read_bytes()).hexdigest() for path in wheels)
    assert first == second


# --- what the code keeps out of ------------------------------------------------------------------------------------


@cache
def modules() -> list[tuple[Path, ast.Module, list[str]]]:
    """Return every module that is shipped, parsed, with its lines."""
    found = []
    for package in ("proxy", "pricing"):
        for path in sorted((ROOT / package).rglob("*.py")):
            text = path.read_text()
            found.append((path.relative_to(ROOT), ast.parse(text), text.splitlines()))
    return found


def calls() -> Iterator[tuple[str, str, ast.Call, str]]:
    """Yield place, name of the function, the call, and its source lines."""
    for path, tree, lines in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                yield f"{path}:{node.lineno}", name, node, "\n".join(lines[node.lineno - 1 : node.end_lineno])


def is_composed(node: ast.expr) -> bool:
    """Say whether a text is put together at run time."""
    if isinstance(node, ast.JoinedStr):
        return any(isinstance(part, ast.FormattedValue) for part in node.values)
    if isinstance(node, ast.BinOp):
        return not all(isinstance(side, ast.Constant) for side in (node.left, node.right))
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("format", "join")


def test_no_sql_is_composed_but_of_our_own_constants_and_says_so() -> None:
    found = [
        place
        for place, name, call, source in calls()
        if name.rpartition(".")[2] in EXECUTING
        and call.args
        and is_composed(call.args[0])
        and "noqa: S608" not in source
    ]
    assert [place for place in found if place not in pragmas_and_savepoints()] == []


def pragmas_and_savepoints() -> set[str]:
    return {
        place
        for place, name, call, source in calls()
        if name.rpartition(".")[2] in EXECUTING
        and re.search(r"f[\"'](?:PRAGMA|REINDEX|SAVEPOINT|RELEASE|ATTACH|BEGIN) ", source)
    }


def test_nothing_is_run_by_a_shell_or_made_into_code() -> None:
    never = {
        "eval",
        "exec",
        "os.system",
        "os.popen",
        "marshal.loads",
        "tempfile.mktemp",
        "ssl._create_unverified_context",
    }
    assert [(place, name) for place, name, _, _ in calls() if name in never] == []
    keywords = [
        (place, keyword.arg, ast.unparse(keyword.value)) for place, _, call, _ in calls() for keyword in call.keywords
    ]
    assert [found for found in keywords if found[1:] in (("shell", "True"), ("verify", "False"))] == []


def test_pickles_are_read_in_one_place_and_yaml_by_a_safe_loader() -> None:
    pickles = [
        place.partition(":")[0]
        for place, name, _, _ in calls()
        if name in ("pickle.load", "pickle.loads", "pickle.Unpickler")
    ]
    assert pickles == ["proxy/gateway/process.py"], "from the supervisor, over a socket pair"
    loads = [source for _, name, _, source in calls() if name in ("yaml.load", "yaml.load_all", "yaml.unsafe_load")]
    assert [source for source in loads if "Loader=_Loader" not in source] == []


def test_no_certificate_goes_unchecked() -> None:
    lax = re.compile(r"CERT_NONE|check_hostname\s*=\s*False|disable_warnings")
    assert [str(path) for path, _, lines in modules() if lax.search("\n".join(lines))] == []


def test_no_secret_stands_outside_the_tests() -> None:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode != 0:
        pytest.skip("not run: not a git checkout")
    names = [name for name in done.stdout.split("\0") if name and not name.startswith("tests/")]
    found = []
    for name in names:
        path = ROOT / name
        if path.is_file() and not name.endswith(".lock"):
            text = path.read_bytes().decode(errors="replace")
            found += [(name, kind) for kind, pattern in SECRETS.items() if re.search(pattern, text)]
    assert found == []


@pytest.mark.parametrize("kind", SECRETS)
def test_the_search_for_secrets_finds_them(kind: str) -> None:
    planted = {
        "OpenAI or Anthropic": "sk-proj-" + "a1B2" * 10,
        "AWS": "AKIA" + "A1B2" * 4,
        "GitHub": "ghp_" + "a1B2" * 9,
        "Google": "AIza" + "a1B2c" * 7,
        "Slack": "xoxb-" + "1234567890",
        "PyPI": "pypi-" + "a1B2" * 12,
        "private key": "-----BEGIN EC PRIVATE KEY-----",
        "JWT": "eyJ" + "a1B2" * 6 + ".eyJ" + "a1B2" * 6,
    }
    assert re.search(SECRETS[kind], f'key = "{planted[kind]}"')
