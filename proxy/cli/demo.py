"""`glassline demo`: a simulated provider, Glassline in front of it, and applications that keep asking.

Three kinds of process: the provider and the traffic are started here, Glassline's own by the supervisor. All end
together. Nothing leaves this machine and nothing costs money, though the prices are real.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from proxy.admin.guard import check_exposure
from proxy.cli.settings import apply_options
from proxy.config import Config
from proxy.errors import EnvironmentUnusable
from proxy.ports import Ports, withdraw_ports
from proxy.simulator.office import APPS

_SPAWN: Final = multiprocessing.get_context("spawn")
"""Fresh interpreters: the supervisor forks, and must not inherit an event loop."""
_READY_WITHIN_S: Final = 30.0
_BUDGETS: Final = {
    "support": [{"limit_usd": "5", "window": "day"}],
    "docs": [{"limit_usd": "0.50", "rolling": "1h"}],
    "triage": [{"limit_usd": "0.02", "window": "hour"}],
}
"""Small enough that the demo shows a budget at work within the hour."""


def run(arguments: argparse.Namespace) -> int:
    """Serve until a signal ends it."""
    from proxy.supervisor import serve

    with _provider(arguments.seed) as port:
        config = apply_options(demo_config(port), arguments)
        check_exposure(config)
        with _traffic(config.data_dir, arguments):
            return serve(config, log_format=arguments.log_format)


def demo_config(provider_port: int) -> Config:
    """Return a configuration for the demo's applications, with the simulated provider as OpenAI."""
    upstream = {"base_url": f"http://127.0.0.1:{provider_port}/v1", "wire": "openai", "provider": "openai"}
    keys = [{"name": app.name, "key": app.key, "budgets": _BUDGETS.get(app.name, [])} for app in APPS]
    return Config.model_validate(
        {
            "upstreams": {"openai": upstream | {"allow_private": True}},
            "keys": keys,
            "budgets": [{"name": "everything", "limit_usd": "20", "window": "day"}],
        }
    )


@contextlib.contextmanager
def _provider(seed: int) -> Iterator[int]:
    """Run the simulated provider; yield its port."""
    receiver, sender = _SPAWN.Pipe(duplex=False)
    process = _SPAWN.Process(target=serve_provider, args=(seed, sender), name="provider", daemon=True)
    process.start()
    sender.close()
    try:
        if not receiver.poll(_READY_WITHIN_S):
            raise EnvironmentUnusable("the simulated provider did not start")
        yield int(receiver.recv())
    except EOFError:
        raise EnvironmentUnusable("the simulated provider could not start") from None
    finally:
        receiver.close()
        _end(process)


def serve_provider(seed: int, port: Connection) -> None:
    """Be the simulated provider; send the port once it answers."""
    from proxy.simulator import Settings, serve

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve(Settings(seed=seed), "127.0.0.1", 0, port.send)


@contextlib.contextmanager
def _traffic(data_dir: Path, arguments: argparse.Namespace) -> Iterator[None]:
    """Run the applications beside what happens here."""
    withdraw_ports(data_dir)
    wishes = (data_dir, arguments.seed, arguments.rate, arguments.duration)
    process = _SPAWN.Process(target=send_traffic, args=wishes, name="traffic", daemon=True)
    process.start()
    try:
        yield
    finally:
        _end(process)


def send_traffic(data_dir: Path, seed: int, rate_per_s: float, duration_s: float | None) -> None:
    """Be the applications: wait for Glassline, say where it is, and keep asking."""
    from proxy.simulator.traffic import generate

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ports = _wait_for_ports(data_dir)
    if ports is None:
        return
    address = f"http://127.0.0.1:{ports.data}"
    print(
        f"\n  proxy      {address}/v1"
        f"\n  dashboard  http://127.0.0.1:{ports.admin}"
        f"\n  records    {_command()} requests tail --data-dir {data_dir}\n",
        file=sys.stderr,
        flush=True,
    )
    asyncio.run(generate(f"{address}/v1", seed=seed, rate_per_s=rate_per_s, duration_s=duration_s))


def _command() -> str:
    """Return how the command line is called from here: in a checkout it stands in an environment of its own."""
    installed = Path(sys.executable).with_name("glassline")
    return "glassline" if shutil.which("glassline") or not installed.exists() else os.path.relpath(installed)


def _wait_for_ports(data_dir: Path) -> Ports | None:
    deadline = time.monotonic() + _READY_WITHIN_S
    while time.monotonic() < deadline:
        if (ports := Ports.read(data_dir)) is not None:
            return ports
        time.sleep(0.05)
    return None


def _end(process: multiprocessing.process.BaseProcess) -> None:
    process.terminate()
    process.join(3)
    if process.is_alive():
        process.kill()
        process.join()
