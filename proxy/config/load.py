"""From a YAML file to a checked `Config`, or to one clear line for each mistake.

`${VAR}` and `${VAR:-default}` are replaced from the environment, `${file:/path}` by the content of a file. A mistake
is reported as `path.to.key: reason`; an unknown key names the nearest valid one. Values never appear in a reason,
since any of them may be a secret.

Whatever the file holds, reading it takes bounded time and memory: its size, its depth and the number of its parts are
checked before anything is built of it.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Hashable, Mapping
from difflib import get_close_matches
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

try:  # ten times as fast, and in every wheel
    from yaml import CSafeLoader as SafeLoader
except ImportError:
    from yaml import SafeLoader  # type: ignore[assignment]  # the same in Python

from proxy.config.schema import Config, Source
from proxy.errors import ConfigError

MAX_FILE_BYTES: Final = 1024 * 1024
"""A configuration is written by hand; a larger file is a mistake or an attack on the parser."""
MAX_EVENTS: Final = 100_000
"""Parts of the YAML: some thousand keys with budgets and limits of their own."""
MAX_DEPTH: Final = 32
"""The schema is eight levels deep; thousands of levels crash the parser."""
MAX_SECRET_BYTES: Final = 64 * 1024
"""Of a `${file:…}`."""
MOST_LINES: Final = 30
"""Mistakes that are listed one by one."""
_RESTING_S: Final = 0.05
_MOST_WAITS: Final = 20
"""A file that changed a moment ago may be half written: it is read when it rests, or after a second all the same."""
_REFERENCE = re.compile(r"\$\{(?:file:(?P<file>[^}]+)|(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?)\}")


class _Loader(SafeLoader):
    """YAML without surprises: no duplicate keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[object] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"`{key}` stands twice", key_node.start_mark)
            if isinstance(key, Hashable):
                seen.add(key)
        return super().construct_mapping(node, deep)


def load_config(path: Path | None, environment: Mapping[str, str] = os.environ) -> Config:
    """Read and check the file at `path`; None: the defaults. Raises ConfigError."""
    if path is None:
        return Config()
    try:
        _wait_until_it_rests(path)
        text = _read_file(path, MAX_FILE_BYTES)
        if path.stat().st_mode & stat.S_IWOTH:
            raise ConfigError([f"{path}: anyone on this machine can change it: chmod o-w"])
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror or error}"]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: not UTF-8 text"]) from error
    if not text.strip():
        raise ConfigError([f"{path}: is empty; {{}} means the defaults"])
    config = parse_config(text, name=path.name, environment=environment)
    return config.read_from(Source(path.absolute(), sha256(text.encode()).hexdigest()))


def _wait_until_it_rests(path: Path) -> None:
    for _ in range(_MOST_WAITS):
        status = path.stat()
        if abs(time.time() - status.st_mtime) > _RESTING_S:
            return
        time.sleep(_RESTING_S)


def _read_file(path: Path, max_bytes: int) -> str:
    """Return the text of a regular file. Raises OSError and UnicodeDecodeError."""
    # A pipe without a writer would block the opening for ever.
    with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:  # noqa: PTH123 - of a descriptor
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError("not a regular file")
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise OSError(f"larger than {max_bytes} bytes")
    return data.decode()


def parse_config(text: str, *, name: str = "config.yaml", environment: Mapping[str, str] = os.environ) -> Config:
    """Check `text`; `name` starts every line of the ConfigError that it may raise."""
    try:
        _check_size(text, name)
        tree = yaml.load(text, Loader=_Loader)  # noqa: S506 - a subclass of SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" line {mark.line + 1}" if mark else ""
        line = text.splitlines()[mark.line] if mark and mark.line < len(text.splitlines()) else ""
        hint = "; inside braces, ${VAR} needs quotes" if re.search(r"[^\"']\$\{", line.partition("{")[2]) else ""
        raise ConfigError([f"{name}:{where} {error.problem}{hint}"]) from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigError([f"{name}: not YAML: {type(error).__name__}"]) from error
    if tree is None:
        return Config()
    problems: list[str] = [] if isinstance(tree, dict) else ["must be a mapping of keys to values"]
    settled = _interpolate(tree, (), environment, problems)
    if problems:
        raise ConfigError(_first([f"{name}: {problem}" for problem in problems], len(problems)))
    try:
        return Config.model_validate(settled)
    except ValidationError as error:
        lines = [f"{name}: {line}" for line in _lines(error, MOST_LINES)]
        raise ConfigError(_first(lines, error.error_count())) from None


