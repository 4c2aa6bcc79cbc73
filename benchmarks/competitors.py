"""The proxies that others make, as their makers publish them: LiteLLM from PyPI, Portkey from npm.

Each is set up once, under `.cache`, and runs with its defaults as one process that records nothing.
They write each answer anew, so of an answer its status, its text and whose it is are compared.
"""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.servers import ROOT, Server, SetupError, accepts, free_port, running, wait_until

LITELLM_KEY = "sk-bench-litellm"
PORTKEY = "1.15.2"
"the version on npm on 2026-11-21; a fixed one, so that runs can be compared"


def need_litellm() -> Path:
    """Return the folder of LiteLLM's programs, set up if need be: the pinned environment of `make real`."""
    done = subprocess.run([str(ROOT / "tests" / "real" / "prepare.sh"), "litellm"], check=False)
    if done.returncode:
        raise SetupError("LiteLLM cannot be installed from PyPI: leave it out with --proxies")
    return ROOT / ".cache" / "real" / "litellm" / "bin"


def need_portkey() -> Path:
    """Return the program of the Portkey gateway, installed if need be."""
    home = ROOT / ".cache" / "portkey"
    package = home / "node_modules" / "@portkey-ai" / "gateway"
    if not shutil.which("npm"):
        raise SetupError("the Portkey gateway needs node and npm: install them, or leave it out with --proxies")
    if not package.is_dir() or json.loads((package / "package.json").read_text())["version"] != PORTKEY:
        home.mkdir(parents=True, exist_ok=True)
        options = ["--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(home)]
        command = ["npm", "install", *options, f"@portkey-ai/gateway@{PORTKEY}"]
        if subprocess.run(command, check=False).returncode:
            raise SetupError("the Portkey gateway cannot be installed from npm: leave it out with --proxies")
    return package / "build" / "start-server.js"


def describe_competitors(names: tuple[str, ...]) -> dict[str, str]:
    """Return the versions of those that take part."""
    versions = {}
    if "litellm" in names:
        command = [
            str(need_litellm() / "python"),
            "-c",
            "from importlib.metadata import version; print(version('litellm'))",
        ]
        versions["LiteLLM"] = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    if "portkey" in names:
        node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
        versions["Portkey gateway"] = f"{PORTKEY}, node {node}"
    return versions


@contextmanager
def running_litellm(upstream_port: int, folder: Path, core: int) -> Iterator[Server]:
    """Run the LiteLLM proxy with one worker and no database."""
    programs, port = need_litellm(), free_port()
    parameters = {"model": "openai/gpt-4o-mini", "api_base": f"http://127.0.0.1:{upstream_port}/v1", "api_key": "none"}
    config = {
        "model_list": [{"model_name": "gpt-4o-mini", "litellm_params": parameters}],
        "general_settings": {"master_key": LITELLM_KEY},
        "litellm_settings": {"telemetry": False},
    }
    (folder / "litellm.yaml").write_text(json.dumps(config))
    log = folder / "litellm.log"
    command = [programs / "litellm", "--config", folder / "litellm.yaml", "--port", port, "--host", "127.0.0.1"]
    # The table of prices that it would fetch from the internet at every start comes with it.
    environment = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
    with running([*map(str, command), "--num_workers", "1"], log, core, environment) as process:
        wait_until(partial(accepts, port), process, log)
        yield Server("litellm", port, process.pid)


def portkey_headers(upstream_port: int) -> tuple[str, ...]:
    """Return the headers by which a request tells Portkey where to go."""
    return ("x-portkey-provider: openai", f"x-portkey-custom-host: http://127.0.0.1:{upstream_port}/v1")


@contextmanager
def running_portkey(folder: Path, core: int) -> Iterator[Server]:
    """Run the Portkey gateway without its console."""
    program, port, log = need_portkey(), free_port(), folder / "portkey.log"
    with running(["node", str(program), f"--port={port}", "--headless"], log, core) as process:
        wait_until(partial(accepts, port), process, log)
        yield Server("portkey", port, process.pid)
