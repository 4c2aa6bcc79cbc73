"""The models a simulated provider knows, and what it makes of the names it does not.

Dated ids and creation times as OpenAI's `GET /v1/models` and its responses give them.
Any other name is accepted and echoed, so that a test may call its model what it likes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

_REASONING_MODELS = ("gpt-5*", "o1*", "o3*", "o4*")


@dataclass(frozen=True, slots=True)
class Model:
    """One row of the model list."""

    name: str
    """What an application asks for."""
    dated: str
    """What the response calls it."""
    created: int
    """Unix seconds."""
    dimensions: int = 0
    """Length of its vectors; 0: it makes no embeddings."""


MODELS = {
    model.name: model
    for model in (
        Model("gpt-4o-mini", "gpt-4o-mini-2024-07-18", 1721172741),
        Model("gpt-4o", "gpt-4o-2024-08-06", 1715367049),
        Model("gpt-4.1", "gpt-4.1-2025-04-14", 1744316542),
        Model("gpt-5", "gpt-5-2025-08-07", 1754425777),
        Model("gpt-5-mini", "gpt-5-mini-2025-08-07", 1754425928),
        Model("o3", "o3-2025-04-16", 1744225308),
        Model("gpt-3.5-turbo-instruct", "gpt-3.5-turbo-instruct", 1692901427),
        Model("text-embedding-3-small", "text-embedding-3-small", 1705948997, 1536),
        Model("text-embedding-3-large", "text-embedding-3-large", 1705953180, 3072),
    )
}


def dated_name(name: str) -> str:
    """Return the id by which a response calls the model."""
    known = MODELS.get(name)
    return known.dated if known else name


def reasons(name: str) -> bool:
    """Say whether the model bills reasoning that it does not show."""
    return any(fnmatchcase(name, pattern) for pattern in _REASONING_MODELS) and "-chat" not in name


def vector_length(name: str) -> int:
    """Return the natural number of dimensions of the model's vectors."""
    known = MODELS.get(name)
    return known.dimensions if known and known.dimensions else 1536


def describe(model: Model) -> Mapping[str, object]:
    """Return the model as `GET /v1/models/{id}` shows it."""
    return {"id": model.name, "object": "model", "created": model.created, "owned_by": "system"}
