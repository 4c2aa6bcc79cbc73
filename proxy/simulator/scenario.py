"""Scenarios: an ordered list of rules that give directives to the requests they match.

    - match: {path: /v1/chat/*, model: gpt-4o*}
      probability: 0.05
      status: 429
      retry-after: 1
    - ttft: 0.2..0.9
      pace: 40..90

The first rule that matches, and whose dice fall right, applies. The dice are the request's own bytes and the seed:
a scenario plays the same way each time. A retry is another request, because its retry count is part of the throw.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import yaml

from proxy.errors import BadRequest, ConfigError
from proxy.simulator.directives import Directives, directives_from


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of a scenario."""

    path: str
    """Glob over the request's path, from `/v1` on."""
    model: str
    """Glob over the model of the request; a request without a model has ''."""
    probability: float
    """Share of the matching requests to which the rule applies, 0 to 1."""
    directives: Directives

    def matches(self, path: str, model: str) -> bool:
        """Say whether the rule is about such a request."""
        return fnmatchcase(path, self.path) and fnmatchcase(model, self.model)


@dataclass(frozen=True, slots=True)
class Scenario:
    """Rules in order of precedence."""

    rules: tuple[Rule, ...] = ()

    def directives_for(self, path: str, model: str, dice: random.Random) -> Directives:
        """Return the directives of the first rule that applies; one throw per matching rule."""
        for rule in self.rules:
            if rule.matches(path, model) and dice.random() < rule.probability:
                return rule.directives
        return Directives()


def load_scenario(file: Path) -> Scenario:
    """Load a scenario from YAML. Raises ConfigError with one line per mistake."""
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError([f"{file}: {error}"]) from error
    return read_scenario(document, str(file))


def read_scenario(document: object, name: str = "scenario") -> Scenario:
    """Read a scenario already decoded from YAML; `name` stands in the messages of mistakes."""
    if document is None:
        return Scenario()
    if not isinstance(document, list):
        raise ConfigError([f"{name}: must be a list of rules"])
    rules, mistakes = [], []
    for index, entry in enumerate(document):
        try:
            rules.append(_read_rule(entry))
        except (ValueError, BadRequest) as error:
            mistakes.append(f"{name}[{index}]: {error}")
    if mistakes:
        raise ConfigError(mistakes)
    return Scenario(tuple(rules))


def _read_rule(entry: object) -> Rule:
    if not isinstance(entry, Mapping):
        raise ValueError("a rule must be a mapping")
    wishes = {str(name): value for name, value in entry.items()}
    match = wishes.pop("match", None) or {}
    if not isinstance(match, Mapping) or not match.keys() <= {"path", "model"}:
        raise ValueError("match takes path and model")
    probability = float(str(wishes.pop("probability", 1.0)))
    if not 0 <= probability <= 1:
        raise ValueError("probability must be between 0 and 1")
    return Rule(str(match.get("path", "*")), str(match.get("model", "*")), probability, directives_from(wishes))
