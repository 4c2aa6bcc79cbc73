"""`glassline check`: say whether the configuration can be used."""

from __future__ import annotations

import argparse

from proxy.admin.guard import check_exposure
from proxy.cli.settings import config_path
from proxy.cli.table import Screen
from proxy.providers import check_upstreams


def run(arguments: argparse.Namespace) -> int:
    """Print one line for a configuration that can be used; ConfigError carries one for each mistake."""
    from proxy.config import load_config

    path = config_path(arguments)
    config = load_config(path)
    check_upstreams(config)
    check_exposure(config)
    Screen().line(f"{path}: ok" if path else "no configuration file: the defaults are in force")
    return 0
