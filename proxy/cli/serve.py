"""`glassline serve`: the proxy and its admin port, until a signal ends them."""

from __future__ import annotations

import argparse

from proxy.admin.guard import check_exposure
from proxy.cli.settings import load_settings


def run(arguments: argparse.Namespace) -> int:
    """Check what can be checked before a process starts, then hand over to the supervisor."""
    config = load_settings(arguments)
    check_exposure(config)
    from proxy.supervisor import serve

    return serve(config, log_format=arguments.log_format, reload=lambda: load_settings(arguments))
