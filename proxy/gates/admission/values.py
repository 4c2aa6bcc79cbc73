"""Single values out of hostile JSON: what an upstream may take them for, never an error, never cheaper than they are."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

import msgspec

MAX_COUNT: Final = 2**53
"""Larger numbers are cut to this: above any real limit, exact in every number type they may pass through."""
LOOSE_BYTES: Final = 256 * 1024
"""Bodies above this are read by the fast decoder or not at all: the slow one would stop all traffic for seconds."""
ABSENT: Final = msgspec.Raw()
UNREADABLE: Final = (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError, MemoryError)
_DIGITS: Final = re.compile(r"\s*\+?([0-9]{1,18})(?:\.0*)?\s*")
MOST_TOOLS: Final = 1000
"""Tools of a request that are looked at, and models to fall back to; OpenAI takes 128."""
_MAX_NAME: Final = 512
"""Characters kept of a name out of a body; no model's name is longer, and hostile ones end up in the ledger."""
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_ELEMENTS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_Fields = TypeVar("_Fields", bound=msgspec.Struct)


def fields_of(body: bytes, decoder: msgspec.json.Decoder[_Fields]) -> _Fields | None:
    """Read the fields that `decoder` knows; None: `body` is no JSON object that we can read."""
    try:
        return decoder.decode(body)
    except UNREADABLE:
        return _fields_loosely(body, decoder)


def _fields_loosely(body: bytes, decoder: msgspec.json.Decoder[_Fields]) -> _Fields | None:
    """Read what msgspec refuses and some upstreams take: lone surrogates, NaN, a byte order mark."""
    if len(body) > LOOSE_BYTES:
        return None
    try:
        tree = loose_json(body)
        if not isinstance(tree, dict):
            return None
        text = json.dumps(tree, ensure_ascii=False).encode("utf-8", "replace")  # half a character becomes `?`
        return decoder.decode(text)
    except UNREADABLE:
        return None


def loose_json(body: bytes, pairs_hook: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """Decode JSON as tolerantly as the most tolerant upstream may. Raises ValueError and its kin."""
    return json.loads(
        body.removeprefix(_BYTE_ORDER_MARK).decode("utf-8", "replace"),
        parse_int=_bounded_number,
        parse_float=_bounded_number,
        parse_constant=_bounded_number,
        object_pairs_hook=pairs_hook,
    )


def _bounded_number(text: str) -> float | None:
    """Read any spelling of a number that Python's decoder finds; NaN is none."""
    if len(text) <= 18 and text.isdigit():
        return int(text)
    number = float(text)
    return None if number != number else max(-float(MAX_COUNT), min(number, float(MAX_COUNT)))


def whole(raw: bytes | msgspec.Raw) -> int | None:
    """Return the positive whole number that an upstream may see in a JSON value; None: there is none."""
    text = bytes(raw)[:400].decode("utf-8", "replace").strip().strip('"')
    if plain := _DIGITS.fullmatch(text):
        return min(int(plain[1]), MAX_COUNT) or None
    try:
        number = float(text)
    except ValueError:
        return None
    return _rounded_up(number)


def _rounded_up(number: float) -> int | None:
    if not number > 0:  # also true of NaN
        return None
    return MAX_COUNT if number >= MAX_COUNT else -int(-number // 1)


def largest(limits: Iterable[int | None]) -> int | None:
    """Return the most that any of `limits` allows: which of several an upstream takes is for it to say."""
    most = 0
    for limit in limits:
        if limit is not None and limit > most:
            most = limit
    return min(most, MAX_COUNT) or None


def name(value: object) -> str | None:
    """Return a name as it may be kept; None: it is no string."""
    return value[:_MAX_NAME] if isinstance(value, str) else None


def is_true(value: object) -> bool:
    """Say whether an upstream may take `value` for true."""
    return bool(value) and value not in ("false", "False", "0")


def is_given(raw: msgspec.Raw) -> bool:
    """Say whether a member is there and not null."""
    return raw is not ABSENT and bytes(raw) not in (b"", b"null")


def elements(raw: msgspec.Raw) -> list[msgspec.Raw] | None:
    """Return the elements of an array; None: it is none."""
    try:
        return _ELEMENTS.decode(raw)
    except UNREADABLE:
        return None


def has_hosted(tools: msgspec.Raw, is_run_by_client: Callable[[msgspec.Raw], bool]) -> bool:
    """Say whether the provider may run some of `tools`; of more than anybody needs it is taken for granted."""
    if not is_given(tools):
        return False
    found = elements(tools)
    return found is None or len(found) > MOST_TOOLS or not all(map(is_run_by_client, found))
