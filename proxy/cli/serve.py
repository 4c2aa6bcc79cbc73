"""`glassline serve`: the proxy and its admin port, until a signal ends them."""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Final

from proxy import failpoints
from proxy.admin.guard import check_exposure, is_loopback
from proxy.cli.settings import load_settings

if TYPE_CHECKING:
    from proxy.config import Config

PROCESSES: Final = ("proxy.gateway.process", "proxy.ledger.process", "proxy.recorder", "proxy.admin.server")
"""What the children are; each loads its own."""


def run(arguments: argparse.Namespace) -> int:
    """Check what can be checked before a process starts, then hand over to the supervisor."""
    config = _load(arguments)
    failpoints.arm(os.environ)
    failpoints.check_unexposed({host: is_loopback(host) for host in (config.listen.host, config.admin.host)})
    from proxy.succession import check_rehearsal
    from proxy.supervisor import serve

    if arguments.dry_run:
        for process in PROCESSES:
            import_module(process)
        check_rehearsal(config, os.environ)
        return 0
    again = [sys.executable, *sys.orig_argv[1:]]
    return serve(config, log_format=arguments.log_format, reload=lambda: _load(arguments), again=again)


def _load(arguments: argparse.Namespace) -> Config:
    config = load_settings(arguments)
    check_exposure(config)
    return config
