"""What the gates need to know of a request body, and the constants that bound what bytes do not."""

from __future__ import annotations

from typing import Final

import msgspec

CONTEXT_TOKENS: Final = 1_050_000
"""The longest context of any model in OpenAI's list (gpt-4.1: 1,047,576 tokens; Gemini 1,048,576; from general
knowledge, 2026-11)."""
PICTURE_TOKENS: Final = 50_000
"""The dearest picture: gpt-4o-mini in high detail, 2,833 + 8 tiles of 5,667 tokens (from general
knowledge, 2026-11)."""
TOOL_CALLS: Final = 32
"""Runs of the provider's own tools that a request without a limit of them may cause. Ours: most answers need fewer
than five; no provider says a maximum."""


class Peek(msgspec.Struct, frozen=True):
    """What the gates need to know of a request body."""

    model: str | None
    """None: absent, or not a string."""
    is_streaming: bool
    stream_options: bytes | None
    """As it stands in the body; None: absent or null."""
    max_output_tokens: int | None
    """What the request allows for each choice; None: nothing that its endpoint honours."""
    choices: int
    """Answers that the request makes the model produce, at least 1."""
    service_tier: str | None
    user: str | None
    refers_to_stored: bool
    """It continues a conversation or prompt kept by the provider, so its input may be larger than its bytes."""
    speed: str | None = None
    """`fast` costs more (Anthropic)."""
    other_models: tuple[str | None, ...] = ()
    """Models that may answer instead (OpenRouter); None: one that is no string."""
    units: tuple[tuple[str, int], ...] = ()
    """Upper bounds of what is billed by another unit than the token: bucket of `pricing.Usage`, count."""
    file_bytes: int = 0
    """Bytes of the body that are files and no text."""
    file_tokens: int = 0
    """What those files count at most."""
    is_bounded: bool = True
    """False: nothing in the request says how much it can cost."""
    has_tools: bool = True
    """Something in it may make the provider run tools; False: nothing does."""


class Unseen(msgspec.Struct, frozen=True):
    """What a request can consume beyond its own bytes and its own output."""

    tokens: int = 0
    """Input: pictures, files, conversations, what tools read."""
    tool_calls: int = 0
    """Runs of tools by the provider."""
    picture_bytes: int = 0
    """Of the request's own bytes those that are pictures, whose tokens are among `tokens`."""


WHOLE_CONTEXT: Final = Unseen(CONTEXT_TOKENS)
