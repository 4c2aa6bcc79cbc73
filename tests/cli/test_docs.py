from __future__ import annotations

import argparse
import importlib
from collections.abc import Iterator
from pathlib import Path

from proxy.cli.parser import build_parser

TEXT = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")


def commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yield the parser of every command that can be run."""
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not groups:
        yield parser
    for group in groups:
        for below in group.choices.values():
            yield from commands(below)


def test_every_command_stands_in_the_docs() -> None:
    for command in commands(build_parser()):
        assert f"`{command.prog}" in TEXT, command.prog


def test_every_option_that_is_not_everywhere_stands_in_the_docs() -> None:
    everywhere = {"--help", "--config", "--json", "--query", "--limit", "--output"}
    for command in commands(build_parser()):
        for action in command._actions:
            long = [option for option in action.option_strings if option.startswith("--")]
            assert not set(long) - everywhere or any(option in TEXT for option in long), (command.prog, long)


def test_every_command_has_a_module_that_runs_it() -> None:
    for command in commands(build_parser()):
        assert callable(importlib.import_module(command.get_default("module")).run)
