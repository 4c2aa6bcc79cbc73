"""The reading while it is being made: readers fill it in, one field at a time, behind one safe border."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Final, ParamSpec

import msgspec

from pricing import Usage
from proxy.records import Charge, Reading, ToolCall

P = ParamSpec("P")

_NAME_LIMIT: Final = 256
"""Characters of a model, id or tier that are kept: they become columns and labels, and callers choose them."""
_MESSAGE_LIMIT: Final = 4096
"""Characters of an error message that are kept."""


class Output(IntEnum):
    """How much model output an event of a stream held; the larger of two is what both held together."""

    NONE = 0
    REASONING = 1
    VISIBLE = 2
    """What a person or a program gets to see: text, a tool call, audio, a picture."""


class Draft(msgspec.Struct):
    """What was understood so far. The fields are those of `Reading`."""

    model_requested: str | None = None
    model: str | None = None
    is_streaming: bool = False
    usage: Usage | None = None
    usage_raw: bytes | None = None
    charges: tuple[Charge, ...] = ()
    billing_id: str | None = None
    is_pending: bool = False
    service_tier: str | None = None
    speed: str | None = None
    processing: str | None = None
    region: str | None = None
    finish_reasons: tuple[str | None, ...] = ()
    response_id: str | None = None
    error_type: str | None = None
    error_message: str | None = None
    has_ended: bool | None = None
    first_token_offset: int | None = None
    first_visible_offset: int | None = None
    last_token_offset: int | None = None
    input_text: str | None = None
    output_text: str | None = None
    reasoning_text: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    user: str | None = None
    problems: set[str] = msgspec.field(default_factory=set)

    def attempt(self, problem: str, step: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        """Run one step of reading; if it fails, note the problem and keep what the other steps give."""
        try:
            step(*args, **kwargs)
        # The border: whatever a provider sends, one field that cannot be read must not take the others along.
        except Exception:  # noqa: BLE001
            self.problems.add(problem)

    def saw_output(self, offset: int, output: Output = Output.VISIBLE) -> None:
        """Note that an event with that much model output was complete at that offset of the decoded body."""
        if output is Output.NONE:
            return
        if self.first_token_offset is None:
            self.first_token_offset = offset
        if output is Output.VISIBLE and self.first_visible_offset is None:
            self.first_visible_offset = offset
        self.last_token_offset = offset

    def finish(self, reader: str, endpoint: str) -> Reading:
        """Return the reading, its texts safe to store."""
        names: tuple[str | None, ...] = (
            *(self.model_requested, self.model, self.billing_id, self.service_tier, self.speed, self.region),
            *(self.response_id, self.error_type, self.user, *self.finish_reasons),
        )
        # One look at all of them: nearly always they can be stored as they are.
        together = "".join(filter(None, names))
        if len(together) > _NAME_LIMIT or not together.isascii() or "\0" in together:
            names = tuple([_name(name) for name in names])
        model_requested, model, billing_id, service_tier, speed, region, response_id, error_type, user = names[:9]
        return Reading(
            reader=reader,
            endpoint=endpoint,
            model_requested=model_requested,
            model=model,
            is_streaming=self.is_streaming,
            usage=self.usage,
            usage_raw=self.usage_raw,
            charges=tuple([_storable_charge(charge) for charge in self.charges]),
            billing_id=billing_id,
            is_pending=self.is_pending,
            service_tier=service_tier,
            speed=speed,
            processing=self.processing,
            region=region,
            finish_reasons=names[9:],
            response_id=response_id,
            error_type=error_type,
            error_message=_storable(self.error_message, _MESSAGE_LIMIT),
            has_ended=self.has_ended,
            first_token_offset=self.first_token_offset,
            first_visible_offset=self.first_visible_offset,
            last_token_offset=self.last_token_offset,
            input_text=_storable(self.input_text),
            output_text=_storable(self.output_text),
            reasoning_text=_storable(self.reasoning_text),
            tool_calls=tuple([_storable_call(call) for call in self.tool_calls]),
            user=user,
            problems=tuple(sorted(self.problems)),
        )


def joined(texts: list[str]) -> str | None:
    """Join texts by newlines, without the empty ones; None: nothing is left."""
    return "\n".join(filter(None, texts)) or None


def _name(text: str | None) -> str | None:
    return _storable(text, _NAME_LIMIT)


def _storable(text: str | None, limit: int | None = None) -> str | None:
    """Make a text fit for SQLite, PostgreSQL and UTF-8: no NUL, no lone surrogate.

    Halves of a surrogate pair that came in two pieces of a stream find each other here.
    """
    if text is None:
        return None
    text = text[:limit]
    if text.isascii() and "\0" not in text:
        return text
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _storable_charge(charge: Charge) -> Charge:
    return msgspec.structs.replace(
        charge,
        model=_name(charge.model),
        id=_name(charge.id),
        service_tier=_name(charge.service_tier),
        speed=_name(charge.speed),
        region=_name(charge.region),
        variant=_name(charge.variant),
    )


def _storable_call(call: ToolCall) -> ToolCall:
    arguments = _storable(call.arguments) or ""
    return ToolCall(choice=call.choice, name=_name(call.name), arguments=arguments, id=_name(call.id))
