"""The frame around the code: set-up, lock files, image, continuous integration."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

from tests.harness.process import ROOT, clean_environment

PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = ["requirements.lock", "requirements-dev.lock", "requirements-build.lock"]
DOCKERFILE = re.sub(r"\\\n\s*", " ", (ROOT / "Dockerfile").read_text())
GATEWAY_STAYS_WITHOUT = {"aiosqlite", "apsw", "httpx", "sqlite3", "starlette", "tiktoken", "uvicorn"}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(lock: str) -> dict[str, str]:
    """Return version by package name."""
    found = re.findall(r"(?m)^([A-Za-z0-9_.\-\[\]]+)==([^\s;]+)", (ROOT / lock).read_text())
    return {normal(name.partition("[")[0]): version for name, version in found}


# --- lock files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lock", LOCKS)
def test_every_locked_package_has_a_hash(lock: str) -> None:
    entries = re.split(r"(?m)^(?=[A-Za-z0-9])", (ROOT / lock).read_text())[1:]
    assert len(entries) == len(pins(lock))
    assert [entry for entry in entries if not re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry)] == []


@pytest.mark.parametrize("lock", [*LOCKS, "tests/node/package-lock.json"])
def test_no_lock_file_names_a_host(lock: str) -> None:
    assert not re.search(r"https?:|--index-url|--find-links|\"resolved\"", (ROOT / lock).read_text())


@pytest.mark.parametrize("part", ["requirements.lock", "requirements-build.lock"])
def test_lock_files_agree_on_versions(part: str) -> None:
    whole = pins("requirements-dev.lock")
    assert {name: whole[name] for name in pins(part) if name in whole} == {
        name: version for name, version in pins(part).items() if name in whole
    }


def test_the_development_lock_holds_all_that_running_needs() -> None:
    assert set(pins("requirements.lock")) <= set(pins("requirements-dev.lock"))


def declared(entries: list[str]) -> set[str]:
    return {normal(re.split(r"[<>=!~;\[ ]", entry)[0]) for entry in entries}


def justified(heading: str) -> set[str]:
    text = (ROOT / "docs" / "dependencies.md").read_text()
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return set(re.findall(r"(?m)^\| ([a-z0-9\-]+) \| \S", section)) - {"package"}


def justified_extras() -> set[str]:
    text = (ROOT / "docs" / "dependencies.md").read_text()
    section = text.partition("\n## Extras\n")[2].partition("\n## ")[0]
    return set(re.findall(r"(?m)^\| `[a-z]+` \| ([a-z0-9\-]+) \| \S", section))


def test_every_dependency_is_justified_and_locked() -> None:
    groups = PYPROJECT["dependency-groups"]
    assert declared(PYPROJECT["project"]["dependencies"]) <= justified("To run") <= set(pins("requirements.lock"))
    extras = PYPROJECT["project"]["optional-dependencies"].values()
    assert {name for extra in extras for name in declared(extra)} == justified_extras() <= declared(groups["dev"])
    assert declared(groups["dev"]) == justified("To develop") <= set(pins("requirements-dev.lock"))
    assert declared(groups["build"]) == justified("To build") <= set(pins("requirements-build.lock"))


def test_the_build_backend_is_the_locked_one() -> None:
    assert set(PYPROJECT["build-system"]["requires"]) <= set(PYPROJECT["dependency-groups"]["build"])


@cache
def imported_packages() -> set[str]:
    names: set[str] = set()
    for package in ("proxy", "pricing"):
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Import):
                    names.update(alias.name.partition(".")[0] for alias in node.names)
                if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                    names.add(node.module.partition(".")[0])
    return names - set(sys.stdlib_module_names) - {"proxy", "pricing"}


def test_everything_imported_is_a_justified_dependency() -> None:
    distributions = packages_distributions()
    optional = {"brotli", "brotlicffi"}  # read where somebody has installed one, never needed
    needed = {normal(name) for module in imported_packages() - optional for name in distributions[module]}
    assert needed - justified("To run") - justified_extras() == set()


def test_the_gateway_process_loads_no_database_and_no_tokenizer() -> None:
    source = (
        "import json, sys, proxy.gateway.service; print(json.dumps(sorted({m.partition('.')[0] for m in sys.modules})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", source],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert GATEWAY_STAYS_WITHOUT & set(json.loads(done.stdout)) == set()


# --- set-up --------------------------------------------------------------------------------------------------------

STAND_IN = """#!/bin/sh
# Stands in for Python: makes an environment of copies of itself and notes what pip is asked for.
log="$STAND_IN_LOG"
case "$1 ${2:-}" in
    "--version "*) echo "Python 3.12.0" ;;
    "-c "*) exit 0 ;;
    "-m venv") mkdir -p "$3/bin"; cp "$STAND_IN_SELF" "$3/bin/python"; echo "venv" >>"$log" ;;
    "-m pip")
        [ "$3" = --version ] && exit 0
        shift 2; echo "pip $*" >>"$log"
        case "$*" in *"$STAND_IN_BREAKS_AT"*) exit "${STAND_IN_STATUS:-0}" ;; esac ;;
