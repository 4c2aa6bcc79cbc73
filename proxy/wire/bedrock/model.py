"""The name under which a model is sold, from the id, ARN or profile in the path."""

from __future__ import annotations

from typing import Final

_NAMED: Final = frozenset({"foundation-model", "inference-profile"})
"""Resources whose ARN ends with the name of a model. Profiles of one's own, routers and bought throughput say nothing."""


def sold_name(model: str | None) -> str | None:
    """Return the model's name, region prefix included (it has a price of its own); None: the id does not tell.

    `us.anthropic.claude-opus-4-7-v1:0` stays as it is; of `arn:aws:bedrock:us-east-1::foundation-model/…` the end is
    taken.
    """
    if model is None or not model.startswith("arn:"):
        return model
    resource, _, name = model.split(":", 5)[-1].partition("/")
    return name if resource in _NAMED and name else None
