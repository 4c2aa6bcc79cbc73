"""What must be known of a request body before it may go: model, stream or not, how much output it allows.

`peek` reads one JSON object once, and only the fields it names. Hostile values never raise and never make a request
look cheaper than it is: what is no positive whole number does not count as a limit, and what an upstream might read
as one (`"n": "5"`) does. Upstreams differ in which of two equal fields they take, so a body that names an admission
field twice is for `has_duplicates` to find and for the gateway to refuse.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

MAX_COUNT: Final = 2**53
"""Larger numbers are cut to this: above any real limit, exact in every number type they may pass through."""
FIELDS: Final = (
    "model",
    "stream",
    "stream_options",
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "n",
    "best_of",
    "service_tier",
    "user",
    "prompt",
    "previous_response_id",
    "conversation",
)
"""The fields of a body that decide whether and at what price it goes."""
LIMITS_OF: Final[Mapping[str, tuple[str, ...]]] = {
    "chat": ("max_tokens", "max_completion_tokens"),
    "completions": ("max_tokens",),
    "responses": ("max_output_tokens",),
    "messages": ("max_tokens",),
}
"""Which fields an endpoint honours as a limit of output (OpenAI's API reference, seen 2026-11). A limit in any other
field must not count: the upstream would ignore it."""
_ALL_LIMITS: Final = ("max_tokens", "max_completion_tokens", "max_output_tokens")
CONTEXT_TOKENS: Final = 1_050_000
"""The longest context of any model in OpenAI's list (gpt-4.1: 1,047,576 tokens; seen 2026-11)."""
PICTURE_TOKENS: Final = 50_000
"""The dearest picture: gpt-4o-mini in high detail, 2,833 + 8 tiles of 5,667 tokens (research, protocol §6.2)."""
_PICTURE: Final = re.compile(rb'"type"\s*:\s*"(?:image_url|input_image)"')
_STORED: Final = re.compile(rb'"file_id"|"type"\s*:\s*"(?:input_file|file|item_reference)"')
_DIGITS: Final = re.compile(r"\s*\+?([0-9]{1,18})(?:\.0*)?\s*")
_MAX_NAME: Final = 512
"""Characters kept of a name out of a body; no model's name is longer, and hostile ones end up in the ledger."""


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


_ABSENT: Final = msgspec.Raw()


class _Plain(msgspec.Struct):
    """A body as every well-meaning client writes it."""

    model: str | None = None
    stream: bool | None = None
    stream_options: msgspec.Raw = _ABSENT
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    max_output_tokens: int | None = None
    n: int | None = None
    best_of: int | None = None
    service_tier: str | None = None
    user: str | None = None
    prompt: msgspec.Raw = _ABSENT
    previous_response_id: str | None = None
    conversation: msgspec.Raw = _ABSENT


class _Tolerant(msgspec.Struct):
    """The same fields with any value in them."""

    model: Any = None
    stream: Any = None
    stream_options: msgspec.Raw = _ABSENT
    max_tokens: msgspec.Raw = _ABSENT
    max_completion_tokens: msgspec.Raw = _ABSENT
    max_output_tokens: msgspec.Raw = _ABSENT
    n: msgspec.Raw = _ABSENT
    best_of: msgspec.Raw = _ABSENT
    service_tier: Any = None
    user: Any = None
    prompt: msgspec.Raw = _ABSENT
    previous_response_id: Any = None
    conversation: Any = None


_PLAIN: Final = msgspec.json.Decoder(_Plain)
_TOLERANT: Final = msgspec.json.Decoder(_Tolerant)
_ELEMENTS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError, MemoryError)


def peek(body: bytes, endpoint: str = "") -> Peek | None:
    """Read what admission needs of `body`; None: it is no JSON object that we can read.

    `endpoint`: chat, completions, responses, …; it decides which limits count. Unknown: the largest of all.
    """
    try:
        return _from_plain(_PLAIN.decode(body), endpoint)
    except _UNREADABLE:
        pass
    try:
        return _from_tolerant(_TOLERANT.decode(body), endpoint)
    except _UNREADABLE:
        return _peek_loosely(body, endpoint)


def _from_plain(plain: _Plain, endpoint: str) -> Peek:
    limits = [getattr(plain, name) for name in LIMITS_OF.get(endpoint, _ALL_LIMITS)]
    prompt = b"" if plain.prompt is _ABSENT else bytes(plain.prompt)
    choices = max(plain.n or 1, plain.best_of or 1, 1)
    if prompt:
        choices *= _prompts(prompt)
    return Peek(
        _name(plain.model),
        plain.stream is True,
        _given(plain.stream_options),
        _largest(limits),
        choices if choices < MAX_COUNT else MAX_COUNT,
        _name(plain.service_tier),
        _name(plain.user),
        plain.previous_response_id is not None or _is_given(plain.conversation) or prompt.startswith(b"{"),
    )


