"""Limits: how much a model can put out, and whether part of what it bills is invisible.

Facts about models that no price table has, from `data/models.yaml`: ordered rows, the first glob that matches decides.
"""

import re
from datetime import date
from functools import cache, lru_cache
from importlib import resources

import msgspec

from pricing.override import glob_matches

_SELLER = re.compile(
    r"^(?:[a-z-]{2,6}\.)?(?:anthropic|amazon|meta|mistral|cohere|ai21|deepseek|qwen|openai)\.(?=[a-z])", re.IGNORECASE
)


class ModelLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One row of `models.yaml`."""

    models: tuple[str, ...]
    """Globs over model names, without fine-tune prefix and vendor path."""
    max_output_tokens: int
    """The most tokens the model can put out, reasoning included."""
    hides_reasoning: bool
    """The provider may bill reasoning tokens that cannot be seen in the stream."""
    source: str
    """Where the facts are from."""
    checked: date
    """When they were checked."""


@lru_cache(maxsize=4096)
def limits_of(model: str) -> ModelLimits:
    """Return the limits of a model; the last row, which matches everything, is the cautious answer for a stranger."""
    name = base_name(model)
    return next(row for row in load_limits() if any(glob_matches(glob, name) for glob in row.models))


@cache
def load_limits() -> tuple[ModelLimits, ...]:
    """Read `data/models.yaml`, once."""
    text = (resources.files("pricing") / "data" / "models.yaml").read_bytes()
    return msgspec.yaml.decode(text, type=tuple[ModelLimits, ...])


def base_name(model: str) -> str:
    """Strip what wraps a model's name: `ft:gpt-4o-mini:acme::x` and `openai/gpt-4o-mini` are gpt-4o-mini.

    So are Bedrock's ids: `us.anthropic.claude-sonnet-4-5-20250929-v1:0` is claude-sonnet-4-5-20250929-v1:0.
    """
    name = _SELLER.sub("", model.rsplit("/", 1)[-1])
    if name.lower().startswith("ft:"):
        name = name[3:].split(":", 1)[0]
    return name.lower()
