"""Marks: where a conversation stands, so that a request is known by the one that it continues.

Chat APIs remember nothing: a client sends the whole conversation again with each turn. What was said up to an answer, that
answer included, gives a mark, a keyed hash. A request leaves the mark of where its answer left the conversation, and the
one that continues it has the same mark in front of its last messages. APIs that do remember name the answer or the
conversation to go on from, and that gives a mark, too.

A mark covers who asked, every message, and of the newest answer, which came in another shape than it is sent back, its
text and the calls of tools. It does not cover what clients put in and take out between turns: instructions, and where
there are hints for caches, these, thoughts, and whether a text is wrapped into a list.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from hashlib import sha256
from itertools import islice
from typing import Final, NamedTuple

import msgspec

from proxy.records import Reading
from proxy.store.pieces import Part

LOOKED_BACK: Final = 4
"""Answers in a request by which it is looked for what it continues, the last ones: some may not have passed here."""
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeError, RecursionError)
_INSTRUCTIONS: Final = frozenset({"system", "developer"})
_MODELS: Final = frozenset({"assistant", "model"})
_CALLS: Final = frozenset({"function_call", "custom_tool_call", "mcp_call"})
_TOOL_USES: Final = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})
_HINTS: Final = frozenset({"type", "cache_control", "cachePoint", "thinking", "signature"})
"""Members of a part that are no part of what it says."""
_ROLE: Final = re.compile(rb'[,\s]*\{\s*"role"\s*:\s*"(\w+)"')
"""Where nearly every client writes it; elsewhere a message has to be read for it."""
_BETWEEN: Final = b", \t\r\n"
"""What stands in front of an element."""


class _Named(msgspec.Struct):
    id: str | None = None
    name: str | None = None


class _Call(msgspec.Struct):
    id: str | None = None
    function: _Named | None = None
    custom: _Named | None = None


class _ToolUse(msgspec.Struct):
    id: str | None = msgspec.field(name="toolUseId", default=None)


class _AnswerPart(msgspec.Struct):
    """A part of an answer."""

    type: str | None = None
    text: str | None = None
    refusal: str | None = None
    thought: bool | None = None
    id: str | None = None
    name: str | None = None
    function_call: _Named | None = msgspec.field(name="functionCall", default=None)
    tool_use: _ToolUse | None = msgspec.field(name="toolUse", default=None)


class _Message(msgspec.Struct):
    """An element of a conversation, in any dialect."""

    role: str | None = None
    type: str | None = None
    content: msgspec.Raw = msgspec.Raw()
    parts: msgspec.Raw = msgspec.Raw()
    output: msgspec.Raw = msgspec.Raw()
    refusal: str | None = None
    id: str | None = None
    call_id: str | None = None
    tool_call_id: str | None = None
    name: str | None = None
    tool_calls: msgspec.Raw = msgspec.Raw()
    function_call: _Named | None = None

    @property
    def is_answer(self) -> bool:
        """Say whether the model said it."""
        if self.role is not None:
            return self.role in _MODELS
        return self.type not in (None, "message") and not self.type.endswith("_output")

    @property
    def bytes(self) -> bytes:
        """What is hashed of it where there are hints; JSON has no zero byte, so what stands around it is no part of it."""
        raw = bytes(self.content or self.parts or self.output)
        name = (self.tool_call_id or self.call_id or "").encode()
        return b"%b\0%b\0%b\0" % (name, _joined(raw) if raw[:1] == b"[" else raw, self.tool_calls)


class _Request(msgspec.Struct):
    previous_response_id: str | None = None
    conversation: str | _Named | None = None


class Marks(NamedTuple):
    """The marks of one exchange."""

    before: Iterator[int]
    """Of what it may continue, the nearest first."""
    after: tuple[int, ...]
    """Of where it left the conversation."""


_REQUEST: Final = msgspec.json.Decoder(_Request)
_MESSAGE: Final = msgspec.json.Decoder(_Message)
_PARTS: Final = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_ANSWER_PARTS: Final = msgspec.json.Decoder(list[_AnswerPart])
_TOOL_CALLS: Final = msgspec.json.Decoder(list[_Call])
_TEXT: Final = msgspec.json.Decoder(str)
_NOTHING: Final = msgspec.Raw()


def marks_of(body: bytes, said: Sequence[Part], reading: Reading, caller: bytes) -> Marks | None:
    """Return the marks of an exchange.

    `said`: the elements of the conversation in the request's body; `caller`: a secret of who it is. None: it is no
    part of a conversation that can be read.
    """
    try:
        if reading.endpoint.startswith("responses"):
            before, after = _remembered(body, reading, caller)
            if before or not said:
                return Marks(iter(before), after)
        else:
            after = ()
        spoken = _Spoken(body, said)
        if not spoken.said:
            return None
        return Marks(_before(spoken, caller), _after(spoken, reading, caller) + after)
    except _UNREADABLE:
        return None


def _remembered(body: bytes, reading: Reading, caller: bytes) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the marks where the provider remembers what was said: of what a request continues, and of where it ended."""
    request = _REQUEST.decode(body)
    named = request.conversation.id if isinstance(request.conversation, _Named) else request.conversation
    before, after = [], []
    if request.previous_response_id:
        before.append(_mark(caller, b"answer", request.previous_response_id.encode()))
    if named:
        before.append(_mark(caller, b"conversation", named.encode()))
        after.append(before[-1])
    if reading.response_id:
        after.append(_mark(caller, b"answer", reading.response_id.encode()))
    return tuple(before), tuple(after)