def _from_tolerant(body: _Tolerant, endpoint: str) -> Peek:
    limits = [_whole(getattr(body, name)) for name in LIMITS_OF.get(endpoint, _ALL_LIMITS)]
    prompt = bytes(body.prompt)
    choices = max(_whole(body.n) or 1, _whole(body.best_of) or 1) * _prompts(prompt)
    return Peek(
        _name(body.model),
        _is_true(body.stream),
        _given(body.stream_options),
        _largest(limits),
        min(choices, MAX_COUNT),
        _name(body.service_tier),
        _name(body.user),
        body.previous_response_id is not None or body.conversation is not None or prompt.startswith(b"{"),
    )


def _peek_loosely(body: bytes, endpoint: str) -> Peek | None:
    """Read bodies that msgspec refuses and some upstreams take: lone surrogates, NaN, a byte order mark."""
    try:
        tree = _loose_json(body)
        if not isinstance(tree, dict):
            return None
        known = {name: tree[name] for name in FIELDS if name in tree}
        text = json.dumps(known, ensure_ascii=False).encode("utf-8", "replace")  # half a character becomes `?`
        return _from_tolerant(_TOLERANT.decode(text), endpoint)
    except _UNREADABLE:
        return None


def _largest(limits: list[int | None]) -> int | None:
    """Return the most that any of `limits` allows: which of two an upstream takes is for it to say."""
    largest = 0
    for limit in limits:
        if limit is not None and limit > largest:
            largest = limit
    return min(largest, MAX_COUNT) or None


def _whole(raw: msgspec.Raw) -> int | None:
    """Return the positive whole number that an upstream may see in a JSON value; None: there is none."""
    text = bytes(raw)[:400].decode("utf-8", "replace").strip().strip('"')
    if plain := _DIGITS.fullmatch(text):
        return int(plain[1]) or None
    try:
        number = float(text)
    except ValueError:
        return None
    return _rounded_up(number)


def _rounded_up(number: float) -> int | None:
    if not number > 0:  # also true of NaN
        return None
    return MAX_COUNT if number >= MAX_COUNT else -int(-number // 1)


def _loose_json(body: bytes, pairs_hook: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    return json.loads(
        body.decode("utf-8-sig", "replace"),
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


def _prompts(raw: bytes) -> int:
    """Return how many prompts `prompt` of the completions API holds: a string or token ids are one."""
    if not raw.startswith(b"["):
        return 1
    elements = _ELEMENTS.decode(raw)
    if not elements or not bytes(elements[0]).startswith((b'"', b"[")):
        return 1
    return len(elements)


def _given(raw: msgspec.Raw) -> bytes | None:
    return bytes(raw) if _is_given(raw) else None


def _is_given(raw: msgspec.Raw) -> bool:
    return raw is not _ABSENT and bytes(raw) not in (b"", b"null")


def _is_true(value: object) -> bool:
    """Say whether an upstream may take `value` for true."""
    return bool(value) and value not in ("false", "False", "0")


def _name(value: object) -> str | None:
    return value[:_MAX_NAME] if isinstance(value, str) else None


class _Member(str):
    """The name of a member, equal to no other, so that a dict keeps every member of an object."""

    __slots__ = ()
    __hash__ = object.__hash__
    __eq__ = object.__eq__


def _member(_: type, name: object) -> _Member:
    return _Member(name)


_MEMBERS: Final = msgspec.json.Decoder(dict[_Member, msgspec.Raw], dec_hook=_member)
_NAMES: Final = frozenset(FIELDS)


def unseen_input_tokens(body: bytes, seen: Peek) -> int:
    """Return an upper bound of the input tokens that the bytes of a body do not bound.

    A picture behind a URL, or one whose detail costs more than its bytes, and what the provider keeps: a stored
    conversation, a file. Bytes bound all other tokens.
    """
    if seen.refers_to_stored or _STORED.search(body):
        return CONTEXT_TOKENS
    return PICTURE_TOKENS * len(_PICTURE.findall(body))


def has_duplicates(body: bytes) -> bool:
    """Say whether the JSON object `body` names an admission field twice, by escapes or in another case included.

    Case counts because decoders in Go do not mind it. False for what `peek` cannot read either.
    """
    try:
        members = [str(name).lower() for name in _MEMBERS.decode(body)]
    except _UNREADABLE:
        members = _members_loosely(body)
    named = [name for name in members if name in _NAMES]
    return len(set(named)) < len(named)


def _members_loosely(body: bytes) -> list[str]:
    """Return the members of a body that msgspec refuses, as `_peek_loosely` reads it."""
    levels: list[list[str]] = [[]]

    def keep(pairs: list[tuple[str, object]]) -> None:
        levels[0] = [name.lower() for name, _ in pairs]  # the outermost object is closed last

    try:
        _loose_json(body, keep)
    except _UNREADABLE:
        return []
    return levels[0]
