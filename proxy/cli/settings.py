"""Which configuration and which data directory a command works with.

`-c FILE`, then `GLASSLINE_CONFIG`, then ./config.yaml when it exists, then the defaults. Options override the file.
The schema is imported late: commands that are told the data directory need none of it.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from proxy.config import Config

DEFAULT_FILE: Final = Path("config.yaml")
DEFAULT_DATA_DIR: Final = Path("glassline-data")


def config_path(arguments: argparse.Namespace) -> Path | None:
    """Return the configuration file to use; None: there is none."""
    if arguments.config is not None:
        return Path(arguments.config)
    if named := os.environ.get("GLASSLINE_CONFIG"):
        return Path(named)
    return DEFAULT_FILE if DEFAULT_FILE.exists() else None


def load_settings(arguments: argparse.Namespace) -> Config:
    """Return the configuration with the command's options applied. Raises ConfigError."""
    from proxy.config import load_config
    from proxy.providers import check_upstreams

    config = load_config(config_path(arguments))
    check_upstreams(config)
    return apply_options(config, arguments)


def open_settings(arguments: argparse.Namespace) -> Config:
    """Return the configuration, with the data directory's encryption unlocked. Raises ConfigError, EnvironmentUnusable."""
    from proxy.encryption import unlock

    config = load_settings(arguments)
    unlock(config.data_dir, config.encryption.key_file)
    return config


def apply_options(config: Config, arguments: argparse.Namespace) -> Config:
    """Return `config` with what the options say instead."""
    chosen = vars(arguments)
    return config.model_copy(
        update={
            "listen": config.listen.model_copy(update=_given(chosen, host="host", port="port")),
            "admin": config.admin.model_copy(update=_given(chosen, host="admin_host", port="admin_port")),
            **_given(chosen, data_dir="data_dir", workers="workers"),
        }
    )


def key_file(arguments: argparse.Namespace) -> Path | None:
    """Return the file of the key under which data is encrypted; None: it is not. Raises ConfigError."""
    return load_settings(arguments).encryption.key_file if config_path(arguments) else None


def load_data_dir(arguments: argparse.Namespace) -> Path:
    """Return the data directory, its encryption unlocked, without reading a configuration where none is needed.

    Raises ConfigError, EnvironmentUnusable.
    """
    from proxy.encryption import MARKER, unlock

    place = Path(arguments.data_dir or DEFAULT_DATA_DIR)
    if config_path(arguments) and (arguments.data_dir is None or (place / MARKER).exists()):
        return open_settings(arguments).data_dir
    unlock(place, None)
    return place


def _given(chosen: dict[str, object], **options: str) -> dict[str, object]:
    return {field: chosen[option] for field, option in options.items() if chosen.get(option) is not None}
