"""The wire of POST /v1/embeddings: unit vectors that depend on the text, the model and the seed alone."""

from __future__ import annotations

import base64
import hashlib
import math
import sys
from array import array
from collections.abc import Mapping

import msgspec

from proxy.simulator.models import dated_name, vector_length
from proxy.simulator.openai.ask import read_integer
from proxy.simulator.openai.errors import invalid, missing

_MAX_INPUTS = 2048
"""OpenAI's limit on the length of the input list."""


def embeddings_body(request: Mapping[str, object], model: str, seed: int, input_tokens: int) -> bytes:
    """Return the body of the response. Raises RejectionError for what OpenAI refuses."""
    dimensions = read_integer(request, "dimensions", 1, 3072) or vector_length(model)
    as_base64 = _read_format(request)
    vectors = [embed(text, model, seed, dimensions) for text in read_inputs(request)]
    return msgspec.json.encode(
        {
            "object": "list",
            "data": [
                {
                    "object": "embedding",
                    "index": index,
                    "embedding": _encode_base64(vector) if as_base64 else list(vector),
                }
                for index, vector in enumerate(vectors)
            ],
            "model": dated_name(model),
            "usage": {"prompt_tokens": input_tokens, "total_tokens": input_tokens},
        }
    )


def read_inputs(request: Mapping[str, object]) -> list[bytes]:
    """Return what is to be embedded, one item per vector; token arrays are taken as they are."""
    given = request.get("input")
    if given is None or given in ("", []):
        raise missing("input")
    items = given if isinstance(given, list) and not isinstance(given[0], int) else [given]
    if len(items) > _MAX_INPUTS or not all(isinstance(item, str | list) for item in items):
        raise invalid("input", f"a string or token array, or a list of up to {_MAX_INPUTS} of them")
    return [item.encode() if isinstance(item, str) else msgspec.json.encode(item) for item in items]


def embed(text: bytes, model: str, seed: int, dimensions: int) -> array[float]:
    """Return a vector of length one."""
    noise = array("h", hashlib.shake_128(b"%d\0%b\0%b" % (seed, model.encode(), text)).digest(2 * dimensions))
    if sys.byteorder == "big":
        noise.byteswap()
    norm = math.sqrt(sum(value * value for value in noise)) or 1.0
    return array("f", [value / norm for value in noise])


def _read_format(request: Mapping[str, object]) -> bool:
    encoding = request.get("encoding_format", "float")
    if encoding not in ("float", "base64"):
        raise invalid("encoding_format", "'float' or 'base64'")
    return encoding == "base64"


def _encode_base64(vector: array[float]) -> str:
    little = vector[:]
    if sys.byteorder == "big":
        little.byteswap()
    return base64.b64encode(little.tobytes()).decode()