esac
"""


class Checkout:
    """A copy of the set-up in a directory with spaces, where Python is a stand-in."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "a checkout"
        (self.directory / ".ci").mkdir(parents=True)
        for name in (".ci/environment", "pyproject.toml", *LOCKS):
            shutil.copy(ROOT / name, self.directory / name)
        self.bin = directory / "bin"
        self.bin.mkdir()
        self.log = directory / "log"
        self.python("python3", STAND_IN)

    def python(self, name: str, source: str) -> None:
        path = self.bin / name
        path.write_text(source)
        path.chmod(0o755)

    def run(self, kind: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run the script; what the stand-in was asked for is in `asked` until the next run."""
        self.log.write_text("")
        known = {
            "PATH": f"{self.bin}:/usr/bin:/bin",
            "STAND_IN_LOG": str(self.log),
            "STAND_IN_SELF": str(self.bin / "python3"),
            "STAND_IN_BREAKS_AT": "nothing",
        }
        command = [str(self.directory / ".ci" / "environment"), kind]
        return subprocess.run(command, env=known | env, capture_output=True, text=True, timeout=30, check=False)

    @property
    def asked(self) -> list[str]:
        return self.log.read_text().splitlines()


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_the_first_run_installs_by_hash_and_the_project_without_any_download(checkout: Checkout) -> None:
    assert checkout.run("run").returncode == 0
    made, packages, project = checkout.asked
    assert made == "venv"
    assert "--require-hashes -r requirements-build.lock -r requirements.lock" in packages
    assert "--no-build-isolation --no-deps --no-index --editable ." in project


def test_the_second_run_does_nothing(checkout: Checkout) -> None:
    checkout.run("run")
    assert checkout.run("run").returncode == 0
    assert checkout.asked == []


def test_what_tests_need_includes_what_running_needs(checkout: Checkout) -> None:
    checkout.run("dev")
    assert any("-r requirements-dev.lock" in line for line in checkout.asked)
    checkout.run("run")
    assert checkout.asked == []


@pytest.mark.parametrize("name", ["requirements.lock", "pyproject.toml"])
def test_a_changed_lock_file_is_installed_into_the_same_environment(checkout: Checkout, name: str) -> None:
    checkout.run("run")
    with (checkout.directory / name).open("a") as file:
        file.write("# changed\n")
    assert checkout.run("run").returncode == 0
    assert [line.split()[0] for line in checkout.asked] == ["pip", "pip"]


def test_an_interrupted_installation_is_made_anew(checkout: Checkout) -> None:
    interrupted = checkout.run("run", STAND_IN_BREAKS_AT="requirements.lock", STAND_IN_STATUS="2")
    assert interrupted.returncode == 2
    (checkout.directory / ".venv" / "half").touch()
    assert checkout.run("run").returncode == 0
    assert checkout.asked[0] == "venv"
    assert not (checkout.directory / ".venv" / "half").exists()


def test_an_installation_that_failed_is_tried_again_in_the_same_environment(checkout: Checkout) -> None:
    checkout.run("run")
    (checkout.directory / "requirements.lock").write_text("changed==1\n")
    assert checkout.run("run", STAND_IN_BREAKS_AT="requirements.lock", STAND_IN_STATUS="1").returncode == 1
    assert checkout.run("run").returncode == 0
    assert [line.split()[0] for line in checkout.asked] == ["pip", "pip"]


def test_a_checkout_that_was_moved_gets_a_new_environment(checkout: Checkout) -> None:
    checkout.run("run")
    checkout.directory = checkout.directory.rename(checkout.directory.with_name("elsewhere"))
    assert checkout.run("run").returncode == 0
    assert checkout.asked[0] == "venv"


def test_a_python_that_is_too_old_is_named(checkout: Checkout) -> None:
    old = '#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.9.2" && exit 0\nexit 1\n'
    for name in ("python3", "python3.14", "python3.13", "python3.12", "python3.11", "python"):
        checkout.python(name, old)
    done = checkout.run("run")
    assert done.returncode == 78
    assert "Python 3.11 or newer" in done.stderr
    assert "Python 3.9.2" in done.stderr


def test_a_python_without_venv_is_told_how_to_get_it(checkout: Checkout) -> None:
    checkout.python("python3", '#!/bin/sh\ncase "$2" in *ensurepip*) exit 1 ;; esac\n')
    done = checkout.run("run")
    assert done.returncode == 78
    assert "apt install python3-venv" in done.stderr


def test_an_environment_without_our_notes_is_kept_and_completed(checkout: Checkout) -> None:
    target = checkout.directory / ".venv" / "bin"
    target.mkdir(parents=True)
    shutil.copy(checkout.bin / "python3", target / "python")
    assert checkout.run("dev").returncode == 0
    assert [line.split()[0] for line in checkout.asked] == ["pip", "pip"]


# --- continuous integration ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "closing"),
    [(0, "===== 3 passed in 0.10s ====="), (2, "===== 1 failed, 2 passed in 71.10s (0:01:11) =====")],
)
def test_continuous_integration_ends_with_the_closing_line_of_make_test(
    tmp_path: Path, status: int, closing: str
) -> None:
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci" / "run")
    make = tmp_path / "make"
    trouble = "" if status == 0 else 'echo "make: *** [Makefile:1: test] Error 1" >&2'
    make.write_text(f'#!/bin/sh\n[ "$CI $2" = "true test" ] || exit 9\necho "{closing}"\n{trouble}\nexit {status}\n')
    make.chmod(0o755)
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    command = [str(tmp_path / ".ci" / "run")]
    done = subprocess.run(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30, check=False
    )
    assert done.returncode == status
    assert done.stdout.splitlines()[-1] == closing


@pytest.mark.parametrize("name", [".ci/run", ".ci/environment", "tests/system/install.sh"])
def test_scripts_can_be_executed_and_parsed(name: str) -> None:
    assert os.access(ROOT / name, os.X_OK)
    shell = "bash" if name == ".ci/run" else "sh"
    subprocess.run([shell, "-n", str(ROOT / name)], timeout=10, check=True)


def test_make_test_runs_the_checks_and_ends_with_the_tests() -> None:
    plan = subprocess.run(
        ["make", "-n", "-o", "dev", "-o", "tools", "test"],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    wanted = ["ruff check", "ruff format --check", "mypy", "lint-imports", "pytest -n auto"]
    places = [plan.stdout.index(part) for part in wanted]
    assert places == sorted(places)
    assert "pytest" in plan.stdout.splitlines()[-1]


# --- what is in the repository -------------------------------------------------------------------------------------


@cache
def tracked_files() -> list[Path]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    done = subprocess.run(
        command, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=30, check=False
    )
    if done.returncode != 0:
        pytest.skip("not a git checkout")
    return [path for name in done.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_no_file_names_a_directory_of_somebodys_machine() -> None:
    machine = re.compile(rb"/(?:root|home/[a-z]+|Users/[A-Za-z]+)/")
    found = [path for path in tracked_files() if path != Path(__file__) and machine.search(path.read_bytes())]
    assert [str(path.relative_to(ROOT)) for path in found] == []


def test_the_map_of_the_architecture_is_the_one_that_is_enforced() -> None:
    [contract] = [each for each in PYPROJECT["tool"]["importlinter"]["contracts"] if each["id"] == "layers"]
    modules = {
        path.stem for path in (ROOT / "proxy").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    layers = [re.findall(r"\w+", layer) for layer in contract["layers"]]
    enforced = [names for layer in layers if (names := [name for name in layer if name in modules])]
    _, _, rest = (ROOT / "ARCHITECTURE.md").read_text().partition("\n## Layers\n")
    shown = [
        re.split(r" {2,}", line.strip())[0] for line in rest.partition("─────")[0].splitlines() if line[:4] == "    "
    ]
    assert [line.split(" | ") for line in shown if line] == enforced


def test_no_module_has_a_name_that_says_nothing() -> None:
    empty = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}
    assert [path for path in tracked_files() if path.suffix == ".py" and path.stem in empty] == []


# --- the image -----------------------------------------------------------------------------------------------------


def instructions(name: str) -> list[str]:
    return re.findall(rf"(?m)^{name} (.*)$", DOCKERFILE)


def test_every_base_image_is_pinned_by_a_digest_that_is_given_or_known() -> None:
    bases = [line.split()[0] for line in instructions("FROM")]
    assert len(bases) == 2
    pinned = re.compile(r"python:3\.\d+-slim@(\$\{PYTHON_DIGEST\}|sha256:[0-9a-f]{64})")
    assert [base for base in bases if not pinned.fullmatch(base)] == []
    assert len(set(bases)) == 1, "the environment is built for the Python that runs it"


def test_the_image_runs_as_an_ordinary_user_by_number() -> None:
    assert [line for line in instructions("USER") if re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", line)] == instructions(
        "USER"
    )
    assert DOCKERFILE.index("\nUSER ") < DOCKERFILE.index("\nENTRYPOINT ")


def test_the_image_checks_its_health_without_tools_it_lacks() -> None:
    (check,) = instructions("HEALTHCHECK")
    command: list[str] = json.loads(check.partition(" CMD ")[2])
    assert command[:2] == ["python", "-c"]
    compile(command[2], "HEALTHCHECK", "exec")
    assert "/healthz" in command[2]


def test_the_image_installs_wheels_by_hash_or_nothing() -> None:
    installs = re.findall(r"pip (?:--python \S+ )?(?:install|wheel) [^&\n]*", DOCKERFILE)
    assert len(installs) == 4
    for line in installs:
        by_hash = "--require-hashes --only-binary :all: -r " in line
        from_here = "--no-deps" in line and "--no-index" in line
        assert by_hash or from_here, line


def test_the_image_copies_only_what_the_ignore_file_lets_in() -> None:
    first, *allowed = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] in "*!"]
    assert first == "*"
    copied = {name for line in instructions("COPY") if "--from" not in line for name in line.split()[:-1]}
    assert copied == {line.removeprefix("!") for line in allowed if line.startswith("!")}
    assert all((ROOT / name).exists() for name in copied)


def test_the_image_writes_to_its_data_directory_alone() -> None:
    assert instructions("VOLUME") == ["/data"]
    (command,) = instructions("CMD")
    arguments = json.loads(command)
    assert arguments[arguments.index("--data-dir") + 1] == "/data"
    assert "PYTHONDONTWRITEBYTECODE=1" in DOCKERFILE
