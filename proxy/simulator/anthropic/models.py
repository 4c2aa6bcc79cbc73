"""The models that the simulated Anthropic lists. Any other name is accepted and echoed."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "claude-sonnet-4-5": "claude-sonnet-4-5-20250929",
        "claude-haiku-4-5": "claude-haiku-4-5-20251001",
        "claude-opus-4-1": "claude-opus-4-1-20250805",
        "claude-opus-4-6": "claude-opus-4-6",
        "claude-haiku-5-5": "claude-haiku-5-5",
    }
)
"""What an application asks for, and what the answer calls it."""


def dated_name(name: str) -> str:
    """Return the id by which an answer calls the model; Vertex puts an @ before its date."""
    return NAMES.get(name, name.replace("@", "-"))


def describe(name: str) -> dict[str, object]:
    """Return the model as `GET /v1/models/{id}` shows it."""
    return {
        "type": "model",
        "id": NAMES[name],
        "display_name": name.replace("-", " ").title(),
        "created_at": "2025-09-29T00:00:00Z",
        "lifecycle": "active",
    }
