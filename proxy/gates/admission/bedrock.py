"""Bodies of Bedrock: Converse, and InvokeModel in the format of each model's maker."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from proxy.gates.admission import anthropic
from proxy.gates.admission.marks import Marks, stands_in
from proxy.gates.admission.members import Decisive
from proxy.gates.admission.peek import TOOL_CALLS, WHOLE_CONTEXT, Peek, Unseen
from proxy.gates.admission.values import ABSENT, UNREADABLE, fields_of, is_given, largest, whole
from proxy.operations import Operation

_LIMITS: Final = frozenset({"maxTokens", "max_new_tokens", "maxTokenCount"})
_INVOKE_LIMITS: Final = frozenset(
    {"max_tokens", "max_gen_len", "max_completion_tokens", "max_new_tokens", "maxTokens", "max_tokens_to_sample"}
)
_COUNTS: Final = frozenset({"n", "num_generations", "numResults"})
DECISIVE: Final = Decisive(
    _INVOKE_LIMITS
    | _COUNTS
    | {
        "inferenceConfig",
        "textGenerationConfig",
        "toolConfig",
        "tools",
        "mcp_servers",
        "additionalModelRequestFields",
        "performanceConfig",
        "serviceTier",
    },
    {"inferenceConfig": _LIMITS, "textGenerationConfig": _LIMITS},
)
_MARKS: Final = Marks(
    (re.compile(rb'"image"\s*:\s*\{'), re.compile(rb'"type"\s*:\s*"image(?:_url)?"')),
    re.compile(
        rb'"(?:s3Location|s3Uri|document|video|audio)"\s*:|"type"\s*:\s*"(?:document|file|container_upload)"'
        rb'|"application/pdf"'
    ),
)
_HOSTED: Final = re.compile(
    rb'"systemTool"\s*:|"mcp_servers"\s*:|"type"\s*:\s*"(?:web_search|web_fetch|code_execution)'
)
_TOOL_PROMPT: Final = 2_000


class _Fields(msgspec.Struct):
    inference: msgspec.Raw = msgspec.field(default=ABSENT, name="inferenceConfig")
    titan: msgspec.Raw = msgspec.field(default=ABSENT, name="textGenerationConfig")
    extra: msgspec.Raw = msgspec.field(default=ABSENT, name="additionalModelRequestFields")
    max_tokens: msgspec.Raw = ABSENT
    max_gen_len: msgspec.Raw = ABSENT
    max_completion_tokens: msgspec.Raw = ABSENT
    max_new_tokens: msgspec.Raw = ABSENT
    max_tokens_camel: msgspec.Raw = msgspec.field(default=ABSENT, name="maxTokens")
    max_tokens_to_sample: msgspec.Raw = ABSENT
    n: msgspec.Raw = ABSENT
    num_generations: msgspec.Raw = ABSENT
    results: msgspec.Raw = msgspec.field(default=ABSENT, name="numResults")


class _Nested(msgspec.Struct):
    max_tokens: msgspec.Raw = msgspec.field(default=ABSENT, name="maxTokens")
    max_new_tokens: msgspec.Raw = ABSENT
    max_token_count: msgspec.Raw = msgspec.field(default=ABSENT, name="maxTokenCount")


_FIELDS: Final = msgspec.json.Decoder(_Fields)
_NESTED: Final = msgspec.json.Decoder(_Nested)


def peek(body: bytes, operation: Operation) -> Peek | None:
    """Read what admission needs of `body`; None: it is no JSON object that we can read."""
    fields = fields_of(body, _FIELDS)
    if fields is None:
        return None
    is_invoke = operation.endpoint == "invoke"
    return Peek(
        model=operation.model,
        is_streaming=operation.is_streaming,
        stream_options=None,
        max_output_tokens=_invoke_limit(fields) if is_invoke else _nested_limit(fields.inference),
        choices=(largest((whole(fields.n), whole(fields.num_generations), whole(fields.results))) or 1)
        if is_invoke
        else 1,
        service_tier=None,
        user=None,
        refers_to_stored=False,
        # What a model takes beside the common fields may raise any limit.
        is_bounded=is_invoke or not is_given(fields.extra) or b"max" not in bytes(fields.extra).lower(),
    )


def _invoke_limit(fields: _Fields) -> int | None:
    """Return the limit of whichever maker's format this is: the largest, since the others are ignored."""
    own = (
        fields.max_tokens,
        fields.max_gen_len,
        fields.max_completion_tokens,
        fields.max_new_tokens,
        fields.max_tokens_camel,
        fields.max_tokens_to_sample,
    )
    return largest((*map(whole, own), _nested_limit(fields.inference), _nested_limit(fields.titan)))


def _nested_limit(raw: msgspec.Raw) -> int | None:
    try:
        nested = _NESTED.decode(raw) if is_given(raw) else None
    except UNREADABLE:
        return None
    if nested is None:
        return None
    return largest(map(whole, (nested.max_tokens, nested.max_new_tokens, nested.max_token_count)))


def unseen(body: bytes, operation: Operation, seen: Peek) -> Unseen:
    """Return what the request can consume beyond its bytes."""
    if operation.endpoint == "invoke" and "anthropic" in (operation.model or ""):
        return anthropic.unseen(body, seen)
    if stands_in(_HOSTED, body):
        return Unseen(WHOLE_CONTEXT.tokens, TOOL_CALLS)
    return Unseen(_MARKS.tokens(body) + _TOOL_PROMPT)
