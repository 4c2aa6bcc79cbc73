"""Every secret that a configuration holds or names: what must stand in no log and no record."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pydantic import BaseModel, SecretStr

from proxy.config.schema import Config
from proxy.secrets import Secret

_MAX_FILE_BYTES: Final = 4096


def secrets_of(config: Config) -> list[Secret]:
    """Return the secrets of the configuration, and those in the files that it names."""
    files = (config.admin.password_file, config.encryption.key_file)
    return [*_values(config), *(secret for path in files if path is not None for secret in _content(path))]


def _values(value: object) -> Iterator[Secret]:
    if isinstance(value, SecretStr):
        yield Secret(value.get_secret_value().encode())
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _values(getattr(value, name))
    elif isinstance(value, dict):
        for each in value.values():
            yield from _values(each)
    elif isinstance(value, tuple | list):
        for each in value:
            yield from _values(each)


def _content(path: Path) -> Iterator[Secret]:
    with contextlib.suppress(OSError), path.open("rb") as file:
        yield Secret(file.read(_MAX_FILE_BYTES).strip())
