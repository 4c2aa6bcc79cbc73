"""From a YAML file to a checked `Config`, or to one clear line for each mistake.

`${VAR}` and `${VAR:-default}` are replaced from the environment, `${file:/path}` by the content of a file. A mistake
is reported as `path.to.key: reason`; an unknown key names the nearest valid one. Values never appear in a reason,
since any of them may be a secret.
"""

from __future__ import annotations

import os
import re
from collections.abc import Hashable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from proxy.config.schema import Config
from proxy.errors import ConfigError

MAX_FILE_BYTES: Final = 1024 * 1024
"""A configuration is written by hand; a larger file is a mistake or an attack on the parser."""
_REFERENCE = re.compile(r"\$\{(?:file:(?P<file>[^}]+)|(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?)\}")


class _Loader(yaml.SafeLoader):
    """YAML without surprises: no duplicate keys, no aliases (a small file could otherwise grow without bound)."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]  # types-pyyaml leaves the parser untyped
            raise yaml.constructor.ConstructorError(None, None, "aliases are not allowed", event.start_mark)
        return super().compose_node(parent, index)

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
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ConfigError([f"{path}: larger than {MAX_FILE_BYTES} bytes"])
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: not UTF-8 text"]) from error
    return parse_config(text, name=path.name, environment=environment)


def parse_config(text: str, *, name: str = "config.yaml", environment: Mapping[str, str] = os.environ) -> Config:
    """Check `text`; `name` starts every line of the ConfigError that it may raise."""
    try:
        tree = yaml.load(text, Loader=_Loader)  # noqa: S506 - a subclass of SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" line {mark.line + 1}" if mark else ""
        line = text.splitlines()[mark.line] if mark and mark.line < len(text.splitlines()) else ""
        hint = "; inside braces, ${VAR} needs quotes" if re.search(r"\{.*[^\"']\$\{", line) else ""
        raise ConfigError([f"{name}:{where} {error.problem}{hint}"]) from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigError([f"{name}: not YAML: {type(error).__name__}"]) from error
    if tree is None:
        return Config()
    problems: list[str] = [] if isinstance(tree, dict) else ["must be a mapping of keys to values"]
    settled = _interpolate(tree, (), environment, problems)
    if problems:
        raise ConfigError([f"{name}: {problem}" for problem in problems])
    try:
        return Config.model_validate(settled)
    except ValidationError as error:
        raise ConfigError([f"{name}: {line}" for line in _lines(error)]) from None


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
                return Path(file).read_text(encoding="utf-8").strip()
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


def _lines(error: ValidationError) -> list[str]:
    lines = []
    for item in error.errors(include_url=False, include_input=False, include_context=False):
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