def _check_size(text: str, name: str) -> None:
    """Refuse what would take too long or too much to build, and aliases: with them a small file grows without bound."""
    depth = 0
    for number, event in enumerate(yaml.parse(text, Loader=SafeLoader)):
        if isinstance(event, yaml.AliasEvent):
            problem = "aliases are not allowed"
        elif number > MAX_EVENTS:
            problem = f"more than {MAX_EVENTS} parts"
        elif depth > MAX_DEPTH:
            problem = f"nested more than {MAX_DEPTH} levels deep"
        else:
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            continue
        where = event.start_mark.line + 1 if event.start_mark else 1
        raise ConfigError([f"{name}: line {where} {problem}"])


def _interpolate(value: Any, path: tuple[str | int, ...], environment: Mapping[str, str], problems: list[str]) -> Any:
    if isinstance(value, dict):
        return {key: _interpolate(item, (*path, str(key)), environment, problems) for key, item in value.items()}
    if isinstance(value, list):
        return [_interpolate(item, (*path, index), environment, problems) for index, item in enumerate(value)]
    if not isinstance(value, str) or "${" not in value:
        return value

    def replace(match: re.Match[str]) -> str:
        if (file := match["file"]) is not None:
            try:
                return _read_file(Path(file), MAX_SECRET_BYTES).strip()
            except (OSError, UnicodeDecodeError):
                problems.append(f"{dotted(path)}: cannot read the file {file}")
                return ""
        default: str | None = match["default"]
        found = environment.get(match["name"], default)
        if found is None:
            problems.append(f"{dotted(path)}: the environment variable {match['name']} is not set")
        return found or ""

    return _REFERENCE.sub(replace, value)


def dotted(path: tuple[str | int, ...]) -> str:
    """Write a path as people do: `keys[0].budgets[1].limit_usd`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _first(lines: list[str], count: int) -> list[str]:
    more = count - MOST_LINES
    return [*lines[:MOST_LINES], *([f"… and {more} more mistakes"] if more > 0 else [])]


def _lines(error: ValidationError, most: int) -> list[str]:
    lines = []
    for item in error.errors(include_url=False, include_input=False, include_context=False)[:most]:
        path = tuple(part for part in item["loc"] if part != "[key]")
        reason = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            reason = _unknown_key(path)
        lines.append(f"{dotted(path)}: {reason}" if path else reason)
    return lines


def _unknown_key(path: tuple[str | int, ...]) -> str:
    section = _section_at(Config, path[:-1])
    near = get_close_matches(str(path[-1]), section.model_fields, n=1, cutoff=0.5) if section else []
    hint = f"; did you mean `{near[0]}`?" if near else ""
    return f"unknown key{hint}"


def _section_at(section: type[BaseModel], path: tuple[str | int, ...]) -> type[BaseModel] | None:
    annotation: Any = section
    for part in path:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel) and part in annotation.model_fields:
            annotation = annotation.model_fields[str(part)].annotation
        annotation = _model_inside(annotation)
        if annotation is None:
            return None
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _model_inside(annotation: Any) -> Any:
    """Return the section that a container of sections (tuple, dict, optional) holds, or the section itself."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) is None:
        return None
    return next((found for item in get_args(annotation) if (found := _model_inside(item)) is not None), None)
