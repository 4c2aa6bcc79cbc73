"""`glassline serve`: the proxy and its admin port, until a signal ends them."""

from __future__ import annotations

import argparse
import os

from proxy import failpoints
from proxy.admin.guard import check_exposure, is_loopback
from proxy.cli.settings import load_settings


def run(arguments: argparse.Namespace) -> int:
    """Check what can be checked before a process starts, then hand over to the supervisor."""
    config = load_settings(arguments)
    check_exposure(config)
    failpoints.arm(os.environ)
    failpoints.check_unexposed({host: is_loopback(host) for host in (config.listen.host, config.admin.host)})
    from proxy.supervisor import serve

    return serve(config, log_format=arguments.log_format, reload=lambda: load_settings(arguments))