class _Spoken:
    """A conversation that the client says again, without the instructions in front of it."""

    def __init__(self, body: bytes, said: Sequence[Part]) -> None:
        first = 0
        while first < len(said) and _role(said[first]) in _INSTRUCTIONS:
            first += 1
        self.said = said[first:]
        self._has_hints = b'"cache_control"' in body or b'"cachePoint"' in body

    def hashed(self, count: int) -> bytes:
        """Return what is hashed of so many messages."""
        if self._has_hints:
            return b"".join([_message(part).bytes for part in self.said[:count]])
        return b"".join([part.digest for part in self.said[:count]])

    def answers(self) -> Iterator[tuple[int, list[_Message]]]:
        """Yield the answers from the last one on: after how many messages each came, and the messages it consists of."""
        answer: list[_Message] = []
        for number in range(len(self.said) - 1, -1, -1):
            if _is_answer(self.said[number]):
                answer.append(_message(self.said[number]))
            elif answer:
                yield number + 1, answer[::-1]
                answer = []
        if answer:
            yield 0, answer[::-1]


def _message(part: Part) -> _Message:
    return _MESSAGE.decode(part.data.lstrip(_BETWEEN))


def _role(part: Part) -> str | None:
    match = _ROLE.match(part.data)
    return match[1].decode() if match else _message(part).role


def _is_answer(part: Part) -> bool:
    match = _ROLE.match(part.data)
    return match[1].decode() in _MODELS if match else _message(part).is_answer


def _before(spoken: _Spoken, caller: bytes) -> Iterator[int]:
    try:
        for start, answer in islice(spoken.answers(), LOOKED_BACK):
            # At the end stands what the client put into the model's mouth, for the answer to go on with.
            if start + len(answer) < len(spoken.said):
                yield _mark(caller, b"said", spoken.hashed(start), _answered(answer))
    except _UNREADABLE:
        return


def _after(spoken: _Spoken, reading: Reading, caller: bytes) -> tuple[int, ...]:
    # Of several answers to choose from nobody knows yet which one the conversation goes on with.
    if len(reading.finish_reasons) > 1 or not (reading.output_text or reading.tool_calls):
        return ()
    start, begun = len(spoken.said), list[_Message]()
    if _is_answer(spoken.said[-1]):
        start, begun = next(spoken.answers())
    calls = [call.id or call.name or "" for call in reading.tool_calls]
    said = _answered(begun, reading.output_text or "", calls)
    return (_mark(caller, b"said", spoken.hashed(start), said),)


def _answered(answer: Sequence[_Message], text: str = "", calls: Sequence[str] = ()) -> bytes:
    """Return what is hashed of an answer: its text and what its calls are called.

    Line ends and the space around a text come and go between turns.
    """
    texts: list[str] = []
    called: list[str] = []
    for message in answer:
        raw = bytes(message.content or message.parts)
        if message.role is None:
            if message.type in _CALLS:
                called.append(message.call_id or message.id or message.name or "")
            continue
        if raw[:1] == b'"':
            texts.append(_TEXT.decode(raw))
        elif raw[:1] == b"[":
            _take_parts(_ANSWER_PARTS.decode(raw), texts, called)
        if message.refusal:
            texts.append(message.refusal)
        if message.tool_calls and bytes(message.tool_calls) != b"null":
            for call in _TOOL_CALLS.decode(message.tool_calls):
                named = call.function or call.custom or _Named()
                called.append(call.id or named.name or "")
        if message.function_call:
            called.append(message.function_call.name or "")
    whole = "".join([*texts, text]).replace("\n", "").strip()
    return "\0".join([whole, *called, *calls]).encode("utf-8", "surrogatepass")


def _take_parts(parts: Sequence[_AnswerPart], texts: list[str], called: list[str]) -> None:
    for part in parts:
        if part.type in _TOOL_USES:
            called.append(part.id or part.name or "")
        elif part.function_call:
            called.append(part.function_call.id or part.function_call.name or "")
        elif part.tool_use:
            called.append(part.tool_use.id or "")
        elif not part.thought:
            texts.append(part.text or part.refusal or "")


def _joined(raw: bytes) -> bytes:
    """Return parts in such a way that a single text is what it is without a list around it."""
    try:
        parts = _PARTS.decode(raw)
    except msgspec.ValidationError:
        return raw
    found = []
    for part in parts:
        text = bytes(part.get("text", _NOTHING))
        if text[:1] == b'"':
            found.append(text)
        elif rest := [b"%b:%b" % (name.encode(), value) for name, value in part.items() if name not in _HINTS]:
            found.append(b"\1".join(rest))
    return b"\0".join(found)


def _mark(caller: bytes, kind: bytes, *names: bytes) -> int:
    """Return a mark, as a number that SQLite can hold."""
    return int.from_bytes(sha256(b"\0\0".join((caller, kind, *names))).digest()[:8], "big") >> 1
