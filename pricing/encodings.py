"""Encodings: the tokenizers shipped in `data/`, checked by SHA-256, loaded on first use, never downloaded.

tiktoken's own registry fetches rank files from the network at first use; here an `Encoding` is built from our files.
"""

import base64
import hashlib
import lzma
from collections.abc import Mapping
from decimal import Decimal
from functools import cache, lru_cache
from importlib import resources
from typing import TYPE_CHECKING

import msgspec
import yaml

from pricing.limits import base_name
from pricing.override import glob_matches

if TYPE_CHECKING:
    from tiktoken import Encoding


class EncodingCorrupt(Exception):
    """A rank file of this package is missing or not what it should be: the installation is damaged."""


class Definition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an encoding consists of, beside its ranks."""

    name: str
    """tiktoken's name of the encoding."""
    sha256: str
    """Of the decompressed rank file."""
    pattern: tuple[str, ...]
    """Alternatives of the regular expression that cuts text into pieces."""
    special_tokens: dict[str, int]
    """Tokens that no text encodes to."""
    per_function: int
    """Tokens a function definition costs beside its text."""


class ImageRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a family of models counts the tokens of a picture: by tile or by patch."""

    tile: tuple[int, int] | None = None
    """Base tokens, and tokens per tile of 512 pixels."""
    patch: Decimal | None = None
    """Tokens per patch of 32 pixels."""
    limit: int = 0
    """The most patches that count."""


class Tokenizer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which encoding counts for a family of models."""

    models: tuple[str, ...]
    """Globs over model names, without fine-tune prefix and vendor path."""
    encoding: str
    """Name of the encoding."""
    source: str
    """Where the fact is from."""
    factor: Decimal = Decimal(1)
    """Tokens of the model per token of the encoding."""
    image: ImageRule | None = None
    """How pictures count. None: not known."""


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    encodings: tuple[Definition, ...]
    models: tuple[Tokenizer, ...]


@lru_cache(maxsize=4096)
def tokenizer_of(model: str) -> Tokenizer:
    """Return how the tokens of a model are counted; strangers count as OpenAI's current models."""
    name = base_name(model)
    return next(row for row in _file().models if any(glob_matches(glob, name) for glob in row.models))


def definition_of(encoding: str) -> Definition:
    """Return what an encoding consists of. KeyError: it is not shipped."""
    return {definition.name: definition for definition in _file().encodings}[encoding]


@cache
def load_encoding(name: str) -> "Encoding":
    """Load an encoding from this package, once (0.3 to 0.7 s). EncodingCorrupt: its file is damaged."""
    path = resources.files("pricing") / "data" / f"{name}.tiktoken.xz"
    try:
        packed = path.read_bytes()
    except OSError as error:
        raise EncodingCorrupt(f"{name}: its rank file cannot be read: {error}") from error
    return build_encoding(definition_of(name), packed)


def build_encoding(definition: Definition, packed: bytes) -> "Encoding":
    """Build an encoding from its xz-compressed rank file. EncodingCorrupt: these are not the right bytes."""
    try:
        ranks = lzma.decompress(packed)
    except lzma.LZMAError as error:
        raise EncodingCorrupt(f"{definition.name}: its rank file is damaged: {error}") from error
    found = hashlib.sha256(ranks).hexdigest()
    if found != definition.sha256:
        raise EncodingCorrupt(f"{definition.name}: its rank file has SHA-256 {found}, expected {definition.sha256}")
    from tiktoken import Encoding

    return Encoding(
        name=definition.name,
        pat_str="|".join(definition.pattern),
        mergeable_ranks=_read_ranks(ranks),
        special_tokens=definition.special_tokens,
    )


def _read_ranks(ranks: bytes) -> dict[bytes, int]:
    pairs = (line.split() for line in ranks.splitlines() if line)
    return {base64.b64decode(token): int(rank) for token, rank in pairs}


@cache
def _file() -> _File:
    text = (resources.files("pricing") / "data" / "encodings.yaml").read_text(encoding="utf-8")
    content: Mapping[str, object] = yaml.safe_load(text)
    return msgspec.convert(content, _File)
