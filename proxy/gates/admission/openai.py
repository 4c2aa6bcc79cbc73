"""Bodies of OpenAI's API and of the many that speak it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from proxy.gates.admission.marks import Marks
from proxy.gates.admission.members import Decisive
from proxy.gates.admission.peek import TOOL_CALLS, WHOLE_CONTEXT, Peek, Unseen
from proxy.gates.admission.values import (
    ABSENT,
    MAX_COUNT,
    MOST_TOOLS,
    UNREADABLE,
    elements,
    fields_of,
    has_hosted,
    is_given,
    is_true,
    largest,
    name,
    whole,
)
from proxy.operations import Operation

FIELDS: Final = (
    "model",
    "models",
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
    "prediction",
    "previous_response_id",
    "conversation",
    "tools",
    "max_tool_calls",
    "web_search_options",
    "plugins",
    "size",
    "partial_images",
)
"""The fields of a body that decide whether and at what price it goes."""
LIMITS_OF: Final[Mapping[str, tuple[str, ...]]] = {
    "chat": ("max_tokens", "max_completion_tokens"),
    "completions": ("max_tokens",),
    "responses": ("max_output_tokens",),
    "responses_compact": (),
    "runs": ("max_completion_tokens",),
    "decisions": (),
}
"""Which fields an endpoint honours as a limit of output (OpenAI's API reference, from general knowledge, 2026-11). A
limit in any other field must not count: the upstream would ignore it."""
_ALL_LIMITS: Final = ("max_tokens", "max_completion_tokens", "max_output_tokens")
IMAGES: Final = frozenset({"images_generate", "images_edit"})
AUDIO: Final = frozenset({"transcriptions", "translations"})
BOUNDED_UNITS: Final = IMAGES | AUDIO | {"speech"}
"""Operations billed by other units than the token of which a request says how many there can be."""
_IMAGE_TOKENS: Final = 8_192
"""For one picture made: 6,240 tokens are the most in the list for gpt-image-1 (1024x1536, high; from general knowledge,
2026-11)."""
_PIXELS_PER_TOKEN: Final = 200
"""The same list has 252 at high quality; sizes beyond it are taken to grow alike."""
_PARTIAL_TOKENS: Final = 100
"""Each partial picture of a stream (OpenAI's image guide, from general knowledge, 2026-11)."""
_SIZE: Final = re.compile(r"(\d{1,5})x(\d{1,5})")
_MARKS: Final = Marks(
    (re.compile(rb'"type"\s*:\s*"(?:image_url|input_image)"'), re.compile(rb'"image_url"\s*:')),
    re.compile(
        rb'"(?:file_id|file_url|image_id|vector_store_ids)"\s*:'
        rb'|"type"\s*:\s*"(?:input_file|file|item_reference|input_video|video_url)"'
    ),
    sign=re.compile(rb'"(?:image_|input_|file|vector_store_ids"|item_reference"|video_url")'),
)
_MANY_PROMPTS: Final = 100_000
"""Commas in `prompt` up to which its elements are told apart; OpenAI takes 2,048 prompts."""
_SEARCHES: Final = "-search"
"""In the name of a model that searches the web with every request."""
_CLIENT_TOOLS: Final = frozenset({"function", "custom", "local_shell", "apply_patch"})
"""Tools that the client runs; any other may be run by the provider, which reads what they bring as input."""


class _Plain(msgspec.Struct):
    """A body as every well-meaning client writes it."""

    model: str | None = None
    models: msgspec.Raw = ABSENT
    stream: bool | None = None
    stream_options: msgspec.Raw = ABSENT
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    max_output_tokens: int | None = None
    n: int | None = None
    best_of: int | None = None
    service_tier: str | None = None
    user: str | None = None
    prompt: msgspec.Raw = ABSENT
    prediction: msgspec.Raw = ABSENT
    previous_response_id: str | None = None
    conversation: msgspec.Raw = ABSENT
    tools: msgspec.Raw = ABSENT
    web_search_options: msgspec.Raw = ABSENT
    plugins: msgspec.Raw = ABSENT


class _Tolerant(msgspec.Struct):
    """The same fields with any value in them."""

    model: Any = None
    models: msgspec.Raw = ABSENT
    stream: Any = None
    stream_options: msgspec.Raw = ABSENT
    max_tokens: msgspec.Raw = ABSENT
    max_completion_tokens: msgspec.Raw = ABSENT
    max_output_tokens: msgspec.Raw = ABSENT
    n: msgspec.Raw = ABSENT
    best_of: msgspec.Raw = ABSENT
    service_tier: Any = None
    user: Any = None
    prompt: msgspec.Raw = ABSENT
    prediction: msgspec.Raw = ABSENT
    previous_response_id: Any = None
    conversation: Any = None


class _Image(msgspec.Struct):
    """What decides the size of a picture."""

    model: Any = None
    n: msgspec.Raw = ABSENT
    size: Any = None
    partial_images: msgspec.Raw = ABSENT
    stream: Any = None


class _Hosted(msgspec.Struct):
    """What makes the provider run tools."""

    model: Any = None
    tools: msgspec.Raw = ABSENT
    web_search_options: msgspec.Raw = ABSENT
    plugins: msgspec.Raw = ABSENT
    max_tool_calls: msgspec.Raw = ABSENT


class _Tool(msgspec.Struct):
    type: Any = None


_PLAIN: Final = msgspec.json.Decoder(_Plain)
_TOLERANT: Final = msgspec.json.Decoder(_Tolerant)
_IMAGE: Final = msgspec.json.Decoder(_Image)
_HOSTED: Final = msgspec.json.Decoder(_Hosted)
_TOOL: Final = msgspec.json.Decoder(_Tool)
_NAMES: Final = msgspec.json.Decoder(list[Any])
DECISIVE: Final = Decisive(frozenset(FIELDS))


def peek(body: bytes, operation: Operation | None) -> Peek | None:
    """Read what admission needs of `body`; None: it is no JSON object that we can read."""
    endpoint = operation.endpoint if operation is not None else ""
    if operation is not None and operation.billing == "units":
        return _peek_units(body, operation)
    try:
        return _from_plain(_PLAIN.decode(body), endpoint)
    except UNREADABLE:
        pass
    tolerant = fields_of(body, _TOLERANT)
    return _from_tolerant(tolerant, endpoint) if tolerant is not None else None


def _from_plain(plain: _Plain, endpoint: str) -> Peek:
    limit = None
    for field in LIMITS_OF.get(endpoint, _ALL_LIMITS):
        allowed = getattr(plain, field)
        if allowed is not None and allowed > (limit or 0):
            limit = allowed if allowed < MAX_COUNT else MAX_COUNT
    prompt = b"" if plain.prompt is ABSENT else bytes(plain.prompt)
    choices = max(plain.n or 1, plain.best_of or 1, 1)
    if prompt:
        choices *= _prompts(prompt)
    return Peek(
        name(plain.model),
        plain.stream is True,
        None if plain.stream_options is ABSENT else _given(plain.stream_options),
        limit if plain.prediction is ABSENT else _with_prediction(limit, plain.prediction),
        choices if choices < MAX_COUNT else MAX_COUNT,
        None if plain.service_tier is None else name(plain.service_tier),
        None if plain.user is None else name(plain.user),
        plain.previous_response_id is not None or is_given(plain.conversation) or prompt.startswith(b"{"),
        None,
        () if plain.models is ABSENT else _model_names(plain.models),
        has_tools=not (
            plain.tools is plain.web_search_options is plain.plugins is ABSENT and _SEARCHES not in (plain.model or "")
        ),
    )


def _from_tolerant(body: _Tolerant, endpoint: str) -> Peek:
    limits = [whole(getattr(body, field)) for field in LIMITS_OF.get(endpoint, _ALL_LIMITS)]
    prompt = bytes(body.prompt)
    choices = max(whole(body.n) or 1, whole(body.best_of) or 1) * _prompts(prompt)
    return Peek(
        name(body.model),
        is_true(body.stream),
        _given(body.stream_options),
        _with_prediction(largest(limits), body.prediction),
        min(choices, MAX_COUNT),
        name(body.service_tier),
        name(body.user),
        body.previous_response_id is not None or body.conversation is not None or prompt.startswith(b"{"),
        other_models=_model_names(body.models),
    )


def _with_prediction(limit: int | None, prediction: msgspec.Raw) -> int | None:
    """Return the limit with a prediction's tokens, which are billed as output where they turn out wrong."""
    if limit is None or not is_given(prediction):
        return limit
    return min(limit + len(bytes(prediction)), MAX_COUNT)


def _given(raw: msgspec.Raw) -> bytes | None:
    return bytes(raw) if is_given(raw) else None


def _model_names(raw: msgspec.Raw) -> tuple[str | None, ...]:
    if not is_given(raw):
        return ()
    if bytes(raw).count(b",") > MOST_TOOLS:
        return (None,)
    try:
        return tuple(name(value) for value in _NAMES.decode(raw))
    except UNREADABLE:
        return (None,)


def _prompts(raw: bytes) -> int:
    """Return how many prompts `prompt` of the completions API holds: a string or token ids are one."""
    if not raw.startswith(b"[") or not raw[1:].lstrip().startswith((b'"', b"[")):
        return 1
    most = raw.count(b",") + 1
    if most > _MANY_PROMPTS:
        return most  # too many to tell them from commas within them
    found = elements(msgspec.Raw(raw))
    if not found or not bytes(found[0]).startswith((b'"', b"[")):
        return 1
    return len(found)


def _peek_units(body: bytes, operation: Operation) -> Peek | None:
    fields = fields_of(body, _IMAGE)
    if fields is None:
        return None
    is_image = operation.endpoint in IMAGES
    is_speech = operation.endpoint == "speech"
    return Peek(
        model=name(fields.model),
        is_streaming=is_true(fields.stream),
        stream_options=None,
        max_output_tokens=image_tokens(fields.size, whole(fields.partial_images)) if is_image else None,
        choices=whole(fields.n) or 1,
        service_tier=None,
        user=None,
        refers_to_stored=False,
        units=(("input_characters", len(body)),) if is_speech else (),
        is_bounded=is_image or is_speech,
    )


def image_tokens(size: object, partial_images: int | None) -> int:
    """Return an upper bound of the tokens of one picture made, with its partial ones."""
    match = _SIZE.fullmatch(size) if isinstance(size, str) else None
    pixels = int(match[1]) * int(match[2]) if match is not None else 0
    return min(max(_IMAGE_TOKENS, pixels // _PIXELS_PER_TOKEN) + _PARTIAL_TOKENS * (partial_images or 0), MAX_COUNT)


def unseen(body: bytes, operation: Operation | None, seen: Peek) -> Unseen:
    """Return what the request can consume beyond its bytes."""
    tool_calls = _hosted_calls(body) if seen.has_tools else 0
    if tool_calls:
        return Unseen(WHOLE_CONTEXT.tokens, tool_calls)
    if seen.refers_to_stored or (operation is not None and operation.endpoint == "runs"):
        return WHOLE_CONTEXT
    return Unseen(_MARKS.tokens(body))


def _hosted_calls(body: bytes) -> int:
    """Return how often the provider may run tools of its own."""
    fields = fields_of(body, _HOSTED)
    if fields is None:
        return TOOL_CALLS
    searches = isinstance(fields.model, str) and _SEARCHES in fields.model
    is_asked = searches or is_given(fields.web_search_options) or is_given(fields.plugins)
    if is_asked or has_hosted(fields.tools, _is_run_by_client):
        return whole(fields.max_tool_calls) or TOOL_CALLS
    return 0


def _is_run_by_client(raw: msgspec.Raw) -> bool:
    try:
        return _TOOL.decode(raw).type in _CLIENT_TOOLS
    except (*UNREADABLE, TypeError):  # a type that cannot be hashed
        return False
